"""The gateway program: processor time and memory at twenty devices a second, and what its outbox writes to the disk."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.devices import served
from benchmarks.fleet import DEVICES, QUANTITIES
from benchmarks.machine import cpu_s, memory_mb, merilo, program, wait_for, written_bytes
from benchmarks.servers import mosquitto
from benchmarks.table import Row, at_most, shown
from merilo import wire
from merilo.reading import Reading
from merilo.topics import PREFIX
from merilo_adapters.outbox import Outbox

UNITS = 20
BUSES = 5
READY_S = 40.0
CYCLES = 360
"""One hour at a poll each 10 s."""


class Centre:
    """Acknowledges what a gateway sends, and counts its values."""

    def __init__(self, port: int) -> None:
        self.values = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="centre")
        self._client.on_message = self._arrived
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(f"{PREFIX}/+/+/+/readings", qos=1)
        self._client.loop_start()

    def close(self) -> None:
        """Goes."""
        self._client.disconnect()
        self._client.loop_stop()

    def _arrived(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        found = wire.readings_from(bytes(message.payload))
        self.values += sum(len(reading.values) for reading in found.readings)
        ack = wire.to_payload(wire.Ack(found.epoch, found.first, found.last))
        client.publish(message.topic.removesuffix("readings") + "ack", ack, qos=1)


def _file(broker: int, ports: str) -> str:
    """The gateway's file: five connections, because one cannot ask twenty panel meters of 40 ms within a second."""
    text = f"""\
version: 1
company: acme
site: hq
gateway: gw1
interval: 1s
clock: trusted
broker: {{url: "mqtt://127.0.0.1:{broker}"}}
buses:
"""
    for number, port in enumerate(ports.split()):
        text += f"  - {{name: bus{number}, type: tcp, host: 127.0.0.1, port: {port}, devices: ["
        units = range(1 + number * UNITS // BUSES, 1 + (number + 1) * UNITS // BUSES)
        text += ", ".join(f"{{id: m{u:02d}, profile: eastron_sdm630, unit: {u}, role: other}}" for u in units)
        text += "]}\n"
    return text


def polled(seconds: float) -> tuple[float, float, float]:
    """CPU per value [µs], resident memory [MB] and values a second of ``merilo gateway run``."""
    with (
        TemporaryDirectory(prefix="merilo-bench-") as name,
        mosquitto() as broker,
        served("tcp", UNITS, BUSES) as ports,
    ):
        folder = Path(name)
        (folder / "gateway.yaml").write_text(_file(broker.port, ports))
        centre = Centre(broker.port)
        arguments = merilo("gateway", "run", "-c", str(folder / "gateway.yaml"), "--data", str(folder))
        try:
            with program("gateway", arguments, folder) as pid:
                wait_for(lambda: centre.values > 0, READY_S, "the first readings")
                time.sleep(8.0)  # every kind of cycle has been planned by then
                began, values, cpu = time.monotonic(), centre.values, cpu_s(pid)
                time.sleep(seconds)
                took, values, cpu = time.monotonic() - began, centre.values - values, cpu_s(pid) - cpu
                return cpu / values * 1e6, memory_mb(pid), values / took
        finally:
            centre.close()


def outbox_bytes(cycles: int) -> tuple[float, float]:
    """Bytes that the kernel writes for one value, and CPU per value [µs]: append, acknowledge, cycle by cycle."""
    chance, start_ms = random.Random(1), 1_795_000_000_000
    state = {n: [chance.uniform(200, 9_000) for _ in QUANTITIES] for n in range(DEVICES)}
    with TemporaryDirectory(prefix="merilo-bench-", dir=_on_disk()) as name:
        box = Outbox(Path(name) / "outbox.sqlite")
        before, cpu = written_bytes(os.getpid()), time.process_time()
        for cycle in range(cycles):
            at_ms = start_ms + cycle * 10_000
            readings = []
            for n, values in state.items():
                values[:] = [round(value + chance.uniform(-5, 5), 2) for value in values]
                measured = dict(zip(QUANTITIES, values, strict=True))
                measured = {name: _true(name, value) for name, value in measured.items()}
                readings.append(Reading(device=f"m{n:02d}", at_ms=at_ms + 9 * n, values=measured))
            first = box.append(readings, wall_ms=at_ms)
            box.free(box.epoch, first, first + DEVICES - 1, at_ms)
        count = cycles * DEVICES * len(QUANTITIES)
        found = (written_bytes(os.getpid()) - before) / count, (time.process_time() - cpu) / count * 1e6
        box.close()
    return found


def _true(name: str, value: float) -> float:
    """A value that the quantity can have."""
    return round(value / 10_000, 3) if name.startswith("power_factor") else value


def _on_disk() -> str:
    """A folder on a disk: what lies in memory is never written."""
    return "/var/tmp" if os.access("/var/tmp", os.W_OK) else "."


def run(quick: bool, say: Callable[[str], None]) -> list[Row]:
    """One gateway on Modbus TCP with twenty meters, and an hour of its outbox."""
    say(f"{UNITS} devices each second on Modbus TCP")
    cpu, memory, rate = polled(10.0 if quick else 40.0)
    beside = f"{rate:,.0f} values/s, polled, decoded, stored, published, freed; Telegraf elsewhere 9.6, nothing stored"
    say("an hour of the outbox")
    cycles = CYCLES // 4 if quick else CYCLES
    written, own = outbox_bytes(cycles)
    return [
        at_most("CPU per value on Modbus TCP", cpu, 10, "µs", beside=beside),
        at_most("resident memory", memory, 60, "MB"),
        at_most(
            "written to disk per value, 20 × 20 at 10 s", written, 100, "bytes",
            beside=f"{written * 3_456_000 / 1e6:.0f} MB a day; each cycle synced, {cycles} cycles",
        ),
        shown("outbox CPU per value, test data included", own, "µs"),
    ]  # fmt: skip
