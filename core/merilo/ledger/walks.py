"""The walk over one register: readings and facts in, base rows, events and anchors out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from merilo.instants import HOUR_MS, QUARTER_MS
from merilo.ledger import stretch, walker
from merilo.ledger.booking import as_read
from merilo.ledger.facts import BURST_MAX_MS, RegisterFacts, at, ordered
from merilo.ledger.records import Anchor, LedgerEvent, Walk
from merilo.ledger.rows import BaseRows, RowSums
from merilo.ledger.shape import Power, SparePower
from merilo.ledger.state import State
from merilo.ledger.trace import Source, Trace, scaled, valid_polls

_RANK = ("back_step", "spike", "zero_burst", "stuck", "overbooked")
"""Of two events at one instant the later one of this order stands, anything else before all of them."""


def walk(
    trace: Trace,
    facts: Sequence[RegisterFacts],
    until_ms: int,
    anchor: Anchor | None = None,
    *,
    vectorised: bool = True,
) -> Walk:
    """Base rows, events and anchors of one register.

    Args:
        trace: Its readings; with an anchor those from the anchor's instant on.
        facts: At least one.
        until_ms: Grid instant; rows before it are given. Later readings still inform decisions.
        anchor: Where to start; None = at the first reading.
        vectorised: Whether undisturbed stretches are walked as arrays. The result is the same.

    Returns:
        Rows from the anchor's (the first reading's) row on. Rows, events and anchors after an anchor are those of a
        walk from the beginning.

    Raises:
        ValueError: No facts, or `until_ms` off the grid.
    """
    if until_ms % QUARTER_MS:
        raise ValueError(f"until_ms must be a whole quarter of an hour, found {until_ms}")
    known = ordered(facts)
    start = first_anchor(trace, known) if anchor is None else anchor
    if start is None:
        return Walk(BaseRows.empty(), (), (), None)
    source = Source(trace, known, start.t_ms)
    power = SparePower if vectorised else Power
    state = State(source, power(source.sample_t, source.sample_p), until_ms, start)
    if vectorised:
        stretch.run(state)
    else:
        walker.run(state)
    days = state.days if anchor is not None else [start, *state.days]
    return Walk(state.sheet.rows(), _distinct(state.events), with_head(days, state.head), state.head)


def with_head(days: Iterable[Anchor], head: Anchor | None) -> tuple[Anchor, ...]:
    """The first anchors of the days, and the head as last."""
    if head is None:
        return tuple(days)
    return (*(day for day in days if day.t_ms != head.t_ms), head)


def first_anchor(trace: Trace, facts: Sequence[RegisterFacts]) -> Anchor | None:
    """The first poll of all is the first level."""
    polls = np.nonzero(valid_polls(trace))[0]
    if not len(polls):
        return None
    t, register = int(trace.t_ms[polls[0]]), int(trace.register_mwh[polls[0]])
    start = t // QUARTER_MS * QUARTER_MS
    row = RowSums(start)
    if t == start:
        read = as_read(at(facts, t)[0], 0, register, register)
        row = RowSums(start, register_mwh=read, has_register=True)
    return Anchor(t, t, register, 0, t, 0, t, None, row)


def rebuilt_anchor(rows: BaseRows, start_ms: int) -> Anchor | None:
    """An anchor made anew from the row that starts at this instant, for one that was lost; None = no register there.

    The register at the row's start becomes the level, so that at most a step is shaped otherwise than before.
    """
    i = int(np.searchsorted(rows.start_ms, start_ms))
    if i == len(rows) or rows.start_ms[i] != start_ms or not rows.has_register[i]:
        return None
    k = int(rows.held_k[i])
    register, before, after = (int(column[i]) for column in (rows.register_mwh, rows.before_ms, rows.after_ms))
    row = RowSums(start_ms, register_mwh=register, before_ms=before, after_ms=after, has_register=True)
    mean: int | None = None
    if i and int(rows.known_ms[i - 1] + rows.held_ms[i - 1]):
        energy = int(rows.known_mwh[i - 1] + rows.held_mwh[i - 1])
        mean = energy * HOUR_MS // int(rows.known_ms[i - 1] + rows.held_ms[i - 1])
    level = scaled(register, k)
    return Anchor(start_ms, start_ms + BURST_MAX_MS, level, 0, start_ms, k, start_ms, mean, row)


def _distinct(events: Iterable[LedgerEvent]) -> tuple[LedgerEvent, ...]:
    """By instant, one for each: the instant is an event's identity."""
    found: dict[int, LedgerEvent] = {}
    for event in sorted(events, key=lambda one: (one.at_ms, _rank(one))):
        found[event.at_ms] = event
    return tuple(found.values())


def _rank(event: LedgerEvent) -> int:
    return _RANK.index(event.kind) if event.kind in _RANK else len(_RANK)
