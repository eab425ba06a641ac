"""The live lane: mean and largest power of each minute per meter, unbooked, for "power now" on page and boards.

Means come from every sample of the minute, so that a meter that speaks every second and one that speaks once a minute
give comparable rows. Expressions are formed from the means of their parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from merilo.ids import DeviceKey
from merilo.instants import HOUR_MS, MINUTE_MS
from merilo.ports import Point
from merilo.reading import Reading

KEEP_MS = 3 * HOUR_MS
"""Late samples within this time correct their minute; older ones are the books' business alone."""

POWERS = ("active_power_w", "active_power_l1_w", "active_power_l2_w", "active_power_l3_w")


@dataclass(slots=True)
class Minute:
    """Samples of one power of one device in one minute."""

    total: float = 0.0
    count: int = 0
    largest: float = float("-inf")

    def add(self, power_w: float) -> None:
        """One more sample."""
        self.total += power_w
        self.count += 1
        if power_w > self.largest:
            self.largest = power_w


@dataclass(frozen=True, slots=True)
class LiveMeter:
    """How the live power of one meter is made: terms of (coefficient, device, power quantity)."""

    meter: str
    role: str
    site: str
    terms: tuple[tuple[float, DeviceKey, str], ...]


class LiveLane:
    """Collects samples by device and minute, and gives the rows of finished minutes."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[DeviceKey, int], dict[str, Minute]] = {}
        self._changed: dict[int, set[DeviceKey]] = {}

    def add(self, devices: Iterable[tuple[DeviceKey, Reading]], now_ms: int) -> None:
        """Takes the powers of these readings."""
        oldest = now_ms - KEEP_MS
        for key, reading in devices:
            at_ms, values = reading.at_ms, reading.values
            if at_ms < oldest:
                continue
            minute_ms = at_ms // MINUTE_MS * MINUTE_MS
            powers = self._minutes.get((key, minute_ms))
            for name in POWERS:
                power_w = values.get(name)
                if power_w is None:
                    continue
                if powers is None:
                    powers = self._minutes[key, minute_ms] = {}
                if name not in powers:
                    powers[name] = Minute()
                powers[name].add(power_w)
            if powers is not None:
                self._changed.setdefault(minute_ms, set()).add(key)

    def rows(self, company: str, meters: Sequence[LiveMeter], now_ms: int) -> list[Point]:
        """The points of this company's finished minutes that are new or changed since the last call."""
        found: list[Point] = []
        by_device: dict[DeviceKey, list[LiveMeter]] = {}
        for meter in meters:
            for _, device, _ in meter.terms:
                by_device.setdefault(device, []).append(meter)
        for minute_ms, devices in self._changed.items():
            if minute_ms + MINUTE_MS > now_ms:
                continue
            mine = {device for device in devices if device.company == company}
            for meter in {id(m): m for d in mine for m in by_device.get(d, [])}.values():
                fields = self._form(meter, minute_ms)
                if fields:
                    found.append(Point((company, meter.site, meter.meter, meter.role), minute_ms, fields))
            devices -= mine
        self._forget(now_ms)
        return found

    def _form(self, meter: LiveMeter, minute_ms: int) -> Mapping[str, float]:
        total, largest = 0.0, 0.0
        for factor, device, name in meter.terms:
            minute = self._minutes.get((device, minute_ms), {}).get(name)
            if minute is None:
                return {}
            total += factor * minute.total / minute.count
            largest = factor * minute.largest
        if len(meter.terms) == 1 and meter.terms[0][0] > 0:
            return {"power_mean_w": total, "power_max_w": largest}
        return {"power_mean_w": total}

    def _forget(self, now_ms: int) -> None:
        oldest = now_ms - KEEP_MS
        for key in [key for key in self._minutes if key[1] < oldest]:
            del self._minutes[key]
        for minute_ms in [m for m, devices in self._changed.items() if m < oldest or not devices]:
            if self._changed[minute_ms] and minute_ms >= oldest:
                continue
            del self._changed[minute_ms]
