"""Undisturbed stretches as arrays: every rise between two polls is plausible and not negative, and no hold is long.

There every nonzero rise is a tick, energy between two grid instants is the difference of what the register showed at
them, and the register at a grid instant follows from the one entry that contains it. The walk, poll by poll, handles
what surrounds a break. Both give the same integers.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS
from merilo.ledger.arrays import Curves, booked, fits, power_sums
from merilo.ledger.facts import ENTRY_MAX_MS, STUCK_MS, RegisterFacts
from merilo.ledger.records import Anchor
from merilo.ledger.rows import BRIDGED, METERED, RowSums
from merilo.ledger.state import State
from merilo.ledger.trace import Source
from merilo.ledger.walker import finish, step

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAP_MIN = 24
"""Polls a stretch must have to be worth the fixed cost of array calls, some hundred microseconds."""


def run(state: State) -> None:
    """Walks all polls, as arrays where that can be done, and closes the live edge provisionally."""
    leaper = _Leaper(state)
    polls = len(state.source.t)
    i = 0
    while i < polls:
        following = leaper.advance(i)
        i = following if following > i else step(state, i)
    if not state.provisional:
        finish(state)


class Calm:
    """Which polls of a source are undisturbed after the poll before them, and which move the register."""

    def __init__(self, source: Source) -> None:
        rise = np.diff(source.poll_r, prepend=source.poll_r[:1])
        calm = (rise >= 0) & (rise <= source.limits())
        calm[:1] = False
        moved = rise != 0
        # A poll whose level is at least STUCK_MS old; what came before the first change counts as a level.
        index = np.arange(len(rise))
        level = np.maximum.accumulate(np.where(moved | ~calm, index, 0))
        calm &= moved | (source.poll_t - source.poll_t[level] < STUCK_MS)
        self.disturbed: list[int] = np.nonzero(~calm)[0].tolist()
        self.moving: list[int] = np.nonzero(moved)[0].tolist()


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of a stretch: polls with the level first, and which of them are ticks."""

    t: Ints
    r: Ints
    ticks: Ints

    @property
    def starts(self) -> Ints:
        return np.concatenate([np.zeros(1, np.int64), self.ticks[:-1]])


class _Leaper:
    """Takes undisturbed stretches of one walk in one leap."""

    def __init__(self, state: State) -> None:
        self.state = state
        source = state.source
        self.calm = Calm(source)
        self.sums = power_sums(source.sample_t, source.sample_p)
        self.strongest_mw = int(source.sample_p.max()) if len(source.sample_p) else 0

    def advance(self, i: int) -> int:
        """Walks polls from here on as arrays, if that can be done; gives the next poll to judge."""
        following = self._leap(i)
        return following if following > i else self._wait(i)

    def _end(self, i: int) -> int:
        """First poll from here on that the facts and the device in force do not cover."""
        state = self.state
        times = state.source.t
        limit = min(state.facts_end_ms, state.identity_ms)
        return len(times) if times[-1] < limit else bisect_left(times, limit, i)

    def _leap(self, i: int) -> int:
        """Walks as many polls as are undisturbed, up to the last tick among them; gives the next poll."""
        state = self.state
        if state.k or state.carry != 0 or state.poll_ms != state.t or state.aside:
            return i
        if state.source.t[i] >= state.facts_end_ms:
            state.use_facts(state.source.t[i])
        position = bisect_left(self.calm.disturbed, i + 1)
        disturbed = self.calm.disturbed
        j = min(disturbed[position] if position < len(disturbed) else len(state.source.t), self._end(i))
        if j - i < LEAP_MIN or not 0 <= state.source.r[i] - state.level <= state.limit(state.t, state.source.t[i]):
            return i
        source = state.source
        t = np.concatenate([np.array([state.t], np.int64), source.poll_t[i:j]])
        r = np.concatenate([np.array([state.level], np.int64), source.poll_r[i:j]])
        ticks = np.nonzero(np.diff(r))[0] + 1
        if not len(ticks) or (ticks[0] > 1 and t[ticks[0] - 1] - t[0] >= STUCK_MS):
            return i
        last = int(ticks[-1])
        entries = _Entries(t[: last + 1], r[: last + 1], ticks)
        longest = int(np.diff(entries.t[np.concatenate([[0], ticks])]).max())
        if not fits(self.strongest_mw, int(r[last]) - state.level, longest):
            return i
        _Leap(state, self.sums, entries).book()
        return i + last

    def _wait(self, i: int) -> int:
        """Passes polls that only repeat the level, before any of them is too old for its entry."""
        state = self.state
        source, moving = state.source, self.calm.moving
        if state.k or source.r[i] != state.level or state.poll_ms == state.t:
            return i
        position = bisect_left(moving, i + 1)
        j = min(moving[position] if position < len(moving) else len(source.t), self._end(i))
        j = min(j, bisect_left(source.t, state.t + ENTRY_MAX_MS, i))
        if source.t[i] >= min(state.facts_end_ms, state.identity_ms) or j <= i:
            return i
        state.hold += source.t[i:j]
        state.poll_ms = state.hold[-1]
        return j


