"""What must hold for any history: restart anywhere equals one pass, array path equals plain path, nothing negative."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.ledger import Anchor, RegisterFacts, Trace, Walk, stretch, walk, walk_power, walker
from merilo.ledger.facts import ordered
from merilo.ledger.shape import Power
from merilo.ledger.state import State
from merilo.ledger.trace import Source
from merilo.ledger.walks import first_anchor
from unit.ledger.histories import History, Reading, history

SEEDS = range(16)
FOREVER = 1 << 62
SILENT = {("rollover", ""), ("stuck", "open"), ("stuck", "caught_up")}
"""Events that do not end a segment."""


class EveryLevel(State):
    """A walk that remembers every level it comes to."""

    def __init__(self, source: Source, power: Power, until_ms: int, anchor: Anchor) -> None:
        self.levels: list[Anchor] = []
        super().__init__(source, power, until_ms, anchor)

    def arrive(self, kept: bool = True) -> None:
        super().arrive(kept)
        if kept and not self.provisional:
            self.levels.append(self.anchor())


def levels(one: History, readings: list[Reading] | None = None) -> list[Anchor]:
    trace = Trace.of(one.readings if readings is None else readings, one.identity_ms)
    facts = ordered(one.facts)
    start = first_anchor(trace, facts)
    if start is None:
        return []
    source = Source(trace, facts, start.t_ms)
    state = EveryLevel(source, Power(source.sample_t, source.sample_p), one.until_ms, start)
    walker.run(state)
    return [start, *state.levels]


def whole(one: History, vectorised: bool = False) -> Walk:
    return walk(Trace.of(one.readings, one.identity_ms), one.facts, one.until_ms, vectorised=vectorised)


def assert_same(left: Walk, right: Walk) -> None:
    assert left.rows.same(right.rows)
    assert left.events == right.events
    assert left.anchors == right.anchors
    assert left.head == right.head


@pytest.mark.parametrize("seed", SEEDS)
def test_a_walk_from_any_level_equals_the_walk_from_the_first_reading(seed: int) -> None:
    random = Random(seed)
    one = history(random)
    full, found = whole(one), levels(one)

    for anchor in random.sample(found, min(8, len(found))):
        part = walk(Trace.of(one.readings, one.identity_ms).since(anchor.t_ms), one.facts, one.until_ms, anchor)

        assert part.rows.same(full.rows.slice(anchor.row.start_ms, FOREVER))
        assert part.events == tuple(event for event in full.events if event.at_ms > anchor.t_ms)
        later = {one for one in full.anchors if one.t_ms > anchor.t_ms}
        assert {one for one in part.anchors if one.t_ms > anchor.t_ms} == later


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_head_makes_certain_never_changes(seed: int) -> None:
    random = Random(seed)
    one = history(random)
    full, found = whole(one), set(levels(one))
    for _ in range(6):
        cut = random.randint(1, len(one.readings))
        trace = Trace.of(one.readings[:cut], one.identity_ms)

        part = walk(trace, one.facts, one.until_ms)

        newest = one.readings[cut - 1][0]
        certain = [anchor for anchor in levels(one, one.readings[:cut]) if anchor.v_ms <= newest]
        assert set(certain) <= found
        assert part.head == (certain[-1] if certain else None)
        if part.head is not None:
            settled = part.rows.slice(0, part.head.row.start_ms)
            assert settled.same(full.rows.slice(0, part.head.row.start_ms))


@pytest.mark.parametrize("seed", range(50))
def test_the_array_path_equals_the_plain_path(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretch, "LEAP_MIN", 1 + seed % 3)
    random = Random(seed)
    one = history(random, faulty=random.random() < 0.8)

    assert_same(whole(one, vectorised=True), whole(one))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_row_is_negative_and_energy_between_two_registers_is_their_difference(seed: int) -> None:
    one = history(Random(seed))
    done = whole(one)
    rows = done.rows

    for name in ("known_mwh", "known_ms", "estimated_mwh", "estimated_ms", "held_mwh", "held_ms"):
        assert (getattr(rows, name) >= 0).all()
    assert ((rows.state == 0) == (rows.known_ms + rows.estimated_ms < 900_000)).all()
    broken = [event for event in done.events if (event.kind, event.detail) not in SILENT and event.detail != "ignored"]
    modulus = one.facts[0].rollover_mwh or 1 << 60
    for i in range(len(rows) - 1):
        start, end = int(rows.start_ms[i]), int(rows.start_ms[i]) + 900_000
        between = any(event.t0_ms <= end and event.t1_ms >= start for event in broken)
        if rows.has_register[i] and rows.has_register[i + 1] and not rows.held_ms[i] and rows.state[i] and not between:
            booked = int(rows.known_mwh[i] + rows.estimated_mwh[i])
            assert (int(rows.register_mwh[i + 1] - rows.register_mwh[i]) - booked) % modulus == 0


@pytest.mark.long
@pytest.mark.parametrize("block", range(20))
def test_thousands_of_histories(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(1000 + 150 * block, 1150 + 150 * block):
        test_a_walk_from_any_level_equals_the_walk_from_the_first_reading(seed)
        test_what_a_head_makes_certain_never_changes(seed)
        test_the_array_path_equals_the_plain_path(seed, monkeypatch)
        test_no_row_is_negative_and_energy_between_two_registers_is_their_difference(seed)


@pytest.mark.parametrize("seed", range(10))
def test_power_alone_walks_the_same_from_any_sample(seed: int) -> None:
    random = Random(seed)
    one = history(random)
    trace = Trace.of(one.readings)
    full = walk_power(trace, one.facts, one.until_ms)
    for cut in range(1, len(one.readings), 17):
        anchor = walk_power(Trace.of(one.readings[:cut]), one.facts, one.until_ms).head
        if anchor is None:
            continue

        part = walk_power(trace.since(anchor.t_ms), one.facts, one.until_ms, anchor)

        assert part.rows.same(full.rows.slice(anchor.row.start_ms, FOREVER))
        assert part.head == full.head
        assert {one for one in part.anchors if one.t_ms > anchor.t_ms} == {
            one for one in full.anchors if one.t_ms > anchor.t_ms
        }


ANY_INT = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(10**9), 10**9) | st.integers(0, 10**15),
            st.none() | st.integers(-10, 10**6) | ANY_INT,
            st.none() | st.integers(0, 10**9) | ANY_INT,
        ),
        max_size=30,
    ),
    st.sampled_from([1, 10_000, 10**9]),
    st.sampled_from([1, 10**7, 10**13]),
    st.sampled_from([None, 1, 10**7]),
    st.booleans(),
)
def test_any_finite_series_gives_rows_and_events_and_no_exception(
    readings: list[Reading], step: int, power: int, modulus: int | None, vectorised: bool
) -> None:
    facts = RegisterFacts(step_mwh=step, max_power_mw=power, poll_interval_ms=60_000, rollover_mwh=modulus)
    trace = Trace.of(readings)

    done = walk(trace, [facts], 90_000_000, vectorised=vectorised)
    alone = walk_power(trace, [facts], 90_000_000)

    for rows in (done.rows, alone.rows):
        assert (np.stack([rows.known_mwh, rows.known_ms, rows.estimated_mwh, rows.held_mwh]) >= 0).all()
    for anchor in (*done.anchors, *alone.anchors):
        assert msgspec.json.decode(msgspec.json.encode(anchor), type=Anchor) == anchor
