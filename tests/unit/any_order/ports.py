"""The ports of the books in memory: a store that unites fields, raw readings that expire, checkpoints, a registry.

Each is a small real part: what it holds survives a crash of the books, and every call is a place where they may crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from merilo.decisions import Decision
from merilo.frame import Column, Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.ledger import Anchor, LedgerEvent, RegisterFacts
from merilo.meters import Scheme
from merilo.schema import MEASUREMENTS
from merilo.site import BookedKind, Event, EventKind, MeterVersion, Site, place_of
from merilo_collector.recompute import Head

Tags = tuple[str, ...]
Row = dict[str, float | str]


class CrashError(Exception):
    """The process ended here."""


class Fuse:
    """Burns down with every call of a port; at zero the process ends."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.burnt = 0

    def light(self, calls: int | None) -> None:
        """Ends the process at that call from now on, None never."""
        self.left = calls

    def burn(self) -> None:
        """One more call."""
        self.burnt += 1
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.left = None
                raise CrashError


class Table:
    """Rows of one series in columns; a write unites fields, the last value wins."""

    def __init__(self) -> None:
        self.at_ms: NDArray[np.int64] = np.empty(0, np.int64)
        self.numbers: dict[str, Column] = {}
        self.texts: dict[str, NDArray[np.object_]] = {}

    def between(self, start_ms: int, end_ms: int) -> Frame:
        """The rows of [start, end)."""
        low, high = (int(i) for i in np.searchsorted(self.at_ms, (start_ms, end_ms)))
        return Frame(
            self.at_ms[low:high],
            {name: column[low:high] for name, column in self.numbers.items()},
            {name: column[low:high].tolist() for name, column in self.texts.items()},
        )

    def delete(self, start_ms: int, end_ms: int) -> None:
        """Removes the rows of [start, end)."""
        keep = (self.at_ms < start_ms) | (self.at_ms >= end_ms)
        self.at_ms = self.at_ms[keep]
        self.numbers = {name: column[keep] for name, column in self.numbers.items()}
        self.texts = {name: column[keep] for name, column in self.texts.items()}

    def write(self, frame: Frame) -> None:
        """Unites the rows with those that are there."""
        if not len(frame):
            return
        grid = np.union1d(self.at_ms, frame.at_ms)
        old, new = np.searchsorted(grid, self.at_ms), np.searchsorted(grid, frame.at_ms)
        for name in self.numbers.keys() | frame.numbers.keys():
            column = np.full(len(grid), np.nan)
            if name in self.numbers:
                column[old] = self.numbers[name]
            if name in frame.numbers:
                there = ~np.isnan(frame.numbers[name])
                column[new[there]] = frame.numbers[name][there]
            self.numbers[name] = column
        for name in self.texts.keys() | frame.texts.keys():
            words = np.full(len(grid), None, object)
            if name in self.texts:
                words[old] = self.texts[name]
            for position, text in zip(new.tolist(), frame.texts.get(name, ()), strict=False):
                if text is not None:
                    words[position] = text
            self.texts[name] = words
        self.at_ms = grid


