"""Each rule of the walk on a few readings, with energies worked out by hand."""

from __future__ import annotations

import pytest

from merilo.ledger import (
    BaseRows,
    LedgerEvent,
    RegisterFacts,
    Trace,
    Walk,
    daily_checks,
    rebuilt_anchor,
    walk,
    walk_power,
)

SECOND, MINUTE, QUARTER, HOUR, DAY = 1_000, 60_000, 900_000, 3_600_000, 86_400_000
START = 19_676 * DAY
Reading = tuple[int, int | None, int | None]

COARSE = RegisterFacts(step_mwh=100_000, max_power_mw=10_000_000, poll_interval_ms=MINUTE)
FINE = RegisterFacts(step_mwh=10_000, max_power_mw=10_000_000, poll_interval_ms=MINUTE)


def steady(start: int, minutes: int, register: int, per_minute: int, power: int | None = None) -> list[Reading]:
    """A poll each minute, the last one included."""
    return [(start + i * MINUTE, register + i * per_minute, power) for i in range(minutes + 1)]


def walked(
    readings: list[Reading], facts: RegisterFacts = FINE, hours: int = 4, identity_ms: tuple[int, ...] = ()
) -> Walk:
    return walk(Trace.of(readings, identity_ms), [facts], START + hours * HOUR)


def energy(rows: BaseRows) -> int:
    return int(rows.known_mwh.sum() + rows.estimated_mwh.sum())


def only(done: Walk) -> LedgerEvent:
    assert len(done.events) == 1
    return done.events[0]


def test_an_idle_hold_gets_at_most_one_step_and_the_rise_lies_after_it() -> None:
    # Given: unchanged for 30 minutes, then 300 Wh in the last minute; no power.
    readings = [*steady(START, 30, 0, 0), (START + 31 * MINUTE, 300_000, None)]

    rows = walked(readings, COARSE, 1).rows

    # Then: by time 30/31 of 300 Wh would lie in the hold; a poll that saw 0 allows 100 Wh, half of it each quarter.
    assert rows.known_mwh.tolist()[:3] == [50_000, 50_000, 200_000]
    assert rows.state.tolist() == [2, 2, 0, 0]
    assert rows.register_mwh.tolist()[:3] == [0, 50_000, 100_000]


def test_own_power_shapes_an_entry_but_not_its_total() -> None:
    # Given: an hourly register of 3 kWh and power each 15 minutes: 4 kW in the first half hour, 0 in the second.
    power = [(0, 4_000_000), (15, 4_000_000), (30, 0), (45, 0)]
    readings: list[Reading] = [(START + m * MINUTE, 0 if m == 0 else None, p) for m, p in power]
    readings.append((START + HOUR, 3_000_000, 0))

    rows = walked(readings, COARSE, 1).rows

    # Then: trapezoids 1000, 500, 0, 0 Wh by power, scaled to 3000 Wh.
    assert rows.known_mwh.tolist() == [2_000_000, 1_000_000, 0, 0]
    assert rows.state.tolist() == [3, 3, 3, 3]


def test_cut_pieces_are_rounded_on_the_cumulative_value() -> None:
    # Given: one rise of 10 mWh over 25 minutes that begins 10 minutes before the grid.
    facts = RegisterFacts(step_mwh=1, max_power_mw=10_000, poll_interval_ms=MINUTE)
    readings: list[Reading] = [(START + 5 * MINUTE, 0, None), (START + 35 * MINUTE, 10, None)]

    rows = walked(readings, facts, 1).rows

    # Then: cumulative 3.33, 8.33, 10.
    assert rows.known_mwh.tolist() == [3, 5, 2, 0]
    assert rows.known_ms.tolist() == [600_000, 900_000, 300_000, 0]


def test_a_step_down_within_the_register_resolution_is_a_hold_with_one_event() -> None:
    readings = [*steady(START, 2, 500_000, 0), (START + 3 * MINUTE, 480_000, None), (START + 4 * MINUTE, 490_000, None)]

    done = walked(readings)

    assert (only(done).kind, only(done).detail, only(done).at_ms) == ("back_step", "ignored", START + 3 * MINUTE)
    assert energy(done.rows) == 0


