"""What the page shows, as values: read from store and registry, formatted nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from merilo.calendar import boundaries
from merilo.frame import Column, Frame, Series
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS
from merilo.ports import SeriesStore
from merilo.schema import UNASSIGNED
from merilo.site import MeterVersion, Site

LIVE_MS = 5 * MINUTE_MS
"""A power older than this is not "now"."""
DAYS = 30
"""Local days of history on the page."""
LIVE_SPAN_MS = DAY_MS
"""The live chart's stretch."""


@dataclass(slots=True)
class MeterView:
    """One row of the meter table."""

    meter: str
    role: str
    confirmed: bool
    power_w: float | None = None
    power_at_ms: int | None = None
    today_wh: float | None = None
    month_wh: float | None = None
    coverage: float | None = None
    """Share of the month's intervals that are metered or bridged."""
    live: list[tuple[int, float]] = field(default_factory=list)


@dataclass(slots=True)
class DayView:
    """One local day of all main meters."""

    start_ms: int
    energy_wh: float | None
    metered_wh: float
    bridged_wh: float
    estimated_wh: float
    coverage: float | None


@dataclass(slots=True)
class PageView:
    """Everything on the page."""

    site: Site
    tz: ZoneInfo
    now_ms: int
    meters: list[MeterView] = field(default_factory=list)
    days: list[DayView] = field(default_factory=list)
    power_w: float | None = None
    today_wh: float | None = None
    provisional_wh: float = 0.0
    """Part of today that comes from the live lane, not yet booked."""
    month_wh: float | None = None
    month_start_ms: int = 0
    coverage: float | None = None
    has_main: bool = False
    booked_until_ms: int | None = None


