"""What the page shows, as values: read from store and registry, formatted nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from merilo.calendar import boundaries
from merilo.envelope import Envelope
from merilo.frame import Column, Frame, Instants
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, floor_ms
from merilo.ports import SeriesStore
from merilo.schema import UNASSIGNED
from merilo.site import Device, MeterVersion, Site
from merilo_adapters.registry import DecisionRecord
from merilo_api.page.days import DayView, Strip, day_views, known_share, strip, there_since
from merilo_api.sums import EnergyRows, booked_ms, by_meter, merged, summed

LIVE_MS = 5 * MINUTE_MS
"""A power older than this is not "now"."""
DAYS = 30
"""Local days of history on the page."""
LIVE_SPAN_MS = DAY_MS
"""The live chart's stretch."""


@dataclass(slots=True)
class Booked:
    """Energy of a running period: booked, and provisional since."""

    start_ms: int
    envelope: Envelope | None = None
    provisional_wh: float = 0.0
    """From live power since the last booked quarter of an hour."""
    known: float | None = None
    """Share of the quarters of an hour so far that are metered or bridged, of those in which a meter was there."""
    since_ms: int | None = None
    """When the first meter came to be, where that was within the period."""

    @property
    def booked_wh(self) -> float | None:
        """What is booked, None where nothing is."""
        return self.envelope.value if self.envelope is not None else None

    @property
    def value_wh(self) -> float | None:
        """Booked and provisional together, None where there is neither."""
        if self.booked_wh is None:
            return self.provisional_wh or None
        return self.booked_wh + self.provisional_wh

    @property
    def coverage(self) -> float | None:
        """Share of the intervals so far that are metered or bridged, None where none has passed."""
        found = self.envelope
        return None if found is None or found.reason == "not_begun" else found.coverage


@dataclass(slots=True)
class MeterView:
    """One row of the meter table."""

    meter: str
    role: str
    confirmed: bool
    today: Booked
    month: Booked
    depth: int = 0
    """Below how many other meters of the table it stands."""
    power_w: float | None = None
    power_at_ms: int | None = None
    booked_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """Power of one meter in the last day: means of minutes, unbooked, and of quarters of an hour, booked."""

    meter: str
    start_ms: int
    power_w: Column
    """Of each minute since the start; NaN where there is none."""
    quarters_ms: Instants
    """Starts of the quarters of an hour that are booked."""
    quarters_w: Column
    """Their mean power; NaN where the energy is missing."""


@dataclass(slots=True)
class PageView:
    """Everything on the page."""

    site: Site
    tz: ZoneInfo
    now_ms: int
    today_ms: int
    month_ms: int
    meters: list[MeterView] = field(default_factory=list)
    total: MeterView | None = None
    """All main meters together."""
    shown: list[str] = field(default_factory=list)
    """The meters that the charts are about."""
    live: list[Live] = field(default_factory=list)
    days: list[DayView] = field(default_factory=list)
    strip: Strip | None = None

    @property
    def has_main(self) -> bool:
        """Whether some meter measures the whole site."""
        return self.total is not None