class _Leap:
    """One stretch being booked."""

    def __init__(self, state: State, sums: Ints, entries: _Entries) -> None:
        self.state = state
        self.sums = sums
        self.facts: RegisterFacts = state.facts
        self.t, self.r = entries.t, entries.r
        self.start, self.tick = entries.starts, entries.ticks
        self.end_t = self.t[self.tick]
        self.start_t = self.t[self.start]
        self.bridged_from, self.bridged_to = self._bridged()

    def book(self) -> None:
        """Books all entries and goes to the last tick."""
        state, sheet = self.state, self.state.sheet
        end = int(self.t[-1])
        before = sheet.sums()
        first = sheet.end_ms
        kept = np.arange(first, min(end, sheet.first_ms + sheet.count * QUARTER_MS) + 1, QUARTER_MS, dtype=np.int64)
        days = self._day_firsts()
        own = self.end_t[days] // QUARTER_MS * QUARTER_MS
        last = np.array([end // QUARTER_MS * QUARTER_MS], np.int64)
        grid = np.unique(np.concatenate([kept, own, last]))
        self.grid = grid[grid >= first]
        self.values = self._register_at(self.grid)
        for i in days.tolist():
            state.days.append(self._anchor(i, before))
            state.day_end_ms = state.days[-1].t_ms // DAY_MS * DAY_MS + DAY_MS
        if len(kept) > 0:
            sheet.resume(self._sums(before, first, int(self.values[0])))
            sheet.keep()
            self._whole_rows(kept)
        final = len(self.tick) - 1
        sheet.resume(self._row(final, before))
        state.mean = self._mean(final)
        state.t = state.tick_ms = end
        state.level = int(self.r[-1])
        state.fresh_hold()

    def _whole_rows(self, kept: Ints) -> None:
        """Writes the rows that lie inside the stretch from edge to edge."""
        sheet = self.state.sheet
        low = (int(kept[0]) - sheet.first_ms) // QUARTER_MS
        high = low + len(kept) - 1
        values = self.values[: len(kept)]
        bridged = np.searchsorted(self.bridged_to, kept[:-1], side="right")
        starts = np.append(self.bridged_from, np.iinfo(np.int64).max)[bridged]
        registers, before, after = self._stored(kept[:-1], values[:-1])
        written = {
            "known_mwh": np.diff(values),
            "known_ms": np.full(high - low, QUARTER_MS, np.int64),
            "known_state": np.where(starts < kept[1:], BRIDGED, METERED),
            "register_mwh": registers,
            "before_ms": before,
            "after_ms": after,
            "has_register": np.ones(high - low, np.int64),
        }
        for name, column in written.items():
            sheet.columns[name][low:high] = column

    def _register_at(self, grid: Ints) -> Ints:
        """The register at grid instants after the stretch's first level."""
        i = np.searchsorted(self.end_t, grid, side="left")
        self.entry = i
        start, tick = self.start[i], self.tick[i]
        source = self.state.source
        curves = Curves(source.sample_t, source.sample_p, self.sums, self.t[start], self.t[tick])
        energy = self.r[tick] - self.r[start]
        done = booked(grid, self.t[start], self.t[tick - 1], self.t[tick], energy, self.state.step_mwh, curves)
        return np.asarray(self.r[start] + done, np.int64)

    def _stored(self, grid: Ints, values: Ints) -> tuple[Ints, Ints, Ints]:
        """The register as it is stored with a row, and its distance to the polls around."""
        before = grid - self.t[np.searchsorted(self.t, grid, side="right") - 1]
        after = self.t[np.searchsorted(self.t, grid, side="left")] - grid
        modulus = self.facts.rollover_mwh
        if modulus is not None:
            i = np.searchsorted(self.end_t, grid, side="left")
            level = np.where(grid == self.end_t[i], self.r[self.tick[i]], self.r[self.start[i]])
            values = np.where((level >= 0) & (level < modulus), values % modulus, values)
        return values, before, after

    def _sums(self, row: RowSums, until_ms: int, register_mwh: int) -> RowSums:
        """The row of the first level, with what the stretch adds to it up to an instant."""
        begin = int(self.t[0])
        return RowSums(
            row.start_ms,
            row.known_mwh + register_mwh - int(self.r[0]),
            row.known_ms + until_ms - begin,
            min(row.known_state, self._state(begin, until_ms)),
            row.estimated_mwh,
            row.estimated_ms,
            row.held_mwh,
            row.held_ms,
            row.held_k,
            row.register_mwh,
            row.before_ms,
            row.after_ms,
            row.has_register,
        )

    def _row(self, i: int, before: RowSums) -> RowSums:
        """The row that contains the tick of an entry, up to it."""
        at, register = int(self.end_t[i]), int(self.r[self.tick[i]])
        start = at // QUARTER_MS * QUARTER_MS
        if start == before.start_ms:
            return self._sums(before, at, register)
        which = np.searchsorted(self.grid, start)
        value = self.values[which : which + 1]
        stored, back, ahead = self._stored(self.grid[which : which + 1], value)
        return RowSums(
            start,
            register - int(value[0]),
            at - start,
            self._state(start, at),
            register_mwh=int(stored[0]),
            before_ms=int(back[0]),
            after_ms=int(ahead[0]),
            has_register=True,
        )

    def _anchor(self, i: int, before: RowSums) -> Anchor:
        state, at = self.state, int(self.end_t[i])
        certain = max(at, state.settle_ms)
        register = int(self.r[self.tick[i]])
        row = self._row(i, before)
        return Anchor(at, certain, register, 0, state.segment, 0, at, self._mean(i), row)

    def _mean(self, i: int) -> int:
        energy = int(self.r[self.tick[i]]) - int(self.r[self.start[i]])
        return energy * HOUR_MS // (int(self.end_t[i]) - int(self.start_t[i]))

    def _day_firsts(self) -> Ints:
        """Entries whose tick is the first level of its UTC day."""
        low = int(np.searchsorted(self.end_t, self.state.day_end_ms, side="left"))
        _, firsts = np.unique(self.end_t[low:] // DAY_MS, return_index=True)
        return np.asarray(low + firsts, np.int64)

    def _state(self, start_ms: int, end_ms: int) -> int:
        """Worst state between two instants of the stretch."""
        if end_ms <= start_ms:
            return METERED
        i = int(np.searchsorted(self.bridged_to, start_ms, side="right"))
        return BRIDGED if i < len(self.bridged_to) and self.bridged_from[i] < end_ms else METERED

    def _bridged(self) -> tuple[Ints, Ints]:
        """The parts of the stretch that are not metered: long gaps between polls, entries of unknown shape."""
        none = np.empty(0, np.int64)
        longest = self.facts.gap_metered_ms
        long = np.nonzero(self.end_t - self.start_t > longest)[0]
        if not len(long):
            return none, none
        source = self.state.source
        curves = Curves(source.sample_t, source.sample_p, self.sums, self.start_t[long], self.end_t[long])
        shaped, plain = long[curves.shapes], long[~curves.shapes]
        parts: list[tuple[Ints, Ints]] = []
        if self.facts.fine:
            parts.append(self._gaps(self.t, plain))
        else:
            parts.append((self.start_t[plain], self.end_t[plain]))
        if len(shaped):
            low, high = np.searchsorted(source.sample_t, (self.t[0], self.t[-1]))
            polls = np.sort(np.concatenate([self.t, source.sample_t[low:high]]), kind="stable")
            parts.append(self._gaps(polls, shaped))
        begin, end = (np.concatenate(side) for side in zip(*parts, strict=True))
        order = np.argsort(begin)
        return begin[order], end[order]

    def _gaps(self, polls: Ints, entries: Ints) -> tuple[Ints, Ints]:
        """The stretches between polls inside these entries that are too long."""
        wide = np.nonzero(np.diff(polls) > self.facts.gap_metered_ms)[0]
        begin, end = polls[wide], polls[wide + 1]
        belongs = np.zeros(len(self.tick), np.bool_)
        belongs[entries] = True
        inside = belongs[np.searchsorted(self.end_t, end, side="left")]
        return begin[inside], end[inside]