def test_an_entry_without_tick_is_closed_after_a_day_with_at_most_one_step() -> None:
    # Given: 60 kW·min at 1 kW, then nothing for 25 hours.
    readings = steady(START, 60, 0, 16_666) + steady(START + 61 * MINUTE, 25 * 60, 999_960, 0)

    done = walked(readings, COARSE, 27)

    # Then: the close books the whole step of 100 Wh, and what is left of the hold nothing.
    assert energy(done.rows) == 999_960 + 100_000
    assert done.head is not None
    assert (done.head.carry_mwh, done.head.register_mwh) == (100_000, 999_960)
    assert done.head.t_ms == START + HOUR + DAY


def test_a_close_that_booked_too_much_is_said_and_not_taken_back() -> None:
    readings = steady(START, 60, 0, 16_666) + steady(START + 61 * MINUTE, 24 * 60, 999_960, 0)
    last = readings[-1][0]
    readings += [(last + MINUTE, 999_960 + 30_000, None)]

    done = walked(readings, COARSE, 27)

    assert (only(done).kind, only(done).estimated_mwh) == ("overbooked", 70_000)
    assert done.head is not None
    assert done.head.segment_ms == last + MINUTE


def test_rollover_counts_up_to_the_modulus_and_on() -> None:
    # 999 998.46 kWh, then 1.27 kWh a quarter of an hour later, modulus 10^6 kWh, 23 kW: 2 810 Wh.
    facts = RegisterFacts(
        step_mwh=10_000, max_power_mw=23_000_000, poll_interval_ms=QUARTER, rollover_mwh=1_000_000_000_000
    )
    readings: list[Reading] = [(START, 999_998_460_000, None), (START + QUARTER, 1_270_000, None)]

    done = walked(readings, facts, 1)

    assert only(done).kind == "rollover"
    assert only(done).settles_at_ms == START + QUARTER + DAY
    assert energy(done.rows) == 2_810_000
    assert done.rows.register_mwh.tolist()[:2] == [999_998_460_000, 1_270_000]
    assert done.head is not None
    assert done.head.t_ms == START


def test_without_modulus_the_same_is_a_reset_with_bounds() -> None:
    facts = RegisterFacts(step_mwh=10_000, max_power_mw=23_000_000, poll_interval_ms=QUARTER)
    readings: list[Reading] = [(START, 999_998_460_000, None)]
    readings += [(START + i * QUARTER, 1_270_000, None) for i in (1, 2, 3)]

    done = walked(readings, facts, 1)

    # Bounds: the new value; 23 kW for 902 s and two steps.
    assert (only(done).kind, only(done).low_mwh, only(done).high_mwh) == ("reset", 1_270_000, 5_762_777 + 20_000)
    assert done.rows.state.tolist() == [0, 3, 3, 0]


def test_a_new_meter_that_stays_is_no_spike_however_long_the_limit_grows() -> None:
    # Given: a meter 5 kWh higher, which is plausible from the old one after half an hour.
    readings = steady(START, 30, 0, 10_000) + steady(START + 31 * MINUTE, 120, 5_000_000, 10_000)
    # One wrong reading in between: what follows goes on from the new meter, it does not return.
    readings[80] = (readings[80][0], 0, None)

    done = walked(readings)

    found = [(event.kind, event.detail) for event in done.events]
    assert found == [("swap", "suspected"), ("zero_burst", "ignored")]
    assert energy(done.rows) == 300_000 + 10_000 + 1_200_000


def test_a_return_within_a_day_undoes_a_new_life_that_had_persisted() -> None:
    # Given: three hours times ten.
    readings = steady(START, 30, 50_000_000, 10_000)
    readings += [(t, r and r * 10, None) for t, r, _ in steady(START + 31 * MINUTE, 179, 50_310_000, 10_000)]
    back = steady(START + 211 * MINUTE, 29, 52_110_000, 10_000)

    before, after = walked(readings, hours=4), walked(readings + back, hours=4)

    assert only(before).kind == "decode_change"
    assert only(before).k == -1
    assert (only(after).kind, only(after).set_aside) == ("spike", 180)
    assert energy(after.rows) == 52_110_000 + 290_000 - 50_000_000


