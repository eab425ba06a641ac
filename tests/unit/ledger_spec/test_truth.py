"""The simulator of truth against hand calculation and against the errors that simpler ledgers are known to make."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from .scenes import DAY, HOUR, KW, KWH, MINUTE, T0, WH
from .strategies import FAULTS, history
from .truth import Load, Meter, Polls, office, schedule


def test_a_register_shows_whole_steps_of_the_exact_energy() -> None:
    # 1 kW for an hour, then 3 kW: 1 000 Wh, then 50 Wh a minute.
    load = Load([T0, T0 + HOUR, T0 + 2 * HOUR], [1 * KW, 3 * KW])
    meter = Meter(load=load, step_mwh=100 * WH, first_mwh=7 * KWH)
    at = np.array([T0, T0 + 30 * MINUTE, T0 + HOUR, T0 + HOUR + MINUTE, T0 + HOUR + 2 * MINUTE, T0 + 2 * HOUR])

    assert load.energy_mwh(T0, T0 + 90 * MINUTE) == 2_500 * WH
    assert meter.counted(at).tolist() == [7_000 * WH, 7_500 * WH, 8_000 * WH, 8_000 * WH, 8_100 * WH, 11_000 * WH]


def test_the_office_takes_511_kwh_a_week() -> None:
    # 2 kW for 168 h and 3.5 kW for 50 h.
    assert abs(office(T0, 7, seed=11).energy_mwh(T0, T0 + 7 * DAY) - 511 * KWH) < 0.003 * 511 * KWH


def rises(register: list[int]) -> int:
    """Differences from poll to poll, negative ones dropped: the ledger not to build."""
    return sum(max(0, b - a) for a, b in itertools.pairwise(register))


@pytest.mark.parametrize(("fault", "times"), [("none", 1.0), ("zeros", 20.0), ("tenfold", 180.0)])
def test_differences_with_negative_values_dropped_multiply_a_week(fault: str, times: float) -> None:
    # The published errors of that rule on such a week are +2 002 % for five minutes of zeros, +18 162 % for one ×10.
    load = office(T0, 7, seed=11)
    polls = Polls(Meter(load=load, step_mwh=10 * WH, first_mwh=9_714 * KWH), schedule(T0, T0 + 7 * DAY, MINUTE))
    if fault == "zeros":
        polls.zero_burst(T0 + 2 * DAY, T0 + 2 * DAY + 5 * MINUTE)
    if fault == "tenfold":
        polls.spike(T0 + 2 * DAY, T0 + 2 * DAY + MINUTE)

    counted = rises([shown for _, shown, _ in polls.readings() if shown is not None])

    assert counted / load.energy_mwh(T0, T0 + 7 * DAY) == pytest.approx(times, rel=0.06)


def test_a_history_is_the_same_for_the_same_seed_and_its_instants_rise() -> None:
    one, other, third = history(5), history(5), history(6)

    assert one.readings == other.readings
    assert one.facts == other.facts
    assert one.readings != third.readings
    for found in (history(seed) for seed in range(30)):
        instants = [poll[0] for poll in found.readings]
        assert all(a < b for a, b in itertools.pairwise(instants))
        assert found.until_ms % 900_000 == 0
        assert found.truth_mwh_at(found.readings[0][0]) == 0


def test_histories_have_every_fault_in_them() -> None:
    assert {fault for seed in range(60) for fault in history(seed, poll_min_ms=900_000).faults} == set(FAULTS)
