"""Stretches whose readings are not believed: the registers on both sides of them tell the energy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from merilo.decisions.decision import Bools, Decision, Reach
from merilo.decisions.work import Work, down, spread
from merilo.ids import RegisterKey
from merilo.instants import QUARTER_MS
from merilo.ledger import BRIDGED, METERED, BaseRows
from merilo.quantities import is_register


class Span(NamedTuple):
    """Rows [low, high) that an exclusion changes, and whether a register bounds them on both sides."""

    low: int
    high: int
    bounded_low: bool
    bounded_high: bool
    counter: bool

    def reach(self, rows: BaseRows) -> Reach:
        """The same as instants."""
        if not len(rows):
            return Reach(0, 0, True, True)
        first = int(rows.start_ms[0])
        return Reach(
            first + self.low * QUARTER_MS,
            first + self.high * QUARTER_MS,
            self.counter and not self.bounded_low,
            self.counter and not self.bounded_high,
        )


def clean_rows(rows: BaseRows, excludes: Iterable[Decision]) -> Bools:
    """Row starts whose register rests on polls outside of every exclusion."""
    clean = rows.has_register.copy()
    for one in excludes:
        clean &= (rows.start_ms + rows.after_ms < one.from_ms) | (rows.start_ms - rows.before_ms >= one.to_ms)
    return clean


def excluded(one: Decision, rows: BaseRows, clean: Bools) -> Span:
    """From the last clean register before the exclusion to the first one after it.

    Where there is none, the given rows end; for a meter without a register, the rows that the stretch touches.
    """
    counter = isinstance(one.target, RegisterKey) and is_register(one.target.register)
    before = np.flatnonzero(clean & (rows.start_ms + rows.after_ms < one.from_ms))
    after = np.flatnonzero(clean & (rows.start_ms - rows.before_ms >= one.to_ms))
    if counter:
        low = int(before[-1]) if len(before) else 0
        high = int(after[0]) if len(after) else len(rows)
        return Span(low, high, len(before) > 0, len(after) > 0, True)
    low, high = (int(i) for i in np.searchsorted(rows.start_ms, (down(one.from_ms), one.to_ms)))
    return Span(low, high, False, False, False)


def exclude(work: Work) -> None:
    """Puts the difference of the registers on both sides in the place of what the excluded readings gave."""
    decisions = work.of("exclude")
    clean = clean_rows(work.rows, decisions)
    for one in decisions:
        if one.to_ms <= work.start_ms or one.from_ms >= work.end_ms:
            continue
        span = excluded(one, work.rows, clean)
        where = slice(span.low, span.high)
        energy = _across(work, span)
        duration = (span.high - span.low) * QUARTER_MS
        if energy is None:
            work.known[where] = 0
            work.known_ms[where] = 0
            work.known_state[where] = METERED
        else:
            start = work.start_ms + span.low * QUARTER_MS
            work.known[where], work.known_ms[where] = spread(energy, start, start + duration, work.rows.start_ms[where])
            short = duration <= work.facts_at(start).gap_metered_ms
            work.known_state[where] = METERED if short else BRIDGED
        work.estimated[where] = 0
        work.estimated_ms[where] = 0
        work.touch(where, one.id)


def _across(work: Work, span: Span) -> int | None:
    """Energy between the registers at both ends of an exclusion, None where they do not tell it."""
    rows = work.rows
    if not (span.bounded_low and span.bounded_high):
        return None
    start, end = int(rows.start_ms[span.low]), int(rows.start_ms[span.high])
    if any(event.detail == "identity" and start < event.t1_ms <= end for event in work.events):
        return None  # two devices: their registers have nothing to do with each other
    factors = [
        float(one.parameters["factor"])
        for one in work.of("scale")
        if one.from_ms <= start and start + QUARTER_MS <= one.to_ms
    ]
    decoded = [int(rows.held_k[i]) if rows.held_ms[i] else 0 for i in (span.low, span.high)]
    if decoded[0] != decoded[1] or (decoded[0] and not factors):
        return None  # read in another power of ten, and nobody has said what it means
    facts = work.facts_at(start)
    rise = int(rows.register_mwh[span.high]) - int(rows.register_mwh[span.low])
    if facts.rollover_mwh is not None:
        rise %= facts.rollover_mwh
    energy = round(rise * math.prod(factors)) if factors else rise
    return energy if 0 <= energy <= facts.limit_mwh(end - start) else None
