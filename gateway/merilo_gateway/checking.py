"""``merilo gateway check``: the file and its bus time, then every device and the broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from merilo.errors import ConfigError, DeviceError
from merilo_adapters.mqtt import Broker, Connected, Message, Session
from merilo_gateway.probe import read_once
from merilo_gateway.settings import Settings, load_settings

BROKER_WAIT_S = 8.0
Level = Literal["ok", "finding", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was looked at."""

    what: str
    level: Level
    detail: str

    def text(self) -> str:
        """For people."""
        return f"{self.level:<12} {self.what}: {self.detail}"

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"what": self.what, "level": self.level, "detail": self.detail}


@dataclass(slots=True)
class Findings:
    """All that was looked at."""

    lines: list[Line] = field(default_factory=list)
    devices: int = 0

    def add(self, what: str, level: Level, detail: str) -> None:
        """One more."""
        self.lines.append(Line(what=what, level=level, detail=detail))

    @property
    def exit_code(self) -> int:
        """0 all well, 1 a finding, 4 nothing answers, 5 a part does not answer."""
        away = sum(1 for line in self.lines if line.level == "unreachable")
        if away:
            asked = sum(1 for line in self.lines if not line.what.startswith(("file", "bus")))
            return 4 if away == asked else 5
        return 1 if any(line.level == "finding" for line in self.lines) else 0


def check_all(path: Path, environment: Mapping[str, str], *, offline: bool) -> Findings:
    """Looks at everything.

    Raises:
        ConfigError: The file is wrong: nothing else can be looked at.
    """
    findings = Findings()
    settings = load_settings(path, environment, secrets=not offline)
    findings.add(f"file {path}", "ok", f"{len(settings.models)} devices, configuration {settings.config_hash}")
    for plan in settings.plans():
        for line in plan.lines:
            findings.add(f"bus {plan.bus}", "ok", line)
    if not offline:
        asyncio.run(_devices(settings, findings))
        _broker("broker", settings.broker, f"{settings.client_id}-check", findings)
        for name, broker in settings.sources.items():
            _broker(f"broker of {name}", broker, f"{settings.client_id}-{name}-check", findings)
    return findings


async def _devices(settings: Settings, findings: Findings) -> None:
    for bus in settings.model.buses:
        for device in bus.devices:
            try:
                found = await read_once(settings, device.id)
            except DeviceError as error:
                findings.add(f"device {device.id}", "unreachable", str(error))
                continue
            notes = [*found.findings, *(f"missing {text}" for text in found.missing)]
            detail = f"{found.model or 'model not told'}, {len(found.values)} values, {found.latency_ms:.0f} ms a read"
            findings.add(f"device {device.id}", "finding" if notes else "ok", "; ".join([detail, *notes]))


def _broker(what: str, broker: Broker, client_id: str, findings: Findings) -> None:
    """Connects once, with a client id of its own: a running gateway is not thrown out."""
    up = threading.Event()
    facts: list[Connected] = []

    def connected(found: Connected) -> None:
        facts.append(found)
        up.set()

    def ignored(_message: Message) -> None:
        """Nothing is subscribed."""

    try:
        session = Session(broker, client_id=client_id[:64], on_message=ignored, on_connected=connected)
    except ConfigError as error:
        findings.add(what, "finding", str(error))
        return
    session.start()
    if up.wait(BROKER_WAIT_S):
        version = "5" if facts[0].protocol == 5 else "3.1.1"
        findings.add(what, "ok", f"{facts[0].url}, MQTT {version}")
    else:
        findings.add(what, "unreachable", f"{', '.join(broker.urls)}: {session.last_reason}")
    session.stop()
