"""The smallest keeper of base rows: takes readings in any order and recomputes from the newest certain checkpoint.

It follows the rule the books follow, without a store: start at the newest checkpoint whose state was certain before
the first touched instant, walk on, stop at the first day's first anchor that is past the touched stretch and equal to
the stored one, replace what lies between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from merilo.ledger import Anchor, LedgerEvent, RegisterFacts, Trace, Walk, walk

from .scenes import DAY, QUARTER, Row, rows
from .truth import Poll


class Keeper:
    """Rows, events, checkpoints of one register."""

    def __init__(self, facts: Sequence[RegisterFacts], until_ms: int, identity_ms: Sequence[int] = ()) -> None:
        self.facts = facts
        self.until_ms = until_ms
        self.identity_ms = tuple(identity_ms)
        self.readings: dict[int, Poll] = {}
        self.rows: dict[int, Row] = {}
        self.events: list[LedgerEvent] = []
        self.checkpoints: dict[int, Anchor] = {}
        """Day number -> the day's first anchor."""
        self.head: Anchor | None = None
        self.walked = 0
        """Readings walked so far, to see that a recompute is not always a whole pass."""
        self.stopped = 0
        """Recomputes that met an equal checkpoint."""

    def take(self, batch: Iterable[Poll]) -> None:
        """Take readings and bring rows, events and checkpoints up to date."""
        touched = list(batch)
        self.readings.update((poll[0], poll) for poll in touched)
        first, last = min(poll[0] for poll in touched), max(poll[0] for poll in touched)
        start = self._start(first)
        kept = [poll for at, poll in sorted(self.readings.items()) if start is None or at >= start.t_ms]
        self.walked += len(kept)
        walked = walk(Trace.of(kept, identity_ms=self.identity_ms), self.facts, self.until_ms, anchor=start)
        firsts = day_firsts(walked, start)
        stop = next((a for a in firsts if a.t_ms > last and self.checkpoints.get(a.t_ms // DAY) == a), None)
        self.stopped += stop is not None
        self._replace(walked, start, stop, firsts)

    def _start(self, first_ms: int) -> Anchor | None:
        candidates = [a for a in (*self.checkpoints.values(), self.head) if a is not None]
        usable = [a for a in candidates if a.v_ms < first_ms and a.t_ms // QUARTER * QUARTER <= self.until_ms]
        return max(usable, key=lambda a: a.t_ms, default=None)

    def _replace(self, walked: Walk, start: Anchor | None, stop: Anchor | None, firsts: list[Anchor]) -> None:
        start_ms = -1 if start is None else start.t_ms
        stop_ms = 2**62 if stop is None else stop.t_ms

        begin, end = start_ms // QUARTER * QUARTER, stop_ms // QUARTER * QUARTER
        self.rows = {at: row for at, row in self.rows.items() if not begin <= at < end}
        self.rows.update((row.start_ms, row) for row in rows(walked) if begin <= row.start_ms < end)
        self.events = [event for event in self.events if not start_ms < event.at_ms <= stop_ms]
        self.events += [event for event in walked.events if start_ms < event.at_ms <= stop_ms]
        self.checkpoints = {d: a for d, a in self.checkpoints.items() if not start_ms < a.t_ms <= stop_ms}
        self.checkpoints.update((a.t_ms // DAY, a) for a in firsts if start_ms < a.t_ms <= stop_ms)
        if stop is None or self.head is None or self.head.t_ms < stop_ms:
            self.head = walked.head


def day_firsts(walked: Walk, start: Anchor | None) -> list[Anchor]:
    """The first anchor of each UTC day; that of the day in which a walk was taken up again is not its to tell."""
    found: dict[int, Anchor] = {}
    for anchor in walked.anchors:
        day = anchor.t_ms // DAY
        if start is None or day > start.t_ms // DAY:
            found.setdefault(day, anchor)
    return sorted(found.values(), key=lambda a: a.t_ms)


def in_order(events: Iterable[LedgerEvent]) -> list[LedgerEvent]:
    """Events by instant, then by name."""
    return sorted(events, key=lambda event: (event.at_ms, event.kind, event.detail))
