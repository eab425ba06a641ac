"""Rows of a register that nothing is wrong with: totals, shapes, states, gaps. All numbers by hand."""

from __future__ import annotations

import itertools

import pytest

from merilo.ledger import Trace, walk

from .scenes import (
    BRIDGED,
    DAY,
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
    estimated,
    facts,
    known,
    named,
    near,
    rows,
    states,
    steady,
)
from .truth import Poll


def test_no_reading_gives_no_row() -> None:
    walked = both([], facts(), T0 + HOUR)

    assert len(walked.rows) == 0
    assert walked.events == ()


def test_a_steady_load_on_the_grid_gives_equal_metered_rows() -> None:
    polls = steady(T0, T0 + 2 * HOUR, MINUTE, 100 * KWH, 6 * KW)  # 100 Wh a poll, 1 500 Wh a row

    walked = both(polls, facts(step_mwh=WH), T0 + 2 * HOUR)

    assert walked.events == ()
    found = rows(walked)
    assert [row.start_ms for row in found] == [T0 + i * QUARTER for i in range(8)]
    for i, row in enumerate(found):
        assert (row.state, row.known_state) == (METERED, METERED)
        assert (row.known_mwh, row.known_ms) == (1_500 * WH, QUARTER)
        assert (row.estimated_mwh, row.estimated_ms, row.held_mwh, row.held_ms) == (0, 0, 0, 0)
        assert row.register_mwh == 100 * KWH + i * 1_500 * WH
        assert (row.before_ms, row.after_ms) == (0, 0)


def test_polls_beside_the_grid_are_cut_at_it_and_the_first_row_is_missing_its_beginning() -> None:
    polls = steady(T0 + 7 * SECOND, T0 + HOUR + 7 * SECOND, MINUTE, 100 * KWH, 6 * KW)

    walked = both(polls, facts(step_mwh=WH), T0 + HOUR)

    found = rows(walked)
    assert len(found) == 4
    # 847 s is the last poll before 900 s: 14 polls of 100 Wh and 53/60 of the next.
    assert (found[0].state, found[0].known_state, found[0].known_ms) == (MISSING, METERED, 893 * SECOND)
    assert near(found[0].known_mwh, 1_488_333.33)
    assert found[0].register_mwh is None
    assert found[0].before_ms is None
    assert found[1].register_mwh is not None
    assert near(found[1].register_mwh, 101_488_333.33)
    assert (found[1].before_ms, found[1].after_ms) == (53 * SECOND, 7 * SECOND)
    for row in found[1:]:
        assert row.state == METERED
        assert near(row.known_mwh, 1_500 * WH)


def test_a_steady_100_kw_site_is_counted() -> None:
    # A guard of 60 kW in the code would count none of these 2 400 kWh. 90 s at 100 kW are 2 500 Wh.
    polls = steady(T0, T0 + DAY, 90 * SECOND, 0, 100 * KW)

    walked = both(polls, facts(step_mwh=10 * WH, max_power_mw=125 * KW, poll_interval_ms=90 * SECOND), T0 + DAY)

    assert known(walked) == 2_400 * KWH
    assert {(row.state, row.known_mwh) for row in rows(walked)} == {(METERED, 25 * KWH)}
    assert walked.events == ()


def test_a_load_of_nothing_gives_metered_rows_of_zero() -> None:
    polls: list[Poll] = [(T0 + i * MINUTE, 5 * KWH, 0) for i in range(181)]

    walked = both(polls, facts(), T0 + 3 * HOUR)

    assert states(walked) == [METERED] * 12
    assert booked(walked) == 0
    assert walked.events == ()
    assert {row.register_mwh for row in rows(walked)} == {5 * KWH}


# -- a coarse register -------------------------------------------------------------------------------------------

# 230 W on a step of 100 Wh: a tick each 1 565.2 s, seen by the next poll of the minute at 1 620, 3 180, 4 740 s …
COARSE = facts(step_mwh=100 * WH, max_power_mw=4_600 * W)


