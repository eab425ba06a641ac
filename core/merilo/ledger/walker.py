"""The walk, poll by poll: holds, ticks, closes, what a register does that stood still, and what breaks turn out to be.

Words. *Level*: the last accepted register value and the instant it was first seen. *Tick*: an accepted poll above it.
*Entry*: from tick to tick. *Hold*: the polls since the level that saw it unchanged. *Carry*: energy that a close booked
above the level. *Segment*: a run of entries without an unknown pair.

Decisions where more than one reading of the rules is possible:

* The facts in force at a poll judge that poll and shape the entry that ends with it.
* A reading that is set aside is set aside whole: its power is as doubtful as its register.
* The last poll that saw the level unchanged is part of the hold that its age closes.
* A closed hold is an entry for the mean power if own power measured it, or if it shows less than the mean before.
* The close before an unknown pair is no anchor: it is certain only with the level that follows.
* Without own power a tick of one step never says that a register stood still: a coarse register waits that long.
* Once a close has booked more than a step for a register that stood still, or nothing, it counts as proven until it
  moves.
* While nothing says what a stopped register missed, every hold is missing; the tick that ends it begins a segment, and
  its event holds the whole rise since the last booked instant.
* Own power with a hole longer than an estimate may cross is as good as none for a register that stood still.
* A suspected or reported swap is walked as read again; a reset or an older value keeps the power of ten of before.
"""

from __future__ import annotations

from bisect import bisect_right

from merilo.instants import DAY_MS, HOUR_MS
from merilo.ledger.booking import Booking, Entry, own_power
from merilo.ledger.breaks import Before, Break, Verdict
from merilo.ledger.facts import BURST_MAX_MS, ENTRY_MAX_MS, POWER_GAP_MAX_MS, STUCK_BLIND_MS, STUCK_MS, at
from merilo.ledger.records import Anchor, LedgerEvent
from merilo.ledger.rows import Sheet
from merilo.ledger.shape import CURVE_PER_MWH, Power, share
from merilo.ledger.stuck import proving_poll, tells
from merilo.ledger.trace import Source, limit_mwh, step_mwh

NEVER_MS = 1 << 62
"""Later than any instant."""


