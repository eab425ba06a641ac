from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from merilo_collector.ranges import Ranges


def test_touching_and_overlapping_ranges_become_one() -> None:
    ranges = Ranges([(5, 6), (1, 2), (8, 9), (3, 3)])

    ranges.add(7, 7)

    assert list(ranges) == [(1, 3), (5, 9)]
    assert 4 not in ranges
    assert 7 in ranges


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=25))
def test_ranges_hold_exactly_the_numbers_that_were_added(added: list[tuple[int, int]]) -> None:
    ranges, numbers = Ranges(), set()

    for first, length in added:
        ranges.add(first, first + length)
        numbers |= set(range(first, first + length + 1))

    assert {n for n in range(60) if n in ranges} == numbers
    assert all(a[1] + 1 < b[0] for a, b in zip(list(ranges), list(ranges)[1:], strict=False))