def coarse(hours: int, *, power: bool, gain: float = 1.0) -> list[Poll]:
    """Polls of 230 W on a step of 100 Wh; own power reads gain times the truth."""
    polls = steady(T0, T0 + hours * HOUR, MINUTE, 0, 230 * W, step_mwh=100 * WH)
    return [(at, shown, round(230 * W * gain) if power else None) for at, shown, _ in polls]


@pytest.mark.parametrize(("power", "state"), [(True, METERED), (False, BRIDGED)])
def test_a_coarse_register_gives_level_rows_and_their_state_says_whether_the_shape_is_known(
    power: bool, state: int
) -> None:
    walked = both(coarse(4, power=power), COARSE, T0 + 4 * HOUR)

    assert states(walked) == [state] * 16
    found = rows(walked)
    # Entries 0–1 620 s and 1 620–3 180 s, 100 Wh each.
    assert near(found[0].known_mwh, 100_000 * 900 / 1_620)
    assert near(found[1].known_mwh, 100_000 * 720 / 1_620 + 100_000 * 180 / 1_560)
    assert near(found[2].known_mwh, 100_000 * 900 / 1_560)
    assert near(found[3].known_mwh, 100_000 * 900 / 1_560)
    # The last tick is at 14 100 s. The 300 s after it: by own power, else by the mean power of the last entry.
    edge = 230_000 * 300 / 3_600 if power else 100_000 / 1_560 * 300
    assert near(found[15].known_mwh, 100_000 * 600 / 1_560 + edge)


@pytest.mark.parametrize("power", [True, False])
def test_a_coarse_register_is_unbiased_and_never_a_sawtooth(power: bool) -> None:
    walked = both(coarse(24, power=power), COARSE, T0 + DAY)

    energies = [row.known_mwh for row in rows(walked)]
    assert len(energies) == 96
    assert min(energies) > 55_000
    assert max(energies) < 60_000
    # 5 520 Wh are true; all that is booked exceeds the register's 5 500 Wh by less than a step.
    assert 5_500 * WH <= sum(energies) < 5_600 * WH
    assert abs(sum(energies) / 96 - 57_500) < 200


def test_own_power_that_reads_four_percent_high_changes_no_total() -> None:
    high = rows(both(coarse(4, power=True, gain=1.04), COARSE, T0 + 4 * HOUR))
    true = rows(both(coarse(4, power=True), COARSE, T0 + 4 * HOUR))

    # All but the last row are between ticks: own power gives the shape, never the total.
    assert [row.known_mwh for row in high[:15]] == [row.known_mwh for row in true[:15]]
    assert near(high[15].known_mwh, 100_000 * 600 / 1_560 + 230_000 * 1.04 * 300 / 3_600)


def test_the_live_edge_is_revised_by_less_than_a_step() -> None:
    # The hold from 1 620 s on: first by the mean power of the entry before it, then by the entry that ends at 3 180 s.
    polls = coarse(1, power=False)
    early = rows(both([p for p in polls if p[0] <= T0 + 2_700 * SECOND], COARSE, T0 + 2_700 * SECOND))

    late = rows(both(polls, COARSE, T0 + 2_700 * SECOND))

    assert early[0] == late[0]
    assert near(early[2].known_mwh, 100_000 / 1_620 * 900)
    assert near(late[2].known_mwh, 100_000 / 1_560 * 900)
    assert sum(row.known_mwh for row in late) - sum(row.known_mwh for row in early) < 100 * WH


@pytest.mark.parametrize(("last_s", "closed_mwh"), [(2_580, 300_000 * 960 / 3_600), (2_640, 100_000 / 1_620 * 1_020)])
def test_the_live_edge_trusts_own_power_only_across_the_length_of_a_metered_gap(last_s: int, closed_mwh: float) -> None:
    # Power of 300 W is seen until 1 680 s, the last poll is 900 s or 960 s later. The last tick is at 1 620 s.
    polls = [
        (at, shown, 300 * W if at <= T0 + 1_680 * SECOND else None)
        for at, shown, _ in coarse(1, power=False)
        if at <= T0 + last_s * SECOND
    ]

    walked = both(polls, COARSE, T0 + 2_700 * SECOND)

    assert near(known(walked), 100_000 + closed_mwh)


