"""Two daily warnings about a register: they change no row.

Decisions where more than one reading of the rules is possible:

* Register and own power are compared over the polls of the day between which both are undisturbed: a plausible rise
  that is not negative, and samples, the polls counting as such, no further apart than `gap_metered_ms`.
* The difference is measured against the register, after two steps that its resolution may explain.
* A mismatch of the step needs at least `CONFIRM_N` rises; a constant load can make one look like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import gcd

from merilo.ledger.facts import CONFIRM_N, RegisterFacts, at, ordered
from merilo.ledger.records import LedgerEvent
from merilo.ledger.shape import CURVE_PER_MWH, SparePower, share
from merilo.ledger.trace import Trace, valid_polls, valid_samples

MISMATCH_SHARE = 0.05
"""Register and own power may differ by this much: two sensors of class 1 with their transformers."""
STEP_FACTOR = 5
"""All rises multiples of this many steps: the step that the profile declares is not the register's."""

_MISMATCH_PARTS = round(1 / MISMATCH_SHARE)


def daily_checks(
    trace: Trace, facts: Sequence[RegisterFacts], day_start_ms: int, day_end_ms: int
) -> tuple[LedgerEvent, ...]:
    """Warnings about the register's readings in [start, end].

    `register_power_mismatch` lies at the first poll of the day, `step_mismatch` at the last.
    """
    known = ordered(facts)
    mask = valid_polls(trace) & (trace.t_ms >= day_start_ms) & (trace.t_ms <= day_end_ms)
    polls = list(zip(trace.t_ms[mask].tolist(), trace.register_mwh[mask].tolist(), strict=True))
    if len(polls) < 2:
        return ()
    samples = valid_samples(trace)
    power = SparePower(trace.t_ms[samples], trace.power_mw[samples])
    metered = own = step = rises = compared = 0
    for (before, low), (now, high) in pairwise(polls):
        one, _ = at(known, now)
        rise = high - low
        if not 0 <= rise <= one.limit_mwh(now - before):
            continue
        if rise:
            rises, step = rises + 1, gcd(step, rise)
        curve = power.curve(before, now)
        if curve is not None and curve.hole_ms <= one.gap_metered_ms:
            metered, own, compared = metered + rise, own + curve.total, compared + 1
    one, _ = at(known, polls[-1][0])
    found = []
    measured = share(1, own, CURVE_PER_MWH)
    apart = abs(measured - metered)
    if compared and apart > 2 * one.step_mwh and apart * _MISMATCH_PARTS > metered:
        found.append(_warning("register_power_mismatch", polls, polls[0][0], measured))
    if rises >= CONFIRM_N and step >= STEP_FACTOR * one.step_mwh:
        found.append(_warning("step_mismatch", polls, polls[-1][0], step))
    return tuple(found)


def _warning(kind: str, polls: Sequence[tuple[int, int]], at_ms: int, value_mwh: int) -> LedgerEvent:
    """The warning; its estimate is what own power measured, or the step that the register seems to have."""
    (t0, r0), (t1, r1) = polls[0], polls[-1]
    return LedgerEvent(kind, "", at_ms, t0, t1, r0, r1, None, None, value_mwh, 0, None)