@dataclass(slots=True)
class Reader:
    """Reads what the page shows of one site at one instant."""

    store: SeriesStore
    site: Site
    now_ms: int
    decisions: Sequence[DecisionRecord] = ()
    devices: Sequence[Device] = ()

    _seen_ms: dict[str, int] = field(default_factory=dict, init=False)
    """When each meter's device was first seen; 0 where it has none of its own."""

    def page(self, meters: Sequence[MeterVersion], chosen: str | None = None) -> PageView:
        """Everything on the page.

        Args:
            meters: The definitions that are valid now.
            chosen: The meter the charts are to be about; None: the main meters.
        """
        view = self.numbers(meters)
        mains = [row.meter for row in view.meters if row.role == "main"]
        known = [row.meter for row in view.meters]
        view.shown = [chosen] if chosen in known and chosen is not None else mains or known[:1]
        days = boundaries("day", self.site.zone, self.now_ms - (DAYS - 1) * DAY_MS, self.now_ms + 1).edges_ms
        daily = {meter: self._rows("energy_1d", meter, days) for meter in view.shown}
        quarters = {meter: self._rows("energy_15m", meter, days, ["state", "power_mean_w"]) for meter in view.shown}
        view.live = [self._live(meter, quarters[meter]) for meter in view.shown]
        if view.shown:
            frames, seen = list(quarters.values()), [self._seen_ms.get(meter, 0) for meter in quarters]
            view.strip = strip(frames, days, view.tz, self._until(frames, seen), seen)
            view.days = day_views(list(daily.values()), view.strip)
        return view

    def numbers(self, meters: Sequence[MeterVersion]) -> PageView:
        """Power now, today and this month of every meter, without the charts."""
        month = boundaries("month", self.site.zone, self.now_ms, self.now_ms + 1).edges_ms
        today = boundaries("day", self.site.zone, self.now_ms, self.now_ms + 1).edges_ms
        month_ms, today_ms = int(month[0]), int(today[0])
        view = PageView(self.site, ZoneInfo(self.site.zone), self.now_ms, today_ms, month_ms)
        first_ms = {device.key: device.first_seen_ms for device in self.devices}
        self._seen_ms = {version.meter: first_ms.get(version.device, 0) for version in meters if version.device}
        source = EnergyRows(self.store, self.site, self.decisions)
        rows = source.read(month_ms, int(today[1]), self.now_ms)
        until = {meter: int(frame.at_ms[-1]) + QUARTER_MS for meter, frame in rows.items() if len(frame)}
        minutes = self._minutes(list(until.values()))
        spans = ((today_ms, int(today[1])), (month_ms, int(month[1])))
        for version, depth in nested(meters, self.devices):
            sums = [self._booked(rows, [version.meter], *span) for span in spans]
            row = MeterView(version.meter, version.role, version.confirmed, sums[0], sums[1], depth)
            row.booked_until_ms = until.get(version.meter)
            _add_live(row, minutes.get(version.meter, []), self.now_ms)
            view.meters.append(row)
        mains = [row for row in view.meters if row.role == "main"]
        if mains:
            view.total = _total(mains, [self._booked(rows, [row.meter for row in mains], *span) for span in spans])
        return view

    def _booked(self, rows: Mapping[str, Frame], meters: list[str], start_ms: int, end_ms: int) -> Booked:
        start_ms, end_ms = -(-start_ms // QUARTER_MS) * QUARTER_MS, end_ms // QUARTER_MS * QUARTER_MS
        envelope = summed(rows, meters, start_ms, end_ms, self.site.zone, self.now_ms)
        frames = [rows.get(meter, Frame.empty()).between(start_ms, end_ms) for meter in meters]
        seen = [self._seen_ms.get(meter, 0) for meter in meters]
        since_ms = min(there_since(frame, ms, start_ms) for frame, ms in zip(frames, seen, strict=True))
        known = known_share(frames, seen, start_ms, min(end_ms, self._until(frames, seen)))
        return Booked(start_ms, envelope, known=known, since_ms=since_ms if since_ms > start_ms else None)

    def _tags(self, **more: str) -> dict[str, str]:
        return {"company": self.site.company, "site": self.site.id, **more}

    def _rows(self, measurement: str, meter: str, days: Any, fields: list[str] | None = None) -> Frame:
        start_ms, end_ms = int(days[0]), int(days[-1])
        found = self.store.read(self.site.company, measurement, self._tags(meter=meter), start_ms, end_ms, fields)
        return merged([one.frame for one in found])

    def _until(self, frames: Sequence[Frame], seen_ms: Sequence[int]) -> int:
        """End of the rows that can exist by now; the newest may be late by one while the books are at work."""
        due_ms = booked_ms(self.now_ms)
        ends = [int(frame.at_ms[-1]) + QUARTER_MS for frame in frames if len(frame)]
        last_ms = max(ends, default=max((floor_ms(at_ms, QUARTER_MS) for at_ms in seen_ms), default=0))
        return last_ms if due_ms - QUARTER_MS <= last_ms <= due_ms else due_ms

    def _minutes(self, until_ms: Sequence[int]) -> dict[str, list[Frame]]:
        """Live minutes of all meters since the first of them was booked last."""
        oldest_ms = self.now_ms - LIVE_SPAN_MS
        start_ms = max(oldest_ms, min([*until_ms, self.now_ms - LIVE_MS - MINUTE_MS]))
        span = (start_ms, self.now_ms + HOUR_MS)
        return by_meter(self.store.read(self.site.company, "power_1m", self._tags(), *span, ["power_mean_w"]))

    def _live(self, meter: str, booked: Frame) -> Live:
        start_ms = (self.now_ms - LIVE_SPAN_MS) // MINUTE_MS * MINUTE_MS
        span = (start_ms, self.now_ms + 1)
        tags = self._tags(meter=meter)
        found = merged(
            [one.frame for one in self.store.read(self.site.company, "power_1m", tags, *span, ["power_mean_w"])]
        )
        power = np.full(LIVE_SPAN_MS // MINUTE_MS, np.nan)
        at = (found.at_ms - start_ms) // MINUTE_MS
        here = at < len(power)
        power[at[here]] = _column(found, "power_mean_w")[here]
        recent = booked.between(start_ms // QUARTER_MS * QUARTER_MS, self.now_ms)
        return Live(meter, start_ms, power, recent.at_ms, _column(recent, "power_mean_w"))


def nested(meters: Sequence[MeterVersion], devices: Sequence[Device]) -> list[tuple[MeterVersion, int]]:
    """Main meters first, each meter above its parts, with its depth; an outlet stands below its strip."""
    known = {version.meter: version for version in meters}
    strips = {device.key: device.channel_of for device in devices if device.channel_of}
    of_device = {version.device: name for name, version in known.items() if version.device and not version.phase}

    def above(version: MeterVersion) -> str | None:
        if version.parent in known:
            return version.parent
        device = version.device
        if device is not None and device in strips:
            return of_device.get(device._replace(device=strips[device]))
        return None

    below: dict[str | None, list[MeterVersion]] = {}
    for version in meters:
        below.setdefault(above(version), []).append(version)
    order = {"main": 0, UNASSIGNED: 9}
    found: list[tuple[MeterVersion, int]] = []

    def walk(parent: str | None, depth: int) -> None:
        parts = below.get(parent, [])
        for version in sorted(parts, key=lambda v: (order.get(v.role, 5), v.role, v.meter)):
            found.append((version, depth))
            if depth < len(known):
                walk(version.meter, depth + 1)

    walk(None, 0)
    return found


def _column(frame: Frame, name: str) -> Column:
    return frame.numbers.get(name, np.full(len(frame), np.nan))


def _add_live(row: MeterView, frames: Sequence[Frame], now_ms: int) -> None:
    """Power now, and the energy of the minutes that are not booked yet."""
    minutes = merged(frames)
    power = _column(minutes, "power_mean_w")
    here = np.flatnonzero(~np.isnan(power) & (minutes.at_ms <= now_ms))
    if not len(here):
        return
    at_ms, power = minutes.at_ms[here], power[here]
    if now_ms - int(at_ms[-1]) <= LIVE_MS:
        row.power_at_ms, row.power_w = int(at_ms[-1]), float(power[-1])
    for period in (row.today, row.month):
        fresh = at_ms >= max(period.start_ms, row.booked_until_ms or 0)
        period.provisional_wh = float(np.maximum(power[fresh], 0.0).sum()) / 60.0


def _total(mains: Sequence[MeterView], sums: list[Booked]) -> MeterView:
    """The main meters together; a total without one of its parts is no total."""
    today, month = sums
    today.provisional_wh = sum(row.today.provisional_wh for row in mains)
    month.provisional_wh = sum(row.month.provisional_wh for row in mains)
    powers = [row.power_w for row in mains if row.power_w is not None]
    stamps = [row.power_at_ms for row in mains if row.power_at_ms is not None]
    whole = len(powers) == len(mains)
    return MeterView(
        meter=" + ".join(row.meter for row in mains),
        role="main",
        confirmed=all(row.confirmed for row in mains),
        today=today,
        month=month,
        power_w=sum(powers) if whole else None,
        power_at_ms=min(stamps) if whole else None,
        booked_until_ms=min((row.booked_until_ms for row in mains if row.booked_until_ms), default=None),
    )