def page_view(store: SeriesStore, site: Site, meters: Sequence[MeterVersion], now_ms: int) -> PageView:
    """Reads everything the page needs.

    Args:
        meters: The definitions that are valid now.
    """
    tz = ZoneInfo(site.zone)
    month = boundaries("month", site.zone, now_ms, now_ms + 1)
    today = boundaries("day", site.zone, now_ms, now_ms + 1)
    month_ms, today_ms = int(month.edges_ms[0]), int(today.edges_ms[0])
    first_day = boundaries("day", site.zone, now_ms - (DAYS - 1) * DAY_MS, now_ms + 1)
    view = PageView(site=site, tz=tz, now_ms=now_ms, month_start_ms=month_ms)
    tags = {"company": site.company, "site": site.id}
    start_ms = min(month_ms, int(first_day.edges_ms[0]))
    daily = _by_meter(store.read(site.company, "energy_1d", tags, start_ms, now_ms + DAY_MS))
    quarters = _by_meter(
        store.read(site.company, "energy_15m", tags, today_ms, now_ms + DAY_MS, ["energy_wh", "state"])
    )
    live = _by_meter(
        store.read(site.company, "power_1m", tags, now_ms - LIVE_SPAN_MS, now_ms + HOUR_MS, ["power_mean_w"])
    )
    for version in meters:
        row = MeterView(version.meter, version.role, version.confirmed)
        _power(row, live.get(version.meter, []), now_ms)
        booked_wh, until_ms = _today(quarters.get(version.meter, []), today_ms)
        fresh_wh = _live_energy(row.live, max(today_ms, until_ms))
        if booked_wh is not None or fresh_wh is not None:
            row.today_wh = (booked_wh or 0.0) + (fresh_wh or 0.0)
        row.month_wh, row.coverage = _month(daily.get(version.meter, []), month_ms, month.intervals(now_ms)[0])
        if row.month_wh is not None and fresh_wh:
            row.month_wh += fresh_wh
        view.meters.append(row)
        if version.role == "main":
            view.has_main = True
            view.provisional_wh += fresh_wh or 0.0
            if until_ms > today_ms:
                view.booked_until_ms = max(view.booked_until_ms or 0, until_ms)
    mains = [row for row in view.meters if row.role == "main"]
    view.power_w = _sum([row.power_w for row in mains])
    view.today_wh = _sum([row.today_wh for row in mains])
    view.month_wh = _sum([row.month_wh for row in mains])
    covered = [row.coverage for row in mains if row.coverage is not None]
    view.coverage = min(covered) if covered else None
    names = {row.meter for row in mains}
    view.days = _days([one for name in sorted(names) for one in daily.get(name, [])], first_day.edges_ms[:-1])
    order = {"main": 0, UNASSIGNED: 9}
    view.meters.sort(key=lambda row: (order.get(row.role, 5), row.role, row.meter))
    return view


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum, unless a part is missing: a total without one of its parts is no total."""
    if not values or any(value is None for value in values):
        return None
    return sum(value for value in values if value is not None)


def _by_meter(found: Sequence[Series]) -> dict[str, list[Frame]]:
    grouped: dict[str, list[Frame]] = {}
    for one in found:
        grouped.setdefault(one.tags["meter"], []).append(one.frame)
    return grouped


def _column(frame: Frame, name: str) -> Column:
    return frame.numbers.get(name, np.full(len(frame), np.nan))


def _power(row: MeterView, frames: Sequence[Frame], now_ms: int) -> None:
    points = sorted(
        (int(at), float(power))
        for frame in frames
        for at, power in zip(frame.at_ms, _column(frame, "power_mean_w"), strict=True)
        if power == power
    )
    row.live = points
    if points and now_ms - points[-1][0] <= LIVE_MS:
        row.power_at_ms, row.power_w = points[-1]


def _today(frames: Sequence[Frame], today_ms: int) -> tuple[float | None, int]:
    """Booked energy since midnight and up to when rows are booked."""
    total, until_ms = None, today_ms
    for frame in frames:
        energy = _column(frame, "energy_wh")
        here = ~np.isnan(energy)
        if bool(here.any()):
            total = (total or 0.0) + float(energy[here].sum())
        if len(frame):
            until_ms = max(until_ms, int(frame.at_ms[-1]) + QUARTER_MS)
    return total, until_ms


def _live_energy(points: Sequence[tuple[int, float]], from_ms: int) -> float | None:
    """Energy of the minutes that are not booked yet."""
    fresh = [power for at, power in points if at >= from_ms]
    return sum(fresh) / 60.0 if fresh else None


def _month(frames: Sequence[Frame], month_ms: int, expected: Any) -> tuple[float | None, float | None]:
    total, covered, weight = None, 0.0, 0.0
    for frame in frames:
        part = frame.between(month_ms, 2**62)
        energy, coverage = _column(part, "energy_wh"), _column(part, "coverage")
        here = ~np.isnan(energy)
        if bool(here.any()):
            total = (total or 0.0) + float(energy[here].sum())
        covered += float(np.nansum(coverage))
        weight += float(len(part))
    return total, (covered / weight if weight else None)


def _days(frames: Sequence[Frame], starts_ms: Any) -> list[DayView]:
    found = []
    for start in starts_ms:
        parts = [(frame, int(np.searchsorted(frame.at_ms, start))) for frame in frames]
        rows = [(f, i) for f, i in parts if i < len(f) and int(f.at_ms[i]) == int(start)]

        def total(name: str, rows: list[tuple[Frame, int]] = rows) -> float | None:
            values = [float(_column(f, name)[i]) for f, i in rows]
            here = [v for v in values if v == v]
            return sum(here) if here else None

        coverage = [float(_column(f, "coverage")[i]) for f, i in rows]
        found.append(
            DayView(
                int(start),
                total("energy_wh"),
                total("energy_metered_wh") or 0.0,
                total("energy_bridged_wh") or 0.0,
                total("energy_estimated_wh") or 0.0,
                min((c for c in coverage if c == c), default=0.0 if not rows else None),
            )
        )
    return found