class Walker:
    """The state at a level, the hold since, and everything given so far."""

    def __init__(self, source: Source, until_ms: int, anchor: Anchor) -> None:
        self.source = source
        self.power = self._power(source)
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
        self._walk_with(anchor.k)
        self._use_facts(self.t)
        self._pass_identity(self.t)
        self._fresh_hold()

    def run(self) -> None:
        """Walks all polls and closes the live edge provisionally."""
        polls = len(self.source.t)
        i = 0
        while i < polls:
            i = self.step(i)
        if not self.provisional:
            self._finish()

    def _power(self, source: Source) -> Power:
        return Power(source.sample_t, source.sample_p)

    def step(self, i: int) -> int:
        """Judges one poll; gives the index of the next one to judge."""
        now = self.source.t[i]
        if now >= self.facts_end_ms:
            self._use_facts(now)
        if now >= self.identity_ms:
            return self._unknown(i, Verdict("identity", "swap", "identity", i, 0))
        rise = self.values[i] - self.level
        if -2 * self.step_mwh <= rise <= 0:
            self._hold(now, rise)
        elif rise <= 0 or not self._rises(now, rise):
            return self._break(i)
        return i + 1

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

    # The state

    def _use_facts(self, at_ms: int) -> None:
        self.facts, end = at(self.source.facts, at_ms)
        self.facts_end_ms = NEVER_MS if end is None else end
        self.step_mwh = step_mwh(self.facts, self.k)

    def _walk_with(self, k: int) -> None:
        self.k = k
        self.values = self.source.values(k)

    def _pass_identity(self, at_ms: int) -> None:
        changes = self.source.identity_ms
        following = bisect_right(changes, at_ms)
        self.identity_ms = changes[following] if following < len(changes) else NEVER_MS

    def _fresh_hold(self) -> None:
        self.hold: list[int] = []
        self.poll_ms = self.t
        self.dipped = False
        self.aside: set[int] = set()

    def _new_level(self, now: int, value: int) -> None:
        self.t = self.tick_ms = now
        self.level, self.carry = value, 0
        self.open_ms = self.open_mwh = None
        self._fresh_hold()
        self._arrive()

    def _arrive(self, kept: bool = True) -> None:
        self.book.level(self.facts, self.k, self.level, self.carry, self.t)
        if kept and not self.provisional and self.t >= self.day_end_ms:
            self.days.append(self.anchor())
            self.day_end_ms = self.t // DAY_MS * DAY_MS + DAY_MS

    def _limit(self, since_ms: int, now: int) -> int:
        return limit_mwh(self.facts, now - since_ms, self.k)

    def _event(
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
        low, high = (None, None) if bounds is None else (min(bounds), bounds[1])
        self.events.append(
            LedgerEvent(
                kind, detail, at_ms, *pair, *registers, low, high, estimated_mwh, set_aside, settles_at_ms, self.k
            )
        )

    # Holds, ticks, closes

    def _hold(self, now: int, rise: int) -> None:
        if rise < 0 and not self.dipped:
            self.dipped = True
            self._event("back_step", "ignored", now, (self.poll_ms, now), (self.level, self.level + rise))
        self.hold.append(now)
        self.poll_ms = now
        if now - self.t >= ENTRY_MAX_MS:
            self._close()

    def _rises(self, now: int, rise: int) -> bool:
        """Takes a poll above the level if it is plausible: a tick, or the end of standing still."""
        limit = self._limit(self.poll_ms, now)
        if rise > limit and rise > self._limit(self.tick_ms, now):
            return False
        if self.carry is None:
            self._end_of_standstill(now, rise, "resumed" if rise <= limit else "caught_up")
            return True
        proof = self._proof(STUCK_MS)
        if rise <= limit:
            if proof is None or self._one_blind_step(rise):
                self._tick(now, rise, self.level + rise)
            elif self._lost(now, rise - self.carry):
                self._resume(now, rise, proof)
            else:
                self._catch_up(now, rise, proof)
            return True
        if proof is None and self.carry <= self.step_mwh:
            return False
        self._catch_up(now, rise, proof if proof is not None else (self.hold or [now])[0])
        return True

    def _tick(self, now: int, rise: int, value: int, caught_up: bool = False) -> None:
        """Books what the register rose by, less what had been booked of it, and goes to its new value."""
        assert self.carry is not None
        energy = rise - self.carry
        if energy < 0:
            pair, registers = (self.t, now), (self.level, value)
            self._event("overbooked", "", now, pair, registers, estimated_mwh=-energy)
            energy, self.segment = 0, now
        self._entry([self.t, *self.hold, now], energy, self.t if caught_up else self.poll_ms, caught_up)
        self.mean = energy * HOUR_MS // (now - self.t)
        self._new_level(now, value)

    def _entry(self, polls: list[int], energy: int, hold_ms: int, caught_up: bool = False) -> None:
        assert self.carry is not None
        cap = max(0, self.step_mwh - self.carry)
        self.book.entry(
            Entry(self.facts, self.k, self.level, self.carry, polls, self.aside, energy, hold_ms, cap, caught_up)
        )

    def _close(self, *, resumed: bool = False, kept: bool = True) -> None:
        """Ends the hold: books what it can hold, and makes its last poll the level's instant."""
        if self.poll_ms == self.t:
            return
        self._use_facts(self.poll_ms)
        proof = self._proof(STUCK_BLIND_MS)
        if resumed:
            self._close_standstill()
        elif proof is not None:
            bounds = (0, self._limit(self.t, self.poll_ms))
            pair, registers = (self.t, self.poll_ms), (self.level, self.level)
            estimated = self._close_standstill()
            self._event("stuck", "open", proof, pair, registers, bounds=bounds, estimated_mwh=estimated)
        elif self.carry is not None:
            self._close_hold()
        self.t = self.poll_ms
        self._fresh_hold()
        self._arrive(kept)

    def _close_hold(self) -> None:
        assert self.carry is not None
        start, end = self.t, self.poll_ms
        cap = max(0, self.step_mwh - self.carry)
        curve = self.power.curve(start, end, self.aside)
        measured = curve is not None and curve.hole_ms <= self.facts.gap_metered_ms
        if curve is not None and measured:
            expected = share(1, curve.total, CURVE_PER_MWH)
        else:
            expected = share(self.mean or 0, end - start, HOUR_MS)
        energy = min(cap, expected)
        self._entry([start, *self.hold], energy, start)
        self.carry += energy
        if measured or energy < expected:
            self.mean = energy * HOUR_MS // (end - start)

    def _finish(self, pending: Verdict | None = None) -> None:
        """The live edge: what is booked from here on is revised by the next tick."""
        self._freeze()
        self.provisional = True
        self._close()
        if pending is not None and pending.outcome == "small_undecided" and self.carry is not None:
            self._entry([self.t, *self.source.t[pending.index :]], 0, self.t)

    def _freeze(self) -> None:
        """Takes the level as head, if it is certain and no later one can be."""
        if self.head is None:
            anchor = self.anchor()
            self.head = anchor if anchor.v_ms <= self.newest_ms else None

    # A register that stands still

    def _proof(self, blind_ms: int) -> int | None:
        """First poll of the hold that proves it; without own power the first one that lies so far from the level."""
        if self.poll_ms - self.t < STUCK_MS:
            return None
        curve = self.power.curve(self.t, self.poll_ms, self.aside)
        if curve is not None:
            return proving_poll(curve, self.hold, self.facts.gap_metered_ms, self.step_mwh)
        if self.facts.zero_is_valid:
            return None
        return next((poll for poll in self.hold if poll - self.t >= blind_ms), None)

    def _one_blind_step(self, rise: int) -> bool:
        return rise <= self.step_mwh and self.power.curve(self.t, self.poll_ms, self.aside) is None

    def _lost(self, now: int, energy: int) -> bool:
        """Whether it goes on with less than half of what own power says, so that energy is lost."""
        standing = self.power.curve(self.t, self.poll_ms, self.aside)
        if standing is None:
            return self._proof(STUCK_BLIND_MS) is not None
        whole = self.power.curve(self.t, now, self.aside) or standing
        own = whole if whole.hole_ms <= POWER_GAP_MAX_MS else standing
        return 2 * energy * CURVE_PER_MWH < own.total

    def _catch_up(self, now: int, rise: int, proof: int) -> None:
        self._event("stuck", "caught_up", proof, (self.t, now), (self.level, self.level + rise))
        self._tick(now, rise, self.level + rise, caught_up=True)

    def _resume(self, now: int, rise: int, proof: int) -> None:
        registers, aside = (self.level, self.level + rise), self.aside
        self._close(resumed=True, kept=False)
        self._use_facts(now)
        pair = (self.t, now)
        estimated = self.book.pair(*pair, self.facts, self.mean, aside)
        bounds = (0, self._limit(*pair))
        self._event("stuck", "resumed", proof, pair, registers, bounds=bounds, estimated_mwh=estimated)
        self.segment = now
        self._new_level(now, registers[1])

    def _end_of_standstill(self, now: int, rise: int, detail: str) -> None:
        """A tick after a stretch that nothing says anything about."""
        value, start = self.level + rise, self.t if self.open_ms is None else self.open_ms
        self._event("stuck", detail, now, (start, now), (self.open_mwh, value), bounds=(0, self._limit(start, now)))
        self.segment = now
        self._new_level(now, value)

    def _close_standstill(self) -> int | None:
        """Books own power for the hold and gives it; where none can tell, what it missed stays unknown."""
        start, end = self.t, self.poll_ms
        if self.carry is None:
            return None
        curve = self.power.curve(start, end, self.aside)
        if curve is None or not tells(curve):
            self.open_ms, self.open_mwh, self.carry = start, self.level + self.carry, None
            return None
        entry = Entry(self.facts, self.k, self.level, self.carry, [start, *self.hold], self.aside, 0, start)
        estimated = self.book.estimate(start, end, own_power(curve), entry)
        self.mean = estimated * HOUR_MS // (end - start)
        self.carry += estimated
        return estimated

    # Breaks

    def _break(self, i: int) -> int:
        """Lets the polls that follow decide; gives the index of the next poll to judge."""
        times = self.source.t
        verdict = Break(self.source, Before(self.poll_ms, self.level, self.k), i).verdict()
        if verdict.outcome == "unknown" or verdict.outcome == "identity":
            return self._unknown(i, verdict)
        if verdict.outcome == "rollover":
            return self._rollover(i, verdict)
        last = times[-1] if verdict.outcome != "return" else times[verdict.index]
        pair, registers = (self.poll_ms, last), (self.level, self.values[i])
        if verdict.outcome == "return":
            self._event(verdict.kind, verdict.detail, times[i], pair, registers, set_aside=verdict.index - i)
            self.aside.update(times[i : verdict.index])
            return verdict.index
        bounds = (verdict.low_mwh, self._limit(self.poll_ms, times[i]))
        set_aside = len(times) - i
        self._event(verdict.kind, verdict.detail, times[i], pair, registers, bounds=bounds, set_aside=set_aside)
        self._finish(verdict)
        return len(times)

    def _rollover(self, i: int, verdict: Verdict) -> int:
        now, value = self.source.t[verdict.index], self.values[verdict.index]
        settles = self._unsettled_until(i)
        self._use_facts(now)
        pair, registers = (self.poll_ms, now), (self.level, value)
        set_aside = verdict.index - i
        self._event("rollover", "", self.source.t[i], pair, registers, set_aside=set_aside, settles_at_ms=settles)
        self.aside.update(self.source.t[i : verdict.index])
        if self.carry is None:
            self.segment = now
            self._new_level(now, value)
        else:
            self._tick(now, verdict.wrapped_mwh, value)
        return verdict.index + 1

    def _unknown(self, i: int, verdict: Verdict) -> int:
        """Energy between the last accepted poll and the new life is unknown; the walk goes on from there."""
        times = self.source.t
        now, before = times[verdict.index], self.level
        settles = None if verdict.outcome == "identity" else self._unsettled_until(i)
        self._close(kept=False)
        self._use_facts(now)
        pair = (self.t, now)
        bounds = (verdict.low_mwh, self._limit(*pair))
        estimated = self.book.pair(*pair, self.facts, self.mean, set(times[i : verdict.index]))
        self._walk_with(verdict.k)
        self._use_facts(now)
        self._pass_identity(now)
        value = self.values[verdict.index]
        self._event(
            verdict.kind,
            verdict.detail,
            times[i],
            pair,
            (before, value),
            bounds=bounds,
            estimated_mwh=estimated,
            set_aside=verdict.index - i,
            settles_at_ms=settles,
        )
        self.segment = now
        self._new_level(now, value)
        return verdict.index + 1

    def _unsettled_until(self, i: int) -> int:
        """Until when a return can undo a break at this poll; levels from here on are certain only then."""
        settles = self.source.t[i] + BURST_MAX_MS
        if settles > self.newest_ms:
            self._freeze()
        self.settle_ms = max(self.settle_ms, settles)
        return settles