def test_a_changed_decoding_is_held_apart_and_estimated_by_own_power() -> None:
    readings = steady(START, 60, 50_000_000, 10_000, 600_000)
    readings += [(t, r and r * 10, p) for t, r, p in steady(START + 61 * MINUTE, 179, 50_610_000, 10_000, 600_000)]

    rows = walked(readings).rows

    # One minute of the pair is estimated, the rest of the three hours held.
    assert int(rows.held_mwh.sum()) == 1_790_000
    assert set(rows.held_k.tolist()) == {0, -1}
    assert rows.state.tolist() == [3] * 4 + [1] * 12
    assert energy(rows) == 600_000 + 1_800_000
    # In units as read: ten times the level of 50 610 Wh less one minute.
    assert rows.register_mwh.tolist()[8] == 10 * 51_200_000


def test_a_small_fall_waits_then_rebases() -> None:
    readings = steady(START, 60, 10_000_000, 10_000)
    fallen = steady(START + 61 * MINUTE, 2, 10_100_000, 10_000)

    waiting, decided = walked(readings + fallen[:2], hours=2), walked(readings + fallen, hours=2)

    assert (only(waiting).kind, only(waiting).detail) == ("back_step", "undecided")
    assert int(waiting.rows.known_ms[4]) == 2 * MINUTE
    assert (only(decided).kind, only(decided).detail) == ("back_step", "rebased")


def test_an_undecided_jump_leaves_its_rows_missing() -> None:
    readings = [*steady(START, 60, 10_000_000, 10_000), (START + 61 * MINUTE, 900_000_000, None)]

    done = walked(readings, hours=2)

    assert (only(done).kind, only(done).detail) == ("swap", "undecided")
    assert done.rows.state.tolist() == [3] * 4 + [0] * 4
    assert only(done).settles_at_ms is None


def test_a_reported_change_of_identity_begins_a_segment_even_if_the_value_goes_on() -> None:
    readings = steady(START, 120, 0, 10_000)

    done = walked(readings, hours=2, identity_ms=(START + HOUR,))

    assert (only(done).kind, only(done).detail, only(done).at_ms) == ("swap", "identity", START + HOUR)
    assert done.head is not None
    assert done.head.segment_ms == START + HOUR
    assert energy(done.rows) == 1_200_000
    assert done.rows.state.tolist() == [3, 3, 3, 1, 3, 3, 3, 3]


def standing(hours: int, per_minute: int) -> list[Reading]:
    """600 W whose register stands still from the first hour on; power alternates, so that it is no old value."""
    found: list[Reading] = []
    for i in range((hours + 2) * 60 + 1):
        power = 590_000 if i % 2 else 610_000
        found.append((START + i * MINUTE, min(i, 60) * per_minute, power))
    return found[: (hours + 1) * 60 + 1]


def test_a_register_that_stood_still_catches_up_its_whole_energy() -> None:
    readings = standing(2, 10_000)
    readings += steady(readings[-1][0] + MINUTE, 58, 600_000 + 1_210_000, 10_000, 600_000)

    done = walked(readings)

    # Proof: an hour, and more than five steps of 10 Wh.
    assert (only(done).kind, only(done).detail, only(done).at_ms) == ("stuck", "caught_up", START + 2 * HOUR)
    assert energy(done.rows) == 2_390_000
    assert done.rows.state.tolist() == [3] * 4 + [2] * 9 + [3] * 2 + [0]


def test_a_register_that_goes_on_without_catching_up_lost_energy() -> None:
    readings = standing(2, 10_000)
    readings += steady(readings[-1][0] + MINUTE, 59, 600_000 + 10_000, 10_000, 600_000)

    done = walked(readings)

    assert (only(done).kind, only(done).detail) == ("stuck", "resumed")
    # 600 Wh known, 120 minutes of own power (the ends of the hold held at 610 W), one minute of pair, 59 known.
    assert energy(done.rows) == pytest.approx(2_400_000, rel=0.002)
    assert int(done.rows.estimated_ms.sum()) == 121 * MINUTE


