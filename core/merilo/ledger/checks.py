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
from typing import NamedTuple

import numpy as np

from merilo.instants import HOUR_MS
from merilo.ledger.facts import CONFIRM_N, TIME_SLACK_MS, RegisterFacts, at, ordered
from merilo.ledger.records import LedgerEvent
from merilo.ledger.shape import CURVE_PER_MWH, Ints, SparePower, share
from merilo.ledger.trace import Trace, valid_polls, valid_samples

MISMATCH_SHARE = 0.05
"""Register and own power may differ by this much: two sensors of class 1 with their transformers."""
STEP_FACTOR = 5
"""All rises multiples of this many steps: the step that the profile declares is not the register's."""

_MISMATCH_PARTS = round(1 / MISMATCH_SHARE)
_EXACT_END = 2**62
"""Sums of a day stay below this in whole numbers of 64 bits."""


def daily_checks(
    trace: Trace, facts: Sequence[RegisterFacts], day_start_ms: int, day_end_ms: int, *, vectorised: bool = True
) -> tuple[LedgerEvent, ...]:
    """Warnings about the register's readings in [start, end].

    `register_power_mismatch` lies at the start of the day, `step_mismatch` at its end: a warning keeps its instant, and
    so its number, while late readings arrive, and no two warnings share one.

    Args:
        vectorised: False compares poll by poll; the result is the same.
    """
    known = ordered(facts)
    mask = valid_polls(trace) & (trace.t_ms >= day_start_ms) & (trace.t_ms <= day_end_ms)
    t_ms, register_mwh = trace.t_ms[mask], trace.register_mwh[mask]
    if len(t_ms) < 2:
        return ()
    samples = valid_samples(trace)
    sample_t, sample_p = trace.t_ms[samples], trace.power_mw[samples]
    found = _at_once(known, t_ms, register_mwh, sample_t, sample_p) if vectorised else None
    if found is None:
        found = _one_by_one(known, t_ms, register_mwh, sample_t, sample_p)
    one, _ = at(known, int(t_ms[-1]))
    first, last = (int(t_ms[0]), int(register_mwh[0])), (int(t_ms[-1]), int(register_mwh[-1]))
    warnings = []
    measured = share(1, found.own, CURVE_PER_MWH)
    apart = abs(measured - found.metered)
    if found.compared and apart > 2 * one.step_mwh and apart * _MISMATCH_PARTS > found.metered:
        warnings.append(_warning("register_power_mismatch", first, last, day_start_ms, measured))
    if found.rises >= CONFIRM_N and found.step >= STEP_FACTOR * one.step_mwh:
        warnings.append(_warning("step_mismatch", first, last, day_end_ms, found.step))
    return tuple(warnings)


class _Day(NamedTuple):
    """What the polls of a day say together."""

    metered: int
    """Rise of the register where it is compared with own power [mWh]."""
    own: int
    """Own power over the same polls, in units of a curve."""
    compared: int
    """Pairs of polls that are compared."""
    rises: int
    """Plausible rises above zero."""
    step: int
    """Their greatest common divisor [mWh]."""


def _one_by_one(
    known: tuple[RegisterFacts, ...], t_ms: Ints, register_mwh: Ints, sample_t: Ints, sample_p: Ints
) -> _Day:
    power = SparePower(sample_t, sample_p)
    metered = own = step = rises = compared = 0
    for (before, low), (now, high) in pairwise(zip(t_ms.tolist(), register_mwh.tolist(), strict=True)):
        one, _ = at(known, now)
        rise = high - low
        if not 0 <= rise <= one.limit_mwh(now - before):
            continue
        if rise:
            rises, step = rises + 1, gcd(step, rise)
        curve = power.curve(before, now)
        if curve is not None and curve.hole_ms <= one.gap_metered_ms:
            metered, own, compared = metered + rise, own + curve.total, compared + 1
    return _Day(metered, own, compared, rises, step)


def _at_once(
    known: tuple[RegisterFacts, ...], t_ms: Ints, register_mwh: Ints, sample_t: Ints, sample_p: Ints
) -> _Day | None:
    """The same where one set of facts is valid all day and every poll is a sample too; None elsewhere."""
    one, _ = at(known, int(t_ms[-1]))
    places = np.searchsorted(sample_t, t_ms)
    every = len(sample_t) > int(places[-1]) and np.array_equal(sample_t[places], t_ms)
    largest = int(sample_p.max()) if len(sample_p) else 0
    longest = int(t_ms[-1] - t_ms[0]) + TIME_SLACK_MS
    if at(known, int(t_ms[0]))[0] != one or not every or 2 * max(largest, one.max_power_mw) * longest >= _EXACT_END:
        return None
    duration, rise = np.diff(t_ms), np.diff(register_mwh)
    good = (rise >= 0) & (rise <= one.max_power_mw * (duration + TIME_SLACK_MS) // HOUR_MS + 2 * one.step_mwh)
    rises = rise[good & (rise > 0)]
    inside_t, inside_p = (column[places[0] : places[-1] + 1] for column in (sample_t, sample_p))
    gaps, begins = np.diff(inside_t), places[:-1] - places[0]
    good &= np.maximum.reduceat(gaps, begins) <= one.gap_metered_ms
    own = np.add.reduceat((inside_p[1:] + inside_p[:-1]) * gaps, begins)
    return _Day(
        int(rise[good].sum()),
        int(own[good].sum()),
        int(np.count_nonzero(good)),
        len(rises),
        int(np.gcd.reduce(rises)) if len(rises) else 0,
    )


def _warning(kind: str, first: tuple[int, int], last: tuple[int, int], at_ms: int, value_mwh: int) -> LedgerEvent:
    """The warning; its estimate is what own power measured, or the step that the register seems to have."""
    (t0, r0), (t1, r1) = first, last
    return LedgerEvent(kind, "", at_ms, t0, t1, r0, r1, None, None, value_mwh, 0, None)
