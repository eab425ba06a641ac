"""When a device is read. Time is an argument."""

from __future__ import annotations

from itertools import pairwise

import pytest

from merilo.instants import MINUTE_MS, SECOND_MS
from merilo.readplan import Block, Range
from merilo_gateway.poller import Poller, holes_of, moments

START = 1_796_083_203_000  # 2026-12-01T00:00:03Z
TEN = 10 * SECOND_MS


def poller(interval_ms: int = TEN, start_ms: int = START) -> Poller:
    return Poller("m1", interval_ms, start_ms)


def test_the_first_poll_is_due_at_once_and_the_next_ones_on_multiples_of_the_interval() -> None:
    found = poller()

    assert found.due(START) is not None
    assert found.next_ms == START + 7_000
    assert found.due(START + 6_999) is None
    job = found.due(START + 7_000)
    assert job is not None
    assert (job.slot_ms, job.cycle, job.probe) == (START + 7_000, 1, False)


def test_a_stalled_gateway_skips_missed_slots_and_does_not_burst() -> None:
    found = poller()
    found.due(START)

    late = START + 7 * MINUTE_MS + 3_000

    assert found.due(late) is not None
    assert found.due(late) is None
    assert found.next_ms == START + 7 * MINUTE_MS + 7_000


def test_a_clock_set_forward_makes_no_burst_and_one_set_back_no_pause() -> None:
    found = poller()
    found.due(START)

    assert found.due(START + 3_600_000) is not None
    assert found.due(START + 3_600_000 + 1) is None
    back = START - 7_200_000
    assert found.due(back) is None
    assert found.next_ms - back <= TEN
    assert found.due(back + TEN) is not None


def test_a_silent_device_is_probed_at_growing_distances_up_to_a_minute() -> None:
    found, now, probes = poller(start_ms=START - 3_000), START - 3_000, []
    for _ in range(8):
        while (job := found.due(now)) is None:
            now += SECOND_MS
        probes.append((now, job.probe))
        found.failed(now, "silent")

    distances = [(b - a) // SECOND_MS for (a, _), (b, _) in pairwise(probes)]
    assert distances == [10, 20, 30, 50, 60, 60, 60]
    assert [probe for _, probe in probes] == [False] + [True] * 7


def test_silence_and_return_are_told_once_each() -> None:
    found = poller()

    assert [found.failed(START, "x"), found.failed(START, "x")] == ["silent", ""]
    assert [found.answered(START, 0.01), found.answered(START, 0.01)] == ["back", ""]


def test_an_answer_ends_the_back_off_at_once() -> None:
    found = poller()
    for _ in range(6):
        found.failed(START, "x")

    found.answered(START, 0.01)
    found.due(START + 70_000)

    assert found.next_ms == START + 77_000


def test_counted_polls_start_anew() -> None:
    found = poller()
    found.answered(START, 0.01)
    found.failed(START, "x")

    assert found.counted() == (2, 1)
    assert found.counted() == (0, 0)


def test_holes_of_a_refused_block_are_left_out_from_then_on() -> None:
    found = poller()
    block = Block(4, 0, 20)
    holes = holes_of(block, [Block(4, 0, 2), Block(4, 6, 4), Block(3, 10, 2), Block(4, 18, 2)])
    assert holes == [Range(2, 5, 4), Range(10, 17, 4)]

    found.refused(block, 2, holes, START)

    assert found.avoid == tuple(holes)
    assert found.wanted([block], START) == [block]


def test_a_block_that_is_too_long_is_halved() -> None:
    found = poller()

    found.refused(Block(4, 0, 80), 3, [], START)

    assert found.max_words == 40


def test_a_block_that_is_refused_for_good_rests_ten_minutes() -> None:
    found = poller()
    block = Block(4, 0, 4)

    found.refused(block, 2, [], START)

    assert found.wanted([block], START + 599_999) == []
    assert found.wanted([block], START + 600_000) == [block]


@pytest.mark.parametrize(
    ("times", "groups"),
    [
        ([0, 100, 250], [[0, 100, 250]]),
        ([0, 251], [[0], [251]]),
        ([0, 200, 400, 600], [[0, 200], [400, 600]]),
        ([500, 400], [[500], [400]]),
        ([], []),
    ],
)
def test_blocks_further_apart_than_250_ms_are_two_readings(times: list[int], groups: list[list[int]]) -> None:
    blocks = [(Block(4, n, 1), at) for n, at in enumerate(times)]

    found = moments(blocks)

    assert [len(group) for _, group in found] == [len(group) for group in groups]
    assert [at for at, _ in found] == [group[-1] for group in groups]
