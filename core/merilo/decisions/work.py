"""Base rows while decisions change them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from merilo.decisions.decision import Decision, EffectiveRows, Ints, Kind, Orphan, OrphanReason
from merilo.instants import QUARTER_MS
from merilo.ledger import ESTIMATED, METERED, MISSING, BaseRows, LedgerEvent, RegisterFacts
from merilo.ledger.facts import at as facts_at


class Work:
    """Base rows while decisions change them."""

    def __init__(
        self,
        rows: BaseRows,
        events: Iterable[LedgerEvent],
        decisions: Iterable[Decision],
        facts: Sequence[RegisterFacts],
    ) -> None:
        self.rows = rows
        self.facts = facts
        self.events = sorted(events, key=lambda one: one.t0_ms)
        self.decisions = sorted((one for one in decisions if not one.revoked), key=lambda one: (one.created_ms, one.id))
        if any(one.kind == "set_energy" for one in self.decisions):
            raise ValueError("set_energy is about a meter and comes after forming, not among decisions of a register")
        self.known = rows.known_mwh.copy()
        self.known_ms = rows.known_ms.copy()
        self.known_state = rows.known_state.copy()
        self.estimated = rows.estimated_mwh.copy()
        self.estimated_ms = rows.estimated_ms.copy()
        self.held = rows.held_mwh.copy()
        self.held_ms = rows.held_ms.copy()
        self.touched: dict[int, set[int]] = {}
        self.orphans: list[Orphan] = []
        self.start_ms = int(rows.start_ms[0]) if len(rows) else 0
        self.end_ms = int(rows.start_ms[-1]) + QUARTER_MS if len(rows) else 0

    def of(self, kind: Kind) -> list[Decision]:
        """Decisions of one kind that are in force, by creation."""
        return [one for one in self.decisions if one.kind == kind]

    def facts_at(self, at_ms: int) -> RegisterFacts:
        """The facts in force at an instant."""
        return facts_at(self.facts, at_ms)[0]

    def inside(self, at_ms: int) -> bool:
        """Whether a row holds the instant."""
        return self.start_ms <= at_ms < self.end_ms

    def index(self, at_ms: int) -> int:
        """The row that holds an instant; below 0 or beyond the end where none does."""
        return (at_ms - self.start_ms) // QUARTER_MS

    def between(self, start_ms: int, end_ms: int) -> slice:
        """The rows that overlap [start, end)."""
        low = max(self.index(start_ms), 0)
        high = -(-(end_ms - self.start_ms) // QUARTER_MS)
        return slice(low, max(low, min(high, len(self.rows))))

    def touch(self, where: slice, *ids: int) -> None:
        """Notes that these decisions act on these rows."""
        for index in range(where.start, where.stop):
            self.touched.setdefault(index, set()).update(ids)

    def orphan(self, decision: Decision, reason: OrphanReason) -> None:
        """Notes that a decision is not applied."""
        self.orphans.append(Orphan(decision.id, reason))

    def finished(self) -> EffectiveRows:
        """The rows as they are now. What is known keeps its state, what is estimated is estimated, and a row that is
        not covered has no energy.
        """
        covered = self.known_ms + self.estimated_ms >= QUARTER_MS
        state = np.where(self.estimated_ms > 0, ESTIMATED, self.known_state)
        energy = np.where(covered, self.known + self.estimated, 0)
        starts = self.rows.start_ms
        return EffectiveRows(
            start_ms=starts,
            state=np.where(covered, state, MISSING).astype(np.int64),
            energy_mwh=energy,
            low_mwh=np.where(covered, energy, self.known),
            metered_mwh=np.where(covered & (self.known_state == METERED), self.known, 0),
            bridged_mwh=np.where(covered & (self.known_state != METERED), self.known, 0),
            estimated_mwh=np.where(covered, self.estimated, 0),
            decisions={int(starts[i]): tuple(sorted(ids)) for i, ids in sorted(self.touched.items())},
            orphans=tuple(sorted(self.orphans)),
        )


def spread(total_mwh: int, start_ms: int, end_ms: int, row_starts_ms: Ints) -> tuple[Ints, Ints]:
    """Energy [mWh] and time [ms] of a flat stretch in each row; rounded on the cumulative value, so sums telescope.

    A row's share depends on the stretch alone, not on which other rows are given.
    """
    grid: Ints = np.concatenate((row_starts_ms, row_starts_ms[-1:] + QUARTER_MS))
    edges: Ints = np.clip(grid, start_ms, end_ms)
    length = end_ms - start_ms
    # Whole numbers of any size: a year in ms times its energy in mWh does not fit 64 bits.
    totals: Ints = np.array(
        [(2 * total_mwh * (edge - start_ms) + length) // (2 * length) for edge in edges.tolist()], np.int64
    )
    energy: Ints = totals[1:] - totals[:-1]
    time: Ints = edges[1:] - edges[:-1]
    return energy, time


def down(at_ms: int) -> int:
    """The start of the row that holds an instant."""
    return at_ms // QUARTER_MS * QUARTER_MS


def up(at_ms: int) -> int:
    """The first row start that is not before an instant."""
    return -(-at_ms // QUARTER_MS) * QUARTER_MS
