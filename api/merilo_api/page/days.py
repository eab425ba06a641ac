"""The last days of the meters that the charts are about: energy by state, and the state of every quarter of an hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from merilo.frame import Column, Frame, Instants
from merilo.instants import HOUR_MS, QUARTER_MS, floor_ms, from_ms
from merilo.ledger import BRIDGED, ESTIMATED, METERED, MISSING

ABSENT = -1
"""A quarter of an hour that has not been yet, or that the clock skipped."""
NOT_YET = -2
"""One before the meter was there: nothing is missing, and nothing is judged."""
QUARTERS = 96
"""Of an ordinary local day."""

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """States of local days, by quarter of an hour on the wall clock."""

    starts_ms: list[int]
    codes: Codes
    """One row a day, QUARTERS columns; the worse of two where the clock showed one twice."""
    hours: NDArray[np.float64]
    """Per day: hours metered, bridged, estimated, missing; true hours, also where the clock changed."""
    since_ms: int | None = None
    """When the first of the meters came to be, where that was within these days."""


@dataclass(frozen=True, slots=True)
class DayView:
    """One local day of the meters together."""

    start_ms: int
    energy_wh: float | None
    """None where a meter that was there has none."""
    metered_wh: float
    bridged_wh: float
    estimated_wh: float
    missing_h: float
    coverage: float | None
    """Of the hours so far, None where there are none yet."""
    not_yet: bool = False
    """The whole day lies before a meter was there."""


_NOBODY, _NEVER = METERED + 1, METERED + 2
"""Better than every state while the worst is looked for: no meter was there yet; no such quarter of an hour."""


def there_since(frame: Frame, seen_ms: int, start_ms: int) -> int:
    """When a meter came to be, as far as rows from this start on tell.

    Rows are kept without a hole, so it came with its first one; until there is one, when it was seen. Of the quarter of
    an hour in which it came nobody knows how its register stood at the start: that one is not judged where it lacks.
    """
    if not len(frame):
        return floor_ms(seen_ms, QUARTER_MS)
    first_ms = int(frame.at_ms[0])
    came_within = first_ms > start_ms and not float(np.nan_to_num(_states(frame)[0])) > MISSING
    return first_ms + QUARTER_MS if came_within else first_ms


def _states(frame: Frame) -> Column:
    return frame.numbers.get("state", np.zeros(len(frame)))


def _worst(frames: Sequence[Frame], since_ms: Sequence[int], starts: Instants) -> Codes:
    """The worst state of those meters that were there in each quarter of an hour."""
    state = np.full(len(starts), _NOBODY, np.int64)
    for frame, since in zip(frames, since_ms, strict=True):
        mine = np.full(len(starts), MISSING, np.int64)
        at = np.searchsorted(starts, frame.at_ms)
        here = (at < len(starts)) & (starts[at.clip(max=max(0, len(starts) - 1))] == frame.at_ms) if len(starts) else []
        mine[at[here]] = np.nan_to_num(_states(frame)[here]).astype(np.int64)
        mine[starts < since] = _NOBODY
        state = np.minimum(state, mine)
    return state


def known_share(frames: Sequence[Frame], seen_ms: Sequence[int], start_ms: int, until_ms: int) -> float | None:
    """Share of [start, until) that is metered or bridged, of the time in which a meter was there; None without any.

    Args:
        frames: 15-minute rows of each meter, with their state.
        seen_ms: When each meter was first seen; counts where it has no row yet.
        start_ms: Grid instant.
        until_ms: End of the rows that can exist by now.
    """
    since = [there_since(frame, seen, start_ms) for frame, seen in zip(frames, seen_ms, strict=True)]
    state = _worst(frames, since, np.arange(start_ms, until_ms, QUARTER_MS))
    there = state[state <= METERED]
    return float(np.mean(there >= BRIDGED)) if len(there) else None


def strip(
    frames: Sequence[Frame], edges_ms: Instants, tz: ZoneInfo, until_ms: int, seen_ms: Sequence[int] | None = None
) -> Strip:
    """The states of days.

    Args:
        frames: 15-minute rows of each meter, with their state; of several the worst state counts.
        edges_ms: Edges of the local days.
        tz: The zone that cut them.
        until_ms: End of the rows that can exist by now.
        seen_ms: When each meter was first seen; counts where it has no row yet. None: before all of this.
    """
    n = len(edges_ms) - 1
    starts = np.arange(int(edges_ms[0]), min(int(edges_ms[-1]), until_ms), QUARTER_MS)
    seen = [0] * len(frames) if seen_ms is None else seen_ms
    since = [there_since(frame, ms, int(edges_ms[0])) for frame, ms in zip(frames, seen, strict=True)]
    state = _worst(frames, since, starts)
    since_ms = min(since, default=0)
    day = np.searchsorted(edges_ms, starts, "right") - 1
    columns = _wall(starts, tz)
    codes = np.full((n, QUARTERS), _NEVER, np.int64)
    np.minimum.at(codes, (day, columns), state)
    codes[codes == _NEVER] = ABSENT
    codes[codes == _NOBODY] = NOT_YET
    hours = np.zeros((n, 4))
    there = state <= METERED
    np.add.at(hours, (day[there], METERED - state[there]), QUARTER_MS / HOUR_MS)
    return Strip([int(at) for at in edges_ms[:-1]], codes, hours, since_ms if since_ms > edges_ms[0] else None)


def _wall(starts_ms: Instants, tz: ZoneInfo) -> Codes:
    """Which quarter of an hour the wall clock shows; the offset is looked up once an hour."""
    hours, which = np.unique(starts_ms // HOUR_MS, return_inverse=True)
    offsets = [from_ms(int(hour) * HOUR_MS).astimezone(tz).utcoffset() for hour in hours]
    shift = np.array([0 if o is None else round(o.total_seconds() * 1000) for o in offsets], np.int64)
    found: Codes = ((starts_ms + shift[which]) // QUARTER_MS) % QUARTERS if len(starts_ms) else np.empty(0, np.int64)
    return found


def day_views(daily: Sequence[Frame], states: Strip) -> list[DayView]:
    """The days of meters together, oldest first."""
    return [_day(daily, start_ms, states.hours[i], states.codes[i]) for i, start_ms in enumerate(states.starts_ms)]


def _day(daily: Sequence[Frame], start_ms: int, hours: NDArray[np.float64], codes: Codes) -> DayView:
    def values(name: str) -> list[float]:
        found = []
        for frame in daily:
            i = int(np.searchsorted(frame.at_ms, start_ms))
            if i < len(frame) and int(frame.at_ms[i]) == start_ms:
                value = float(frame.numbers.get(name, np.full(len(frame), np.nan))[i])
                found += [value] if value == value else []
        return found

    there = sum(not len(frame) or int(frame.at_ms[0]) <= start_ms for frame in daily)
    energy = values("energy_wh")
    passed = float(hours.sum())
    return DayView(
        start_ms,
        sum(energy) if energy and len(energy) == there else None,
        sum(values("energy_metered_wh")),
        sum(values("energy_bridged_wh")),
        sum(values("energy_estimated_wh")),
        float(hours[METERED - MISSING]),
        float(hours[METERED - METERED] + hours[METERED - BRIDGED]) / passed if passed else None,
        bool((codes == NOT_YET).any()) and not passed,
    )


STATES = {METERED: "metered", BRIDGED: "bridged", ESTIMATED: "estimated", MISSING: "missing"}
