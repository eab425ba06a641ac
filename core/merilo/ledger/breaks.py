"""What a break means: a poll that is implausible after the last accepted one, judged with the polls that follow.

The polls from the break on are cut into *runs* at implausible steps. A later run that starts plausibly from before the
break is a *return*: what lies between was a disturbance and counts for nothing. A run *persists* with `CONFIRM_N` polls
over `CONFIRM_MS`; the first one that does is the register's new life, unless a return comes within `BURST_MAX_MS`.

Decisions where more than one reading of the rules is possible:

* A return must begin a run. The limit grows with time, so that a replaced meter would else "return" after some hours.
  For the same reason a poll does not return if it goes on from an earlier run that persisted.
* Whether a run persists is judged with polls up to `BURST_MAX_MS` after the break; the next poll ends the search.
* A small fall is ignored when the same run reaches the old level again within `BURST_MAX_MS`, like any return.
* A reported change of identity ends every search: no poll after it can return to the old device's level.
* With a register that is walked times 10^k all values here are times 10^k.
* If the break looks like a change of decoding, steps that are plausible in that decoding cut no run: read ten times too
  large, any load above a tenth of the largest would else be a chain of breaks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from merilo.instants import HOUR_MS
from merilo.ledger.facts import BURST_MAX_MS, CONFIRM_MS, CONFIRM_N, RETURN_SCALE, RegisterFacts, at
from merilo.ledger.trace import Source, limit_mwh, scaled, step_mwh

Outcome = Literal["return", "rollover", "unknown", "identity", "undecided", "small_undecided"]


@dataclass(frozen=True, slots=True)
class Before:
    """The register before the break: last accepted poll and level."""

    poll_ms: int
    level_mwh: int
    k: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a break turned out to be."""

    outcome: Outcome
    kind: str
    detail: str
    index: int
    """The poll that goes on: the one that returned, or the first of the new life; the break itself while undecided."""
    k: int
    """Power of ten to walk on with."""
    low_mwh: int = 0
    """Lower bound of the energy of an unknown pair."""
    wrapped_mwh: int = 0
    """What a rollover counted from the level to the poll."""


@dataclass(frozen=True, slots=True)
class _Search:
    """The two questions to the polls that follow."""

    returned: int | None
    lasting: int | None


