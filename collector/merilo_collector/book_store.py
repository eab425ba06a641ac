"""The series store as the books use it: one company, changed rows counted, a hash of every stored row noted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec
import numpy as np

from merilo.frame import Frame
from merilo.instants import DAY_MS, floor_ms
from merilo.ports import SeriesStore
from merilo.schema import MEASUREMENTS
from merilo_adapters.registry.bookkeeping import BookDay, Bookkeeping
from merilo_collector.checksum import MASK, frame_hashes
from merilo_collector.old_days import BOOKED, old_before_ms, scope_of

FAR_MS = 4_102_444_800_000
"""Start of the year 2100: where a range without end is cut, since stores count nanoseconds in 64 bits."""


def series_of(measurement: str, tags: Mapping[str, str]) -> str:
    """The name of a series in the books' notes."""
    return "/".join(tags[name] for name in MEASUREMENTS[measurement].tags)


def tags_of(measurement: str, series: str) -> dict[str, str]:
    """The tags of a series, from its name in the notes."""
    return dict(zip(MEASUREMENTS[measurement].tags, series.split("/"), strict=True))


def row_hashes(frame: Frame) -> list[int]:
    """64 bits of every row, its texts included."""
    found = frame_hashes(frame)
    if frame.texts:
        for index in range(len(frame)):
            text = {name: column[index] for name, column in sorted(frame.texts.items()) if column[index] is not None}
            if text:
                body = msgspec.json.encode(text, order="deterministic")
                found[index] = (found[index] + int.from_bytes(body[:8].ljust(8), "little") * len(body)) & MASK
    return found


class CompanyBookStore:
    """Satisfies the port BookStore for one company; ``now_ms`` is when the pass began."""

    def __init__(self, company: str, store: SeriesStore, notes: Bookkeeping | None, now_ms: int = 0) -> None:
        self._company = company
        self._store = store
        self._notes = notes
        self._old_ms, self._old_scope = old_before_ms(now_ms), scope_of(BOOKED, company, now_ms)

    def read(
        self, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int
    ) -> list[tuple[dict[str, str], Frame]]:
        """See the port."""
        found = self._store.read(self._company, measurement, tags, max(0, start_ms), min(end_ms, FAR_MS))
        return [(dict(one.tags), one.frame) for one in found]

    def tags(self, measurement: str, tags: Mapping[str, str]) -> list[dict[str, str]]:
        """See the port."""
        return self._store.tags(self._company, measurement, tags)

    def replace(self, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int, frame: Frame) -> int:
        """See the port."""
        start_ms, end_ms = max(0, start_ms), min(end_ms, FAR_MS)
        if start_ms >= end_ms:
            return 0
        found = self._store.replace(self._company, measurement, tags, start_ms, end_ms, frame)
        if self._notes is not None:
            self._note(measurement, series_of(measurement, tags), start_ms, end_ms, frame)
        return found.deleted + found.written

    def _note(self, measurement: str, series: str, start_ms: int, end_ms: int, frame: Frame) -> None:
        """Replaces the hashes of the range: whole days are set, the days at both ends are mended."""
        assert self._notes is not None
        fresh: dict[int, dict[int, int]] = defaultdict(dict)
        for at, value in zip(frame.at_ms, row_hashes(frame), strict=True):
            day_ms = floor_ms(int(at), DAY_MS)
            fresh[day_ms][int(at) - day_ms] = value
        days = set(fresh) | set(
            self._notes.days_of(self._company, measurement, series, floor_ms(start_ms, DAY_MS), end_ms)
        )
        ends = [d for d in (floor_ms(start_ms, DAY_MS), floor_ms(end_ms - 1, DAY_MS)) if d in days]
        old = self._notes.rows(self._company, [BookDay(measurement, series, day) for day in ends])
        changed: dict[BookDay, dict[int, int]] = {}
        for day_ms in days:
            day = BookDay(measurement, series, day_ms)
            kept = {o: h for o, h in old.get(day, {}).items() if not start_ms <= day_ms + o < end_ms}
            changed[day] = {**kept, **fresh.get(day_ms, {})}
        long_ago = {str(day.day_ms) for day in changed if day.day_ms < self._old_ms}
        self._notes.put(self._company, changed, [(self._old_scope, name) for name in sorted(long_ago)])


def stored_hashes(frame: Frame) -> dict[int, dict[int, int]]:
    """Hashes of rows as a store gave them, by UTC day and offset."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for at, value in zip(frame.at_ms.astype(np.int64), row_hashes(frame), strict=True):
        day_ms = floor_ms(int(at), DAY_MS)
        found[day_ms][int(at) - day_ms] = value
    return dict(found)