class MemoryStore:
    """Satisfies the port BookStore the way InfluxDB does: a replace is one delete of a stretch, then writes."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self.series: dict[tuple[str, Tags], Table] = {}

    def read(
        self, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int
    ) -> list[tuple[dict[str, str], Frame]]:
        """See the port."""
        found = []
        for one in self.tags(measurement, tags):
            frame = self._table(measurement, one).between(start_ms, end_ms)
            if len(frame):
                found.append((one, frame))
        return found

    def tags(self, measurement: str, tags: Mapping[str, str]) -> list[dict[str, str]]:
        """See the port."""
        names = MEASUREMENTS[measurement].tags
        every = (dict(zip(names, values, strict=True)) for kind, values in sorted(self.series) if kind == measurement)
        return [one for one in every if all(one[name] == value for name, value in tags.items())]

    def replace(self, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int, frame: Frame) -> int:
        """See the port."""
        self._fuse.burn()
        table = self._table(measurement, tags)
        there = table.between(start_ms, end_ms)
        lost, changed = differences(there, frame)
        self.delete(table, lost)
        stretch = lost[:1].tolist() + lost[-1:].tolist()
        again = changed
        if stretch:
            again = changed | ((frame.at_ms >= stretch[0]) & (frame.at_ms <= stretch[1]))
        written = picked(frame, again)
        half = len(written) // 2
        if half:
            table.write(picked(written, np.arange(len(written)) < half))
            self._fuse.burn()
        table.write(picked(written, np.arange(len(written)) >= half))
        return len(lost) + int(changed.sum())

    def delete(self, table: Table, lost: NDArray[np.int64]) -> None:
        """One delete from the first to the last row that loses something."""
        if len(lost):
            table.delete(int(lost[0]), int(lost[-1]) + 1)
            self._fuse.burn()

    def _table(self, measurement: str, tags: Mapping[str, str]) -> Table:
        key = measurement, tuple(tags[name] for name in MEASUREMENTS[measurement].tags)
        return self.series.setdefault(key, Table())


def picked(frame: Frame, keep: NDArray[np.bool_]) -> Frame:
    """The rows that a mask keeps."""
    chosen = np.flatnonzero(keep).tolist()
    return Frame(
        frame.at_ms[keep],
        {name: column[keep] for name, column in frame.numbers.items()},
        {name: [column[i] for i in chosen] for name, column in frame.texts.items()},
    )


def differences(old: Frame, new: Frame) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Instants of old rows that lose a field or are gone, and which new rows differ from the old ones."""
    grid = np.union1d(old.at_ms, new.at_ms)
    was, now = np.searchsorted(grid, old.at_ms), np.searchsorted(grid, new.at_ms)
    lost, changed = np.zeros(len(grid), np.bool_), np.zeros(len(grid), np.bool_)
    there, here = np.zeros(len(grid), np.bool_), np.zeros(len(grid), np.bool_)
    there[was], here[now] = True, True
    lost |= there & ~here
    changed |= here & ~there
    for name in old.numbers.keys() | new.numbers.keys():
        before, after = np.full(len(grid), np.nan), np.full(len(grid), np.nan)
        if name in old.numbers:
            before[was] = old.numbers[name]
        if name in new.numbers:
            after[now] = new.numbers[name]
        lost |= ~np.isnan(before) & np.isnan(after)
        changed |= ~np.isnan(after) & (before != after)
    for name in old.texts.keys() | new.texts.keys():
        left, right = np.full(len(grid), None, object), np.full(len(grid), None, object)
        if name in old.texts:
            left[was] = old.texts[name]
        if name in new.texts:
            right[now] = new.texts[name]
        gone = [a is not None and b is None for a, b in zip(left, right, strict=True)]
        another = [b is not None and a != b for a, b in zip(left, right, strict=True)]
        lost |= np.array(gone, np.bool_)
        changed |= np.array(another, np.bool_)
    return grid[lost], changed[now]


class MemoryRaw:
    """Satisfies the port RawReader; readings can expire."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self._tables: dict[DeviceKey, Table] = {}

    def frame(self, key: DeviceKey, start_ms: int, end_ms: int) -> Frame:
        """See the port."""
        self._fuse.burn()
        table = self._tables.get(key)
        return table.between(start_ms, end_ms) if table else Frame.empty()

    def write(self, key: DeviceKey, readings: Mapping[int, Mapping[str, float]]) -> None:
        """Stores readings by instant; those that are there are united."""
        at_ms = np.array(sorted(readings), np.int64)
        names = {name for reading in readings.values() for name in reading}
        numbers = {name: np.array([readings[at].get(name, np.nan) for at in at_ms.tolist()]) for name in names}
        self._tables.setdefault(key, Table()).write(Frame(at_ms, numbers))

    def expire(self, key: DeviceKey, before_ms: int) -> None:
        """Forgets the readings before an instant."""
        if key in self._tables:
            self._tables[key].delete(-1, before_ms)


class MemoryCheckpoints:
    """Satisfies the port Checkpoints."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self.heads: dict[RegisterKey, Head] = {}
        self.by_day: dict[RegisterKey, dict[int, Anchor]] = {}

    def head(self, key: RegisterKey) -> Head | None:
        """See the port."""
        return self.heads.get(key)

    def newest_before(self, key: RegisterKey, v_below_ms: int, t_below_ms: int) -> Anchor | None:
        """See the port."""
        certain = [a for a in self.by_day.get(key, {}).values() if a.v_ms < v_below_ms and a.t_ms < t_below_ms]
        return max(certain, key=lambda anchor: anchor.t_ms, default=None)

    def days(self, key: RegisterKey, after_ms: int, to_ms: int) -> dict[int, Anchor]:
        """See the port."""
        return {t: anchor for t, anchor in self.by_day.get(key, {}).items() if after_ms < t <= to_ms}

    def put(self, key: RegisterKey, after_ms: int, to_ms: int, days: Sequence[Anchor], head: Head | None) -> None:
        """See the port."""
        self._fuse.burn()
        kept = {t: anchor for t, anchor in self.by_day.get(key, {}).items() if not after_ms < t <= to_ms}
        self.by_day[key] = kept | {anchor.t_ms: anchor for anchor in days}
        if head is not None:
            self.heads[key] = head

    def drop(self, key: RegisterKey) -> None:
        """See the port."""
        self._fuse.burn()
        self.by_day.pop(key, None)
        self.heads.pop(key, None)


