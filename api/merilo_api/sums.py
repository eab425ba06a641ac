"""Sums of energy over a period, without reading every quarter of an hour of it.

A whole local day in which every interval is metered or bridged says as much in its one stored row as in its 92 to 100:
the total, and that nothing is missing. Only the other days are read in full. The figure itself, its coverage and its
gates come from the domain's own function, so that both ways give the same envelope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from merilo.calendar import boundaries
from merilo.envelope import Envelope, energy_sum
from merilo.frame import Frame, Series
from merilo.instants import DAY_MS, MINUTE_MS, QUARTER_MS, floor_ms
from merilo.ledger import METERED
from merilo.ports import SeriesStore
from merilo.site import Site
from merilo_adapters.registry import DecisionRecord

BOOKED_AFTER_MS = MINUTE_MS
"""The books close a quarter of an hour about this long after its end."""
WHOLE = 1 - 1e-9
"""Coverage of a day in which nothing is missing or estimated; two roles of one day add up to it."""
DAYS_MIN = 4
"""A shorter period is read in full at once."""
_PARTS = ("energy_metered_wh", "energy_bridged_wh", "energy_estimated_wh")
_FINE = ["energy_wh", "energy_low_wh", *_PARTS, "state", "decision"]
_DAILY = ["energy_wh", *_PARTS, "coverage"]


def merged(frames: Sequence[Frame]) -> Frame:
    """Rows of one meter from frames that share no instant, in order."""
    given = [frame for frame in frames if len(frame)]
    if len(given) < 2:
        return given[0] if given else Frame.empty()
    at_ms = np.concatenate([frame.at_ms for frame in given])
    order = np.argsort(at_ms, kind="stable")
    names = sorted({name for frame in given for name in frame.numbers})
    numbers = {
        name: np.concatenate([frame.numbers.get(name, np.full(len(frame), np.nan)) for frame in given])[order]
        for name in names
    }
    texts = {}
    for name in sorted({name for frame in given for name in frame.texts}):
        flat = [text for frame in given for text in frame.texts.get(name, [None] * len(frame))]
        texts[name] = [flat[i] for i in order]
    return Frame(at_ms[order], numbers, texts)


def by_meter(found: Iterable[Series]) -> dict[str, list[Frame]]:
    """Frames of each meter, one per role it had."""
    grouped: dict[str, list[Frame]] = {}
    for one in found:
        grouped.setdefault(one.tags["meter"], []).append(one.frame)
    return grouped


def booked_ms(now_ms: int) -> int:
    """End of the rows that can exist by now."""
    return floor_ms(now_ms - BOOKED_AFTER_MS, QUARTER_MS)


@dataclass(slots=True)
class EnergyRows:
    """15-minute rows of the meters of one site, read where they are needed."""

    store: SeriesStore
    site: Site
    decisions: Sequence[DecisionRecord] = ()
    """Days that a decision touches are read in full, because each row says which decisions are behind it."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Only meters with these tag values."""

    def read(self, start_ms: int, end_ms: int, now_ms: int) -> dict[str, Frame]:
        """Rows by meter that give the same sums, coverage and gates as all rows of [start, end)."""
        tags = {"company": self.site.company, "site": self.site.id, **self.tags}
        end_ms = min(end_ms, booked_ms(now_ms) + QUARTER_MS)
        if end_ms <= start_ms:
            return {}
        edges = self._whole_days(start_ms, min(end_ms, booked_ms(now_ms)))
        if edges is None:
            return {meter: merged(frames) for meter, frames in by_meter(self._fine(tags, start_ms, end_ms)).items()}
        daily = by_meter(self.store.read(self.site.company, "energy_1d", tags, int(edges[0]), int(edges[-1]), _DAILY))
        rows = {meter: _Days(edges, frames) for meter, frames in daily.items()}
        fine = self._full(edges, rows.values())
        parts: dict[str, list[Frame]] = {meter: [days.compressed(~fine)] for meter, days in rows.items()}
        for low, high in _stretches(start_ms, end_ms, edges, fine):
            for meter, frames in by_meter(self._fine(tags, low, high)).items():
                parts.setdefault(meter, []).extend(frames)
        return {meter: merged(frames) for meter, frames in parts.items()}

    def _fine(self, tags: Mapping[str, str], start_ms: int, end_ms: int) -> list[Series]:
        return self.store.read(self.site.company, "energy_15m", tags, start_ms, end_ms, _FINE)

    def _whole_days(self, start_ms: int, end_ms: int) -> Any:
        """Edges of the local days that lie in [start, end) as a whole; None where that is not worth it."""
        if end_ms - start_ms < DAYS_MIN * DAY_MS:
            return None
        edges = boundaries("day", self.site.zone, start_ms, end_ms).edges_ms
        edges = edges[(edges >= start_ms) & (edges <= end_ms)]
        return edges if len(edges) > 1 and not bool(np.any(edges % QUARTER_MS)) else None

    def _full(self, edges: Any, rows: Iterable[_Days]) -> Any:
        """Which days must be read in full: some meter has a gap or an estimate there, or a decision."""
        fine = np.zeros(len(edges) - 1, bool)
        for days in rows:
            fine |= ~days.complete
        for one in self.decisions:
            if one.revoked_ms is None:
                low, high = np.searchsorted(edges, (one.from_ms - DAY_MS, one.to_ms + DAY_MS))
                fine[max(0, low - 1) : high] = True
        return fine


