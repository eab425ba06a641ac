"""Readings of one cycle become one message."""

from __future__ import annotations

from merilo.reading import Reading
from merilo_gateway.cycle import Cycle

START = 1_796_083_200_000
TEN = 10_000


def reading(device: str, at_ms: int) -> Reading:
    return Reading(device=device, at_ms=at_ms, values={"active_power_w": 1.0})


def test_a_cycle_is_complete_when_no_bus_is_at_work_any_more() -> None:
    cycle = Cycle(TEN, ["a", "b"])
    cycle.busy("a")
    cycle.busy("b")
    cycle.add(reading("m1", START + 100))
    cycle.idle("a")
    assert cycle.take(START + 150) == []

    cycle.add(reading("m2", START + 180))
    cycle.idle("b")

    assert [r.device for r in cycle.take(START + 200)] == ["m1", "m2"]
    assert cycle.take(START + 300) == []


def test_a_bus_that_needs_longer_than_the_slot_does_not_hold_back_the_others() -> None:
    cycle = Cycle(TEN, ["slow"])
    cycle.busy("slow")
    cycle.add(reading("m1", START + 100))

    assert cycle.take(START + 9_999) == []
    assert [r.device for r in cycle.take(START + TEN)] == ["m1"]


def test_a_device_with_a_shorter_interval_gives_many_readings_in_one_message() -> None:
    cycle = Cycle(TEN, ["a"])
    sent = []
    for second in range(40):
        at = START + second * 1000
        cycle.busy("a")
        cycle.add(reading("fast", at + 5))
        cycle.idle("a")
        if found := cycle.take(at + 10):
            sent.append(len(found))

    assert sent == [1, 10, 10, 10]


def test_two_readings_of_one_device_in_one_millisecond_are_stamped_one_after_the_other() -> None:
    cycle = Cycle(TEN)
    for _ in range(3):
        assert cycle.add(reading("m1", START)) is None

    assert [r.at_ms for r in cycle.take(START)] == [START, START + 1, START + 2]


def test_small_steps_back_are_smoothed_and_a_large_one_is_believed_and_told() -> None:
    cycle = Cycle(TEN)
    steps = [cycle.add(reading("m1", at)) for at in (START, START - 1, START - 2, START - 7_200_000)]

    assert steps == [None, None, None, 7_200_002 + 0]
    assert [r.at_ms for r in cycle.rest()] == [START - 7_200_000, START, START + 1, START + 2]


def test_devices_do_not_push_each_other() -> None:
    cycle = Cycle(TEN)
    cycle.add(reading("m1", START + 50))

    assert cycle.add(reading("m2", START)) is None
    assert [r.at_ms for r in cycle.rest()] == [START, START + 50]
