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
"""Sums stay below this in whole numbers of 64 bits."""


def daily_checks(
    trace: Trace, facts: Sequence[RegisterFacts], edges_ms: Sequence[int], *, vectorised: bool = True
) -> tuple[LedgerEvent, ...]:
    """Warnings about the register's readings in neighbouring days, of which day i is [edges[i], edges[i + 1]).

    `register_power_mismatch` lies at the first instant of its day, `step_mismatch` at the last: a warning keeps its
    instant, and so its number, while late readings arrive, and no two warnings share one.

    Args:
        vectorised: False compares poll by poll; the result is the same.
    """
    known, edges = ordered(facts), np.asarray(edges_ms, np.int64)
    polls = valid_polls(trace) & (trace.t_ms >= edges[0]) & (trace.t_ms < edges[-1])
    samples = valid_samples(trace)
    seen = _Seen(trace.t_ms[polls], trace.register_mwh[polls], trace.t_ms[samples], trace.power_mw[samples], edges)
    days = _at_once(known, seen) if vectorised else None
    if days is None:
        days = _one_by_one(known, seen)
    warnings: list[LedgerEvent] = []
    for day in days:
        one, _ = at(known, day.last[0])
        measured = share(1, day.own, CURVE_PER_MWH)
        apart = abs(measured - day.metered)
        start_ms, end_ms = int(edges[day.place]), int(edges[day.place + 1])
        if day.compared and apart > 2 * one.step_mwh and apart * _MISMATCH_PARTS > day.metered:
            warnings.append(_warning("register_power_mismatch", day, start_ms, measured))
        if day.rises >= CONFIRM_N and day.step >= STEP_FACTOR * one.step_mwh:
            warnings.append(_warning("step_mismatch", day, end_ms - 1, day.step))
    return tuple(warnings)


class _Seen(NamedTuple):
    """Polls inside the days, samples of power, and where the days part."""

    t_ms: Ints
    register_mwh: Ints
    sample_t: Ints
    sample_p: Ints
    edges: Ints


class _Day(NamedTuple):
    """What the polls of a day say together."""

    place: int
    first: tuple[int, int]
    """Instant and register of the first poll."""
    last: tuple[int, int]
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


def _one_by_one(known: tuple[RegisterFacts, ...], seen: _Seen) -> list[_Day]:
    power = SparePower(seen.sample_t, seen.sample_p)
    parts = np.searchsorted(seen.t_ms, seen.edges).tolist()
    found = []
    for place, (begin, end) in enumerate(pairwise(parts)):
        polls = list(zip(seen.t_ms[begin:end].tolist(), seen.register_mwh[begin:end].tolist(), strict=True))
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
        if polls:
            found.append(_Day(place, polls[0], polls[-1], metered, own, compared, rises, step))
    return found


def _at_once(known: tuple[RegisterFacts, ...], seen: _Seen) -> list[_Day] | None:
    """The same where one set of facts is valid all the time and every poll is a sample too; None elsewhere."""
    t_ms, register_mwh, sample_t, sample_p, edges = seen
    if len(t_ms) < 2:
        return None
    one, _ = at(known, int(t_ms[-1]))
    places = np.searchsorted(sample_t, t_ms)
    every = len(sample_t) > int(places[-1]) and np.array_equal(sample_t[places], t_ms)
    largest = max(int(sample_p.max()) if every else 0, one.max_power_mw)
    if at(known, int(t_ms[0]))[0] != one or not every or 2 * largest * int(t_ms[-1] - t_ms[0]) >= _EXACT_END:
        return None
    duration, rise = np.diff(t_ms), np.diff(register_mwh)
    day = np.searchsorted(edges, t_ms, "right") - 1
    good = (rise >= 0) & (rise <= one.max_power_mw * (duration + TIME_SLACK_MS) // HOUR_MS + 2 * one.step_mwh)
    good &= day[1:] == day[:-1]
    inside = slice(int(places[0]), int(places[-1]) + 1)
    gaps, begins = np.diff(sample_t[inside]), places[:-1] - places[0]
    near = good & (np.maximum.reduceat(gaps, begins) <= one.gap_metered_ms)
    own = np.add.reduceat((sample_p[inside][1:] + sample_p[inside][:-1]) * gaps, begins)
    firsts = np.flatnonzero(np.diff(day, prepend=-1))
    ends = [*firsts[1:].tolist(), len(t_ms)]
    begin = np.minimum(firsts, len(rise) - 1)  # the last day may have one poll and no pair of its own
    sums = [np.add.reduceat(np.where(near, column, 0), begin).tolist() for column in (rise, own, 1)]
    risen = np.where(good, rise, 0)
    sums += [np.add.reduceat(risen > 0, begin, dtype=np.int64).tolist(), np.gcd.reduceat(risen, begin).tolist()]
    t, r = t_ms.tolist(), register_mwh.tolist()
    found = zip(day[firsts].tolist(), firsts.tolist(), ends, *sums, strict=True)
    return [_Day(place, (t[low], r[low]), (t[high - 1], r[high - 1]), *rest) for place, low, high, *rest in found]


def _warning(kind: str, day: _Day, at_ms: int, value_mwh: int) -> LedgerEvent:
    """The warning; its estimate is what own power measured, or the step that the register seems to have."""
    (t0, r0), (t1, r1) = day.first, day.last
    return LedgerEvent(kind, "", at_ms, t0, t1, r0, r1, None, None, value_mwh, 0, None)