def test_a_standstill_that_lasts_is_estimated_by_own_power_and_open() -> None:
    done = walked(standing(2, 10_000), hours=3)

    assert (only(done).kind, only(done).detail) == ("stuck", "open")
    assert done.rows.state.tolist() == [3] * 4 + [1] * 8


def test_old_power_served_again_estimates_nothing() -> None:
    frozen: list[Reading] = [(t, r, 600_000) for t, r, _ in standing(2, 10_000)]

    done = walked(frozen, hours=3)

    assert done.rows.state.tolist() == [3] * 4 + [0] * 8


def test_power_alone_is_a_trapezoid_with_holes_told_apart() -> None:
    # Samples each 15 minutes, a hole of an hour beyond the nominal distance, then one of more.
    facts = RegisterFacts(step_mwh=1, max_power_mw=10_000_000, poll_interval_ms=QUARTER)
    minutes = [(0, 1_000_000), (15, 3_000_000), (90, 1_000_000), (180, 1_000_000)]
    trace = Trace.of([(START + m * MINUTE, None, p) for m, p in minutes])

    rows = walk_power(trace, [facts], START + 3 * HOUR).rows

    assert rows.state.tolist() == [3] + [1] * 5 + [0] * 6
    assert rows.known_mwh.tolist()[0] == 500_000
    assert rows.estimated_mwh.tolist()[1:6] == [500_000] * 5
    assert not rows.has_register.any()


def test_daily_checks_warn_of_power_and_step_that_do_not_fit() -> None:
    fits = steady(START, 1440, 0, 10_000, 600_000)
    half = steady(START, 1440, 0, 50_000, 1_500_000)

    good = daily_checks(Trace.of(fits), [FINE], (START, START + DAY + 1))
    bad = daily_checks(Trace.of(half), [FINE], (START, START + DAY + 1))

    assert good == ()
    assert [event.kind for event in bad] == ["register_power_mismatch", "step_mismatch"]


def test_a_lost_anchor_is_rebuilt_from_a_row_with_its_register() -> None:
    readings = steady(START, 240, 0, 10_000)
    full = walked(readings)
    anchor = rebuilt_anchor(full.rows, START + 2 * HOUR)
    assert anchor is not None

    part = walk(Trace.of(readings).since(anchor.t_ms), [FINE], START + 4 * HOUR, anchor)

    assert part.rows.same(full.rows.slice(START + 2 * HOUR, START + 4 * HOUR))
    assert rebuilt_anchor(full.rows, START + 5 * HOUR) is None


@pytest.mark.parametrize(
    ("step", "power", "poll", "rollover"), [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0)]
)
def test_facts_refuse_what_is_not_above_zero(step: int, power: int, poll: int, rollover: int) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        RegisterFacts(step_mwh=step, max_power_mw=power, poll_interval_ms=poll, rollover_mwh=rollover)


def test_facts_begin_on_the_grid_and_a_walk_ends_on_it() -> None:
    with pytest.raises(ValueError, match="whole quarter"):
        RegisterFacts(step_mwh=1, max_power_mw=1, poll_interval_ms=1, valid_from_ms=1)
    with pytest.raises(ValueError, match="whole quarter"):
        walk(Trace.of([]), [FINE], 1)
    with pytest.raises(ValueError, match="whole quarter"):
        walk_power(Trace.of([]), [FINE], 1)
    with pytest.raises(ValueError, match="at least one"):
        walk(Trace.of([]), [], 0)


@pytest.mark.parametrize(("below", "detail"), [(2, "ignored"), (3, "rebased")])
def test_a_small_fall_is_ignored_if_fewer_than_three_readings_lie_below(below: int, detail: str) -> None:
    # Given: the register falls and comes up again in even steps within one run.
    up = steady(START + 11 * MINUTE, below + 20, 10_000_000 - below * 50_000, 50_000)

    done = walked(steady(START, 10, 10_000_000, 0) + up)

    assert (only(done).kind, only(done).detail) == ("back_step", detail)
    assert only(done).set_aside == (below if detail == "ignored" else 0)
