from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from merilo.frame import Frame
from merilo_collector.checksum import MASK, frame_hashes, frame_sum, row_hash

NAMES = ["active_power_w", "active_energy_import_wh", "frequency_hz"]


def test_a_stored_row_has_the_hash_of_the_reading_it_came_from_also_with_a_missing_value() -> None:
    frame = Frame(
        np.array([1_000, 2_000]),
        {"active_power_w": np.array([5.5, 6.5]), "frequency_hz": np.array([50.0, np.nan])},
    )

    assert frame_hashes(frame) == [
        row_hash(1_000, {"frequency_hz": 50.0, "active_power_w": 5.5}),
        row_hash(2_000, {"active_power_w": 6.5}),
    ]


def test_a_value_under_another_name_is_another_row() -> None:
    assert row_hash(1, {"active_power_l1_w": 5.0}) != row_hash(1, {"active_power_l2_w": 5.0})


@given(st.permutations(range(6)))
def test_the_sum_does_not_depend_on_order(order: list[int]) -> None:
    rows = [(at, {name: float(at * 7 + i) for i, name in enumerate(NAMES)}) for at in range(6)]

    total = sum(row_hash(*rows[i]) for i in order) & MASK

    frame = Frame(np.arange(6), {name: np.array([values[name] for _, values in rows]) for name in NAMES})
    assert frame_sum(frame) == (6, total)
