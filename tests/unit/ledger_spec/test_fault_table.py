"""A week of an office with one fault each: the total is right to 0.1 %, the fault has a name, no load reads as zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from merilo.ledger import Trace, walk

from .scenes import (
    BRIDGED,
    DAY,
    HOUR,
    KWH,
    METERED,
    MINUTE,
    MISSING,
    QUARTER,
    SECOND,
    T0,
    WH,
    assert_same,
    facts,
    named,
    rows,
)
from .truth import MWMS_PER_MWH, Load, Meter, Polls, office, schedule

DAYS = 7
AT = T0 + 2 * DAY + 10 * HOUR + 2 * MINUTE
"""The third day, 10:02, in working hours."""
LOAD: Load = office(T0, DAYS + 1, seed=11)
TRUE_MWH = LOAD.energy_mwh(T0, T0 + DAYS * DAY)
TRUE_ROWS = (np.diff(LOAD.work(T0 + QUARTER * np.arange(DAYS * 96 + 1, dtype=np.int64))) / MWMS_PER_MWH).tolist()
"""True energy of each quarter of an hour [mWh]."""


def week(*, power: bool, first_mwh: int = 9_300 * KWH, rollover_mwh: int | None = None) -> Polls:
    """Polls each 60 s, up to 3 s late, a register of 10 Wh."""
    meter = Meter(load=LOAD, step_mwh=10 * WH, first_mwh=first_mwh, rollover_mwh=rollover_mwh)
    at_ms = schedule(T0, T0 + DAYS * DAY + 5 * MINUTE, MINUTE, 3 * SECOND, seed=7)
    at_ms[0] = T0
    return Polls(meter, at_ms, power=power)


Fault = tuple[Callable[[Polls], object], set[tuple[str, str]]]
FAULTS: dict[str, Fault] = {
    "none": (lambda p: p, set()),
    "6 h office-hours outage": (lambda p: p.outage(AT, AT + 6 * HOUR), set()),
    "5 min of zero reads": (lambda p: p.zero_burst(AT, AT + 5 * MINUTE), {("zero_burst", "")}),
    "2 h of zero reads": (lambda p: p.zero_burst(AT, AT + 2 * HOUR), {("zero_burst", "")}),
    "one x10 decode": (lambda p: p.spike(AT, AT + MINUTE), {("spike", "")}),
    "3 h of x10": (lambda p: p.spike(AT, AT + 3 * HOUR), {("spike", "")}),
    "one stale value": (lambda p: p.stale(AT, AT + MINUTE, 300 * WH), {("back_step", "ignored")}),
    "restored older value": (lambda p: p.restored(AT, 5 * KWH), {("back_step", "rebased")}),
    "reset to zero": (lambda p: p.reset(AT), {("reset", "")}),
    "swapped, new index 1.5 kWh": (lambda p: p.swap(AT, 1_500 * WH), {("swap", "suspected")}),
    "swapped, new index higher": (lambda p: p.swap(AT, 12_345 * KWH), {("swap", "suspected")}),
    "swapped, reported": (lambda p: p.swap(AT, 1_500 * WH, reported=True), {("swap", "identity")}),
    "13 min outage": (lambda p: p.outage(AT, AT + 13 * MINUTE), set()),
}


def judge(polls: Polls, rollover_mwh: int | None, expected: set[tuple[str, str]]) -> None:
    """Demand the bar of one row of the table."""
    trace = Trace.of(polls.readings(), identity_ms=polls.identity_ms)
    walked = walk(trace, [facts(rollover_mwh=rollover_mwh)], T0 + DAYS * DAY)

    found = rows(walked)
    assert len(found) == DAYS * 96
    total = sum(row.known_mwh + row.estimated_mwh for row in found)
    if not polls.has_power:
        total += sum(row.held_mwh for row in found)  # nothing else stands for what is held
    assert abs(total - TRUE_MWH) <= 0.001 * TRUE_MWH
    told = {(kind, detail if any(k == kind and d for k, d in expected) else "") for kind, detail in named(walked)}
    assert told == expected
    for row, true in zip(found, TRUE_ROWS, strict=True):
        assert row.state == MISSING or row.known_mwh + row.estimated_mwh > 0, row
        if row.state == METERED:
            assert abs(row.known_mwh - true) < 60 * WH, row  # a step at each end, and 3 s of jitter
        if row.state == BRIDGED:
            assert row.known_mwh > 0.3 * true, row


@pytest.mark.parametrize("power", [True, False], ids=["with power", "register only"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_week_with_one_fault_is_right_to_a_thousandth_and_names_it(fault: str, power: bool) -> None:
    polls = week(power=power)
    spoil, expected = FAULTS[fault]
    spoil(polls)

    judge(polls, None, expected)


@pytest.mark.parametrize("power", [True, False], ids=["with power", "register only"])
def test_a_week_with_a_rollover_is_right_to_a_thousandth_and_names_it(power: bool) -> None:
    judge(week(power=power, first_mwh=9_714 * KWH, rollover_mwh=10_000 * KWH), 10_000 * KWH, {("rollover", "")})


@pytest.mark.parametrize("lost", [False, True], ids=["caught up", "resumed"])
def test_a_week_with_a_register_that_stood_still_for_50_hours_is_right_to_a_thousandth(lost: bool) -> None:
    polls = week(power=True)
    polls.stuck(AT, AT + 50 * HOUR, lost=lost)

    walked = walk(Trace.of(polls.readings()), [facts()], T0 + DAYS * DAY)

    total = sum(row.known_mwh + row.estimated_mwh for row in rows(walked))
    assert abs(total - TRUE_MWH) <= 0.001 * TRUE_MWH
    assert {kind for kind, _ in named(walked)} == {"stuck"}
    assert ("stuck", "resumed" if lost else "caught_up") in named(walked)
    assert all(row.known_mwh + row.estimated_mwh > 0 for row in rows(walked))


@pytest.mark.parametrize("power", [True, False], ids=["with power", "register only"])
def test_a_week_whose_decode_changed_for_good_is_held_to_a_thousandth(power: bool) -> None:
    polls = week(power=power)
    polls.decode(AT, 1)

    judge(polls, None, {("decode_change", "")})


@pytest.mark.parametrize("fault", ["none", "2 h of zero reads", "swapped, reported"])
def test_a_week_is_the_same_by_both_paths(fault: str) -> None:
    polls = week(power=True)
    FAULTS[fault][0](polls)
    trace = Trace.of(polls.readings(), identity_ms=polls.identity_ms)

    fast = walk(trace, [facts()], T0 + DAYS * DAY, vectorised=True)

    assert_same(fast, walk(trace, [facts()], T0 + DAYS * DAY, vectorised=False))
