"""The walk's state at a level, the hold since, and how both move on; what to do with a poll is decided elsewhere.

*Level*: the last accepted register value and the instant it was first seen. *Tick*: an accepted poll above it.
*Entry*: from tick to tick. *Hold*: the polls since the level that saw it unchanged. *Carry*: energy that a close booked
above the level. *Segment*: a run of entries without an unknown pair.

Decision where more than one reading of the rules is possible: a closed hold is an entry for the mean power if own power
measured it, or if it shows less than the mean before.
"""

from __future__ import annotations

from bisect import bisect_right

from merilo.instants import DAY_MS, HOUR_MS
from merilo.ledger.booking import Booking, Entry
from merilo.ledger.facts import BURST_MAX_MS, at
from merilo.ledger.records import Anchor, LedgerEvent
from merilo.ledger.rows import Sheet
from merilo.ledger.shape import CURVE_PER_MWH, Curve, Power, share
from merilo.ledger.trace import Source, limit_mwh, step_mwh

NEVER_MS = 1 << 62
"""Later than any instant."""


class State:
    """One walk on its way: state, hold, and everything given so far."""

    def __init__(self, source: Source, power: Power, until_ms: int, anchor: Anchor) -> None:
        self.source = source
        self.power = power
        self.sheet = Sheet(anchor.row, until_ms)
        self.book = Booking(self.sheet, self.power, until_ms)
        self.events: list[LedgerEvent] = []
        self.days: list[Anchor] = []
        self.head: Anchor | None = None
        self.newest_ms = max(anchor.t_ms, source.newest_ms)
        self.provisional = False
        self.t, self.level, self.carry = anchor.t_ms, anchor.register_mwh, anchor.carry_mwh
        self.segment, self.tick_ms, self.mean = anchor.segment_ms, anchor.tick_ms, anchor.mean_mw
        self.settle_ms = anchor.v_ms
        self.open_ms, self.open_mwh = anchor.open_ms, anchor.open_mwh
        self.day_end_ms = anchor.t_ms // DAY_MS * DAY_MS + DAY_MS
        self.walk_with(anchor.k)
        self.use_facts(self.t)
        self.pass_identity(self.t)
        self.fresh_hold()

    def anchor(self) -> Anchor:
        """The state at the level; nothing has been booked since."""
        return Anchor(
            self.t,
            max(self.t, self.settle_ms),
            self.level,
            self.carry,
            self.segment,
            self.k,
            self.tick_ms,
            self.mean,
            self.sheet.sums(),
            self.open_ms,
            self.open_mwh,
        )

    def use_facts(self, at_ms: int) -> None:
        """The facts in force from this instant on."""
        self.facts, end = at(self.source.facts, at_ms)
        self.facts_end_ms = NEVER_MS if end is None else end
        self.step_mwh = step_mwh(self.facts, self.k)

    def walk_with(self, k: int) -> None:
        """From here on the register is walked times 10^k."""
        self.k = k
        self.values = self.source.values(k)

    def pass_identity(self, at_ms: int) -> None:
        """Looks out for the next change of identity after this instant."""
        changes = self.source.identity_ms
        following = bisect_right(changes, at_ms)
        self.identity_ms = changes[following] if following < len(changes) else NEVER_MS

    def fresh_hold(self) -> None:
        """Nothing has been seen since the level."""
        self.hold: list[int] = []
        self.poll_ms = self.t
        self.dipped = False
        self.aside: set[int] = set()

    def new_level(self, now: int, value: int) -> None:
        """A poll has become the level."""
        self.t = self.tick_ms = now
        self.level, self.carry = value, 0
        self.open_ms = self.open_mwh = None
        self.fresh_hold()
        self.arrive()

    def arrive(self, kept: bool = True) -> None:
        """Goes to the row of the level; the first that is kept of each UTC day is remembered."""
        self.book.level(self.facts, self.k, self.level, self.carry, self.t)
        if kept and not self.provisional and self.t >= self.day_end_ms:
            self.days.append(self.anchor())
            self.day_end_ms = self.t // DAY_MS * DAY_MS + DAY_MS

    def limit(self, since_ms: int, now: int) -> int:
        """Largest plausible rise between two instants."""
        return limit_mwh(self.facts, now - since_ms, self.k)

    def note(
        self,
        kind: str,
        detail: str,
        at_ms: int,
        pair: tuple[int, int],
        registers: tuple[int | None, int | None],
        *,
        bounds: tuple[int, int] | None = None,
        estimated_mwh: int | None = None,
        set_aside: int = 0,
        settles_at_ms: int | None = None,
    ) -> None:
        """Adds an event."""
        low, high = (None, None) if bounds is None else (min(bounds), bounds[1])
        self.events.append(
            LedgerEvent(
                kind, detail, at_ms, *pair, *registers, low, high, estimated_mwh, set_aside, settles_at_ms, self.k
            )
        )

    def tick(self, now: int, rise: int, value: int, caught_up: bool = False) -> None:
        """Books what the register rose by, less what had been booked of it, and goes to its new value."""
        assert self.carry is not None
        energy = rise - self.carry
        if energy < 0:
            pair, registers = (self.t, now), (self.level, value)
            self.note("overbooked", "", now, pair, registers, estimated_mwh=-energy)
            energy, self.segment = 0, now
        self.book_entry([self.t, *self.hold, now], energy, self.t if caught_up else self.poll_ms, caught_up)
        self.mean = energy * HOUR_MS // (now - self.t)
        self.new_level(now, value)

    def book_entry(self, polls: list[int], energy: int, hold_ms: int, caught_up: bool = False) -> None:
        """Books energy of the register between the first and the last of these polls."""
        assert self.carry is not None
        cap = max(0, self.step_mwh - self.carry)
        self.book.entry(
            Entry(self.facts, self.k, self.level, self.carry, polls, self.aside, energy, hold_ms, cap, caught_up)
        )

    def own_power(self) -> Curve | None:
        """Own power over the hold."""
        return self.power.curve(self.t, self.poll_ms, self.aside)

    def close_hold(self) -> None:
        """Books what the hold can have held: at most one step above the level."""
        assert self.carry is not None
        start, end = self.t, self.poll_ms
        cap = max(0, self.step_mwh - self.carry)
        curve = self.own_power()
        measured = curve is not None and curve.hole_ms <= self.facts.gap_metered_ms
        if curve is not None and measured:
            expected = share(1, curve.total, CURVE_PER_MWH)
        else:
            expected = share(self.mean or 0, end - start, HOUR_MS)
        energy = min(cap, expected)
        self.book_entry([start, *self.hold], energy, start)
        self.carry += energy
        if measured or energy < expected:
            self.mean = energy * HOUR_MS // (end - start)

    def freeze(self) -> None:
        """Takes the level as head, if it is certain and no later one can be."""
        if self.head is None:
            anchor = self.anchor()
            self.head = anchor if anchor.v_ms <= self.newest_ms else None

    def unsettled_until(self, at_ms: int) -> int:
        """Until when a return can undo a break at this instant; levels from here on are certain only then."""
        settles = at_ms + BURST_MAX_MS
        if settles > self.newest_ms:
            self.freeze()
        self.settle_ms = max(self.settle_ms, settles)
        return settles
