"""Decisions over what a walk gave: faults cured long after raw readings are gone, and laws that hold for any decisions.

The load is 6 kW without a break, 100 Wh a minute, on a register of 10 Wh from 500 kWh on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.decisions import Decision, EffectiveRows, Kind, decide, widened
from merilo.ledger import RegisterFacts, Trace, Walk, walk

from .meter_scenes import (
    DAY,
    FACTS,
    HOUR,
    KWH,
    MINUTE,
    QUARTER,
    REGISTER,
    T0,
    WH,
    decided,
    decision,
    same,
)

Poll = tuple[int, int | None, int | None]


def polls(minutes: int, register: Callable[[int], int | None], power: bool = False) -> list[Poll]:
    """What a register shows each minute."""
    return [(T0 + i * MINUTE, register(i), 6 * KWH if power else None) for i in range(minutes + 1)]


def walked(readings: list[Poll], facts: tuple[RegisterFacts, ...] = FACTS) -> Walk:
    return walk(Trace.of(readings), facts, readings[-1][0] // QUARTER * QUARTER)


def true_wh(minute: int) -> int:
    return 500_000 + 100 * minute


@pytest.mark.parametrize("gap", [1, 40])
def test_a_swap_with_its_two_readings_restores_the_total(gap: int) -> None:
    # The old device is taken out at minute 602 (or later), the new one shows 7 Wh at first; polls pause for the gap.
    at = 600 + gap
    readings = [
        poll
        for poll in polls(1_440, lambda i: (true_wh(i) if i < at else 7 + true_wh(i) - true_wh(at - 1)) * WH)
        if not T0 + 600 * MINUTE < poll[0] < T0 + at * MINUTE
    ]
    found = walked(readings)
    # Removed a minute before the first poll of the new one.
    one = decision(1, "swap", T0 + (at - 1) * MINUTE + 1, final_wh=true_wh(at - 1), first_wh=7)

    bare, cured = decided(found.rows, [], found.events), decided(found.rows, [one], found.events)

    assert cured.orphans == ()
    assert int(cured.energy_mwh.sum()) == 144 * KWH
    assert not np.any(cured.estimated_mwh)
    assert int(bare.metered_mwh.sum() + bare.bridged_mwh.sum()) < 144 * KWH


def test_a_factor_after_a_changed_decode_restores_the_total() -> None:
    found = walked(polls(2_880, lambda i: (true_wh(i) if i < 720 else 10 * true_wh(i)) * WH))
    one = decision(1, "scale", T0 + 720 * MINUTE, T0 + 2 * DAY, factor=0.1)

    bare, cured = decided(found.rows, [], found.events), decided(found.rows, [one], found.events)

    assert int(bare.energy_mwh.sum()) < 73 * KWH
    # All but the minute of the change, which was filled with 100 Wh.
    assert int(cured.energy_mwh.sum()) == 288 * KWH
    assert int(cured.estimated_mwh.sum()) == 100 * WH
    assert int((cured.state == 3).sum()) == 191


def test_a_reset_that_was_a_rollover_is_counted_across_the_modulus() -> None:
    wrap = 600_000 * WH
    found = walked(polls(1_440, lambda i: true_wh(i) * WH % wrap))
    one = decision(1, "reclassify", found.events[0].at_ms, type="rollover", rollover_wh=600_000)

    assert [event.kind for event in found.events] == ["reset"]
    assert int(decided(found.rows, [one], found.events).energy_mwh.sum()) == 144 * KWH


def test_an_excluded_level_that_lasted_for_more_than_a_day_leaves_the_registers_around_it() -> None:
    # From 06:00 to 14:00 of the next day the register shows 80 kWh too much.
    low, high = 360, 360 + 32 * 60
    found = walked(polls(4_320, lambda i: (true_wh(i) + (80_000 if low <= i < high else 0)) * WH))
    one = decision(1, "exclude", T0 + low * MINUTE, T0 + high * MINUTE)

    cured = decided(found.rows, [one], found.events)

    assert len(found.events) == 2
    assert int(cured.energy_mwh.sum()) == 432 * KWH
    assert not np.any(cured.estimated_mwh)
    assert not np.any(cured.state == 0)


# -- laws ------------------------------------------------------------------------------------------------------------


@cache
def history() -> Walk:
    """Three days with a swap, a burst of zeros, an outage, a reset and a changed decode."""
    rng = np.random.default_rng(7)
    level, shown, readings = 500 * KWH, 0, list[Poll]()
    for i in range(3 * 1_440):
        level += int(rng.integers(0, 20)) * 10 * WH
        if i == 500:
            level = 3 * KWH  # another device
        if i == 2_000:
            level = 0  # began anew
        shown = 0 if 900 <= i < 905 else level * 10 if i >= 3_000 else level
        if not (1_200 <= i < 1_330 or i % 97 == 0):
            readings.append((T0 + i * MINUTE + int(rng.integers(0, 9_000)), shown, None))
    return walked(readings)


@st.composite
def decisions(draw: st.DrawFn, revoked: bool | None = None) -> list[Decision]:
    """Up to eight decisions at and around what happened, some revoked."""
    marks = [event.at_ms for event in history().events] + [T0 + 1_265 * MINUTE, T0 + 700 * MINUTE]
    found = []
    for number in range(draw(st.integers(0, 8))):
        kind = cast("Kind", draw(st.sampled_from(["confirm", "scale", "swap", "reclassify", "exclude"])))
        begin = draw(st.sampled_from(marks)) + draw(st.sampled_from([0, 0, -1, 1, -70_000, 70_000, 3 * HOUR]))
        end = begin + draw(st.sampled_from([1, MINUTE, 2 * HOUR, 20 * HOUR]))
        choices: dict[str, dict[str, Any]] = {
            "confirm": {},
            "scale": {"factor": draw(st.sampled_from([0.1, 0.5, 1.0, 3.0, 10.0]))},
            "swap": {"final_wh": draw(st.sampled_from([0, 547_000, 600_000])), "first_wh": draw(st.integers(0, 3_000))},
            "reclassify": {"type": draw(st.sampled_from(["load", "reset", "rollover"])), "rollover_wh": 1e6},
            "exclude": {},
        }
        found.append(
            Decision(
                id=number,
                kind=kind,
                target=REGISTER,
                from_ms=begin,
                to_ms=end if kind in ("scale", "exclude") else begin,
                parameters=choices[kind],
                created_ms=T0 + number,
                revoked=draw(st.booleans()) if revoked is None else revoked,
            )
        )
    return found


def all_decided(some: list[Decision]) -> EffectiveRows:
    found = history()
    return decided(found.rows, some, found.events)


def test_the_history_holds_what_it_should() -> None:
    kinds = [event.kind for event in history().events]

    assert {"swap", "zero_burst", "reset", "decode_change"} <= set(kinds)
    assert set(history().rows.state.tolist()) >= {0, 2, 3}


@given(some=decisions(revoked=True))
@settings(max_examples=20)
def test_decisions_and_their_revocations_are_nothing(some: list[Decision]) -> None:
    assert same(all_decided(some), all_decided([]))


@given(some=decisions(), seed=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_in_which_decisions_are_given_means_nothing(some: list[Decision], seed: Any) -> None:
    shuffled = list(some)
    seed.shuffle(shuffled)

    assert same(all_decided(shuffled), all_decided(some))


@given(some=decisions())
@settings(max_examples=40, deadline=None)
def test_no_row_of_a_register_is_negative_and_only_touched_rows_change(some: list[Decision]) -> None:
    bare, found = all_decided([]), all_decided(some)

    for name in ("energy_mwh", "low_mwh", "metered_mwh", "bridged_mwh", "estimated_mwh"):
        assert getattr(found, name).min() >= 0
        changed = found.start_ms[getattr(found, name) != getattr(bare, name)]
        assert set(changed.tolist()) <= set(found.decisions)


@given(some=decisions(), first=st.integers(0, 280), length=st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_a_part_decided_alone_equals_the_same_part_of_all(some: list[Decision], first: int, length: int) -> None:
    base = history().rows
    start, end = T0 + first * QUARTER, T0 + (first + length) * QUARTER
    reach = widened(start, end, base, history().events, some)
    part = base.slice(reach.start_ms, reach.end_ms + QUARTER)
    low, high = int(part.start_ms[0]), int(part.start_ms[-1]) + QUARTER
    near = [event for event in history().events if event.t0_ms < high and event.t1_ms > low]

    found = decide(part, near, some, FACTS)

    whole = all_decided(some)
    inside = slice((low - T0) // QUARTER, (reach.end_ms - T0) // QUARTER)
    count = inside.stop - inside.start
    for name in ("state", "energy_mwh", "low_mwh", "metered_mwh", "bridged_mwh", "estimated_mwh"):
        assert getattr(found, name)[:count].tolist() == getattr(whole, name)[inside].tolist(), name