class MemoryFacts:
    """Satisfies the port SiteFacts."""

    def __init__(self, fuse: Fuse, site: Site, intervals: Mapping[DeviceKey, float]) -> None:
        self._fuse = fuse
        self.site = site
        self.devices = intervals
        self.versions: list[MeterVersion] = []
        self.scheme = Scheme([])
        self.known: dict[RegisterKey, list[RegisterFacts]] = {}
        self.identities: dict[DeviceKey, tuple[int, ...]] = {}
        self.decided: list[Decision] = []
        self.noted: dict[RegisterKey, dict[int, LedgerEvent]] = {}
        self.warned: dict[RegisterKey, dict[int, LedgerEvent]] = {}
        self._numbers: dict[tuple[RegisterKey, str, int], int] = {}

    def define(self, versions: Iterable[MeterVersion]) -> None:
        """Says what the meters of the site are."""
        self.versions = list(versions)
        self.scheme = Scheme(self.versions)

    def facts(self, key: RegisterKey) -> Sequence[RegisterFacts]:
        """See the port."""
        return self.known[key]

    def identity(self, key: DeviceKey) -> tuple[int, ...]:
        """See the port."""
        return self.identities.get(key, ())

    def decisions(self) -> Sequence[Decision]:
        """See the port."""
        return tuple(self.decided)

    def replace_events(
        self,
        key: RegisterKey,
        after_ms: int,
        to_ms: int,
        events: Sequence[LedgerEvent],
        kind: BookedKind = "ledger",
    ) -> list[int]:
        """See the port."""
        self._fuse.burn()
        mine = (self.noted if kind == "ledger" else self.warned).setdefault(key, {})
        for at in [at for at in mine if after_ms < at <= to_ms]:
            del mine[at]
        for event in events:
            assert after_ms < event.at_ms <= to_ms, "an event outside of its stretch"
            assert event.at_ms not in mine, "two events of one instant"
            mine[event.at_ms] = event
        return [self._numbers.setdefault((key, kind, e.at_ms), len(self._numbers) + 1) for e in events]

    def events(self, key: RegisterKey, after_ms: int, to_ms: int) -> list[LedgerEvent]:
        """See the port."""
        return [event for at, event in sorted(self.noted.get(key, {}).items()) if after_ms < at <= to_ms]


class MemoryHappened:
    """Satisfies what quality asks of registry and work tables; deliveries depend on their order and count nothing."""

    def __init__(self, facts: MemoryFacts) -> None:
        self._facts = facts

    def events(
        self,
        company: str,
        from_ms: int,
        to_ms: int,
        *,
        kinds: Sequence[EventKind] | None = None,
        limit: int = 1_000,
        **place: str,
    ) -> list[Event]:
        """See the port."""
        return [
            Event(number=1, place=place_of(key), kind="ledger", code=event.kind, at_ms=event.at_ms)
            for booked in (self._facts.noted, self._facts.warned)
            for key, noted in booked.items()
            if all(getattr(key, name) == value for name, value in place.items())
            for event in noted.values()
            if from_ms <= event.at_ms < to_ms
        ]

    def counters(self, scope_prefix: str = "") -> dict[tuple[str, str], int]:
        """See the port."""
        return {}
