"""Life signs of gateways and devices, written each minute: a dead gateway yields up = 0, not silence."""

from __future__ import annotations

from dataclasses import dataclass, field

from merilo import wire
from merilo.ids import GatewayKey
from merilo.instants import MINUTE_MS, SECOND_MS
from merilo.ports import Point

SILENT_AFTER_MS = 150 * SECOND_MS
"""A gateway speaks once a minute; two words missed and a half is silence."""

FRESH_MS = 60 * SECOND_MS
"""A reading this young outweighs a life sign that was sent before it."""


@dataclass(slots=True)
class Known:
    """What is known of one gateway."""

    state: str = ""
    heard_ms: int = 0
    health: wire.Health | None = None
    fresh: bool = False
    """Whether a health message came since the last row."""
    reading_ms: dict[str, int] = field(default_factory=dict)
    """Newest instant of each device."""


class HealthLane:
    """Keeps the last life signs and makes the rows of each minute."""

    def __init__(self) -> None:
        self._known: dict[GatewayKey, Known] = {}

    def of(self, gateway: GatewayKey) -> Known:
        """What is known of this gateway."""
        return self._known.setdefault(gateway, Known())

    def state(self, gateway: GatewayKey, message: wire.State, now_ms: int) -> None:
        """Takes a retained state or a last will."""
        known = self.of(gateway)
        known.state = message.state
        if message.state in ("init", "ready"):
            known.heard_ms = max(known.heard_ms, now_ms)

    def health(self, gateway: GatewayKey, message: wire.Health, now_ms: int) -> None:
        """Takes the minute's health message."""
        known = self.of(gateway)
        known.health, known.heard_ms, known.fresh = message, now_ms, True

    def read(self, gateway: GatewayKey, device: str, at_ms: int, now_ms: int) -> None:
        """Notes that a reading came."""
        known = self.of(gateway)
        known.heard_ms = now_ms
        known.reading_ms[device] = max(at_ms, known.reading_ms.get(device, 0))

    def up(self, gateway: GatewayKey, now_ms: int) -> bool:
        """Whether the gateway is heard."""
        known = self.of(gateway)
        return known.state not in ("lost", "disconnected") and now_ms - known.heard_ms <= SILENT_AFTER_MS

    def rows(self, gateways: list[GatewayKey], now_ms: int) -> tuple[list[Point], list[Point]]:
        """The points of gateway_health and device_health for the minute that ends now."""
        at_ms = now_ms // MINUTE_MS * MINUTE_MS
        found: list[Point] = []
        devices: list[Point] = []
        for gateway in gateways:
            known, up = self.of(gateway), self.up(gateway, now_ms)
            found.append(Point(tuple(gateway), at_ms, self._gateway_fields(known, up)))
            said = known.health.devices if known.health else {}
            for device in sorted(known.reading_ms.keys() | said.keys()):
                fields = _device_fields(said.get(device), known, device, up, now_ms)
                devices.append(Point((*gateway, device), at_ms, fields))
            known.fresh = False
        return found, devices

    def _gateway_fields(self, known: Known, up: bool) -> dict[str, float | str]:
        fields: dict[str, float | str] = {"up": float(up)}
        said = known.health
        if said is None or not known.fresh:
            return fields
        fields |= {"outbox_rows": float(said.outbox_rows), "outbox_age_s": float(said.outbox_age_s)}
        fields["mqtt_reconnects"] = float(said.mqtt_reconnects)
        if said.clock_offset_s is not None:
            fields |= {"clock_offset_s": said.clock_offset_s, "clock_offset_abs_s": abs(said.clock_offset_s)}
        if said.cpu_temperature_c is not None:
            fields["cpu_temperature_c"] = said.cpu_temperature_c
        if said.disk_free is not None:
            fields["disk_free"] = said.disk_free
        fields |= {name: text for name, text in (("version", said.version), ("config_hash", said.config_hash)) if text}
        return fields


def _device_fields(
    said: wire.DeviceHealth | None, known: Known, device: str, up: bool, now_ms: int
) -> dict[str, float | str]:
    newest = known.reading_ms.get(device)
    fields: dict[str, float | str] = {}
    if newest is not None:
        fields["age_s"] = max(0, now_ms - newest) / 1000
    if said is None:
        fields["up"] = float(up and newest is not None and now_ms - newest <= SILENT_AFTER_MS)
        return fields
    spoke = newest is not None and now_ms - newest <= FRESH_MS
    fields["up"] = float(up and (said.up or spoke))
    if known.fresh:
        fields |= {"polls": float(said.polls), "polls_failed": float(said.polls_failed)}
        if said.latency_s is not None:
            fields["latency_s"] = said.latency_s
    return fields
