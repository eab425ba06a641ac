"""Unknown pairs that a reading, or the operator's word on what happened, makes known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from merilo.decisions.decision import Decision, Ints
from merilo.decisions.work import Work, spread
from merilo.instants import QUARTER_MS
from merilo.ledger import BRIDGED, METERED, LedgerEvent


def has_pair(event: LedgerEvent) -> bool:
    """Whether the event leaves a stretch between two registers unknown: only these can be made known."""
    breaks = event.kind in ("swap", "reset", "decode_change") or event.detail in ("rebased", "resumed")
    return breaks and event.detail != "undecided" and event.r0_mwh is not None and event.r1_mwh is not None


@dataclass(slots=True)
class DecidedPair:
    """An unknown pair, its decided energy, and the decisions about it."""

    event: LedgerEvent
    energy_mwh: int
    ids: list[int]


def pair_of_swap(one: Decision, events: Iterable[LedgerEvent]) -> LedgerEvent | None:
    """The unknown pair in which a device was replaced."""
    return next((e for e in events if has_pair(e) and e.t0_ms < one.from_ms <= e.t1_ms), None)


def confirm(work: Work) -> None:
    """Changes nothing; a confirmation whose event is gone is shown."""
    for one in work.of("confirm"):
        if work.inside(one.from_ms) and not any(event.at_ms == one.from_ms for event in work.events):
            work.orphan(one, "event_gone")


def swap(work: Work) -> dict[int, DecidedPair]:
    """Pairs that the readings of replaced devices make known, by the instant of the event.

    Swaps inside one pair belong together: a device can have been replaced twice while nobody polled.
    """
    by_pair: dict[int, dict[int, Decision]] = {}
    for one in work.of("swap"):
        pair = pair_of_swap(one, work.events)
        if pair is not None:
            by_pair.setdefault(pair.at_ms, {})[one.from_ms] = one  # of two for one instant the later one stands
        elif work.inside(one.from_ms):
            _correct(work, one)
    found: dict[int, DecidedPair] = {}
    for event in (e for e in work.events if has_pair(e) and e.at_ms in by_pair):
        swaps = list(by_pair[event.at_ms].values())
        energy = _rise(event) + sum(one.mwh("final_wh") - one.mwh("first_wh") for one in swaps)
        _know(work, found, event, energy, swaps)
    return found


def _correct(work: Work, one: Decision) -> None:
    """A swap that left no unknown pair: the walk took the step between the two devices for energy."""
    if any(e.detail == "undecided" and e.t0_ms < one.from_ms for e in work.events):
        work.orphan(one, "event_undecided")
        return
    i = work.index(one.from_ms)
    if work.known_ms[i] == 0:
        work.orphan(one, "nothing_known")
        return
    after = int(work.rows.after_ms[i + 1]) if i + 1 < len(work.rows) else 0
    limit = work.facts_at(one.from_ms).limit_mwh(QUARTER_MS + int(work.rows.before_ms[i]) + after)
    energy = int(work.known[i]) + one.mwh("final_wh") - one.mwh("first_wh")
    if not 0 <= energy <= limit:
        work.orphan(one, "outside_limit")
        return
    work.known[i] = energy
    work.touch(slice(i, i + 1), one.id)


def reclassify(work: Work, found: dict[int, DecidedPair]) -> dict[int, DecidedPair]:
    """The same with what operators say an event was; where a pair has both, this stands."""
    for one in work.of("reclassify"):
        named = [event for event in work.events if event.at_ms == one.from_ms]
        event = next((event for event in named if has_pair(event)), None)
        if event is not None:
            energy = _as_type(work, one, event)
            if energy is None:
                work.orphan(one, "rollover_unknown")
            else:
                _know(work, found, event, energy, [one])
        elif any(event.detail == "undecided" for event in named):
            work.orphan(one, "event_undecided")
        elif named:
            work.orphan(one, "no_pair")
        elif work.inside(one.from_ms):
            work.orphan(one, "event_gone")
    return found


def _as_type(work: Work, one: Decision, event: LedgerEvent) -> int | None:
    """Energy of the event's pair if it was a rollover, load, or a counter that began at zero; None without modulus."""
    if one.parameters["type"] == "reset":
        return event.r1_mwh
    if one.parameters["type"] == "load":
        return _rise(event)
    modulus = work.facts_at(event.t1_ms).rollover_mwh
    if "rollover_wh" in one.parameters:
        modulus = one.mwh("rollover_wh")
    return None if modulus is None else _rise(event) + modulus


def _rise(event: LedgerEvent) -> int:
    return (event.r1_mwh or 0) - (event.r0_mwh or 0)


def _know(
    work: Work, found: dict[int, DecidedPair], event: LedgerEvent, energy_mwh: int, decisions: Sequence[Decision]
) -> None:
    limit = event.high_mwh
    if limit is None:
        limit = work.facts_at(event.t1_ms).limit_mwh(event.t1_ms - event.t0_ms)
    if not 0 <= energy_mwh <= limit:
        for one in decisions:
            work.orphan(one, "outside_limit")
        return
    earlier = found[event.at_ms].ids if event.at_ms in found else []
    found[event.at_ms] = DecidedPair(event, energy_mwh, [*earlier, *(one.id for one in decisions)])


def settle(work: Work, pairs: dict[int, DecidedPair]) -> None:
    """Spreads the energy of each decided pair flat over it, in place of its estimate."""
    for pair in pairs.values():
        event = pair.event
        where = work.between(event.t0_ms, event.t1_ms)
        if where.start == where.stop:
            continue
        energy, time = spread(pair.energy_mwh, event.t0_ms, event.t1_ms, work.rows.start_ms[where])
        if event.estimated_mwh is not None:
            _drop_estimate(work, where, time, event.estimated_mwh)
        work.known[where] += energy
        work.known_ms[where] += time
        short = event.t1_ms - event.t0_ms <= work.facts_at(event.t1_ms).gap_metered_ms
        work.known_state[where] = np.minimum(work.known_state[where], METERED if short else BRIDGED)
        work.touch(where, *pair.ids)


def _drop_estimate(work: Work, where: slice, time: Ints, total_mwh: int) -> None:
    """Takes the estimate of a pair out of its rows.

    A row in which nothing else was estimated gives all of it. Only the first and the last row can hold other
    estimates; they give what is left of the pair's total, by time.
    """
    estimated, estimated_ms = work.estimated[where], work.estimated_ms[where]
    alone = estimated_ms <= time
    left = max(0, total_mwh - int(estimated[alone].sum()))
    weight = np.where(alone, 0, time)
    share = np.cumsum(weight) * left // max(1, int(weight.sum()))
    gone = np.where(alone, estimated, np.minimum(estimated, np.diff(share, prepend=0)))
    work.estimated[where] = estimated - gone
    work.estimated_ms[where] = np.maximum(0, estimated_ms - time)
