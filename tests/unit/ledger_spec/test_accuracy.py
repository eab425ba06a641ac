"""How close a row comes to the truth where the register is coarse or slow, and how far the simple rule is off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from merilo.ledger import RegisterFacts, Trace, Walk, walk

from .scenes import BRIDGED, DAY, HOUR, KW, KWH, METERED, MINUTE, QUARTER, SECOND, T0, WH, W, facts
from .truth import MWMS_PER_MWH, Load, Meter, Poll, Polls, schedule

DAYS = 4


def host() -> Load:
    """150 W and up to 160 W more, another value every 4 to 25 minutes."""
    rng = np.random.default_rng(3)
    edges = T0 + MINUTE * np.concatenate(([0], np.cumsum(rng.integers(4, 26, DAYS * 360))))
    return Load(edges, 150 * W + rng.integers(0, 161, DAYS * 360) * W)


def true_rows(load: Load) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """True energy of each quarter of an hour [Wh]."""
    return np.diff(load.work(T0 + QUARTER * np.arange(DAYS * 96 + 1, dtype=np.int64))) / MWMS_PER_MWH / WH


def error_wh(walked: Walk, load: Load) -> float:
    """Root mean square error of the rows but for the last day's end [Wh]."""
    found = np.asarray(walked.rows.known_mwh) / WH - true_rows(load)
    return float(np.sqrt(np.mean(found[:-8] ** 2)))


def walked(polls: Sequence[Poll], register: RegisterFacts) -> Walk:
    """All days in one pass."""
    return walk(Trace.of(polls), [register], T0 + DAYS * DAY)


COARSE = facts(step_mwh=100 * WH, max_power_mw=4_600 * W)


def coarse(*, power: bool) -> tuple[Load, list[Poll]]:
    """The host on a register of 100 Wh, polled each minute."""
    load = host()
    meter = Meter(load=load, step_mwh=100 * WH, first_mwh=70 * KWH)
    return load, Polls(meter, schedule(T0, T0 + DAYS * DAY, MINUTE), power=power).readings()


def test_own_power_shapes_a_coarse_register_to_about_a_watt_hour_a_row() -> None:
    load, polls = coarse(power=True)

    found = walked(polls, COARSE)

    assert error_wh(found, load) < 1.5
    assert set(found.rows.state.tolist()) == {METERED}


def test_own_power_that_is_four_percent_high_in_steps_of_ten_watts_costs_little() -> None:
    load, polls = coarse(power=True)
    rough = [(at, shown, round((power or 0) * 1.04 / (10 * W)) * 10 * W) for at, shown, power in polls]

    found = walked(rough, COARSE)

    assert error_wh(found, load) < 2
    true = float(true_rows(load).sum())
    assert abs(int(found.rows.known_mwh.sum()) / WH - true) < 0.002 * true


def test_without_power_a_coarse_register_is_a_few_watt_hours_off_and_says_so() -> None:
    load, polls = coarse(power=False)

    found = walked(polls, COARSE)

    assert 2 < error_wh(found, load) < 9
    assert set(found.rows.state.tolist()) == {BRIDGED}


def test_rows_from_poll_to_poll_of_a_coarse_register_are_a_sawtooth() -> None:
    # The ledger not to build: what the register moved between the polls at both ends of a row.
    load, polls = coarse(power=False)
    at_grid = np.array([shown for at, shown, _ in polls if at % QUARTER == 0]) / WH

    toy = np.diff(at_grid)

    assert set(toy.tolist()) <= {0, 100}
    assert float(np.sqrt(np.mean((toy - true_rows(load)) ** 2))) > 40


def test_ten_second_power_shapes_an_hourly_register_to_a_few_watt_hours_a_row() -> None:
    rng = np.random.default_rng(8)
    edges = T0 + MINUTE * np.concatenate(([0], np.cumsum(rng.integers(2, 30, DAYS * 400))))
    load = Load(edges, rng.integers(1, 6_000, DAYS * 400) * W)
    meter = Meter(load=load, step_mwh=WH, first_mwh=900 * KWH)
    polls = [
        (at, shown if (at - T0) % HOUR == 0 else None, power)
        for at, shown, power in Polls(meter, schedule(T0, T0 + DAYS * DAY, 10 * SECOND)).readings()
    ]
    register = facts(step_mwh=WH, max_power_mw=8 * KW, poll_interval_ms=HOUR)

    shaped = walked(polls, register)
    flat = walked([(at, shown, None) for at, shown, _ in polls if shown is not None], register)

    assert error_wh(shaped, load) < 5
    assert set(shaped.rows.state.tolist()) == {METERED}
    assert error_wh(flat, load) > 100
    assert set(flat.rows.state.tolist()) == {BRIDGED}
