"""A few random lives of a site on every run of the unit tests; the hundreds run with the integration tests."""

from __future__ import annotations

import pytest

from merilo_collector.books import Span
from unit.any_order.world import World, books_of, difference, outcome


@pytest.mark.parametrize("seed", range(20))
def test_readings_in_any_order_with_crashes_and_decisions_end_as_in_one_pass(seed: int) -> None:
    world = World(seed).live()

    assert difference(outcome(world.ports), world.one_pass()) == ""


@pytest.mark.parametrize("seed", range(100, 104))
def test_computing_again_changes_nothing(seed: int) -> None:
    world = World(seed).live()
    before = outcome(world.ports)
    middle_ms = (world.begin_ms + world.end_ms) // 2
    oldest_ms = max(middle_ms, world.now_ms - world.late_max_ms)

    books = books_of(world.ports)
    books.correct([Span(device, oldest_ms, oldest_ms) for device in world.readings], books.until(world.now_ms))

    assert books.report.changed.keys() <= {
        "register_15m",
        "events",
        "energy_15m",
        "energy_1h",
        "energy_1d",
        "energy_1mo",
    }
    assert books.report.rows_changed == 0
    assert difference(outcome(world.ports), before) == ""
