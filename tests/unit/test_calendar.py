"""Local periods as UTC instants; the switches of 2026 are 29 March and 25 October, 01:00 UTC (Directive 2000/84/EC)."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.calendar import PERIODS_MAX, Boundaries, Unit, boundaries, local_date, zone_of
from merilo.errors import ConfigError
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS, from_ms, to_ms


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "inside", "start", "end", "quarters"),
    [
        ("Europe/Sofia", "2026-03-29T12:00", "2026-03-28T22:00", "2026-03-29T21:00", 92),
        ("Europe/Sofia", "2026-10-25T12:00", "2026-10-24T21:00", "2026-10-25T22:00", 100),
        ("Europe/Sofia", "2026-06-10T12:00", "2026-06-09T21:00", "2026-06-10T21:00", 96),
        ("Europe/Oslo", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00", 92),
        ("Europe/Oslo", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00", 100),
        ("Europe/Oslo", "2026-01-10T12:00", "2026-01-09T23:00", "2026-01-10T23:00", 96),
        ("UTC", "2026-03-29T12:00", "2026-03-29T00:00", "2026-03-30T00:00", 96),
        # Lord Howe Island shifts by half an hour (on 5 April and 4 October 2026).
        ("Australia/Lord_Howe", "2026-04-05T01:00", "2026-04-04T13:00", "2026-04-05T13:30", 98),
        # Santiago skips midnight: 6 September 2026 begins at 01:00 on the wall.
        ("America/Santiago", "2026-09-06T12:00", "2026-09-06T04:00", "2026-09-07T03:00", 92),
        # Havana repeats midnight on 1 November 2026: the day begins with the first one.
        ("America/Havana", "2026-11-01T12:00", "2026-11-01T04:00", "2026-11-02T05:00", 100),
    ],
)
def test_a_local_day_has_the_quarters_of_its_wall_clock(
    zone: str, inside: str, start: str, end: str, quarters: int
) -> None:
    found = boundaries("day", zone, at(inside), at(inside) + 1)

    assert list(found.edges_ms) == [at(start), at(end)]
    assert list(found.intervals()) == [quarters]


@pytest.mark.parametrize(
    ("zone", "hours", "twice"),
    [("Europe/Sofia", 25, 3), ("Europe/Oslo", 25, 2)],
)
def test_two_autumn_hours_of_one_label_are_told_apart_by_utc(zone: str, hours: int, twice: int) -> None:
    day = boundaries("day", zone, at("2026-10-25T12:00"), at("2026-10-25T12:01"))

    found = boundaries("hour", zone, int(day.edges_ms[0]), int(day.edges_ms[1]))

    starts = [int(edge) for edge in found.edges_ms[:-1]]
    labels = [from_ms(start).astimezone(ZoneInfo(zone)) for start in starts]
    assert len(starts) == hours
    assert [start for start, label in zip(starts, labels, strict=True) if label.hour == twice] == [
        at("2026-10-25T00:00"),
        at("2026-10-25T01:00"),
    ]
    assert [label.fold for label in labels if label.hour == twice] == [0, 1]
    assert set(found.intervals()) == {4}


def test_the_spring_day_of_oslo_has_no_hour_two() -> None:
    day = boundaries("day", "Europe/Oslo", at("2026-03-29T12:00"), at("2026-03-29T12:01"))

    found = boundaries("hour", "Europe/Oslo", int(day.edges_ms[0]), int(day.edges_ms[1]))

    assert len(found) == 23
    assert 2 not in [from_ms(int(e)).astimezone(ZoneInfo("Europe/Oslo")).hour for e in found.edges_ms[:-1]]


def test_a_half_hour_change_gives_half_hours() -> None:
    day = boundaries("day", "Australia/Lord_Howe", at("2026-04-05T01:00"), at("2026-04-05T01:01"))

    found = boundaries("hour", "Australia/Lord_Howe", int(day.edges_ms[0]), int(day.edges_ms[1]))

    assert len(found) == 25
    assert sorted(set(found.intervals())) == [2, 4]


def test_months_and_years_begin_at_local_midnight() -> None:
    months = boundaries("month", "Europe/Sofia", at("2026-03-15T00:00"), at("2026-11-01T00:00"))
    years = boundaries("year", "Europe/Oslo", at("2026-01-01T00:00"), at("2026-12-31T22:59"))

    assert months.edges_ms[0] == at("2026-02-28T22:00")
    assert months.edges_ms[1] == at("2026-03-31T21:00")
    assert months.edges_ms[-1] == at("2026-11-30T22:00")  # 1 November 00:00 UTC is already November in Sofia
    assert list(months.intervals())[:2] == [31 * 96 - 4, 30 * 96]
    assert list(years.edges_ms) == [at("2025-12-31T23:00"), at("2026-12-31T23:00")]


def test_a_date_that_a_zone_skips_is_no_period() -> None:
    # Samoa had no 30 December 2011.
    found = boundaries("day", "Pacific/Apia", at("2011-12-29T12:00"), at("2011-12-31T12:00"))

    zone = ZoneInfo("Pacific/Apia")
    assert [local_date(int(e), zone).day for e in found.edges_ms] == [29, 31, 1, 2]


def test_a_running_period_expects_only_what_has_passed() -> None:
    found = boundaries("day", "Europe/Oslo", at("2026-10-24T12:00"), at("2026-10-25T12:00"))

    assert list(found.intervals(at("2026-10-25T00:00"))) == [96, 8]
    assert list(found.intervals(at("2026-10-25T00:01"))) == [96, 9]  # the one that has begun counts


@pytest.mark.parametrize("name", ["Europe/Sofja", "", "../etc/passwd", "Europe"])
def test_an_unknown_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="expected an IANA name"):
        zone_of(name)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        boundaries("day", "UTC", 5, 5)


def test_one_period_more_than_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="more than"):
        boundaries("hour", "UTC", 0, (PERIODS_MAX + 1) * HOUR_MS)


def test_edges_that_do_not_increase_are_refused() -> None:
    with pytest.raises(ValueError, match="strictly increase"):
        Boundaries("day", "UTC", np.array([0, 0], np.int64))


ZONES = ["Europe/Sofia", "Europe/Oslo", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"]


@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(at("2012-01-01T00:00") // QUARTER_MS, at("2030-01-01T00:00") // QUARTER_MS),
    quarters=st.integers(1, 400 * 96),
    unit=st.sampled_from(["hour", "day", "month", "year"]),
)
@settings(max_examples=40, deadline=None)
def test_every_interval_lies_in_exactly_one_period_that_bears_its_label(
    zone: str, start: int, quarters: int, unit: Unit
) -> None:
    if unit == "hour":
        quarters = min(quarters, 40 * 96)
    found = boundaries(unit, zone, start * QUARTER_MS, (start + quarters) * QUARTER_MS)

    edges = found.edges_ms
    assert edges[0] <= start * QUARTER_MS < edges[1]
    assert edges[-2] < (start + quarters) * QUARTER_MS <= edges[-1]
    assert int(found.intervals().sum()) * QUARTER_MS == int(edges[-1] - edges[0])
    info = ZoneInfo(zone)
    parts = {"hour": 4, "day": 3, "month": 2, "year": 1}[unit]
    labels = [from_ms(int(e)).astimezone(info).timetuple()[:parts] for e in edges[:-1]]
    last_inside = [from_ms(int(e) - 1).astimezone(info).timetuple()[:parts] for e in edges[1:]]
    assert labels == last_inside
    if unit != "hour":
        assert len(set(labels)) == len(labels)


def test_a_year_of_hours_is_cut_in_every_zone() -> None:
    for zone in ZONES[:4]:
        found = boundaries("hour", zone, at("2026-01-01T00:00"), at("2026-01-01T00:00") + 365 * DAY_MS)
        assert set(found.intervals()) == {4}
