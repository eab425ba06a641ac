"""Every disturbance of a register, one by one: what it is called, what is booked, what is left open. Numbers by hand.

The scene is 6 kW on a register of 10 Wh, polled each minute from 500 kWh on: 100 Wh a poll, 1 500 Wh a row.
From poll to poll a register behind 23 kW can move by 23 kW · 62 s + 2 · 10 Wh = 416.111 Wh.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from merilo.ledger import Walk

from .scenes import (
    BRIDGED,
    DAY,
    ESTIMATED,
    HOUR,
    KW,
    KWH,
    METERED,
    MINUTE,
    MISSING,
    QUARTER,
    SECOND,
    T0,
    WH,
    W,
    booked,
    both,
    changed,
    estimated,
    facts,
    known,
    moved,
    named,
    near,
    only,
    rows,
    states,
    steady,
)
from .truth import Poll

FIRST = 500 * KWH
R0 = FIRST + 5_900 * WH
"""What the last poll before the disturbance shows, at 59 minutes."""
T_P = T0 + 59 * MINUTE
T_B = T0 + 60 * MINUTE
LIMIT = 416_111
"""Largest plausible rise within a minute [mWh]."""


def scene(hours: int = 2, *, power: bool = False, every: int = MINUTE) -> list[Poll]:
    """The undisturbed scene."""
    return steady(T0, T0 + hours * HOUR, every, FIRST, 6 * KW, power=power)


def replaced(first_mwh: int, hours: int = 2, *, power: bool = False) -> list[Poll]:
    """The scene with another register value at 60 minutes, which counts on from there."""
    after = steady(T_B, T0 + hours * HOUR, MINUTE, first_mwh, 6 * KW, power=power)
    return [poll for poll in scene(hours, power=power) if poll[0] < T_B] + after


def until(polls: Sequence[Poll], last_ms: int) -> Walk:
    """Walk what is known at that instant."""
    return both([poll for poll in polls if poll[0] <= last_ms], facts(), last_ms // QUARTER * QUARTER)


# -- swap that the gateway reports --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity_s", "at_s"),
    [(3_570, 3_600), (3_600, 3_600), (3_540, 3_540)],
    ids=["inside", "at b", "at the poll before"],
)
def test_a_changed_identity_is_a_swap_even_where_the_register_is_plausible(identity_s: int, at_s: int) -> None:
    walked = both(scene(), facts(), T0 + 2 * HOUR, [T0 + identity_s * SECOND])

    event = only(walked)
    assert (event.kind, event.detail, event.at_ms) == ("swap", "identity", T0 + at_s * SECOND)
    assert (event.t0_ms, event.t1_ms) == (T0 + (at_s - 60) * SECOND, T0 + at_s * SECOND)
    assert moved(event) == 100 * WH
    assert event.low_mwh == 0
    assert near(event.high_mwh, LIMIT)
    assert event.estimated_mwh == 100 * WH
    row = rows(walked)[3]
    assert (row.state, row.known_state, row.known_mwh, row.known_ms) == (ESTIMATED, METERED, 1_400 * WH, 14 * MINUTE)
    assert (row.estimated_mwh, row.estimated_ms) == (100 * WH, MINUTE)
    assert booked(walked) == 12 * KWH


def test_a_reported_swap_to_a_lower_register_counts_on_from_its_first_reading() -> None:
    walked = both(replaced(1_500 * WH), facts(), T0 + 2 * HOUR, [T_B - 20 * SECOND])

    event = only(walked)
    assert (event.kind, event.detail, event.r0_mwh, event.r1_mwh) == ("swap", "identity", R0, 1_500 * WH)
    assert (known(walked), estimated(walked)) == (11_900 * WH, 100 * WH)
    assert rows(walked)[5].register_mwh == 3_000 * WH


# -- stuck --------------------------------------------------------------------------------------------------------


def still(
    end: int, shown_after: int, last: int, *, watt: tuple[int, int] | None = (1_990, 2_010), level: int = 302 * KWH
) -> list[Poll]:
    """2 kW from 300 kWh on; the register stands still from minute 60 until minute end and goes on at shown_after."""
    found: list[Poll] = []
    for i in range(last + 1):
        if i < 60:
            shown = 300 * KWH + 2_000 * WH * i // 60 // (10 * WH) * 10 * WH
        elif i < end:
            shown = level
        else:
            shown = shown_after + 2_000 * WH * (i - end) // 60 // (10 * WH) * 10 * WH
        found.append((T0 + i * MINUTE, shown, watt[i % 2] * W if watt else None))
    return found


def test_a_register_that_stood_still_and_caught_up_keeps_its_total_bridged_and_shaped_by_power() -> None:
    walked = both(still(180, 306 * KWH, 240), facts(), T0 + 4 * HOUR)

    event = only(walked)
    # Stood still for 3 600 s, with far more than five steps of own power, at the poll of 02:00.
    assert (event.kind, event.detail, event.at_ms) == ("stuck", "caught_up", T0 + 2 * HOUR)
    assert states(walked) == [METERED] * 4 + [BRIDGED] * 8 + [METERED] * 4
    assert [row.known_mwh for row in rows(walked)] == [500 * WH] * 16
    assert estimated(walked) == 0


def test_a_register_that_still_stands_is_estimated_from_own_power() -> None:
    walked = both(still(999, 0, 180), facts(), T0 + 3 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail, event.at_ms) == ("stuck", "open", T0 + 2 * HOUR)
    assert states(walked) == [METERED] * 4 + [ESTIMATED] * 8
    assert [row.estimated_mwh for row in rows(walked)] == [0] * 4 + [500 * WH] * 8
    assert [row.known_mwh for row in rows(walked)] == [500 * WH] * 4 + [0] * 8


def test_a_register_stuck_for_longer_than_an_entry_takes_its_estimate_from_what_it_catches_up() -> None:
    # Stuck from 01:00 for 30 hours: closed after 24 h with 48 kWh estimated, 60 kWh show at 31:00.
    walked = both(still(60 + 1_800, 362 * KWH, 60 + 1_860), facts(), T0 + 32 * HOUR)

    found = rows(walked)
    assert ("stuck", "caught_up") in named(walked)
    assert {kind for kind, _ in named(walked)} == {"stuck"}
    assert [row.state for row in found] == [METERED] * 4 + [ESTIMATED] * 96 + [BRIDGED] * 24 + [METERED] * 4
    assert (estimated(walked), known(walked)) == (48 * KWH, 2 * KWH + 12 * KWH + 2 * KWH)
    assert all(near(row.known_mwh + row.estimated_mwh, 500 * WH) for row in found)


def test_a_register_that_went_on_without_what_it_missed_has_lost_it() -> None:
    # Still from 01:00 to 03:00, then 30 Wh a minute later, where own power saw 4 033 Wh.
    walked = both(still(180, 302 * KWH, 240), facts(), T0 + 4 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail) == ("stuck", "resumed")
    found = rows(walked)
    assert [row.state for row in found] == [METERED] * 4 + [ESTIMATED] * 9 + [METERED] * 3
    assert [row.estimated_mwh for row in found[4:12]] == [500 * WH] * 8
    # The minute of the tick is unknown; from 302.03 kWh on the register counts again.
    assert near(found[12].estimated_mwh, 33_333)
    assert (found[12].known_mwh, found[12].known_ms) == (470 * WH, 14 * MINUTE)
    assert near(booked(walked), 8 * KWH, 4 * WH)


@pytest.mark.parametrize(("tick_wh", "detail"), [(180, "caught_up"), (110, "caught_up"), (90, "resumed")])
def test_a_plausible_tick_after_standing_still_has_caught_up_from_half_of_own_power_on(
    tick_wh: int, detail: str
) -> None:
    # 100 W for two hours are 200 Wh: any of these ticks would be plausible within the last minute alone.
    polls: list[Poll] = [(T0 + i * MINUTE, 40 * KWH, (95 + i % 2 * 10) * W) for i in range(120)]
    polls += [(T0 + (120 + i) * MINUTE, (40_000 + tick_wh + i * 10 // 6) * WH, 100 * W) for i in range(61)]

    walked = both(polls, facts(), T0 + 3 * HOUR)

    assert named(walked)[0] == ("stuck", detail)
    if detail == "caught_up":
        assert sum(row.known_mwh for row in rows(walked)[:8]) == tick_wh * WH
        assert states(walked)[:8] == [BRIDGED] * 8
    else:
        assert near(sum(row.estimated_mwh for row in rows(walked)[:8]), 200 * WH, WH)
        assert states(walked)[:8] == [ESTIMATED] * 8


def test_old_data_served_again_is_missing_not_estimated() -> None:
    # Register and power repeat the same values for two hours.
    walked = both(still(999, 0, 180, watt=(2_000, 2_000)), facts(), T0 + 3 * HOUR)

    assert named(walked) == [("stuck", "open")]
    assert states(walked) == [METERED] * 4 + [MISSING] * 8
    assert booked(walked) == 2 * KWH


def test_old_data_served_for_longer_than_an_entry_is_missing_and_its_event_keeps_the_total() -> None:
    walked = both(still(60 + 1_800, 362 * KWH, 60 + 1_860, watt=(2_000, 2_000)), facts(), T0 + 32 * HOUR)

    found = rows(walked)
    assert {kind for kind, _ in named(walked)} == {"stuck"}
    assert all((row.state, row.known_mwh, row.estimated_mwh) == (MISSING, 0, 0) for row in found[4:100])
    assert sum(row.known_mwh for row in found) == 4 * KWH
    assert any(moved(event) == 60 * KWH for event in walked.events)


def test_without_power_a_main_meter_that_stood_still_is_stuck() -> None:
    walked = both(still(180, 306 * KWH, 240, watt=None), facts(zero_is_valid=False), T0 + 4 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail, event.at_ms) == ("stuck", "caught_up", T0 + 2 * HOUR)
    assert states(walked) == [METERED] * 4 + [BRIDGED] * 8 + [METERED] * 4
    assert [row.known_mwh for row in rows(walked)] == [500 * WH] * 16


def test_without_power_a_sub_meter_may_be_off_and_a_jump_is_a_suspected_swap() -> None:
    walked = both(still(180, 306 * KWH, 240, watt=None), facts(zero_is_valid=True), T0 + 4 * HOUR)

    assert named(walked) == [("swap", "suspected")]
    # At most a step can hide in the idle hours; the jump itself is not energy.
    assert known(walked) <= 4 * KWH + 10 * WH


def test_without_power_a_main_meter_is_called_stuck_after_a_day() -> None:
    polls = still(99_999, 0, 60 + 24 * 60 + 30, watt=None)
    blind = both(polls, facts(zero_is_valid=False), T0 + 25 * HOUR)
    off = both(polls, facts(zero_is_valid=True), T0 + 25 * HOUR)

    assert named(blind) == [("stuck", "open")]
    assert states(blind) == [METERED] * 4 + [MISSING] * 96
    assert off.events == ()
    assert set(states(off)) == {METERED}
    assert known(off) <= 2 * KWH + 10 * WH


@pytest.mark.parametrize(("minutes", "kinds"), [(61, ["stuck"]), (59, ["swap"])])
def test_a_register_is_stuck_from_an_hour_on(minutes: int, kinds: list[str]) -> None:
    # Jumps by what 2 kW give, more than one minute allows; the last poll that saw it still is a minute before.
    jump = 302 * KWH + 2_000 * WH * minutes // 60 // (10 * WH) * 10 * WH
    walked = both(still(60 + minutes, jump, 180), facts(), T0 + 3 * HOUR)

    assert [kind for kind, _ in named(walked)] == kinds


@pytest.mark.parametrize(("mean_w", "kinds"), [(24, []), (26, ["stuck"])])
def test_standing_still_is_proven_by_more_than_five_steps_of_own_power(mean_w: int, kinds: list[str]) -> None:
    # 48 Wh or 52 Wh in two hours on a step of 10 Wh, then a tick of 50 Wh.
    polls: list[Poll] = [(T0 + i * MINUTE, 40 * KWH, (mean_w - 1 + i % 2 * 2) * W) for i in range(120)]
    polls += [(T0 + (120 + i) * MINUTE, 40 * KWH + 50 * WH, 0) for i in range(16)]

    walked = both(polls, facts(), T0 + 2 * HOUR)

    assert [kind for kind, _ in named(walked)] == kinds
    assert set(states(walked)) == {BRIDGED if kinds else METERED}
    assert known(walked) == 50 * WH


def test_own_power_with_a_long_hole_proves_nothing() -> None:
    # As caught up after two hours, but nobody saw the power for 16 minutes of them.
    polls = [
        (at, shown, None if T0 + 90 * MINUTE < at < T0 + 106 * MINUTE else power)
        for at, shown, power in still(180, 306 * KWH, 240)
    ]

    assert named(both(polls, facts(), T0 + 4 * HOUR)) == [("swap", "suspected")]


def test_a_jump_beyond_what_the_time_since_the_last_tick_allows_has_not_caught_up() -> None:
    # 23 kW for two hours are 46 kWh; 100 kWh are another meter. What the still one missed is estimated.
    walked = both(still(180, 402 * KWH, 240), facts(), T0 + 4 * HOUR)

    assert sorted(named(walked)) == [("stuck", "open"), ("swap", "suspected")]
    assert near(estimated(walked), 4 * KWH, 10)
    assert known(walked) == 4 * KWH


@pytest.mark.parametrize(("every_s", "state"), [(600, ESTIMATED), (300, MISSING)])
def test_one_same_value_of_power_is_old_data_from_ten_samples_on(every_s: int, state: int) -> None:
    # An hour without a tick at 2 kW: seven samples may be a steady load, thirteen are not.
    polls: list[Poll] = [(T0 + s * SECOND, 40 * KWH, 2 * KW) for s in range(0, 3_601, every_s)]

    walked = both(polls, facts(poll_interval_ms=every_s * SECOND), T0 + HOUR)

    assert named(walked) == [("stuck", "open")]
    assert states(walked) == [state] * 4
    assert estimated(walked) == (2 * KWH if state == ESTIMATED else 0)


# -- values that return -------------------------------------------------------------------------------------------


def test_a_fall_of_two_steps_is_the_register_s_own_grain() -> None:
    # Two steps lower from 60 minutes on, for good: a hold until it passes the level, nothing rebased.
    walked = both(replaced(R0 - 20 * WH), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail, event.at_ms) == ("back_step", "ignored", T_B)
    assert (known(walked), estimated(walked)) == (11_880 * WH, 0)
    assert set(states(walked)) == {METERED}


def test_a_register_that_dips_by_its_grain_is_named_once_in_each_hold() -> None:
    dips = {5: -10, 7: -20, 8: -10, 14: -10}
    polls: list[Poll] = [
        (T0 + i * MINUTE, FIRST + (100 if i >= 10 else 0) * WH + dips.get(i, 0) * WH, None) for i in range(16)
    ]

    walked = both(polls, facts(), T0 + QUARTER)

    assert named(walked) == [("back_step", "ignored")] * 2
    assert [event.at_ms for event in walked.events] == [T0 + 5 * MINUTE, T0 + 14 * MINUTE]
    assert 100 * WH <= known(walked) <= 110 * WH


@pytest.mark.parametrize("polls_back", [3, 4], ids=["plausible way back", "jump back"])
def test_one_stale_value_is_set_aside(polls_back: int) -> None:
    stale = R0 - (polls_back - 1) * 100 * WH
    walked = both(changed(scene(), T_B, T_B + 1, lambda _: stale), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail, event.at_ms, event.set_aside) == ("back_step", "ignored", T_B, 1)
    assert [row.known_mwh for row in rows(walked)] == [1_500 * WH] * 8
    assert set(states(walked)) == {METERED}


def test_a_stale_value_served_for_a_while_is_set_aside_when_the_register_jumps_back() -> None:
    walked = both(changed(scene(), T_B, T_B + 5 * MINUTE, lambda _: R0 - 800 * WH), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail, event.at_ms, event.set_aside) == ("back_step", "ignored", T_B, 5)
    assert [row.known_mwh for row in rows(walked)] == [1_500 * WH] * 8


@pytest.mark.parametrize("power", [True, False])
def test_five_minutes_of_zeros_change_nothing(power: bool) -> None:
    walked = both(changed(scene(power=power), T_B, T_B + 5 * MINUTE, lambda _: 0), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.at_ms, event.set_aside, event.r0_mwh) == ("zero_burst", T_B, 5, R0)
    assert [row.known_mwh for row in rows(walked)] == [1_500 * WH] * 8
    assert set(states(walked)) == {METERED}


def test_two_hours_of_zeros_are_bridged() -> None:
    walked = both(changed(scene(5), T_B, T_B + 2 * HOUR, lambda _: 0), facts(), T0 + 5 * HOUR)

    event = only(walked)
    assert (event.kind, event.at_ms, event.set_aside) == ("zero_burst", T_B, 120)
    assert [row.known_mwh for row in rows(walked)] == [1_500 * WH] * 20
    assert states(walked) == [METERED] * 3 + [BRIDGED] * 9 + [METERED] * 8


def test_one_value_ten_times_too_high_changes_nothing() -> None:
    walked = both(changed(scene(), T_B, T_B + 1, lambda shown: shown * 10), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.at_ms, event.set_aside, event.r0_mwh) == ("spike", T_B, 1, R0)
    assert [row.known_mwh for row in rows(walked)] == [1_500 * WH] * 8
    assert set(states(walked)) == {METERED}


def test_three_wrong_hours_look_like_a_swap_until_the_register_returns() -> None:
    polls = changed(scene(6), T_B, T_B + 3 * HOUR, lambda shown: shown + 50 * KWH)

    assert named(until(polls, T_B + 2 * HOUR)) == [("swap", "suspected")]
    walked = both(polls, facts(), T0 + 6 * HOUR)

    event = only(walked)
    assert (event.kind, event.at_ms, event.set_aside) == ("spike", T_B, 180)
    assert (known(walked), estimated(walked)) == (36 * KWH, 0)
    assert states(walked) == [METERED] * 3 + [BRIDGED] * 13 + [METERED] * 8


@pytest.mark.parametrize(
    ("polls_after_b", "kinds"), [(96, ["spike"]), (97, ["swap", "swap"])], ids=["a day after b", "a poll later"]
)
def test_a_return_undoes_a_disturbance_for_a_day(polls_after_b: int, kinds: list[str]) -> None:
    end = T_B + polls_after_b * QUARTER
    polls = changed(scene(30, every=QUARTER), T_B, end, lambda shown: shown + 50 * KWH)

    walked = both(polls, facts(poll_interval_ms=QUARTER), T0 + 30 * HOUR)

    assert [kind for kind, _ in named(walked)] == kinds
    if kinds == ["spike"]:
        assert walked.events[0].set_aside == 96
        assert known(walked) == 180 * KWH
    else:
        assert {event.detail for event in walked.events} == {"suspected"}
        assert known(walked) == 180 * KWH - 3 * KWH  # two pairs of a quarter of an hour are unknown


def test_a_replaced_meter_does_not_return_because_enough_time_has_passed() -> None:
    # 50 kWh higher: after three hours that is plausible from the old level, but the new run only goes on.
    polls = replaced(R0 + 50 * KWH, 6)
    polls = changed(polls, T0 + 5 * HOUR, T0 + 5 * HOUR + 1, lambda _: 0)

    walked = both(polls, facts(), T0 + 6 * HOUR)

    assert [kind for kind, _ in named(walked)] == ["swap", "zero_burst"]
    assert (known(walked), estimated(walked)) == (35_900 * WH, 100 * WH)


def test_bad_last_words_before_a_long_outage_are_set_aside() -> None:
    # The last reading before two silent days was 0; afterwards the register is where 2 kW would have brought it.
    before = changed([p for p in scene() if p[0] <= T_B], T_B, T_B + 1, lambda _: 0)
    after = steady(T0 + 2 * DAY, T0 + 2 * DAY + HOUR, MINUTE, R0 + 94 * KWH + 33 * WH, 6 * KW)

    walked = both(before + after, facts(), T0 + 2 * DAY + HOUR)

    event = only(walked)
    assert (event.kind, event.at_ms, event.set_aside) == ("zero_burst", T_B, 1)
    assert known(walked) == 5_900 * WH + 94_033 * WH + 6 * KWH
    assert states(walked)[4:-4] == [BRIDGED] * (2 * 96 - 4)


# -- rollover -----------------------------------------------------------------------------------------------------

WRAP = [
    (T0, 999_998_460 * WH, None),
    (T0 + QUARTER, 1_270 * WH, None),
    (T0 + 2 * QUARTER, 4_000 * WH, None),
    (T0 + 3 * QUARTER, 6_500 * WH, None),
    (T0 + 4 * QUARTER, 9_000 * WH, None),
]
"""999 998.46 kWh, a quarter of an hour later 1.27 kWh."""


@pytest.mark.parametrize("readings", [2, 5], ids=["at once", "and later"])
def test_a_known_rollover_is_booked_across_its_modulus_at_once(readings: int) -> None:
    register = facts(poll_interval_ms=QUARTER, rollover_mwh=1_000_000 * KWH)

    walked = both(WRAP[:readings], register, WRAP[readings - 1][0])

    event = only(walked)
    assert (event.kind, event.at_ms) == ("rollover", T0 + QUARTER)
    assert (event.r0_mwh, event.r1_mwh) == (999_998_460 * WH, 1_270 * WH)
    assert (event.t0_ms, event.t1_ms) == (T0, T0 + QUARTER)
    assert event.settles_at_ms == T0 + QUARTER + DAY
    assert rows(walked)[0].known_mwh == 2_810 * WH
    assert set(states(walked)) == {METERED}
    if readings == 5:
        assert [row.register_mwh for row in rows(walked)] == [WRAP[i][1] for i in range(4)]
        assert [row.known_mwh for row in rows(walked)] == [2_810 * WH, 2_730 * WH, 2_500 * WH, 2_500 * WH]


def test_an_unknown_rollover_is_a_reset_with_bounds_and_never_guessed() -> None:
    walked = both(WRAP, facts(poll_interval_ms=QUARTER), T0 + HOUR)

    event = only(walked)
    assert (event.kind, event.at_ms) == ("reset", T0 + QUARTER)
    # 23 kW for 902 s and two steps.
    assert event.low_mwh == 1_270 * WH
    assert near(event.high_mwh, 5_782_778)
    assert states(walked) == [MISSING, METERED, METERED, METERED]
    assert known(walked) == 7_730 * WH


def test_the_register_at_the_grid_stays_below_the_rollover() -> None:
    # 6 kW beside the grid over a wrap at 10 000 kWh.
    wrap = 10_000 * KWH
    polls = steady(T0 + 7 * SECOND, T0 + 2 * HOUR, MINUTE, wrap - 5 * KWH, 6 * KW)
    polls = [(at, shown % wrap, power) for at, shown, power in polls if shown is not None]

    walked = both(polls, facts(rollover_mwh=wrap), T0 + 2 * HOUR)

    assert only(walked).kind == "rollover"
    found = rows(walked)[1:]
    for one, other in itertools.pairwise(found):
        assert one.register_mwh is not None
        assert other.register_mwh is not None
        assert 0 <= one.register_mwh < wrap
        assert one.known_mwh == (other.register_mwh - one.register_mwh) % wrap
        assert near(one.known_mwh, 1_500 * WH)


def test_a_zero_near_the_modulus_is_a_rollover_until_the_register_returns() -> None:
    wrap = 506 * KWH  # the register stands 100 Wh before its end when it reads zero
    polls = [p for p in scene() if p[0] <= T_P]
    polls += [(T_B, 0, None), (T_B + MINUTE, R0 + 30 * WH, None), (T_B + 2 * MINUTE, R0 + 60 * WH, None)]
    register = facts(rollover_mwh=wrap)

    early = both(polls[:-2], register, T_B)
    late = both([*polls, (T0 + 63 * MINUTE, R0 + 90 * WH, None)], register, T_B)

    assert named(early)[0][0] == "rollover"
    assert known(early) == 6_000 * WH
    assert [kind for kind, _ in named(late)] == ["zero_burst"]
    assert near(known(late), 5_900 * WH + 15 * WH)  # 30 Wh in two minutes


@pytest.mark.parametrize(("hours", "kind"), [(4, "rollover"), (5, "reset")])
def test_a_register_that_can_have_wrapped_twice_has_not_rolled_over(hours: int, kind: str) -> None:
    # 100 kWh modulus behind 23 kW: 92 kWh in four hours, 115 kWh in five.
    polls = steady(T0, T0 + HOUR, MINUTE, 93 * KWH, 6 * KW)
    polls += steady(T0 + (1 + hours) * HOUR, T0 + (2 + hours) * HOUR, MINUTE, 20 * KWH, 6 * KW)

    walked = both(polls, facts(rollover_mwh=100 * KWH), T0 + (2 + hours) * HOUR)

    assert only(walked).kind == kind
    assert known(walked) == (6 + 21 + 6 if kind == "rollover" else 6 + 6) * KWH
    inside = states(walked)[4 : 4 + 4 * hours]
    assert set(inside) == ({BRIDGED} if kind == "rollover" else {MISSING})


# -- not decided yet ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readings", [1, 2])
def test_a_small_fall_is_undecided_and_books_nothing_until_it_persists(readings: int) -> None:
    polls = replaced(R0 - 600 * WH)

    undecided = until(polls, T_B + (readings - 1) * MINUTE)
    decided = until(polls, T_B + 2 * MINUTE)

    assert named(undecided) == [("back_step", "undecided")]
    assert undecided.events[0].at_ms == T_B
    assert 5_900 * WH <= booked(undecided) <= 5_910 * WH
    assert named(decided) == [("back_step", "rebased")]


@pytest.mark.parametrize(
    ("first_mwh", "kind"),
    [(30 * WH, "reset"), (R0 + 50 * KWH, "swap"), (1_500 * WH, "swap"), (10 * (R0 + 100 * WH), "decode_change")],
)
def test_a_break_is_undecided_until_it_persists_and_its_rows_are_missing(first_mwh: int, kind: str) -> None:
    polls = replaced(first_mwh)

    undecided = until(polls, T_B + MINUTE)

    assert named(undecided) == [(kind, "undecided")]
    row = rows(undecided)[3]
    assert (row.state, row.known_mwh, row.known_ms) == (MISSING, 1_400 * WH, 14 * MINUTE)
    assert (row.estimated_mwh, row.estimated_ms) == (0, 0)
    assert named(until(polls, T_B + 2 * MINUTE))[0][0] == kind
    assert named(until(polls, T_B + 2 * MINUTE))[0][1] != "undecided"


@pytest.mark.parametrize(("readings", "decided"), [(3, False), (4, True)], ids=["three over 40 s", "four over 60 s"])
def test_a_run_persists_over_a_minute_however_fast_the_polls(readings: int, decided: bool) -> None:
    polls = [p for p in scene() if p[0] < T_B]
    polls += [(T_B + i * 20 * SECOND, (30 + 30 * i) * WH, None) for i in range(readings)]

    walked = both(polls, facts(), T_B)

    assert (named(walked) == [("reset", "undecided")]) is not decided
    assert named(walked)[0][0] == "reset"


# -- a new level --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fall_wh", "detail", "total_wh"), [(300, "ignored", 11_700), (400, "rebased", 12_000)], ids=["2 below", "3 below"]
)
def test_a_restored_value_is_a_new_level_once_three_readings_lie_below_the_old_one(
    fall_wh: int, detail: str, total_wh: int
) -> None:
    walked = both(replaced(R0 + (100 - fall_wh) * WH), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail, event.at_ms) == ("back_step", detail, T_B)
    assert booked(walked) == total_wh * WH
    if detail == "rebased":
        assert (event.t0_ms, event.t1_ms) == (T_P, T_B)
        assert (event.r0_mwh, event.r1_mwh) == (R0, R0 - 300 * WH)
        assert (event.low_mwh, event.estimated_mwh) == (0, 100 * WH)
        assert near(event.high_mwh, LIMIT)
        assert event.settles_at_ms == T_B + DAY
        assert rows(walked)[3].state == ESTIMATED
    else:
        assert set(states(walked)) == {METERED}
        assert event.set_aside == 2


@pytest.mark.parametrize(
    ("level_wh", "fall_wh", "max_power_w", "kind"),
    [
        (150_000, 1_000, 23_000, "back_step"),  # 0.5 % are 750 Wh, so 1 000 Wh
        (150_000, 1_001, 23_000, "swap"),
        (400_000, 2_000, 23_000, "back_step"),  # 0.5 % of 400 kWh
        (400_000, 2_001, 23_000, "swap"),
        (400_000, 800, 800, "back_step"),  # an hour at 800 W
        (400_000, 801, 800, "swap"),
        (1_500, 750, 23_000, "back_step"),  # half of the level
        (1_500, 751, 23_000, "swap"),
    ],
)
def test_a_fall_is_small_up_to_its_limit(level_wh: int, fall_wh: int, max_power_w: int, kind: str) -> None:
    register = facts(step_mwh=WH, max_power_mw=max_power_w * W)
    polls: list[Poll] = [(T0 + i * MINUTE, (level_wh - 10 + i) * WH, None) for i in range(11)]
    polls += [(T0 + i * MINUTE, (level_wh - fall_wh + i - 11) * WH, None) for i in range(11, 31)]

    walked = both(polls, register, T0 + 30 * MINUTE)

    assert only(walked).kind == kind


@pytest.mark.parametrize(("rise_mwh", "kinds"), [(62_000, []), (62_001, ["swap"])])
def test_a_rise_is_plausible_up_to_the_limit(rise_mwh: int, kinds: list[str]) -> None:
    # 3 600 W for 58 s and 2 s of slack are 60 Wh, and two steps of 1 Wh.
    polls: list[Poll] = [(T0 + i * MINUTE, 50 * KWH + i * 10 * WH, None) for i in range(11)]
    level = 50 * KWH + 100 * WH + rise_mwh
    polls += [(T0 + 658 * SECOND + i * MINUTE, level + i * 10 * WH, None) for i in range(20)]

    walked = both(polls, facts(step_mwh=WH, max_power_mw=3_600 * W), T0 + QUARTER)

    assert [kind for kind, _ in named(walked)] == kinds
    if not kinds:
        assert near(known(walked), 100_000 + rise_mwh + 10_000 * 242 / 60)


@pytest.mark.parametrize("power", [True, False])
def test_a_counter_that_began_again_at_zero_is_a_reset_with_bounds(power: bool) -> None:
    walked = both(replaced(30 * WH, power=power), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.at_ms, event.t0_ms, event.t1_ms) == ("reset", T_B, T_P, T_B)
    assert (event.r0_mwh, event.r1_mwh, event.low_mwh) == (R0, 30 * WH, 30 * WH)
    assert near(event.high_mwh, LIMIT)
    assert (event.estimated_mwh, event.set_aside) == (100 * WH, 0)
    assert event.settles_at_ms == T_B + DAY
    assert states(walked) == [METERED] * 3 + [ESTIMATED] + [METERED] * 4
    assert (known(walked), estimated(walked)) == (11_900 * WH, 100 * WH)


@pytest.mark.parametrize("first_mwh", [1_500 * WH, R0 + 50 * KWH], ids=["1.5 kWh", "50 kWh higher"])
def test_a_swapped_meter_is_never_energy(first_mwh: int) -> None:
    walked = both(replaced(first_mwh), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail, event.at_ms) == ("swap", "suspected", T_B)
    assert (event.r0_mwh, event.r1_mwh, event.low_mwh) == (R0, first_mwh, 0)
    assert near(event.high_mwh, LIMIT)
    assert event.settles_at_ms == T_B + DAY
    assert (known(walked), estimated(walked)) == (11_900 * WH, 100 * WH)
    assert rows(walked)[6].register_mwh == first_mwh + 3 * KWH


def test_a_spike_right_before_a_swap_is_set_aside_with_it() -> None:
    polls = replaced(1_400 * WH)
    polls[60] = (T_B, 10 * R0, None)

    walked = both(polls, facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.detail) == ("swap", "suspected")
    assert (event.t0_ms, event.t1_ms, event.r1_mwh, event.set_aside) == (T_P, T_B + MINUTE, 1_500 * WH, 1)
    assert known(walked) == 11_800 * WH  # two minutes without power are longer than what is filled


# -- decode change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exponent", "k"), [(1, -1), (-1, 1), (3, -3)])
@pytest.mark.parametrize("power", [True, False])
def test_a_register_in_another_power_of_ten_is_held_until_a_person_decides(exponent: int, k: int, power: bool) -> None:
    def decoded(shown: int) -> int:
        return int(shown * 10**exponent if exponent > 0 else shown // 10**-exponent)

    walked = both(changed(scene(power=power), T_B, T0 + 3 * HOUR, decoded), facts(), T0 + 2 * HOUR)

    event = only(walked)
    assert (event.kind, event.at_ms, event.k) == ("decode_change", T_B, k)
    assert event.settles_at_ms == T_B + DAY
    for row in rows(walked)[4:]:
        assert (row.known_mwh, row.known_ms, row.held_ms, row.held_k) == (0, 0, QUARTER, k)
        assert near(row.held_mwh, 1_500 * WH)
        if power:
            assert (row.state, row.estimated_mwh, row.estimated_ms) == (ESTIMATED, 1_500 * WH, QUARTER)
        else:
            assert (row.state, row.estimated_mwh, row.estimated_ms) == (MISSING, 0, 0)
    # The register is stored in the units in which it was read: 509 kWh, times ten to the exponent.
    shown = rows(walked)[6].register_mwh
    assert near(shown, 509 * KWH * 10.0**exponent, 2 * 10.0**exponent)
    # The pair of the change itself is unknown and filled like any other.
    assert (rows(walked)[3].known_mwh, rows(walked)[3].estimated_mwh) == (1_400 * WH, 100 * WH)


def test_a_wrong_decode_that_returns_within_a_day_is_a_spike() -> None:
    walked = both(changed(scene(5), T_B, T_B + 2 * HOUR, lambda shown: 10 * shown), facts(), T0 + 5 * HOUR)

    assert only(walked).kind == "spike"
    assert known(walked) == 30 * KWH
    assert all(row.held_mwh == 0 for row in rows(walked))


def test_a_decode_that_comes_right_after_more_than_a_day_counts_again() -> None:
    polls = changed(scene(30, power=True, every=QUARTER), T_B, T_B + DAY + QUARTER, lambda shown: 10 * shown)

    walked = both(polls, facts(poll_interval_ms=QUARTER), T0 + 30 * HOUR)

    assert [(event.kind, event.k) for event in walked.events] == [("decode_change", -1), ("decode_change", 0)]
    found = rows(walked)
    assert [row.known_mwh for row in found[:3]] == [1_500 * WH] * 3
    assert [row.held_mwh for row in found[4:100]] == [1_500 * WH] * 96
    assert [row.known_mwh for row in found[101:]] == [1_500 * WH] * 19
    assert (booked(walked), estimated(walked)) == (180 * KWH, 147 * KWH)


# -- unknown pairs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "filled"), [(90, True), (91, False)])
def test_a_short_unknown_pair_is_filled_with_the_mean_power_before_it(seconds: int, filled: bool) -> None:
    # 6 kW before the reset, 1 kW after it: the later entry is not used.
    begin = T_P + seconds * SECOND
    polls = [p for p in scene() if p[0] < T_B] + steady(begin, begin + HOUR, MINUTE, 30 * WH, 1 * KW)

    walked = both(polls, facts(), T0 + 90 * MINUTE)

    assert only(walked).kind == "reset"
    found = rows(walked)
    if filled:
        assert only(walked).estimated_mwh == 150 * WH
        assert [near(found[3].estimated_mwh, 100 * WH), near(found[4].estimated_mwh, 50 * WH)] == [True, True]
        assert [row.state for row in found] == [METERED] * 3 + [ESTIMATED] * 2 + [METERED]
    else:
        assert estimated(walked) == 0
        assert [row.state for row in found] == [METERED] * 3 + [MISSING] * 2 + [METERED]
        assert [row.known_ms for row in found[3:5]] == [14 * MINUTE, 869 * SECOND]


def test_an_unknown_pair_of_five_minutes_is_filled_for_polls_of_five_minutes() -> None:
    polls = [*steady(T0, T0 + HOUR, 300 * SECOND, FIRST, 6 * KW)]
    polls += steady(T0 + HOUR + 300 * SECOND, T0 + 2 * HOUR, 300 * SECOND, 100 * WH, 6 * KW)

    walked = both(polls, facts(poll_interval_ms=300 * SECOND), T0 + 2 * HOUR)

    assert only(walked).kind == "reset"
    assert (known(walked), estimated(walked)) == (6 * KWH + 5_500 * WH, 500 * WH)


@pytest.mark.parametrize(("middle_s", "filled"), [(3_600, True), (3_601, False)])
def test_an_unknown_pair_is_filled_by_own_power_across_an_hour_at_most(middle_s: int, filled: bool) -> None:
    polls = [p for p in scene(power=True) if p[0] <= T_B]
    polls.append((T_B + middle_s * SECOND, None, 6 * KW))
    polls += steady(T_B + 2 * HOUR, T_B + 3 * HOUR, MINUTE, 10 * KWH, 6 * KW, power=True)

    walked = both(polls, facts(), T0 + 4 * HOUR)

    assert only(walked).kind == "reset"
    if filled:
        assert states(walked) == [METERED] * 4 + [ESTIMATED] * 8 + [METERED] * 4
        assert [row.estimated_mwh for row in rows(walked)[4:12]] == [1_500 * WH] * 8
    else:
        assert states(walked) == [METERED] * 4 + [MISSING] * 8 + [METERED] * 4
        assert estimated(walked) == 0
    assert known(walked) == 12 * KWH
    assert near(only(walked).high_mwh, 23 * KWH * 7_202 / 3_600 + 20 * WH)


@pytest.mark.parametrize("power", [True, False])
def test_a_hold_before_a_break_is_closed_with_less_than_a_step(power: bool) -> None:
    # 230 W on a step of 100 Wh: the tick at 1 620 s, idle polls to 2 400 s, then another meter.
    coarse = steady(T0, T0 + 2_400 * SECOND, MINUTE, 0, 230 * W, step_mwh=100 * WH, power=power)
    after = steady(T0 + 2_460 * SECOND, T0 + 2 * HOUR, MINUTE, 70 * KWH, 230 * W, step_mwh=100 * WH, power=power)
    register = facts(step_mwh=100 * WH, max_power_mw=4_600 * W)

    walked = both(coarse + after, register, T0 + 2 * HOUR)

    assert only(walked).kind == "swap"
    closed = 230_000 * 780 / 3_600 if power else 100_000 / 1_620 * 780
    unknown = 230_000 * 60 / 3_600 if power else 100_000 / 1_620 * 60
    first = sum(row.known_mwh + row.estimated_mwh for row in rows(walked)[:2])
    third = rows(walked)[2]
    # 1 800–2 400 s of the closed hold, a minute unknown, 240 s of the first entry after it (1 620 s long).
    assert near(first, 100_000 + closed * 180 / 780)
    assert near(third.estimated_mwh, unknown)
    assert near(third.known_mwh, closed * 600 / 780 + 100_000 * 240 / 1_620, 2)
    assert third.state == ESTIMATED