class Break:
    """One break at poll `index`, and what can be asked about it."""

    def __init__(self, source: Source, before: Before, index: int) -> None:
        self.source = source
        self.before = before
        self.index = index
        self.t = source.t
        self.r = source.values(before.k)
        self.limit_ms = self.t[index] + BURST_MAX_MS
        changes = source.identity_ms
        after = bisect_right(changes, self.t[index])
        identity = bisect_left(self.t, changes[after]) if after < len(changes) else len(self.t)
        self.identity = identity
        """First poll of another device."""
        self.end = min(bisect_right(self.t, self.limit_ms), identity)
        """First poll that is not searched."""
        self.decoding = self._decoding(index)

    def verdict(self) -> Verdict:
        """The first rule that fits decides."""
        reached = self._reached_again()
        if reached is not None:
            return Verdict("return", "back_step", "ignored", reached, self.before.k)
        search = self._search()
        if search.returned is not None:
            return Verdict("return", self._disturbance(), "ignored", search.returned, self.before.k)
        for i in (self.index, search.lasting):
            wrapped = None if i is None else self._wrapped(i)
            if i is not None and wrapped is not None:
                return Verdict("rollover", "rollover", "", i, self.before.k, wrapped_mwh=wrapped)
        if search.lasting is not None:
            return self._new_life(search.lasting)
        if self.identity < len(self.t):
            return Verdict("identity", "swap", "identity", self.identity, 0)
        if self._small(self.index):
            return Verdict("small_undecided", "back_step", "undecided", self.index, self.before.k)
        fits = self._new_life(self.index)
        return Verdict("undecided", fits.kind, "undecided", self.index, self.before.k, fits.low_mwh)

    def facts(self, i: int) -> RegisterFacts:
        """The facts in force at a poll."""
        return at(self.source.facts, self.t[i])[0]

    def limit(self, i: int) -> int:
        """Largest plausible rise from the last accepted poll to this one."""
        return limit_mwh(self.facts(i), self.t[i] - self.before.poll_ms, self.before.k)

    def _plausible(self, i: int) -> bool:
        rise = self.r[i] - self.before.level_mwh
        return -2 * step_mwh(self.facts(i), self.before.k) <= rise <= self.limit(i)

    def _later_runs(self) -> list[int]:
        """First polls of the runs after the break's own."""
        jumps = self.source.jumps(self.before.k)
        found = jumps[bisect_right(jumps, self.index) : bisect_left(jumps, self.end)]
        if self.decoding is None:
            return found
        return [i for i in found if not self._follows(i - 1, i)]

    def _follows(self, last: int, i: int) -> bool:
        """Whether a poll is plausible after an earlier one, in the present decoding or in the one it looks like."""
        facts = self.facts(i)
        for k in (self.before.k, self.decoding):
            if k is not None:
                rise = scaled(self.source.r[i], k) - scaled(self.source.r[last], k)
                if -2 * step_mwh(facts, k) <= rise <= limit_mwh(facts, self.t[i] - self.t[last], k):
                    return True
        return False

    def _small(self, i: int) -> bool:
        level, value = self.before.level_mwh, self.r[i]
        return value < level and level - value <= self.facts(i).backstep_mwh(level) and 2 * value >= level

    def _disturbance(self) -> str:
        if self.r[self.index] > self.before.level_mwh:
            return "spike"
        return "back_step" if self._small(self.index) else "zero_burst"

    def _reached_again(self) -> int | None:
        """The poll of the break's own run that reaches the level again after fewer than `CONFIRM_N` below it."""
        if not self._small(self.index):
            return None
        end = min(self._later_runs(), default=self.end)
        for i in range(self.index + 1, min(end, self.index + CONFIRM_N)):
            if self.r[i] >= self.before.level_mwh:
                return i if self._plausible(i) else None
        return None

    def _search(self) -> _Search:
        lasting: int | None = None
        persisted: list[int] = []
        for start, following in pairwise([self.index, *self._later_runs(), self.end]):
            returns = start > self.index and self._plausible(start)
            if returns and not any(self._follows(last, start) for last in persisted):
                return _Search(start, lasting)
            if following - start >= CONFIRM_N and self.t[following - 1] - self.t[start] >= CONFIRM_MS:
                persisted.append(following - 1)
                lasting = start if lasting is None else lasting
        if lasting is None and self.end < self.identity:
            if self._plausible(self.end):
                return _Search(self.end, None)
            lasting = self.end
        return _Search(None, lasting)

    def _wrapped(self, i: int) -> int | None:
        """The energy from the level to this poll if the register wrapped around between them."""
        facts = self.facts(i)
        modulus = modulus_mwh(facts, self.before.level_mwh, self.before.k)
        if modulus is None or self.r[i] >= self.before.level_mwh:
            return None
        if facts.max_power_mw * (self.t[i] - self.before.poll_ms) >= modulus * HOUR_MS:
            return None
        rise = self.r[i] + modulus - self.before.level_mwh
        return rise if 0 <= rise <= self.limit(i) else None

    def _new_life(self, i: int) -> Verdict:
        before = self.before
        if self._small(i):
            return Verdict("unknown", "back_step", "rebased", i, before.k)
        k = self._decoding(i)
        if k is not None:
            return Verdict("unknown", "decode_change", "", i, k)
        if self.r[i] < before.level_mwh and self.r[i] <= self.limit(i):
            return Verdict("unknown", "reset", "", i, before.k, max(0, self.r[i]))
        return Verdict("unknown", "swap", "suspected", i, 0)

    def _decoding(self, i: int) -> int | None:
        """The power of ten, other than the present one, that makes the poll go on from the level."""
        level, limit, value = self.before.level_mwh, self.limit(i), self.source.r[i]
        if value <= 0 or level <= 10 * limit:
            return None
        for k in range(-RETURN_SCALE, RETURN_SCALE + 1):
            # Thousandths of a millionth, so that 10^k and 0.1 % stay whole.
            rise = 1000 * (value * 10 ** (RETURN_SCALE + k) - level * 10**RETURN_SCALE)
            slack = level * 10**RETURN_SCALE
            if k != self.before.k and -slack <= rise <= slack + limit * 1000 * 10**RETURN_SCALE:
                return k
        return None


def modulus_mwh(facts: RegisterFacts, level_mwh: int, k: int) -> int | None:
    """The modulus in units of the walk; None where unknown, or where the level shows that it is not this one."""
    if facts.rollover_mwh is None:
        return None
    modulus = scaled(facts.rollover_mwh, k)
    return modulus if 0 <= level_mwh < modulus else None
