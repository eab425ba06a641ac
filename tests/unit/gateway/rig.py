"""A gateway process and a collector that can be told how to behave, for integration tests."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from merilo import topics, wire
from merilo.ids import GatewayKey
from merilo.reading import Reading
from merilo_adapters.mqtt import Broker, Message, Session

KEY = GatewayKey("acme", "hq", "gw1")


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Waits until something is true; says whether it became so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@dataclass
class Collector:
    """Takes what a gateway publishes and acknowledges it, or not."""

    port: int
    acknowledges: bool = True
    received: dict[tuple[str, int], Reading] = field(default_factory=dict)
    """Epoch and number → reading."""
    times: dict[tuple[str, int], int] = field(default_factory=dict)
    """Epoch and number → how often it came."""
    different: list[str] = field(default_factory=list)
    """Numbers that came again with another content."""
    messages: list[tuple[str, bytes]] = field(default_factory=list)

    def __enter__(self) -> Collector:
        self._lock = threading.Lock()
        self.session = Session(
            Broker(urls=(f"mqtt://127.0.0.1:{self.port}",)),
            client_id="collector",
            on_message=self._arrived,
            subscriptions=[(name, 1) for name in topics.upward_filters()],
            clean=False,
            session_expiry_s=3600,
            manual_ack=True,
            receive_maximum=500,
        )
        self.session.start()
        assert wait_for(lambda: self.session.connected)
        return self

    def __exit__(self, *_: object) -> None:
        self.session.stop()

    def _arrived(self, message: Message) -> None:
        topic = topics.parse(message.topic)
        with self._lock:
            self.messages.append((topic.channel, message.payload))
        if topic.channel == "readings":
            self._readings(wire.readings_from(message.payload))
        self.session.ack(message)

    def _readings(self, found: wire.Readings) -> None:
        assert not found.rejected
        if not self.acknowledges:
            return
        with self._lock:
            for offset, reading in enumerate(found.readings):
                name = (found.epoch, found.first + offset)
                before = self.received.setdefault(name, reading)
                if before != reading:
                    self.different.append(f"{name}: {before} and {reading}")
                self.times[name] = self.times.get(name, 0) + 1
        self.tell("ack", wire.Ack(found.epoch, found.first, found.last))

    def tell(self, channel: topics.Channel, message: wire.Ack | wire.Resync, verb: str = "") -> None:
        """Publishes to the gateway."""
        self.session.publish(topics.build(KEY, channel, verb), wire.to_payload(message))

    def payloads(self, channel: str) -> list[bytes]:
        """What came on a channel."""
        with self._lock:
            return [payload for name, payload in self.messages if name == channel]

    def events(self) -> list[wire.GatewayEvent]:
        """Events that came."""
        return [wire.from_payload(payload, wire.GatewayEvent) for payload in self.payloads("event")]

    def numbers(self, epoch: str) -> list[int]:
        """Numbers that came of an epoch, in order."""
        with self._lock:
            return sorted(number for name, number in self.received if name == epoch)


class Process:
    """``merilo gateway run`` as a process of its own."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.config = folder / "gateway.yaml"
        self.config.write_text(config)
        self.data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; does not wait."""
        command = "from merilo_gateway.commands import app; app()"
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", command, "run", "-c", str(self.config), "--data", str(self.data)],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Ends it like a power cut of the process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> int:
        """Ends it the clean way; gives the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(20)

    @property
    def log(self) -> str:
        """What it logged."""
        return (self.folder / "gateway.log").read_text()

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


def config(broker: int, buses: str, *, interval: str = "250ms", more: str = "") -> str:
    """A gateway.yaml."""
    return f"""\
version: 1
company: acme
site: hq
gateway: gw1
interval: {interval}
broker: {{url: "mqtt://127.0.0.1:{broker}"}}
{more}
{buses}"""


def tcp_bus(port: int, devices: str, kind: str = "tcp") -> str:
    """One bus of a gateway.yaml."""
    return f"""\
buses:
  - type: {kind}
    host: 127.0.0.1
    port: {port}
    baud: 115200
    devices:
{devices}"""


MAIN = "      - {id: main, profile: eastron_sdm630, unit: 1, role: main}\n"
