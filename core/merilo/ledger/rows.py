"""Base rows: what the register alone says of each quarter of an hour, and the sheet they are written on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from merilo.instants import QUARTER_MS

METERED, BRIDGED, ESTIMATED, MISSING = 3, 2, 1, 0

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class BaseRows:
    """Rows in columns, one entry per quarter of an hour, without holes."""

    start_ms: Ints
    state: Ints
    known_mwh: Ints
    known_ms: Ints
    known_state: Ints
    """Worst state of the known parts, 3 if there are none."""
    estimated_mwh: Ints
    estimated_ms: Ints
    held_mwh: Ints
    """Energy of a suspended register, as register times 10^`held_k`; in no total."""
    held_ms: Ints
    held_k: Ints
    register_mwh: Ints
    """The register at the start of the row, in units as read."""
    before_ms: Ints
    """From the start back to the last poll of the register, 0 on a poll."""
    after_ms: Ints
    """From the start on to the next poll of the register, 0 on a poll."""
    has_register: Bools
    """False = the three fields before are absent."""

    def __len__(self) -> int:
        return len(self.start_ms)

    def slice(self, start_ms: int, end_ms: int) -> BaseRows:
        """The rows that start in [start, end)."""
        low, high = (int(i) for i in np.searchsorted(self.start_ms, (start_ms, end_ms)))
        return BaseRows(*(getattr(self, one.name)[low:high] for one in fields(self)))

    @classmethod
    def concat(cls, parts: Iterable[BaseRows]) -> BaseRows:
        """All rows of the parts, in the order given."""
        given = list(parts) or [cls.empty()]
        return cls(*(np.concatenate([getattr(part, one.name) for part in given]) for one in fields(cls)))

    @classmethod
    def empty(cls) -> BaseRows:
        """No rows."""
        none = np.empty(0, np.int64)
        return cls(none, none, none, none, none, none, none, none, none, none, none, none, none, np.empty(0, np.bool_))

    def same(self, other: BaseRows) -> bool:
        """Whether every field of every row is equal."""
        return all(np.array_equal(getattr(self, one.name), getattr(other, one.name)) for one in fields(self))


class RowSums(msgspec.Struct, frozen=True):
    """One row so far: what has been booked in it up to some instant."""

    start_ms: int
    known_mwh: int = 0
    known_ms: int = 0
    known_state: int = METERED
    estimated_mwh: int = 0
    estimated_ms: int = 0
    held_mwh: int = 0
    held_ms: int = 0
    held_k: int = 0
    register_mwh: int = 0
    before_ms: int = 0
    after_ms: int = 0
    has_register: bool = False


_SUMS = tuple(name for name in RowSums.__struct_fields__ if name != "start_ms")


class Sheet:
    """Rows being written from left to right: finished ones in columns, the row in work in plain attributes.

    Rows that start at or after `until` are worked in (an anchor needs their sums) but not kept.
    """

    def __init__(self, row: RowSums, until_ms: int) -> None:
        self.first_ms = row.start_ms
        self.count = max(0, -(-(until_ms - self.first_ms) // QUARTER_MS))
        self.columns = {name: np.zeros(self.count, np.int64) for name in _SUMS}
        self.columns["known_state"].fill(METERED)
        self.resume(row)

    def resume(self, row: RowSums) -> None:
        """Goes on with this row, as far as it has come."""
        self.start_ms = row.start_ms
        self.end_ms = row.start_ms + QUARTER_MS
        self.known_mwh = row.known_mwh
        self.known_ms = row.known_ms
        self.known_state = row.known_state
        self.estimated_mwh = row.estimated_mwh
        self.estimated_ms = row.estimated_ms
        self.held_mwh = row.held_mwh
        self.held_ms = row.held_ms
        self.held_k = row.held_k
        self.register = (row.register_mwh, row.before_ms, row.after_ms) if row.has_register else None

    def sums(self) -> RowSums:
        """The row in work as it stands."""
        register, before, after = self.register or (0, 0, 0)
        return RowSums(
            self.start_ms,
            self.known_mwh,
            self.known_ms,
            self.known_state,
            self.estimated_mwh,
            self.estimated_ms,
            self.held_mwh,
            self.held_ms,
            self.held_k,
            register,
            before,
            after,
            self.register is not None,
        )

    def move(self, at_ms: int) -> None:
        """Goes to the row that contains this instant; the one in work is kept if it is left."""
        if self.start_ms <= at_ms < self.end_ms:
            return
        self.keep()
        self.resume(RowSums(at_ms // QUARTER_MS * QUARTER_MS))

    def keep(self) -> None:
        """Writes the row in work into the columns, if it lies before `until`."""
        index = (self.start_ms - self.first_ms) // QUARTER_MS
        if index < self.count:
            row = self.sums()
            for name in _SUMS:
                self.columns[name][index] = getattr(row, name)

    def know(self, energy_mwh: int, time_ms: int, state: int) -> None:
        """Adds known energy to the row in work."""
        self.known_mwh += energy_mwh
        self.known_ms += time_ms
        self.known_state = min(self.known_state, state)

    def estimate(self, energy_mwh: int, time_ms: int) -> None:
        """Adds estimated energy to the row in work."""
        self.estimated_mwh += energy_mwh
        self.estimated_ms += time_ms

    def hold(self, energy_mwh: int, time_ms: int, k: int) -> None:
        """Adds energy of a suspended register to the row in work."""
        self.held_mwh += energy_mwh
        self.held_ms += time_ms
        self.held_k = k

    def rows(self) -> BaseRows:
        """All rows before `until`."""
        self.keep()
        found = self.columns
        covered = found["known_ms"] + found["estimated_ms"] >= QUARTER_MS
        state = np.where(found["estimated_ms"] > 0, ESTIMATED, found["known_state"])
        return BaseRows(
            start_ms=self.first_ms + QUARTER_MS * np.arange(self.count, dtype=np.int64),
            state=np.where(covered, state, MISSING).astype(np.int64),
            **{name: found[name] for name in _SUMS if name != "has_register"},
            has_register=found["has_register"].astype(np.bool_),
        )


def cuts(start_ms: int, end_ms: int, until_ms: int) -> list[int]:
    """The instants at which [start, end] is cut: its ends, and the grid inside as far as rows are kept or go on.

    Beyond `until` only the start of the last row matters, so that one absurd instant costs nothing.
    """
    found = [start_ms]
    found += range((start_ms // QUARTER_MS + 1) * QUARTER_MS, min(end_ms, until_ms + 1), QUARTER_MS)
    last = (end_ms - 1) // QUARTER_MS * QUARTER_MS
    if last > found[-1]:
        found.append(last)
    found.append(end_ms)
    return found


def spans(points: Sequence[int]) -> Iterable[tuple[int, int]]:
    """The stretches between neighbouring instants."""
    return pairwise(points)
