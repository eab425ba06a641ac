"""Warnings of a day: a register and a power that do not fit together, a step that is not the stated one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo.ledger import RegisterFacts, Trace, daily_checks

from .scenes import DAY, KW, MINUTE, T0, WH, facts, steady
from .truth import Poll


def warnings(polls: Sequence[Poll], register: RegisterFacts) -> set[str]:
    """Names of the warnings of the first day."""
    found = daily_checks(Trace.of(polls), [register], (T0, T0 + DAY + 1))
    return {item if isinstance(item, str) else item.kind for item in found}


@pytest.mark.parametrize(("power_w", "warned"), [(6_400, True), (5_600, True), (6_200, False), (5_800, False)])
def test_a_register_that_differs_from_own_power_by_more_than_a_twentieth_is_named(power_w: int, warned: bool) -> None:
    # The register counts 6 kW.
    polls = [(at, shown, power_w * 1_000) for at, shown, _ in steady(T0, T0 + DAY, MINUTE, 0, 6 * KW)]

    assert ("register_power_mismatch" in warnings(polls, facts())) is warned


def test_without_power_nothing_is_compared() -> None:
    assert "register_power_mismatch" not in warnings(steady(T0, T0 + DAY, MINUTE, 0, 6 * KW), facts())


@pytest.mark.parametrize(("step_wh", "warned"), [(50, True), (100, True), (40, False), (10, False)])
def test_a_register_that_moves_in_five_or_more_of_its_stated_steps_is_named(step_wh: int, warned: bool) -> None:
    # Between none and two of the real steps in each minute, stated step 10 Wh.
    polls: list[Poll] = [(T0 + i * MINUTE, i * 7 // 10 * step_wh * WH, None) for i in range(1_441)]

    assert ("step_mismatch" in warnings(polls, facts(step_mwh=10 * WH))) is warned


def test_a_register_that_never_moved_tells_nothing_of_its_step() -> None:
    polls: list[Poll] = [(T0 + i * MINUTE, 5_000 * WH, None) for i in range(1_441)]

    assert "step_mismatch" not in warnings(polls, facts())


def polled(power_w: st.SearchStrategy[int | None]) -> st.SearchStrategy[list[tuple[int, int, int | None, bool]]]:
    """Milliseconds since the poll before, rise in tens of watt-hours (also a fall or a jump), power, register read."""
    one = st.tuples(st.integers(1, 20 * MINUTE), st.integers(-50, 400), power_w, st.booleans())
    return st.lists(one, min_size=1, max_size=60)


@given(st.one_of(polled(st.integers(0, 12_000)), polled(st.one_of(st.none(), st.integers(0, 12_000)))))
def test_comparing_at_once_finds_what_comparing_poll_by_poll_finds(
    rises: list[tuple[int, int, int | None, bool]],
) -> None:
    at, shown, polls = T0, 0, []
    for later, rise, power_w, read in rises:
        at, shown = at + later, shown + rise * 10 * WH
        polls.append((at, shown if read else None, None if power_w is None else power_w * 1_000))
    trace = Trace.of(polls)

    edges = (T0, T0 + 40 * MINUTE, T0 + 2 * 60 * MINUTE, T0 + DAY)
    for register in (facts(), facts(step_mwh=WH)):
        quick = daily_checks(trace, [register], edges)
        assert quick == daily_checks(trace, [register], edges, vectorised=False)
