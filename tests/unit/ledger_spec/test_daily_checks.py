"""Warnings of a day: a register and a power that do not fit together, a step that is not the stated one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from merilo.ledger import RegisterFacts, Trace, daily_checks

from .scenes import DAY, KW, MINUTE, T0, WH, facts, steady
from .truth import Poll


def warnings(polls: Sequence[Poll], register: RegisterFacts) -> set[str]:
    """Names of the warnings of the first day."""
    found = daily_checks(Trace.of(polls), [register], T0, T0 + DAY)
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