class _Days:
    """The stored days of one meter on given edges; a day without a row has a gap."""

    def __init__(self, edges: Any, frames: Sequence[Frame]) -> None:
        self._edges = edges
        n = len(edges) - 1
        self._sums = {name: np.zeros(n, np.int64) for name in _DAILY[:-1]}
        coverage = np.zeros(n)
        last = 0
        for frame in frames:
            at = np.searchsorted(edges[:-1], frame.at_ms).clip(max=n - 1)
            here = edges[at] == frame.at_ms  # a row cut in another zone is of no use
            at = at[here]
            last = max(last, int(at[-1]) if len(at) else 0)
            for name, total in self._sums.items():
                column = frame.numbers.get(name, np.full(len(frame), np.nan))[here]
                np.add.at(total, at, np.rint(np.nan_to_num(column) * 1000).astype(np.int64))
            np.add.at(coverage, at, np.nan_to_num(frame.numbers.get("coverage", np.zeros(len(frame)))[here]))
        self.complete = coverage >= WHOLE
        # The newest stored day may have been booked while it ran: its coverage then speaks of its beginning only.
        self.complete[last:] = False

    def compressed(self, keep: Any) -> Frame:
        """Every quarter of an hour of these days as metered, the day's energy in its first one."""
        keep = keep & self.complete
        starts = [
            np.arange(a, b, QUARTER_MS) for a, b in zip(self._edges[:-1][keep], self._edges[1:][keep], strict=True)
        ]
        if not starts:
            return Frame.empty()
        at_ms = np.concatenate(starts)
        first = np.cumsum([0, *(len(one) for one in starts[:-1])])
        numbers = {"state": np.full(len(at_ms), float(METERED))}
        for name, total in self._sums.items():
            column = np.zeros(len(at_ms))
            column[first] = total[keep] / 1000.0
            numbers[name] = column
        numbers["energy_low_wh"] = numbers["energy_wh"]
        return Frame(at_ms, numbers)


def _stretches(start_ms: int, end_ms: int, edges: Any, fine: Any) -> list[tuple[int, int]]:
    """What is to be read in full: both ends, and runs of days."""
    found = [(start_ms, int(edges[0]))]
    for i in np.flatnonzero(fine):
        low, high = int(edges[i]), int(edges[i + 1])
        if found[-1][1] == low:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    last = int(edges[-1])
    if found[-1][1] == last:
        found[-1] = (found[-1][0], end_ms)
    else:
        found.append((last, end_ms))
    return [(low, high) for low, high in found if low < high]


def summed(
    rows: Mapping[str, Frame], meters: Sequence[str], start_ms: int, end_ms: int, tz: str, now_ms: int
) -> Envelope:
    """The envelope of meters together over the whole quarters of an hour of a period."""
    last_ms = max((int(rows[m].at_ms[-1]) + QUARTER_MS for m in meters if m in rows and len(rows[m])), default=start_ms)
    due_ms = booked_ms(now_ms)
    until_ms = last_ms if last_ms >= due_ms - QUARTER_MS else due_ms
    return energy_sum(rows, start_ms, end_ms, tz, meters, until_ms=until_ms if until_ms < end_ms else None)


def sums(rows: EnergyRows, start_ms: int, end_ms: int, tz: str, now_ms: int) -> list[dict[str, Any]]:
    """One envelope per meter, over the whole quarters of an hour of the period."""
    start_ms, end_ms = -(-start_ms // QUARTER_MS) * QUARTER_MS, floor_ms(end_ms, QUARTER_MS)
    if end_ms <= start_ms:
        return []
    found = rows.read(start_ms, end_ms, now_ms)
    return [
        {"meter": meter, **msgspec.to_builtins(summed(found, [meter], start_ms, end_ms, tz, now_ms))}
        for meter in sorted(found)
    ]
