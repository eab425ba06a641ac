"""States of local days on the wall clock."""

from __future__ import annotations

import numpy as np

from merilo.calendar import boundaries
from merilo.frame import Frame
from merilo.instants import HOUR_MS, QUARTER_MS
from merilo_api.page.days import ABSENT, NOT_YET, day_views, known_share, strip
from unit.api.scene import TZ, ZONE, at


def frame(start_ms: int, states: list[float]) -> Frame:
    return Frame(np.arange(start_ms, start_ms + len(states) * QUARTER_MS, QUARTER_MS), {"state": np.array(states)})


def days(first: int, last: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return boundaries("day", ZONE, first, last).edges_ms


def test_the_longer_day_shows_the_worse_of_two_equal_hours() -> None:
    start = at(25, month=10)
    states = [3.0] * 100
    states[16] = 0.0  # 03:00 the second time
    found = strip([frame(start, states)], days(start, start + 1), TZ, at(26, month=10))

    assert found.codes.shape == (1, 96)
    assert found.codes[0, 11:14].tolist() == [3, 0, 3]
    assert found.hours[0].tolist() == [24.75, 0.0, 0.0, 0.25]


def test_the_hour_that_the_clock_skips_is_absent_and_not_missing() -> None:
    start = at(29, month=3)
    found = strip([frame(start, [3.0] * 92)], days(start, start + 1), TZ, at(30, month=3))

    assert found.codes[0, 11:17].tolist() == [3, ABSENT, ABSENT, ABSENT, ABSENT, 3]
    assert found.hours[0].tolist() == [23.0, 0.0, 0.0, 0.0]


def test_a_row_that_is_not_there_is_missing_until_now_and_absent_after() -> None:
    start = at(10)
    found = strip([frame(start, [3.0, 2.0, 1.0])], days(start, start + 1), TZ, start + 5 * QUARTER_MS)

    assert found.codes[0, :6].tolist() == [3, 2, 1, 0, 0, ABSENT]
    assert found.hours[0].tolist() == [0.25, 0.25, 0.25, 0.5]


def test_of_two_meters_the_worse_state_counts() -> None:
    start = at(10)
    found = strip(
        [frame(start, [3.0, 1.0]), frame(start, [2.0, 3.0])], days(start, start + 1), TZ, start + 2 * QUARTER_MS
    )

    assert found.codes[0, :2].tolist() == [2, 1]


def test_without_rows_everything_so_far_is_missing() -> None:
    start = at(10)
    found = strip([Frame.empty()], days(start, start + 1), TZ, start + QUARTER_MS)

    assert found.codes[0, :2].tolist() == [0, ABSENT]


def test_before_anything_can_be_booked_nothing_is_missing() -> None:
    start = at(10)
    found = strip([Frame.empty()], days(start, start + 1), TZ, start)
    day = day_views([Frame.empty()], found)[0]

    assert set(found.codes[0].tolist()) == {ABSENT}
    assert (day.energy_wh, day.coverage, day.missing_h) == (None, None, 0.0)


def test_a_day_that_one_of_two_meters_lacks_has_no_total() -> None:
    start = at(10)
    states = strip([frame(start, [3.0])], days(start, start + 1), TZ, start + QUARTER_MS)
    daily = Frame(np.array([start]), {"energy_wh": np.array([1_000.0]), "energy_metered_wh": np.array([1_000.0])})

    assert day_views([daily, Frame.empty()], states)[0].energy_wh is None
    assert day_views([daily], states)[0].energy_wh == 1_000.0


def test_what_lies_before_a_meters_first_row_is_not_missing() -> None:
    start = at(10)
    new = frame(start + 2 * QUARTER_MS, [3.0])
    old = frame(start, [3.0, 2.0, 3.0])
    until_ms = start + 3 * QUARTER_MS

    alone = strip([new], days(start, start + 1), TZ, until_ms)
    beside = strip([old, new], days(start, start + 1), TZ, until_ms)

    assert alone.codes[0, :3].tolist() == [NOT_YET, NOT_YET, 3]
    assert alone.hours[0].tolist() == [0.25, 0.0, 0.0, 0.0]
    assert beside.codes[0, :3].tolist() == [3, 2, 3]


def test_a_meter_that_came_later_does_not_take_the_days_before_from_the_others() -> None:
    start = at(10)
    states = strip([frame(start, [3.0])], days(start, start + 1), TZ, start + QUARTER_MS)
    old = Frame(np.array([start]), {"energy_wh": np.array([1_000.0])})
    new = Frame(np.array([start + 24 * HOUR_MS]), {"energy_wh": np.array([500.0])})

    assert day_views([old, new], states)[0].energy_wh == 1_000.0


def test_a_meter_that_was_seen_and_has_no_row_yet_has_nothing_missing_before_it_was_seen() -> None:
    start = at(10)
    seen_ms = at(11, 10, 32)
    found = strip([Frame.empty()], days(start, at(11) + 1), TZ, at(11, 11), [seen_ms])
    views = day_views([Frame.empty()], found)

    assert set(found.codes[0].tolist()) == {NOT_YET}
    assert found.codes[1, 41:45].tolist() == [NOT_YET, 0, 0, ABSENT]  # from 10:30 on a row should have come
    assert found.hours.tolist() == [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5]]
    assert [(view.not_yet, view.coverage, view.missing_h) for view in views] == [(True, None, 0.0), (False, 0.0, 0.5)]


def test_the_known_share_is_that_of_the_time_in_which_a_meter_was_there() -> None:
    start = at(10)
    hour = 4 * QUARTER_MS
    new = frame(start + hour, [3.0, 2.0, 1.0, 0.0])  # an hour: half of it is metered or bridged
    old = frame(start, [3.0] * 4 + [3.0] * 3 + [0.0])  # two hours, the last quarter of an hour lacks

    assert known_share([new], [start], start, start + 2 * hour) == 0.5
    assert known_share([old], [0], start, start + 2 * hour) == 0.875
    assert (
        known_share([old, new], [0, 0], start, start + 2 * hour) == 0.75
    )  # worst of both; one alone in the first hour
    assert known_share([Frame.empty()], [start + 2 * hour], start, start + 2 * hour) is None


def test_the_quarter_of_an_hour_in_which_a_meter_came_is_not_judged_and_later_gaps_are() -> None:
    start = at(10)
    came = start + 2 * QUARTER_MS
    until_ms = start + 5 * QUARTER_MS
    new = frame(came, [0.0, 3.0, 0.0])  # it came at some minute of the first one; the last one is a gap
    old = frame(start, [0.0, 3.0, 3.0, 3.0, 3.0])  # was there before these days: its first gap is one

    found = strip([new], days(start, start + 1), TZ, until_ms)

    assert found.codes[0, :5].tolist() == [NOT_YET, NOT_YET, NOT_YET, 3, 0]
    assert found.since_ms == came + QUARTER_MS
    assert known_share([new], [0], start, until_ms) == 0.5
    assert known_share([frame(came, [0.0])], [0], start, came + QUARTER_MS) is None
    assert known_share([old], [0], start, until_ms) == 0.8
