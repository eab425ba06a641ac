"""What must be true of every walk, over random histories and over nonsense. Bounded and seeded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.ledger import Anchor, LedgerEvent, RegisterFacts, Trace, Walk, walk, walk_power

from .recompute import Keeper, day_firsts, in_order
from .scenes import (
    DAY,
    HOUR,
    KW,
    KWH,
    METERED,
    MINUTE,
    QUARTER,
    T0,
    WH,
    assert_same,
    both,
    changed,
    facts,
    rows,
    steady,
)
from .strategies import History, history
from .truth import Load, Meter, Poll, Polls, restless, schedule

SEEDS = range(40)
SLOW = range(16)
"""Seeds for properties that walk a history many times."""


def trace(found: History) -> Trace:
    """The whole history as a trace."""
    return Trace.of(found.readings, identity_ms=found.identity_ms)


def walked(found: History) -> Walk:
    """The whole history in one pass."""
    return walk(trace(found), found.facts, found.until_ms)


def new_segment(event: LedgerEvent) -> bool:
    """Whether the register's values before and after the event do not continue each other."""
    if event.kind in ("back_step", "stuck"):
        return event.detail in ("rebased", "undecided", "open", "resumed")
    return event.kind in ("swap", "reset", "decode_change", "overbooked") or event.detail == "undecided"


def reach(event: LedgerEvent) -> tuple[int, int]:
    """First and last instant an event speaks of."""
    instants = [at for at in (event.at_ms, event.t0_ms, event.t1_ms) if at is not None]
    return min(instants), max(instants)


def assert_sound(found: Walk, first_ms: int | None, until_ms: int) -> None:
    """What holds for every walk whatever the readings were."""
    base = found.rows
    count = len(base)
    if first_ms is None or first_ms // QUARTER * QUARTER >= until_ms:
        assert count == 0
        return
    start = first_ms // QUARTER * QUARTER
    assert np.array_equal(base.start_ms, np.arange(start, until_ms, QUARTER))
    for column in (base.known_mwh, base.estimated_mwh, base.held_mwh, base.known_ms, base.estimated_ms, base.held_ms):
        assert (np.asarray(column) >= 0).all()
    covered = np.asarray(base.known_ms) + np.asarray(base.estimated_ms)
    assert (covered <= QUARTER).all()
    assert (np.asarray(base.held_ms) <= QUARTER).all()
    assert np.array_equal(np.asarray(base.state) == 0, covered < QUARTER)
    assert np.isin(base.known_state, (2, 3)).all()
    full = covered == QUARTER
    worst = np.where(np.asarray(base.estimated_ms) > 0, 1, base.known_state)
    assert np.array_equal(np.asarray(base.state)[full], worst[full])
    assert (np.asarray(base.known_mwh)[np.asarray(base.known_ms) == 0] == 0).all()
    assert (np.asarray(base.estimated_mwh)[np.asarray(base.estimated_ms) == 0] == 0).all()
    has = np.asarray(base.has_register, bool)
    assert (np.asarray(base.before_ms)[has] >= 0).all()
    assert (np.asarray(base.after_ms)[has] >= 0).all()
    for event in found.events:
        assert event.low_mwh is None or event.high_mwh is None or event.low_mwh <= event.high_mwh


def assert_conserved(found: Walk, register: RegisterFacts) -> int:
    """Rows inside a segment are the difference of the register at their ends, exactly; gives how many were compared."""
    broken = [reach(event) for event in found.events if new_segment(event)]
    # A suspended register is shown as read, its energy is not: rows from there on are compared by nobody.
    suspended_ms = min((reach(event)[0] for event in found.events if event.k), default=2**62)
    table = [row for row in rows(found) if row.start_ms < suspended_ms]
    compared = 0
    for one, other in itertools.pairwise(table):
        if one.register_mwh is None or other.register_mwh is None or one.held_ms or other.held_ms:
            continue
        if one.known_ms + one.estimated_ms < QUARTER:
            continue
        if any(first <= other.start_ms and last >= one.start_ms for first, last in broken):
            continue
        difference = other.register_mwh - one.register_mwh
        if register.rollover_mwh is not None:
            difference %= register.rollover_mwh
        assert one.known_mwh + one.estimated_mwh == difference, (one, other)
        compared += 1
    return compared


