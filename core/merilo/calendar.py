"""Local hours, days, months and years, cut into UTC: the only place where energy meets a time zone.

A local day begins with the first instant that bears its date. Clock changes give days of 92 or 100 quarters of an
hour and, in autumn, two hours with one label; they stay two because they are told apart by UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from merilo.errors import ConfigError
from merilo.frame import Instants
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS, from_ms, to_ms

Unit = Literal["hour", "day", "month", "year"]

PERIODS_MAX = 500_000
"""Most periods of one call: 57 years of hours; a wrong unit of an instant ends here and not in the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Boundaries:
    """Neighbouring local periods of one unit in one zone.

    Raises:
        ValueError: Fewer than two edges, or edges that do not strictly increase.
    """

    unit: Unit
    zone: str
    edges_ms: Instants
    """Period i is [edges_ms[i], edges_ms[i + 1]) in UTC ms."""

    def __post_init__(self) -> None:
        if len(self.edges_ms) < 2 or not bool(np.all(np.diff(self.edges_ms) > 0)):
            raise ValueError(f"{self.unit} edges in {self.zone}: expected two or more that strictly increase")

    def __len__(self) -> int:
        return len(self.edges_ms) - 1

    def intervals(self, until_ms: int | None = None) -> Instants:
        """How many 15-minute intervals begin in each period, and before ``until_ms`` where one is given."""
        edges = self.edges_ms if until_ms is None else np.minimum(self.edges_ms, until_ms)
        found: Instants = np.diff(-(-edges // QUARTER_MS))
        return found


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name such as ``Europe/Sofia``.

    Raises:
        ConfigError: No such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"time zone {name[:60]!r}", "expected an IANA name", "For example Europe/Sofia or Europe/Oslo"
        ) from error


def local_date(at_ms: int, zone: ZoneInfo) -> date:
    """The local date that this instant lies in."""
    return from_ms(at_ms).astimezone(zone).date()


def day_start_ms(day: date, zone: ZoneInfo) -> int:
    """The first instant of a local date [UTC ms].

    Where midnight is skipped this is the instant of the change, where midnight comes twice it is the first one.
    """
    return to_ms(datetime(day.year, day.month, day.day, tzinfo=zone))


def boundaries(unit: Unit, zone: str, start_ms: int, end_ms: int) -> Boundaries:
    """The local periods that overlap [start, end), whole: the first may begin earlier and the last end later.

    Raises:
        ConfigError: No such zone.
        ValueError: An empty range, or more than PERIODS_MAX periods.
    """
    if end_ms <= start_ms:
        raise ValueError(f"range [{start_ms}, {end_ms}) is empty, expected end after start")
    if (end_ms - start_ms) // _SHORTEST_MS[unit] > PERIODS_MAX:
        raise ValueError(f"range [{start_ms}, {end_ms}) holds more than {PERIODS_MAX} periods of one {unit}")
    info = zone_of(zone)
    edges = np.unique(np.fromiter(_edges(unit, info, start_ms, end_ms), np.int64))
    low = int(np.searchsorted(edges, start_ms, "right")) - 1
    high = int(np.searchsorted(edges, end_ms, "left"))
    return Boundaries(unit, zone, edges[low : high + 1])


_SHORTEST_MS: dict[Unit, int] = {"hour": HOUR_MS, "day": DAY_MS, "month": 28 * DAY_MS, "year": 365 * DAY_MS}


def _edges(unit: Unit, zone: ZoneInfo, start_ms: int, end_ms: int) -> Iterator[int]:
    """Edges from one at or before the start to one at or after the end; a skipped date yields its instant twice."""
    first, last = local_date(start_ms, zone), local_date(end_ms, zone)
    if unit in ("hour", "day"):
        days = [day_start_ms(first + timedelta(days=i), zone) for i in range(-1, (last - first).days + 2)]
        if unit == "day":
            yield from days
        else:
            for begin, end in pairwise(days):
                yield from _hours(begin, end, zone)
            yield days[-1]
    elif unit == "month":
        for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month + 1):
            yield day_start_ms(date(number // 12, number % 12 + 1, 1), zone)
    else:
        for year in range(first.year, last.year + 2):
            yield day_start_ms(date(year, 1, 1), zone)


def _hours(begin_ms: int, end_ms: int, zone: ZoneInfo) -> Iterator[int]:
    """Starts of the local hours of one day: every whole hour on the wall, and a change of the clock between two."""
    offset = _offset(begin_ms, zone)
    change = _offset(end_ms, zone) - offset
    if change % HOUR_MS == 0 and (begin_ms + offset) % HOUR_MS == 0 and (end_ms - begin_ms) % HOUR_MS == 0:
        yield from range(begin_ms, end_ms, HOUR_MS)
        return
    yield begin_ms
    for at in range(begin_ms + QUARTER_MS, end_ms, QUARTER_MS):
        before, offset = offset, _offset(at, zone)
        if (at + offset) % HOUR_MS == 0 or offset != before:
            yield at


def _offset(at_ms: int, zone: ZoneInfo) -> int:
    """Local minus UTC at this instant [ms]."""
    offset = from_ms(at_ms).astimezone(zone).utcoffset() or timedelta(0)
    return offset // timedelta(milliseconds=1)