def test_an_hourly_register_with_ten_second_power_gives_metered_rows() -> None:
    # 1 kW for half an hour, then 3 kW: 2 000 Wh between two hourly values.
    power = [1 * KW if i < 180 else 3 * KW for i in range(361)]
    polls: list[Poll] = [(T0 + 10 * SECOND * i, None, power[i]) for i in range(361)]
    polls[0] = (T0, 500 * KWH, 1 * KW)
    polls[360] = (T0 + HOUR, 502 * KWH, 3 * KW)

    walked = both(polls, facts(step_mwh=WH, poll_interval_ms=HOUR), T0 + HOUR)

    # Trapezoid: 1 790 s at 1 kW, 10 s at 2 kW, 1 800 s at 3 kW = 7 210 kWs, scaled to 2 000 Wh.
    assert states(walked) == [METERED] * 4
    found = [row.known_mwh for row in rows(walked)]
    assert near(found[0], 2 * KWH * 900 / 7_210)
    assert near(found[1], 2 * KWH * 910 / 7_210)
    assert near(found[2], 2 * KWH * 2_700 / 7_210)
    assert near(found[3], 2 * KWH * 2_700 / 7_210)
    assert sum(found) == 2 * KWH


def test_a_hole_in_the_power_that_shapes_a_slow_register_bridges_the_rows_it_touches() -> None:
    # 2 kW; nothing at all came between 01:20 and 01:50, which is longer than a metered gap of 22.5 minutes.
    polls: list[Poll] = [
        (T0 + i * MINUTE, i * 2 * KWH // 60 if i % 60 == 0 else None, 2 * KW) for i in range(181) if not 80 < i < 110
    ]

    walked = both(polls, facts(step_mwh=WH, poll_interval_ms=HOUR), T0 + 3 * HOUR)

    assert [row.known_mwh for row in rows(walked)] == [500 * WH] * 12
    assert states(walked)[:4] == states(walked)[8:] == [METERED] * 4
    assert states(walked)[5:8] == [BRIDGED] * 3


def test_an_hourly_register_is_never_metered_by_its_polling_alone() -> None:
    polls: list[Poll] = [(T0 + i * HOUR, i * 2 * KWH, None) for i in range(5)]

    walked = both(polls, facts(step_mwh=WH, poll_interval_ms=HOUR), T0 + 4 * HOUR)

    assert states(walked) == [BRIDGED] * 16
    assert {row.known_mwh for row in rows(walked)} == {500 * WH}


@pytest.mark.parametrize("power", [True, False])
def test_a_load_that_wakes_is_not_smeared_over_the_idle_hours(power: bool) -> None:
    # Ten idle hours, then 3 kW: 50 Wh within the last minute, of which the last idle poll excludes all but one step.
    idle: list[Poll] = [(T0 + i * MINUTE, 7 * KWH, 0 if power else None) for i in range(601)]
    polls = [*idle, (T0 + 601 * MINUTE, 7 * KWH + 50 * WH, 3 * KW if power else None)]
    polls += [(T0 + (601 + i) * MINUTE, 7 * KWH + (50 + 50 * i) * WH, 3 * KW if power else None) for i in range(1, 15)]

    walked = both(polls, facts(), T0 + 615 * MINUTE)

    found = rows(walked)
    assert len(found) == 41
    assert states(walked) == [METERED] * 41
    # Without power at most one step of 10 Wh lies before the last idle poll, 0.25 Wh in each quarter of an hour.
    each = 0 if power else 250
    assert all(near(row.known_mwh, each) for row in found[:40])
    assert near(found[40].known_mwh, 750_000 - 40 * each)
    assert sum(row.known_mwh for row in found) == 750 * WH


# -- gaps --------------------------------------------------------------------------------------------------------


def gap(seconds: int) -> list[Poll]:
    """6 kW, polls each minute to 600 s, then one after the gap, then each minute to 3 600 s and one at 3 600 s."""
    instants = [*range(0, 601, 60), *range(600 + seconds, 3_600, 60), 3_600]
    return [(T0 + s * SECOND, 6 * KW * s // 3_600, None) for s in instants]


def test_a_gap_at_the_limit_is_metered() -> None:
    walked = both(gap(900), facts(step_mwh=WH), T0 + HOUR)

    assert states(walked) == [METERED] * 4
    assert [row.known_mwh for row in rows(walked)] == [1_500 * WH] * 4


def test_a_gap_one_second_past_the_limit_is_bridged_where_it_lies() -> None:
    walked = both(gap(901), facts(step_mwh=WH), T0 + HOUR)

    assert states(walked) == [BRIDGED, BRIDGED, METERED, METERED]
    for row in rows(walked):
        assert near(row.known_mwh, 1_500 * WH, 2)
        assert row.known_ms == QUARTER
        assert row.known_state == row.state


def test_polls_every_quarter_of_an_hour_may_be_one_and_a_half_apart() -> None:
    register = facts(step_mwh=WH, poll_interval_ms=QUARTER)
    at = [0, 900, 2_250, 3_600, 4_951, 5_400]  # gaps of 900, 1 350, 1 350, 1 351, 449 s

    walked = both([(T0 + s * SECOND, 6 * KW * s // 3_600, None) for s in at], register, T0 + 5_400 * SECOND)

    assert states(walked) == [METERED, METERED, METERED, METERED, BRIDGED, BRIDGED]


def test_an_outage_of_six_hours_keeps_its_total_and_is_bridged_never_zero() -> None:
    before = steady(T0, T0 + 2 * HOUR, MINUTE, 0, 6 * KW)
    after = steady(T0 + 8 * HOUR, T0 + 10 * HOUR, MINUTE, 36 * KWH, 6 * KW)  # 24 kWh in six hours

    walked = both(before + after, facts(), T0 + 10 * HOUR)

    assert walked.events == ()
    assert states(walked) == [METERED] * 8 + [BRIDGED] * 24 + [METERED] * 8
    assert [row.known_mwh for row in rows(walked)] == [1_500 * WH] * 8 + [1_000 * WH] * 24 + [1_500 * WH] * 8
    row = rows(walked)[9]
    assert row.register_mwh == 13 * KWH
    assert (row.before_ms, row.after_ms) == (QUARTER, 23 * QUARTER)


def test_a_month_of_silence_gives_neither_a_negative_nor_a_giant_bar() -> None:
    polls = [*steady(T0, T0 + HOUR, MINUTE, 0, 6 * KW), *steady(T0 + 30 * DAY, T0 + 30 * DAY + HOUR, MINUTE, 0, 6 * KW)]
    total = 6 * KWH + 719 * 2 * KWH  # 2 kW for the 719 hours nobody looked
    polls = [
        (at, shown + total, power) if at >= T0 + 30 * DAY and shown is not None else (at, shown, power)
        for at, shown, power in polls
    ]

    walked = both(polls, facts(), T0 + 30 * DAY + HOUR)

    energies = [row.known_mwh for row in rows(walked)]
    assert sum(energies) == total + 6 * KWH
    assert energies[4:-4] == [500 * WH] * (719 * 4)
    assert set(states(walked)[4:-4]) == {BRIDGED}


def test_rows_after_the_last_reading_are_missing_and_say_so() -> None:
    polls = steady(T0, T0 + 20 * MINUTE, MINUTE, 0, 6 * KW)

    walked = both(polls, facts(), T0 + HOUR)

    found = rows(walked)
    assert [row.state for row in found] == [METERED, MISSING, MISSING, MISSING]
    assert [(row.known_ms, row.known_mwh) for row in found] == [
        (QUARTER, 1_500 * WH),
        (5 * MINUTE, 500 * WH),
        (0, 0),
        (0, 0),
    ]
    assert [row.known_state for row in found] == [3, 3, 3, 3]


def test_the_running_interval_has_no_row_and_its_polls_settle_the_one_before() -> None:
    polls = steady(T0 + 7 * SECOND, T0 + 67 * MINUTE + 7 * SECOND, MINUTE, 0, 6 * KW)

    walked = both(polls, facts(step_mwh=WH), T0 + HOUR)

    found = rows(walked)
    assert [row.start_ms for row in found] == [T0 + i * QUARTER for i in range(4)]
    assert found[-1].state == METERED
    assert found[-1].known_ms == QUARTER


# -- limits of shape and of an entry -----------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "state"), [(15, METERED), (16, BRIDGED)])
def test_an_entry_of_a_coarse_register_is_metered_up_to_the_length_of_a_metered_gap(minutes: int, state: int) -> None:
    # One step of 100 Wh at each tick, polls each minute, no power: the shape is known while the entry is short.
    polls: list[Poll] = [(T0 + i * MINUTE, i // minutes * 100 * WH, None) for i in range(4 * minutes + 1)]
    until = T0 + 4 * minutes * MINUTE // QUARTER * QUARTER

    walked = both(polls, COARSE, until)

    assert set(states(walked)) == {state}
    assert all(near(row.known_mwh, 100_000 * 15 / minutes) for row in rows(walked))


@pytest.mark.parametrize(("step_mwh", "state"), [(10_000, METERED), (10_001, BRIDGED)])
def test_a_step_is_fine_up_to_a_hundredth_of_what_the_register_can_take_in_a_row(step_mwh: int, state: int) -> None:
    # 0.01 · 4 000 W · ¼ h = 10 Wh. A tick each half hour, polls each minute, no power.
    polls: list[Poll] = [(T0 + i * MINUTE, i // 30 * 10 * WH, None) for i in range(121)]

    walked = both(polls, facts(step_mwh=step_mwh, max_power_mw=4_000 * W), T0 + 2 * HOUR)

    assert set(states(walked)) == {state}
    assert all(near(row.known_mwh, 5 * WH) for row in rows(walked))


def test_an_entry_is_closed_after_a_day_and_the_carry_is_taken_from_its_tick() -> None:
    # 5 W on a step of 1 kWh: 120 Wh a day by own power, the tick after 200 h.
    polls: list[Poll] = [(T0 + i * QUARTER, i // 800 * KWH, 5 * W) for i in range(801)]
    register = facts(step_mwh=KWH, max_power_mw=4_600 * W, poll_interval_ms=QUARTER)

    walked = both(polls, register, T0 + 200 * HOUR)

    assert walked.events == ()
    assert set(states(walked)) == {METERED}
    assert known(walked) == KWH
    assert all(near(row.known_mwh, 1_250) for row in rows(walked))
    # The register at an instant is what it showed, what was carried and what has been booked since.
    found = rows(walked)[96 * 4]
    assert found.register_mwh is not None
    assert near(found.register_mwh, 480 * WH)


def test_a_close_books_never_more_than_one_step() -> None:
    # A step of 10 Wh and 0.5 W that no tick follows: 12 Wh a day by own power, of which 10 Wh can hide below a step.
    polls: list[Poll] = [(T0 + i * QUARTER, 3 * KWH, 500) for i in range(3 * 96 + 1)]

    walked = both(polls, facts(poll_interval_ms=QUARTER), T0 + 3 * DAY)

    assert known(walked) == 10 * WH
    assert walked.events == ()


def test_a_close_that_booked_too_much_is_never_taken_back_below_zero() -> None:
    # The facts say 100 Wh, the register really moves by 10 Wh: a day of 4 W books 96 Wh, the tick shows 10 Wh.
    polls: list[Poll] = [(T0 + i * QUARTER, 0, 4 * W) for i in range(97)]
    polls += [(T0 + DAY + i * QUARTER, 10 * WH, 4 * W) for i in range(1, 9)]
    register = facts(step_mwh=100 * WH, max_power_mw=4_600 * W, poll_interval_ms=QUARTER)

    walked = both(polls, register, T0 + DAY + 2 * HOUR)

    found = [event for event in walked.events if event.kind == "overbooked"]
    assert len(found) == 1
    assert found[0].at_ms == T0 + DAY + QUARTER
    assert any(
        amount is not None and near(amount, 86 * WH)
        for amount in (found[0].estimated_mwh, found[0].low_mwh, found[0].high_mwh)
    ), found[0]
    energies = [row.known_mwh for row in rows(walked)]
    assert min(energies) >= 0
    assert near(sum(energies[:96]), 96 * WH)
    assert energies[96] == 0


# -- the register at grid instants --------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [True, False])
@pytest.mark.parametrize("step_wh", [1, 10, 100, 1_000])
def test_rows_between_two_register_values_are_their_difference_exactly(step_wh: int, power: bool) -> None:
    polls = steady(T0 + 13_577, T0 + 26 * HOUR, 61_003, 123_456 * step_wh * WH, 1_237 * W + 1, step_mwh=step_wh * WH)
    polls = [(at, shown, 1_237 * W + at // MINUTE % 7 if power else None) for at, shown, _ in polls]

    found = rows(both(polls, facts(step_mwh=step_wh * WH), T0 + 26 * HOUR))

    with_register = [row for row in found if row.register_mwh is not None]
    assert len(with_register) >= 103
    for one, other in itertools.pairwise(with_register):
        assert one.register_mwh is not None
        assert other.register_mwh is not None
        assert one.known_mwh + one.estimated_mwh == other.register_mwh - one.register_mwh


# -- order, doubles, facts ----------------------------------------------------------------------------------------


def test_readings_count_by_their_instant_not_by_their_order() -> None:
    polls = steady(T0, T0 + 2 * HOUR, MINUTE, 0, 6 * KW)
    shuffled = polls[::2] + polls[1::2][::-1]

    one = walk(Trace.of(polls), [facts()], T0 + 2 * HOUR)
    other = walk(Trace.of(shuffled), [facts()], T0 + 2 * HOUR)

    assert one.rows.same(other.rows)
    assert one.anchors == other.anchors


def test_a_repeated_reading_changes_nothing() -> None:
    polls = steady(T0, T0 + 2 * HOUR, MINUTE, 0, 6 * KW)

    one = walk(Trace.of(polls), [facts()], T0 + 2 * HOUR)
    other = walk(Trace.of([*polls, polls[5], polls[77]]), [facts()], T0 + 2 * HOUR)

    assert one.rows.same(other.rows)
    assert one.events == other.events


def test_of_two_values_for_one_instant_the_last_one_written_stands() -> None:
    polls = steady(T0, T0 + 2 * HOUR, MINUTE, 0, 6 * KW)
    wrong = (polls[5][0], 77 * KWH, None)

    one = walk(Trace.of(polls), [facts()], T0 + 2 * HOUR)
    other = walk(Trace.of([wrong, *polls]), [facts()], T0 + 2 * HOUR)

    assert one.rows.same(other.rows)
    assert other.events == ()


def test_a_fact_that_changed_counts_from_its_instant() -> None:
    # The site grew from 5 kW behind a 10 kW fuse to 50 kW behind a 100 kW fuse at 01:00.
    grown = [(at, (shown or 0) + 5 * KWH, p) for at, shown, p in steady(T0 + HOUR, T0 + 3 * HOUR, MINUTE, 0, 50 * KW)]
    polls = [*steady(T0, T0 + HOUR - MINUTE, MINUTE, 0, 5 * KW), *grown]
    small = facts(max_power_mw=10 * KW)
    large = facts(max_power_mw=100 * KW, valid_from_ms=T0 + HOUR)

    walked = both(polls, [small, large], T0 + 3 * HOUR)
    stubborn = both(polls, small, T0 + 3 * HOUR)

    assert walked.events == ()
    assert near(known(walked), 105 * KWH, 100)
    assert set(states(walked)) == {METERED}
    # A true load above the stated maximum shows as breaks, not as energy.
    assert "swap" in {kind for kind, _ in named(stubborn)}
    assert known(stubborn) < 30 * KWH
    assert estimated(stubborn) >= 0


def test_rows_can_be_cut_and_compared() -> None:
    walked = both(steady(T0, T0 + 2 * HOUR, MINUTE, 0, 6 * KW), facts(), T0 + 2 * HOUR)

    part = walked.rows.slice(T0 + 2 * QUARTER, T0 + 5 * QUARTER)

    assert [int(start) for start in part.start_ms] == [T0 + 2 * QUARTER, T0 + 3 * QUARTER, T0 + 4 * QUARTER]
    assert part.same(walked.rows.slice(T0 + 2 * QUARTER, T0 + 5 * QUARTER))
    assert not part.same(walked.rows.slice(T0 + QUARTER, T0 + 4 * QUARTER))
    assert not part.same(walked.rows)
