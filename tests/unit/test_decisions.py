"""Each kind of decision over base rows written by hand: 6 kW, 1 500 Wh a row, register from 500 kWh on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from merilo.decisions import Decision, Orphan, Reach, decide, decided_range, widened
from merilo.ids import RegisterKey
from merilo.ledger import RegisterFacts

from .meter_scenes import (
    BRIDGED,
    ESTIMATED,
    FACTS,
    HOUR,
    KWH,
    METER,
    METERED,
    MINUTE,
    MISSING,
    QUARTER,
    REGISTER,
    SECOND,
    T0,
    WH,
    base,
    decided,
    decision,
    event,
    wh,
)

PAIR: dict[str, Any] = {"known_mwh": {3: 1_400 * WH}, "known_ms": {3: 14 * MINUTE}}
"""Row 3 without its last minute."""
FILLED: dict[str, Any] = PAIR | {"estimated_mwh": {3: 100 * WH}, "estimated_ms": {3: MINUTE}}
"""The same with the last minute estimated."""


def swapped(**fields: Any) -> Any:
    """A device of 505.9 kWh replaced by one of 1.5 kWh between two polls a minute apart."""
    plain = {"r0_mwh": 505_900 * WH, "r1_mwh": 1_500 * WH, "low_mwh": 0, "high_mwh": 416_111, "estimated_mwh": 100 * WH}
    return event("swap", "suspected", T0 + 59 * MINUTE, T0 + 60 * MINUTE, **(plain | fields))


# -- no decision -----------------------------------------------------------------------------------------------------


def test_without_decisions_rows_are_what_the_register_said() -> None:
    rows = base(
        4,
        known_mwh={1: 1_400 * WH, 2: 700 * WH, 3: 1_500 * WH},
        known_ms={1: 14 * MINUTE, 2: 7 * MINUTE},
        known_state={3: BRIDGED},
        estimated_mwh={1: 100 * WH, 2: 100 * WH},
        estimated_ms={1: MINUTE, 2: MINUTE},
    )

    found = decided(rows, [])

    assert found.state.tolist() == [METERED, ESTIMATED, MISSING, BRIDGED]
    assert wh(found.energy_mwh) == [1_500, 1_500, 0, 1_500]
    assert wh(found.low_mwh) == [1_500, 1_500, 700, 1_500]  # an estimate is not known
    assert wh(found.metered_mwh) == [1_500, 1_400, 0, 0]
    assert wh(found.bridged_mwh) == [0, 0, 0, 1_500]
    assert wh(found.estimated_mwh) == [0, 100, 0, 0]
    assert found.decisions == {}
    assert found.orphans == ()


def test_a_row_is_missing_exactly_when_it_is_not_covered() -> None:
    rows = base(2, known_ms={0: QUARTER - 1, 1: QUARTER - 1}, estimated_ms={1: 1})

    assert decided(rows, []).state.tolist() == [MISSING, ESTIMATED]


def test_no_rows_give_no_rows() -> None:
    assert len(decided(base(0), [decision(1, "exclude", T0, T0 + 1), decision(2, "scale", T0, T0 + 1, factor=2)])) == 0


# -- confirm ---------------------------------------------------------------------------------------------------------


def test_a_confirmation_changes_nothing_and_is_orphaned_when_its_event_is_gone() -> None:
    rows = base(6, **FILLED)

    kept = decided(rows, [decision(1, "confirm", T0 + HOUR)], [swapped()])
    gone = decided(rows, [decision(1, "confirm", T0 + HOUR)])

    assert (kept.decisions, kept.orphans) == ({}, ())
    assert gone.orphans == (Orphan(1, "event_gone"),)
    assert wh(kept.energy_mwh) == [1_500] * 6


# -- scale -----------------------------------------------------------------------------------------------------------


def test_a_factor_acts_on_whole_rows_inside_its_stretch() -> None:
    found = decided(base(5), [decision(7, "scale", T0 + 5 * MINUTE, T0 + 50 * MINUTE, factor=1.5)])

    assert wh(found.energy_mwh) == [1_500, 2_250, 2_250, 1_500, 1_500]
    assert found.state.tolist() == [METERED] * 5
    assert found.decisions == {T0 + QUARTER: (7,), T0 + 2 * QUARTER: (7,)}


def test_two_factors_on_one_row_multiply() -> None:
    two = [decision(1, "scale", T0, T0 + QUARTER, factor=2), decision(2, "scale", T0, T0 + 2 * QUARTER, factor=1.5)]

    found = decided(base(3), two)

    assert wh(found.energy_mwh) == [4_500, 2_250, 1_500]
    assert found.decisions[T0] == (1, 2)


@pytest.mark.parametrize(("k", "factor"), [(-1, 0.1), (1, 10.0), (-3, 0.001)])
@pytest.mark.parametrize("with_power", [True, False])
def test_a_factor_releases_what_a_suspended_register_counted(k: int, factor: float, with_power: bool) -> None:
    # Rows 1 and 2 were read in another power of ten; held is the register times 10^k, 1 500 Wh a row.
    estimate = {1: 1_450 * WH, 2: 1_450 * WH} if with_power else {}
    rows = base(
        4,
        known_mwh={1: 0, 2: 0},
        known_ms={1: 0, 2: 0},
        estimated_mwh=estimate,
        estimated_ms=dict.fromkeys(estimate, QUARTER),
        held_mwh={1: 1_500 * WH, 2: 1_500 * WH},
        held_ms={1: QUARTER, 2: QUARTER},
        held_k={1: k, 2: k},
    )
    before = decided(rows, [])

    found = decided(rows, [decision(1, "scale", T0 + QUARTER, T0 + 3 * QUARTER, factor=factor)])

    assert before.state.tolist()[1:3] == [ESTIMATED if with_power else MISSING] * 2
    assert wh(found.energy_mwh) == [1_500] * 4
    assert found.state.tolist() == [METERED] * 4
    assert wh(found.estimated_mwh) == [0] * 4


def test_released_energy_is_bridged_where_polls_are_far_apart_or_the_step_is_coarse() -> None:
    suspended: dict[str, Any] = {
        "known_mwh": dict.fromkeys(range(1, 4), 0),
        "known_ms": dict.fromkeys(range(1, 4), 0),
        "held_mwh": dict.fromkeys(range(1, 4), 1_500 * WH),
        "held_ms": dict.fromkeys(range(1, 4), QUARTER),
        "held_k": dict.fromkeys(range(1, 4), -1),
    }
    gap = base(5, before_ms={3: 10 * MINUTE}, after_ms={3: 6 * MINUTE}, **suspended)
    coarse = (RegisterFacts(step_mwh=100 * WH, max_power_mw=23 * KWH, poll_interval_ms=MINUTE),)
    factor = [decision(1, "scale", T0 + QUARTER, T0 + 4 * QUARTER, factor=0.1)]

    # 16 minutes without a poll around 00:45 take the rows on both sides.
    assert decided(gap, factor).state.tolist() == [METERED, METERED, BRIDGED, BRIDGED, METERED]
    assert decided(base(5, **suspended), factor, facts=coarse).state.tolist() == [METERED, 2, 2, 2, METERED]


def test_of_a_row_that_was_suspended_for_a_part_other_estimates_stay() -> None:
    # 15 min = 5 known + 1 unknown, filled with 80 Wh + 9 held, estimated with 720 Wh.
    rows = base(
        1,
        known_mwh={0: 0},
        known_ms={0: 5 * MINUTE},
        estimated_mwh={0: 800 * WH},
        estimated_ms={0: 10 * MINUTE},
        held_mwh={0: 900 * WH},
        held_ms={0: 9 * MINUTE},
        held_k={0: -1},
    )

    found = decided(rows, [decision(1, "scale", T0, T0 + QUARTER, factor=0.1)])

    assert wh(found.energy_mwh) == [980]
    assert wh(found.estimated_mwh) == [80]
    assert found.state.tolist() == [ESTIMATED]


# -- swap ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", [3_540.001, 3_570, 3_600])
@pytest.mark.parametrize(("columns", "estimate"), [(FILLED, 100 * WH), (PAIR, None)], ids=["filled", "missing"])
def test_the_two_readings_of_a_swap_make_its_pair_known(
    at_s: float, columns: dict[str, Any], estimate: int | None
) -> None:
    # 70 Wh on the old device after its last poll, 50 Wh on the new one before its first.
    one = decision(4, "swap", T0 + int(at_s * SECOND), final_wh=505_970, first_wh=1_450)

    found = decided(base(6, **columns), [one], [swapped(estimated_mwh=estimate)])

    assert wh(found.energy_mwh) == [1_500, 1_500, 1_500, 1_520, 1_500, 1_500]
    assert found.state.tolist() == [METERED] * 6
    assert found.decisions == {T0 + 3 * QUARTER: (4,)}
    assert found.orphans == ()


LONG: dict[str, Any] = {
    "known_mwh": {0: 1_000 * WH, 1: 0, 2: 500 * WH},
    "known_ms": {0: 10 * MINUTE, 1: 0, 2: 5 * MINUTE},
    "has_register": {1: False, 2: False},
}
"""Nothing known from 00:10 to 00:40."""


def long_swap(**fields: Any) -> Any:
    plain = {"r0_mwh": 501_000 * WH, "r1_mwh": 0, "low_mwh": 0, "high_mwh": 12 * KWH}
    return event("swap", "suspected", T0 + 10 * MINUTE, T0 + 40 * MINUTE, **(plain | fields))


def test_a_long_pair_is_spread_flat_and_bridged() -> None:
    one = decision(4, "swap", T0 + 30 * MINUTE, final_wh=503_000, first_wh=-0.0)

    found = decided(base(4, **LONG), [one], [long_swap(r1_mwh=1_000 * WH)])

    # 2 000 Wh + 1 000 Wh over 30 minutes: 100 Wh a minute.
    assert wh(found.energy_mwh) == [1_500, 1_500, 1_500, 1_500]
    assert wh(found.bridged_mwh) == [1_500, 1_500, 1_500, 0]
    assert found.state.tolist() == [BRIDGED, BRIDGED, BRIDGED, METERED]


def test_shares_of_a_pair_add_up_to_the_milliwatt_hour() -> None:
    one = decision(4, "swap", T0 + 30 * MINUTE, final_wh=501_000.1, first_wh=0)

    found = decided(base(4, **LONG), [one], [long_swap()])

    # 100 mWh over 5 + 15 + 10 minutes: 16.67, 50, 33.33, cut at 17, 67 and 100.
    assert (found.energy_mwh - [1_000 * WH, 0, 500 * WH, 1_500 * WH]).tolist() == [17, 50, 33, 0]


def test_only_the_estimate_of_the_pair_goes_from_its_first_and_last_row() -> None:
    # Rows 0 and 2 hold another minute each that was estimated with 90 and 60 Wh.
    rows = base(
        3,
        known_mwh={0: 900 * WH, 1: 0, 2: 400 * WH},
        known_ms={0: 9 * MINUTE, 1: 0, 2: 4 * MINUTE},
        estimated_mwh={0: 590 * WH, 1: 1_400 * WH, 2: 1_060 * WH},
        estimated_ms={0: 6 * MINUTE, 1: QUARTER, 2: 11 * MINUTE},
    )
    one = decision(4, "swap", T0 + 30 * MINUTE, final_wh=501_600, first_wh=0)

    found = decided(rows, [one], [long_swap(estimated_mwh=2_900 * WH)])

    # 600 Wh over 30 minutes: 100, 300, 200 Wh.
    # 2 900 - 1 400 Wh of the estimate lay at the ends: 500 Wh for 5 min, 1 000 for 10.
    assert wh(found.estimated_mwh) == [90, 0, 60]
    assert wh(found.bridged_mwh) == [1_000, 300, 600]
    assert found.state.tolist() == [ESTIMATED, BRIDGED, ESTIMATED]


def test_two_swaps_in_one_pair_belong_together() -> None:
    # 501 kWh -> 502 kWh | 10 kWh -> 10.5 kWh | 0 -> 1 kWh: 1 000 + 500 + 1 000 Wh; the first alone would be negative.
    two = [
        decision(1, "swap", T0 + 20 * MINUTE, final_wh=502_000, first_wh=10_000),
        decision(2, "swap", T0 + 30 * MINUTE, final_wh=10_500, first_wh=0),
    ]

    found = decided(base(4, **LONG), two, [long_swap(r1_mwh=1_000 * WH)])
    alone = decided(base(4, **LONG), two[:1], [long_swap(r1_mwh=1_000 * WH)])

    assert int(found.energy_mwh.sum()) == (1_500 + 2_500 + 1_500) * WH
    assert found.decisions[T0] == (1, 2)
    assert alone.orphans == (Orphan(1, "outside_limit"),)


def test_of_two_swaps_for_one_instant_the_later_entry_stands() -> None:
    two = [
        decision(1, "swap", T0 + 20 * MINUTE, final_wh=510_000, first_wh=0),
        decision(2, "swap", T0 + 20 * MINUTE, final_wh=502_000, first_wh=0),
    ]

    found = decided(base(4, **LONG), two, [long_swap()])

    assert int(found.energy_mwh.sum()) == (1_500 + 1_000 + 1_500) * WH
    assert found.decisions[T0] == (2,)


@pytest.mark.parametrize(
    ("final_wh", "fits"), [(517_000, True), (517_000.001, False), (489_000, True), (488_999, False)]
)
def test_a_decided_energy_outside_the_bounds_of_its_pair_is_not_applied(final_wh: float, fits: bool) -> None:
    # R1 - R0 = -501 kWh + 506 kWh, at least 0 and at most 12 kWh.
    one = decision(4, "swap", T0 + 30 * MINUTE, final_wh=final_wh, first_wh=0)
    rows = base(4, **LONG)

    found = decided(rows, [one], [long_swap(r1_mwh=12 * KWH)] if final_wh < 500_000 else [long_swap(r0_mwh=505 * KWH)])

    assert found.orphans == (() if fits else (Orphan(4, "outside_limit"),))
    assert (found.decisions == {}) is not fits
    if not fits:
        assert wh(found.low_mwh) == [1_000, 0, 500, 1_500]


def test_a_swap_that_left_no_pair_corrects_the_row_that_holds_it() -> None:
    # The new device began 400 Wh below where the old one ended: the walk took 400 Wh too little.
    one = decision(4, "swap", T0 + 20 * MINUTE, final_wh=501_900, first_wh=501_500)

    found = decided(base(3), [one])

    assert wh(found.energy_mwh) == [1_500, 1_900, 1_500]
    assert found.state.tolist() == [METERED] * 3
    assert found.decisions == {T0 + QUARTER: (4,)}


@pytest.mark.parametrize(
    ("final_wh", "first_wh", "fits"),
    [(0, 1_500, True), (0, 1_500.001, False), (5_782.777, 1_500, True), (5_782.778, 1_500, False)],
)
def test_a_correction_leaves_its_row_between_nothing_and_what_the_register_can_count(
    final_wh: float, first_wh: float, fits: bool
) -> None:
    # 1 500 Wh + final - first; 23 kW give 5 762.777 Wh in 902 s, and two steps are 20 Wh.
    one = decision(4, "swap", T0 + 20 * MINUTE, final_wh=final_wh, first_wh=first_wh)

    found = decided(base(3), [one])

    assert found.orphans == (() if fits else (Orphan(4, "outside_limit"),))


def test_a_swap_in_a_row_with_nothing_known_is_not_applied() -> None:
    rows = base(3, known_mwh={1: 0}, known_ms={1: 0})

    found = decided(rows, [decision(4, "swap", T0 + 20 * MINUTE, final_wh=2, first_wh=1)])

    assert found.orphans == (Orphan(4, "nothing_known"),)


def test_decisions_wait_while_an_event_is_undecided() -> None:
    open_event = event("swap", "undecided", T0 + 29 * MINUTE, T0 + 30 * MINUTE, r0_mwh=KWH, r1_mwh=0)
    rows = base(4, known_mwh={1: 1_400 * WH}, known_ms={1: 14 * MINUTE})
    two = [
        decision(1, "swap", T0 + 29 * MINUTE + 1, final_wh=1_100, first_wh=0),
        decision(2, "reclassify", T0 + 30 * MINUTE, type="load"),
    ]

    found = decided(rows, two, [open_event])

    assert found.orphans == (Orphan(1, "event_undecided"), Orphan(2, "event_undecided"))
    assert found.decisions == {}


# -- reclassify ------------------------------------------------------------------------------------------------------


def wrapped(**fields: Any) -> Any:
    """999 998.46 kWh, a quarter of an hour later 1.27 kWh: 2.81 kWh if the counter wraps at a million kWh."""
    plain = {"r0_mwh": 999_998_460 * WH, "r1_mwh": 1_270 * WH, "low_mwh": 1_270 * WH, "high_mwh": 5_782_777}
    return event("reset", "", T0 + QUARTER, T0 + 2 * QUARTER, **(plain | fields))


HOLE: dict[str, Any] = {"known_mwh": {1: 0}, "known_ms": {1: 0}}


@pytest.mark.parametrize(
    ("fields", "parameters", "expected_wh"),
    [
        ({}, {"type": "rollover", "rollover_wh": 1e9}, 2_810),
        ({}, {"type": "reset"}, 1_270),
        ({"r0_mwh": 1_000 * WH}, {"type": "load"}, 270),
    ],
)
def test_a_person_can_say_what_an_event_was(
    fields: dict[str, int], parameters: dict[str, Any], expected_wh: float
) -> None:
    one = decision(9, "reclassify", T0 + 2 * QUARTER, **parameters)

    found = decided(base(3, **HOLE), [one], [wrapped(**fields)])

    assert wh(found.energy_mwh) == [1_500, expected_wh, 1_500]
    assert found.state.tolist() == [METERED] * 3  # the pair is 900 s long
    assert found.decisions == {T0 + QUARTER: (9,)}


def test_the_modulus_comes_from_the_facts_and_is_never_guessed() -> None:
    one = decision(9, "reclassify", T0 + 2 * QUARTER, type="rollover")
    wraps = RegisterFacts(
        step_mwh=10 * WH, max_power_mw=23 * KWH, poll_interval_ms=MINUTE, rollover_mwh=1_000_000 * KWH
    )

    unknown = decided(base(3, **HOLE), [one], [wrapped()])
    known = decided(base(3, **HOLE), [one], [wrapped()], (wraps,))

    assert unknown.orphans == (Orphan(9, "rollover_unknown"),)
    assert wh(known.energy_mwh) == [1_500, 2_810, 1_500]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "event_gone"),
        ([event("spike", "", T0 + QUARTER, T0 + 2 * QUARTER, r0_mwh=1)], "no_pair"),
        ([wrapped()], "outside_limit"),
    ],
)
def test_a_reclassification_that_does_not_fit_is_shown_as_orphaned(events: list[Any], reason: Any) -> None:
    one = decision(9, "reclassify", T0 + 2 * QUARTER, type="load")

    found = decided(base(3, **HOLE), [one], events)

    assert found.orphans == (Orphan(9, reason),)
    assert found.state.tolist() == [METERED, MISSING, METERED]


def test_an_event_outside_the_rows_is_not_judged() -> None:
    elsewhere = [decision(1, "reclassify", T0 + 9 * HOUR, type="load"), decision(2, "confirm", T0 - 1)]

    assert decided(base(3), elsewhere).orphans == ()


def test_a_factor_comes_before_the_readings_of_a_swap_whatever_was_entered_first() -> None:
    two = [
        decision(1, "swap", T0 + HOUR, final_wh=505_970, first_wh=1_450),
        decision(2, "scale", T0 + 3 * QUARTER, T0 + HOUR, factor=2),
    ]

    found = decided(base(6, **FILLED), two, [swapped()])

    assert wh(found.energy_mwh)[3] == 2 * 1_400 + 120
    assert found.decisions == {T0 + 3 * QUARTER: (1, 2)}


def test_a_reclassification_stands_over_a_swap_of_the_same_pair() -> None:
    two = [
        decision(1, "reclassify", T0 + HOUR, type="reset"),
        decision(2, "swap", T0 + HOUR, final_wh=505_970, first_wh=0),
    ]

    found = decided(base(6, **FILLED), two, [swapped(r1_mwh=30 * WH)])
    swap_alone = decided(base(6, **FILLED), two[1:], [swapped(r1_mwh=30 * WH)])

    assert wh(swap_alone.energy_mwh)[3] == 1_500
    assert wh(found.energy_mwh)[3] == 1_430
    assert found.decisions == {T0 + 3 * QUARTER: (1, 2)}


# -- exclude ---------------------------------------------------------------------------------------------------------

BESIDE: dict[str, Any] = {
    "before_ms": dict.fromkeys(range(8), 53 * SECOND),
    "after_ms": dict.fromkeys(range(8), 7 * SECOND),
    "known_mwh": {3: 9_000 * WH, 4: 0},
}
"""Polled 7 s after the minute; wrong readings made row 3 too large and row 4 too small."""


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "low", "high"),
    [
        (T0 + 3 * QUARTER + 7_001, T0 + 5 * QUARTER - 53_000, 3, 5),
        (T0 + 3 * QUARTER + 7_000, T0 + 5 * QUARTER - 53_000, 2, 5),
        (T0 + 3 * QUARTER + 7_001, T0 + 5 * QUARTER - 52_999, 3, 6),
        (T0 + 3 * QUARTER, T0 + 5 * QUARTER, 2, 6),
    ],
)
def test_an_exclusion_reaches_to_registers_that_rest_on_polls_outside_of_it(
    from_ms: int, to_ms: int, low: int, high: int
) -> None:
    rows = base(8, **BESIDE)
    one = decision(5, "exclude", from_ms, to_ms)

    found = decided(rows, [one])

    assert wh(found.energy_mwh) == [1_500] * 8
    assert found.state.tolist() == [BRIDGED if low <= i < high else METERED for i in range(8)]
    assert list(found.decisions) == [T0 + i * QUARTER for i in range(low, high)]
    assert decided_range(one, rows) == Reach(T0 + low * QUARTER, T0 + high * QUARTER)


def test_an_exclusion_of_one_row_stays_metered() -> None:
    found = decided(base(8), [decision(5, "exclude", T0 + 3 * QUARTER + 1, T0 + 4 * QUARTER)])

    assert found.state.tolist() == [METERED] * 8
    assert list(found.decisions) == [T0 + 3 * QUARTER]


@pytest.mark.parametrize(("rise_wh", "fits"), [(11_532.777, True), (11_533, False), (0, True), (-0.001, False)])
def test_an_excluded_stretch_is_missing_where_the_registers_do_not_tell_its_energy(rise_wh: float, fits: bool) -> None:
    # 23 kW for 1 802 s are 11 512.777 Wh, and two steps.
    rows = base(6, register_mwh={2: 10 * KWH, 4: 10 * KWH + round(rise_wh * WH)}, known_mwh={2: 77 * WH})

    found = decided(rows, [decision(5, "exclude", T0 + 2 * QUARTER + 1, T0 + 4 * QUARTER)])

    assert found.state.tolist()[2:4] == ([BRIDGED, BRIDGED] if fits else [MISSING, MISSING])
    assert int(found.energy_mwh[2:4].sum()) == (round(rise_wh * WH) if fits else 0)
    assert fits or wh(found.low_mwh)[2:4] == [0, 0]


def test_an_excluded_rollover_is_counted_across_its_modulus() -> None:
    wraps = (RegisterFacts(step_mwh=10 * WH, max_power_mw=23 * KWH, poll_interval_ms=MINUTE, rollover_mwh=502 * KWH),)
    rows = base(6, register_mwh={2: 501 * KWH, 4: 2 * KWH})

    found = decided(rows, [decision(5, "exclude", T0 + 2 * QUARTER + 1, T0 + 4 * QUARTER)], facts=wraps)

    assert wh(found.energy_mwh)[2:4] == [1_500, 1_500]


def test_an_exclusion_takes_the_factor_in_force_at_its_begin() -> None:
    two = [
        decision(1, "exclude", T0 + 2 * QUARTER + 1, T0 + 4 * QUARTER),
        decision(2, "scale", T0 + 2 * QUARTER, T0 + 3 * QUARTER, factor=2),
    ]

    found = decided(base(6), two)

    assert wh(found.energy_mwh) == [1_500, 1_500, 3_000, 3_000, 1_500, 1_500]
    assert found.decisions == {T0 + 2 * QUARTER: (1, 2), T0 + 3 * QUARTER: (1,)}


@pytest.mark.parametrize(("with_factor", "states"), [(False, [MISSING] * 2), (True, [BRIDGED] * 2)])
def test_a_suspended_register_tells_an_exclusion_nothing_without_a_factor(with_factor: bool, states: list[int]) -> None:
    # Read ten times too low from row 1 on: 150 Wh a row.
    held = range(1, 6)
    rows = base(
        6,
        known_mwh=dict.fromkeys(held, 0),
        known_ms=dict.fromkeys(held, 0),
        held_mwh=dict.fromkeys(held, 1_500 * WH),
        held_ms=dict.fromkeys(held, QUARTER),
        held_k=dict.fromkeys(held, 1),
        register_mwh={i: 50 * KWH + 150 * WH * i for i in held},
    )
    factor = [decision(1, "scale", T0 + QUARTER, T0 + 6 * QUARTER, factor=10)] if with_factor else []

    found = decided(rows, [*factor, decision(2, "exclude", T0 + 2 * QUARTER + 1, T0 + 4 * QUARTER)])

    assert found.state.tolist()[2:4] == states
    assert wh(found.energy_mwh)[2:4] == ([1_500, 1_500] if with_factor else [0, 0])


def test_an_exclusion_across_a_change_of_decode_is_missing_even_where_the_difference_is_plausible() -> None:
    # 600 Wh read right at 00:30, 6 000 Wh read ten times too high at 01:00: the rise is no energy.
    rows = base(6, register_mwh={2: 600 * WH, 4: 6_000 * WH}, held_ms={4: QUARTER}, held_k={4: -1})

    found = decided(rows, [decision(2, "exclude", T0 + 2 * QUARTER + 1, T0 + 4 * QUARTER)])

    assert found.state.tolist()[2:4] == [MISSING, MISSING]


def test_an_exclusion_across_a_reported_swap_is_missing() -> None:
    rows = base(6)
    pair = event("swap", "identity", T0 + 40 * MINUTE, T0 + 41 * MINUTE, r0_mwh=1, r1_mwh=1)

    found = decided(rows, [decision(5, "exclude", T0 + 2 * QUARTER + 1, T0 + 4 * QUARTER)], [pair])

    assert found.state.tolist() == [METERED, METERED, MISSING, MISSING, METERED, METERED]


def test_exclusions_side_by_side_do_not_believe_each_other() -> None:
    # Between the two, at 00:45, the register is wrong; each alone would rest on it.
    rows = base(8, register_mwh={3: 509 * KWH})
    two = [
        decision(1, "exclude", T0 + 2 * QUARTER + 1, T0 + 3 * QUARTER),
        decision(2, "exclude", T0 + 3 * QUARTER, T0 + 4 * QUARTER),
    ]

    found = decided(rows, two)

    assert wh(found.energy_mwh) == [1_500] * 8
    assert found.state.tolist() == [METERED, METERED, BRIDGED, BRIDGED] + [METERED] * 4
    assert decided_range(two[0], rows, decisions=two) == Reach(T0 + 2 * QUARTER, T0 + 4 * QUARTER)


@pytest.mark.parametrize(
    ("one", "states", "reach"),
    [
        (
            decision(5, "exclude", T0 + 3 * QUARTER + 1, T0 + 9 * QUARTER),
            [METERED] * 3 + [MISSING],
            Reach(T0 + 3 * QUARTER, T0 + 4 * QUARTER, False, True),
        ),
        (
            decision(5, "exclude", T0 - 1, T0 + QUARTER),
            [MISSING] + [METERED] * 3,
            Reach(T0, T0 + QUARTER, True, False),
        ),
        (decision(5, "exclude", T0 + 4 * QUARTER, T0 + 5 * QUARTER), [METERED] * 4, None),
        (decision(5, "exclude", T0 - QUARTER, T0), [METERED] * 4, None),
    ],
    ids=["to the end", "from before", "after", "before"],
)
def test_an_exclusion_without_a_register_on_one_side_is_missing_as_far_as_rows_go(
    one: Decision, states: list[int], reach: Reach | None
) -> None:
    rows = base(4)

    assert decided(rows, [one]).state.tolist() == states
    assert reach is None or decided_range(one, rows) == reach


def test_without_a_register_only_the_rows_that_an_exclusion_touches_are_missing() -> None:
    rows = base(6, has_register=dict.fromkeys(range(6), False))
    key = RegisterKey("acme", "hq", "gw1", "m1", "active_power_w")
    one = Decision(id=5, kind="exclude", target=key, from_ms=T0 + 2 * QUARTER + 1, to_ms=T0 + 4 * QUARTER)

    assert decided(rows, [one]).state.tolist() == [METERED, METERED, MISSING, MISSING, METERED, METERED]
    assert decided_range(one, rows) == Reach(T0 + 2 * QUARTER, T0 + 4 * QUARTER)


# -- order, revocation, reach ----------------------------------------------------------------------------------------


def test_a_revoked_decision_is_as_if_it_had_never_been() -> None:
    one = Decision(
        id=1, kind="scale", target=REGISTER, from_ms=T0, to_ms=T0 + HOUR, parameters={"factor": 2}, revoked=True
    )

    found = decided(base(4), [one])

    assert wh(found.energy_mwh) == [1_500] * 4
    assert found.decisions == {}


def test_set_energy_is_refused_because_it_is_about_a_meter() -> None:
    with pytest.raises(ValueError, match="after forming"):
        decide(base(1), [], [decision(1, "set_energy", T0, T0 + QUARTER, energy_wh=1)], FACTS)


def test_a_changed_row_widens_to_all_rows_that_share_its_energy() -> None:
    rows = base(12)
    pair = event("swap", "suspected", T0 + 40 * MINUTE, T0 + 80 * MINUTE, r0_mwh=0, r1_mwh=0)
    decisions = [
        decision(1, "exclude", T0 + 6 * QUARTER + 1, T0 + 8 * QUARTER),
        decision(2, "swap", T0 + 70 * MINUTE, final_wh=1, first_wh=0),
        decision(3, "scale", T0, T0 + 12 * QUARTER, factor=2),
    ]

    def reach(first: int, end: int) -> tuple[int, int]:
        found = widened(T0 + first * QUARTER, T0 + end * QUARTER, rows, [pair], decisions)
        assert found[2:] == (False, False)
        return (found.start_ms - T0) // QUARTER, (found.end_ms - T0) // QUARTER

    assert reach(0, 2) == (0, 2)  # a factor acts row by row
    assert reach(0, 3) == (0, 6)  # row 2 holds the begin of the pair
    assert reach(4, 7) == (2, 8)
    assert reach(7, 9) == (6, 9)
    assert reach(8, 9) == (8, 9)


def test_what_a_revoked_decision_had_changed_is_formed_again() -> None:
    rows = base(12)
    gone = [
        replace(decision(1, "exclude", T0 + 6 * QUARTER, T0 + 8 * QUARTER), revoked=True),
        replace(decision(2, "exclude", T0 + 8 * QUARTER, T0 + 9 * QUARTER), revoked=True),
    ]

    # Registers at both edges rest on polls inside: row 5 begins with the last one outside, row 9 with the first.
    found = widened(T0 + 6 * QUARTER, T0 + 7 * QUARTER, rows, [], gone)

    assert found == Reach(T0 + 5 * QUARTER, T0 + 9 * QUARTER)


def test_the_reach_of_each_kind() -> None:
    rows = base(12)

    assert decided_range(decision(1, "scale", T0 + 1, T0 + 3 * QUARTER + 1, factor=2), rows) == Reach(
        T0 + QUARTER, T0 + 3 * QUARTER
    )
    assert decided_range(decision(1, "scale", T0 + 1, T0 + 2, factor=2), rows) == Reach(T0 + QUARTER, T0 + QUARTER)
    assert decided_range(decision(1, "set_energy", T0, T0 + HOUR, energy_wh=1), rows) == Reach(T0, T0 + HOUR)
    assert decided_range(decision(1, "confirm", T0 + 1), rows) == Reach(T0, T0)
    assert decided_range(decision(1, "swap", T0 + 1, final_wh=0, first_wh=0), rows) == Reach(T0, T0 + QUARTER)
    assert decided_range(decision(1, "reclassify", T0 + HOUR, type="load"), rows, [swapped()]) == Reach(
        T0 + 3 * QUARTER, T0 + HOUR + QUARTER
    )
    assert decided_range(decision(1, "exclude", T0, T0 + 1), base(0)) == Reach(0, 0, True, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "undo"}, "expected one of confirm"),
        ({"target": METER}, "expected a RegisterKey"),
        ({"kind": "set_energy", "parameters": {"energy_wh": 1}}, "expected a MeterKey"),
        ({"to_ms": T0}, "is empty"),
        ({"from_ms": T0 + HOUR + 1}, "is empty"),
        ({"parameters": {}}, "factor is missing"),
        ({"parameters": {"factor": 1, "factr": 1}}, "'factr' is unknown"),
        ({"parameters": {"factor": 0}}, "above 0"),
        ({"parameters": {"factor": float("nan")}}, "above 0"),
        ({"parameters": {"factor": "2"}}, "above 0"),
        ({"kind": "swap", "parameters": {"final_wh": -1, "first_wh": 0}}, "of at least 0"),
        ({"kind": "reclassify", "parameters": {"type": "magic"}}, "rollover, load or reset"),
        ({"kind": "reclassify", "parameters": {"type": "rollover", "rollover_wh": 0}}, "above 0"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    plain: dict[str, Any] = {
        "id": 1,
        "kind": "scale",
        "target": REGISTER,
        "from_ms": T0,
        "to_ms": T0 + HOUR,
        "parameters": {"factor": 2},
    }

    with pytest.raises(ValueError, match=message):
        Decision(**(plain | fields))