def assert_taken_up_again(
    found: Walk,
    readings: list[Poll],
    register: tuple[RegisterFacts, ...],
    until_ms: int,
    identity_ms: tuple[int, ...],
    anchor: Anchor,
) -> None:
    """A walk from an anchor gives the rows from the anchor's on, the events and the anchors after it."""
    rest = Trace.of([poll for poll in readings if poll[0] >= anchor.t_ms], identity_ms=identity_ms)
    again = walk(rest, register, until_ms, anchor=anchor)

    expected = found.rows.slice(anchor.t_ms // QUARTER * QUARTER, until_ms)
    if not again.rows.same(expected):
        table = [row for row in rows(found) if row.start_ms >= anchor.t_ms // QUARTER * QUARTER]
        raise AssertionError(
            [(a, b) for a, b in zip(table, rows(again), strict=False) if a != b][:1] or (len(table), len(again.rows))
        )
    after = [event for event in found.events if event.at_ms > anchor.t_ms]
    assert [event for event in again.events if event.at_ms > anchor.t_ms] == after
    firsts = [a for a in day_firsts(found, None) if a.t_ms // DAY > anchor.t_ms // DAY]
    assert day_firsts(again, anchor) == firsts
    if found.head is not None and found.head.t_ms >= anchor.t_ms:
        assert again.head == found.head


@pytest.mark.parametrize("seed", SEEDS)
def test_every_walk_is_sound_conserves_and_is_the_same_by_both_paths(seed: int) -> None:
    found = history(seed, poll_min_ms=120_000)

    plain = walk(trace(found), found.facts, found.until_ms, vectorised=False)
    fast = walk(trace(found), found.facts, found.until_ms, vectorised=True)

    assert_same(fast, plain)
    assert_sound(fast, next(at for at, shown, _ in found.readings if shown is not None), found.until_ms)
    assert_conserved(fast, found.facts[0])


def test_conservation_is_compared_on_most_rows() -> None:
    compared = total = 0
    for seed in SLOW:
        found = history(seed, poll_min_ms=600_000)
        one = walked(found)
        compared += assert_conserved(one, found.facts[0])
        total += len(one.rows)

    assert compared > total / 3


@pytest.mark.parametrize("seed", SLOW)
def test_a_walk_can_be_taken_up_again_at_every_anchor(seed: int) -> None:
    found = history(seed + 100, poll_min_ms=300_000)
    one = walked(found)

    for anchor in one.anchors:
        assert_taken_up_again(one, found.readings, found.facts, found.until_ms, found.identity_ms, anchor)


def delivered(found: History, rng: np.random.Generator) -> list[list[Poll]]:
    """The readings in batches as a bad line delivers them: mostly in order, a part up to two days late."""
    count = len(found.readings)
    late = np.where(rng.random(count) < rng.choice([0.0, 0.05, 0.5]), rng.integers(0, 2 * DAY, count), 0)
    begin = int(rng.integers(0, count))
    late[begin : begin + int(rng.integers(0, count // 3 + 1))] += int(rng.integers(0, 2 * DAY))
    order = np.argsort(np.array([poll[0] for poll in found.readings]) + late, kind="stable")
    cuts = np.sort(rng.integers(1, count, int(rng.integers(1, 7))))
    return [[found.readings[i] for i in part] for part in np.split(order, cuts) if len(part)]


@pytest.mark.parametrize("seed", range(24))
def test_readings_in_any_batches_give_what_one_pass_gives(seed: int) -> None:
    found = history(seed + 200, poll_min_ms=300_000)
    one = walked(found)
    keeper = Keeper(found.facts, found.until_ms, found.identity_ms)

    for batch in delivered(found, np.random.default_rng(seed)):
        keeper.take(batch)
    keeper.take(found.readings[len(found.readings) // 2 :][:3])  # what is there already changes nothing

    assert [keeper.rows[at] for at in sorted(keeper.rows)] == rows(one)
    assert in_order(keeper.events) == in_order(one.events)
    assert [keeper.checkpoints[day] for day in sorted(keeper.checkpoints)] == day_firsts(one, None)
    assert keeper.head == one.head


@pytest.mark.parametrize("wrong", ["higher", "zero", "tenfold", "older"])
def test_a_return_after_midnight_undoes_what_was_decided_before_it(wrong: str) -> None:
    # Wrong from 23:00 to 02:00, delivered in half hours: the first level of the new day was certain to nobody.
    begin, end = T0 + 23 * HOUR, T0 + 26 * HOUR
    worse = {
        "higher": lambda shown: shown + 50 * KWH,
        "zero": lambda _: 0,
        "tenfold": lambda shown: 10 * shown,
        "older": lambda shown: shown - 2 * KWH,
    }[wrong]
    polls = changed(steady(T0 + 20 * HOUR, T0 + 30 * HOUR, 300_000, 500 * KWH, 6 * KW), begin, end, worse)
    register = facts(poll_interval_ms=300_000)
    keeper = Keeper([register], T0 + 30 * HOUR)

    for first in range(0, len(polls), 6):
        keeper.take(polls[first : first + 6])

    one = both(polls, register, T0 + 30 * HOUR)
    assert len(one.events) == 1
    assert int(np.sum(one.rows.known_mwh)) == 60 * KWH
    assert [keeper.rows[at] for at in sorted(keeper.rows)] == rows(one)
    assert keeper.events == list(one.events)
    assert [keeper.checkpoints[day] for day in sorted(keeper.checkpoints)] == day_firsts(one, None)


def test_a_late_reading_recomputes_a_stretch_and_not_everything() -> None:
    polls = steady(T0, T0 + 10 * DAY, QUARTER, 0, 6 * KW)
    keeper = Keeper([facts(poll_interval_ms=QUARTER)], T0 + 10 * DAY)
    late = polls.pop(5 * 96 + 40)
    keeper.take(polls)
    before = keeper.walked

    keeper.take([late])

    assert keeper.walked - before <= 6 * 96
    assert keeper.stopped == 1
    assert [row.known_mwh for row in keeper.rows.values()] == [1_500 * WH] * 960


@pytest.mark.parametrize("power", [True, False], ids=["coarse with power", "fine"])
@pytest.mark.parametrize("seed", range(6))
def test_deleting_readings_inside_a_segment_keeps_its_total_and_raises_no_state(seed: int, power: bool) -> None:
    # 6 kW, each poll moves the register; now and then a gap is there already.
    rng = np.random.default_rng(seed)
    step = 100 * WH if power else 10 * WH
    every = 120_000
    polls = [
        (at, shown, 6 * KW + at // every % 5 if power else None)
        for at, shown, _ in steady(T0, T0 + DAY, every, 40 * KWH, 6 * KW, step_mwh=step)
    ]
    kept = np.ones(len(polls), bool)
    kept[200:212] = False
    register = facts(step_mwh=step, poll_interval_ms=every)
    before = both([p for p, k in zip(polls, kept, strict=True) if k], register, T0 + DAY)

    away = rng.random(len(polls)) < rng.uniform(0.05, 0.9)
    hole = int(rng.integers(1, len(polls) - 100))
    away[hole : hole + int(rng.integers(1, 90))] = True
    away[[0, -1]] = False
    after = both([p for p, k, a in zip(polls, kept, away, strict=True) if k and not a], register, T0 + DAY)

    assert before.events == after.events == ()
    assert int(np.sum(before.rows.known_mwh)) == int(np.sum(after.rows.known_mwh)) == 144 * KWH
    assert (np.asarray(after.rows.state) <= np.asarray(before.rows.state)).all()
    assert (np.asarray(after.rows.state) >= 2).all()
    assert (np.asarray(after.rows.state) < METERED).any()


def spoilt(fault: str, seed: int, *, power: bool) -> tuple[Polls, Load]:
    """Three days of 0.5 to 5 kW from 43 MWh or more on, one fault on the second day that lasts at most 20 hours."""
    rng = np.random.default_rng([seed, 4])
    load = restless(T0, T0 + 4 * DAY, KW // 2, 9 * KW // 2, rng)
    first = (int(rng.integers(43, 90)) * 1_000 + 437) * KWH  # no power of ten times what a fresh counter shows
    meter = Meter(load=load, step_mwh=int(rng.choice([10, 100])) * WH, first_mwh=first)
    polls = Polls(meter, schedule(T0, T0 + 3 * DAY, 300_000), power=power)
    at = T0 + DAY + int(rng.integers(0, DAY // 2))
    end = at + int(rng.integers(10 * MINUTE, 20 * HOUR))
    faults = {
        "reset": lambda: polls.reset(at),
        "swap_up": lambda: polls.swap(at, polls.shows(at) + int(rng.integers(50, 5_000)) * KWH),
        "swap_down": lambda: polls.swap(at, int(rng.integers(50, 5_000)) * KWH),
        "identity": lambda: polls.swap(at, int(rng.integers(0, 5_000)) * KWH, reported=True),
        "restored": lambda: polls.restored(at, int(rng.integers(1_000, 20_000)) * WH),
        "stale": lambda: polls.stale(at, end, int(rng.integers(1_000, 20_000)) * WH),
        "outage": lambda: polls.outage(at, end),
        "zero_burst": lambda: polls.zero_burst(at, end),
        "spike": lambda: polls.spike(at, end, int(rng.choice([2, 10, 1_000]))),
        "decode": lambda: polls.decode(at, int(rng.choice([-3, -1, 1, 2]))),
        "decode_returns": lambda: polls.decode(at, int(rng.choice([-3, -1, 1, 2])), end),
    }
    faults[fault]()
    return polls, load


@pytest.mark.parametrize("power", [True, False], ids=["with power", "register only"])
@pytest.mark.parametrize(
    "fault",
    [
        "reset",
        "swap_up",
        "swap_down",
        "identity",
        "restored",
        "stale",
        "outage",
        "zero_burst",
        "spike",
        "decode",
        "decode_returns",
    ],
)
def test_what_is_booked_and_the_bounds_of_what_is_not_enclose_the_truth(fault: str, power: bool) -> None:
    for seed in range(3):
        polls, load = spoilt(fault, seed, power=power)
        register = facts(step_mwh=polls.meter.step_mwh, max_power_mw=6 * KW, poll_interval_ms=300_000)
        one = walk(Trace.of(polls.readings(), identity_ms=polls.identity_ms), [register], T0 + 3 * DAY)

        true = load.energy_mwh(T0, T0 + 3 * DAY)
        sure = int(np.sum(one.rows.known_mwh)) + int(np.sum(one.rows.held_mwh))
        pairs = [event for event in one.events if new_segment(event)]
        grain = 2 * register.step_mwh * (1 + len(one.events))
        assert sure + sum(event.low_mwh or 0 for event in pairs) - grain <= true
        assert true <= sure + sum(event.high_mwh or 0 for event in pairs) + grain
        assert (len(one.events) > 0) is (fault != "outage")
        if fault in ("reset", "swap_up", "swap_down", "identity", "restored"):
            assert sum(event.estimated_mwh or 0 for event in pairs) == int(np.sum(one.rows.estimated_mwh))


# -- nonsense -----------------------------------------------------------------------------------------------------

GAPS_MS = st.sampled_from([1, 999, 10_000, MINUTE, 61_000, 300_000, QUARTER, QUARTER + 1, HOUR, 5 * HOUR, DAY + 1])
REGISTERS = st.one_of(
    st.none(),
    st.sampled_from([0, 1, 9_999, 10_000, 20_000, 100_000, KWH, 10 * KWH, 999_999 * KWH, 9 * 10**15]),
    st.integers(0, 200).map(lambda n: 500 * KWH + n * 10 * WH),
    st.integers(0, 9 * 10**15),
)
POWERS = st.one_of(
    st.none(), st.sampled_from([0, 1, 2_000 * 1_000, -5 * KW, 10**12, -(10**12)]), st.integers(-(10**12), 10**12)
)
REGISTER_FACTS = st.builds(
    RegisterFacts,
    step_mwh=st.sampled_from([1, 10 * WH, 100 * WH, KWH, 64 * WH]),
    max_power_mw=st.sampled_from([1, 100 * 1_000, 23 * KW, 1_000 * KW, 10**12]),
    poll_interval_ms=st.sampled_from([1_000, MINUTE, QUARTER, HOUR]),
    rollover_mwh=st.sampled_from([None, 1, 100 * KWH, 1_000_000 * KWH, 4_294_967_296 * WH]),
    zero_is_valid=st.booleans(),
)
READINGS = st.lists(st.tuples(GAPS_MS, REGISTERS, POWERS), max_size=40)


NONSENSE = st.tuples(READINGS, REGISTER_FACTS, st.lists(st.integers(0, 10), max_size=2), st.integers(-2, 12))
Nonsense = tuple[list[tuple[int, int | None, int | None]], RegisterFacts, list[int], int]


def laid_out(nonsense: Nonsense) -> tuple[list[Poll], tuple[int, ...], int]:
    """Polls, instants of another identity, until."""
    steps, _, swaps, beyond = nonsense
    at = T0 + 12_345
    polls: list[Poll] = []
    for gap, shown, power in steps:
        at += gap
        if shown is not None or power is not None:
            polls.append((at, shown, power))
    return polls, tuple(sorted({T0 + n * HOUR for n in swaps})), max(T0, at // QUARTER * QUARTER + beyond * QUARTER)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(NONSENSE)
def test_any_finite_readings_give_rows_and_never_an_exception(nonsense: Nonsense) -> None:
    polls, identity_ms, until_ms = laid_out(nonsense)

    plain = walk(Trace.of(polls, identity_ms=identity_ms), [nonsense[1]], until_ms, vectorised=False)

    # The first level is the first reading that carries the register.
    assert_sound(plain, next((at for at, shown, _ in polls if shown is not None), None), until_ms)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(NONSENSE)
def test_both_paths_agree_on_any_finite_readings(nonsense: Nonsense) -> None:
    polls, identity_ms, until_ms = laid_out(nonsense)

    both(polls, nonsense[1], until_ms, identity_ms)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(NONSENSE)
def test_a_walk_of_any_finite_readings_can_be_taken_up_again(nonsense: Nonsense) -> None:
    polls, identity_ms, until_ms = laid_out(nonsense)
    found = walk(Trace.of(polls, identity_ms=identity_ms), [nonsense[1]], until_ms)

    for anchor in found.anchors:
        assert_taken_up_again(found, polls, (nonsense[1],), until_ms, identity_ms, anchor)


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(NONSENSE)
def test_any_finite_power_is_integrated_without_an_exception(nonsense: Nonsense) -> None:
    polls, _, until_ms = laid_out(nonsense)

    found = walk_power(Trace.of(polls), [nonsense[1]], until_ms)

    samples = [poll[0] for poll in polls if poll[2] is not None]
    if samples:
        assert (np.asarray(found.rows.known_ms) + np.asarray(found.rows.estimated_ms) <= QUARTER).all()
        assert not np.asarray(found.rows.has_register, bool).any()
