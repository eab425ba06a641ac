"""A week of a small office, minute by minute, with one fault each: the total stays within 0.1 %, the fault is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from merilo.ledger import RegisterFacts, Trace, Walk, walk

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 19_672 * DAY
"""A Monday."""
STEP = 10_000
MODULUS = 10_000_000_000
Reading = tuple[int, int | None, int | None]
Fault = Callable[[list[Reading]], list[Reading]]


def office(register: int = 9_600_000_000) -> tuple[list[Reading], int]:
    """Readings and the true energy: 2 kW always and 3.5 kW more from 8 to 18 on five days."""
    found: list[Reading] = []
    true = register
    for minute in range(7 * 1440 + 1):
        power = 5_500_000 if minute // 1440 < 5 and 480 <= minute % 1440 < 1080 else 2_000_000
        found.append((START + minute * MINUTE, true // STEP * STEP, None))
        if minute < 7 * 1440:
            true += power // 60
    return found, true - register


def booked(done: Walk) -> int:
    return int(done.rows.known_mwh.sum() + done.rows.estimated_mwh.sum())


def outage(readings: list[Reading]) -> list[Reading]:
    return [one for one in readings if not START + DAY + 10 * HOUR <= one[0] < START + DAY + 16 * HOUR]


def zeros(readings: list[Reading]) -> list[Reading]:
    low = START + DAY + 11 * HOUR
    return [(t, 0 if low <= t < low + 5 * MINUTE else r, p) for t, r, p in readings]


def swapped(readings: list[Reading]) -> list[Reading]:
    at = START + 2 * DAY + 11 * HOUR
    old = next(r for t, r, _ in readings if t == at)
    assert old is not None
    return [(t, r - old + 1_500_000 if r is not None and t >= at else r, p) for t, r, p in readings]


def times_ten(readings: list[Reading]) -> list[Reading]:
    return [(t, r * 10 if r is not None and t == START + 3 * DAY else r, p) for t, r, p in readings]


def wrapped(readings: list[Reading]) -> list[Reading]:
    return [(t, None if r is None else (r + 200_000_000) % MODULUS, p) for t, r, p in readings]


@pytest.mark.parametrize("vectorised", [False, True])
@pytest.mark.parametrize(
    ("fault", "events"),
    [
        (lambda readings: readings, []),
        (outage, []),
        (wrapped, [("rollover", "")]),
        (zeros, [("zero_burst", "ignored")]),
        (swapped, [("swap", "suspected")]),
        (times_ten, [("spike", "ignored")]),
    ],
    ids=["none", "outage", "rollover", "zeros", "swap", "times ten"],
)
def test_each_fault_leaves_the_week_within_a_tenth_of_a_percent_and_has_a_name(
    fault: Fault, events: list[tuple[str, str]], vectorised: bool
) -> None:
    readings, truth = office()
    facts = RegisterFacts(step_mwh=STEP, max_power_mw=17_250_000, poll_interval_ms=MINUTE, rollover_mwh=MODULUS)

    done = walk(Trace.of(fault(readings)), [facts], START + 7 * DAY, vectorised=vectorised)

    assert len(done.rows) == 672
    assert abs(booked(done) - truth) * 1000 <= truth
    assert [(event.kind, event.detail) for event in done.events] == events
    assert (done.rows.state > 0).all()


def test_an_outage_of_six_hours_is_bridged_in_its_rows_and_nowhere_else() -> None:
    readings, _ = office()
    facts = RegisterFacts(step_mwh=STEP, max_power_mw=17_250_000, poll_interval_ms=MINUTE)

    rows = walk(Trace.of(outage(readings)), [facts], START + 7 * DAY).rows

    # From 09:59, the last poll, to 16:00, the next one.
    bridged = [int(t - START - DAY) // 900_000 for t in rows.start_ms[rows.state == 2]]
    assert bridged == list(range(39, 64))
