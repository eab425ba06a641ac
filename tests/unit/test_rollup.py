"""Local roll-ups: sums, coverage, the days of the clock changes of 2026 (29 March, 25 October, 01:00 UTC)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.calendar import Boundaries, Unit, boundaries
from merilo.frame import Frame
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS, to_ms
from merilo.meterrows import MeterRows
from merilo.rollup import NegativeDifference, missing_stretch_ms, negative_differences, roll

METERED, BRIDGED, ESTIMATED, MISSING = 3, 2, 1, 0


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def rows(
    start_ms: int,
    energies: Sequence[int],
    states: Sequence[int] | None = None,
    low: Sequence[int] | None = None,
    exports: Sequence[int | None] | None = None,
) -> MeterRows:
    """Rows of a meter [mWh] without a hole; an export of None is missing."""
    count = len(energies)
    state = np.array([METERED] * count if states is None else states, np.int64)
    energy = np.where(state > MISSING, np.array(energies, np.int64), 0)
    export = [None] * count if exports is None else exports
    return MeterRows(
        start_ms=start_ms + QUARTER_MS * np.arange(count, dtype=np.int64),
        state=state,
        energy_mwh=energy,
        low_mwh=np.where(state > MISSING, energy, 0 if low is None else np.array(low, np.int64)),
        metered_mwh=np.where(state == METERED, energy, 0),
        bridged_mwh=np.where(state == BRIDGED, energy, 0),
        estimated_mwh=np.where(state == ESTIMATED, energy, 0),
        apportioned_mwh=np.zeros(count, np.int64),
        has_export=np.full(count, exports is not None),
        state_export=np.array([METERED if one is not None else MISSING for one in export], np.int64),
        export_mwh=np.array([one or 0 for one in export], np.int64),
        decisions={},
    )


def whole(start: str, end: str, energy_mwh: int = 1_500_000) -> MeterRows:
    """6 kW between two instants."""
    return rows(at(start), [energy_mwh] * ((at(end) - at(start)) // QUARTER_MS))


def test_an_hour_holds_exactly_the_fields_of_its_rows() -> None:
    one = rows(
        at("2026-06-01T00:00"),
        [1_000, 2_000, 9_000, 0],
        [METERED, BRIDGED, ESTIMATED, MISSING],
        [0, 0, 0, 300],
        [10, None, 20, None],
    )

    found = roll(one, boundaries("hour", "Europe/Sofia", at("2026-06-01T00:00"), at("2026-06-01T01:00")))

    assert found.rows() == {
        at("2026-06-01T00:00"): {
            "energy_wh": 12.0,
            "energy_metered_wh": 1.0,
            "energy_bridged_wh": 2.0,
            "energy_estimated_wh": 9.0,
            "energy_low_wh": 12.3,
            "energy_export_wh": 0.03,
            "power_mean_w": 16.0,  # 12 Wh in three quarters of an hour
            "power_max_w": 4.0,  # of the metered row alone
            "coverage": 0.5,
            "coverage_shape": 0.25,
        }
    }


def test_a_period_without_energy_has_only_what_is_known_and_its_coverage() -> None:
    one = rows(at("2026-06-01T00:00"), [0] * 4, [MISSING] * 4, [5, 0, 0, 7], [None] * 4)

    found = roll(one, boundaries("hour", "UTC", at("2026-06-01T00:00"), at("2026-06-01T01:00")))

    assert list(found.rows().values()) == [{"energy_low_wh": 0.012, "coverage": 0.0, "coverage_shape": 0.0}]


def test_a_period_of_bridged_rows_has_no_peak() -> None:
    one = rows(at("2026-06-01T00:00"), [1_000] * 12, [BRIDGED] * 4 + [METERED] * 4 + [BRIDGED] * 4)

    found = roll(one, boundaries("hour", "UTC", at("2026-06-01T00:00"), at("2026-06-01T03:00")))

    assert ["power_max_w" in row for row in found.rows().values()] == [False, True, False]
    assert found.numbers["coverage_shape"].tolist() == [0, 1, 0]


def test_periods_without_any_row_do_not_exist() -> None:
    parts = [rows(at("2026-06-01T00:00"), [1]), rows(at("2026-06-03T00:00"), [2])]

    found = roll(MeterRows.concat(parts), boundaries("day", "UTC", at("2026-05-30T00:00"), at("2026-06-05T00:00")))

    assert found.at_ms.tolist() == [at("2026-06-01T00:00"), at("2026-06-03T00:00")]
    assert len(roll(MeterRows.empty(), boundaries("day", "UTC", 0, DAY_MS))) == 0


@pytest.mark.parametrize(
    ("zone", "start", "end", "day_wh", "quarters"),
    [
        ("Europe/Sofia", "2026-03-28T22:00", "2026-03-29T21:00", 138_000, 92),
        ("Europe/Oslo", "2026-03-28T23:00", "2026-03-29T22:00", 138_000, 92),
        ("Europe/Sofia", "2026-10-24T21:00", "2026-10-25T22:00", 150_000, 100),
        ("Europe/Oslo", "2026-10-24T22:00", "2026-10-25T23:00", 150_000, 100),
    ],
)
def test_the_days_of_the_clock_changes_are_whole(zone: str, start: str, end: str, day_wh: float, quarters: int) -> None:
    around = (
        whole("2026-03-27T00:00", "2026-03-31T00:00")
        if "03" in start
        else whole("2026-10-23T00:00", "2026-10-27T00:00")
    )

    found = roll(around, boundaries("day", zone, at(start), at(end)))

    # 6 kW for 23 or 25 hours; a day of UTC would say 144 kWh on either.
    row = found.row(0)
    assert len(found) == 1
    assert int(found.at_ms[0]) == at(start)
    assert (row["energy_wh"], row["coverage"], row["power_mean_w"]) == (day_wh, 1.0, 6_000.0)
    assert quarters * 1_500 == day_wh


def test_the_two_autumn_hours_of_one_label_are_two_rows() -> None:
    # From 00:00 UTC (03:00 in Sofia, first time) 1 Wh a row, from 01:00 UTC (03:00 again) 2 Wh.
    one = rows(at("2026-10-25T00:00"), [1_000] * 4 + [2_000] * 4)

    found = roll(one, boundaries("hour", "Europe/Sofia", at("2026-10-25T00:00"), at("2026-10-25T02:00")))

    assert found.at_ms.tolist() == [at("2026-10-25T00:00"), at("2026-10-25T01:00")]
    assert found.numbers["energy_wh"].tolist() == [4.0, 8.0]


def test_coverage_is_of_the_local_calendar() -> None:
    # A meter that began at noon: 36 of the 92 intervals of a short day.
    one = whole("2026-03-29T12:00", "2026-03-29T21:00")

    found = roll(one, boundaries("day", "Europe/Sofia", at("2026-03-29T12:00"), at("2026-03-29T21:00")))

    assert found.numbers["coverage"].tolist() == [36 / 92]


def test_a_running_period_counts_only_what_can_exist_by_now() -> None:
    one = whole("2026-06-01T21:00", "2026-06-03T09:00")
    days = boundaries("day", "Europe/Sofia", at("2026-06-01T21:00"), at("2026-06-05T00:00"))

    running = roll(one, days, at("2026-06-03T09:00"))
    closed = roll(one, days)

    assert running.numbers["coverage"].tolist() == [1.0, 1.0]
    assert closed.numbers["coverage"].tolist() == [1.0, 0.5]
    assert len(roll(one, days, at("2026-06-02T21:00"))) == 1


def test_the_longest_stretch_without_energy_includes_rows_that_do_not_exist() -> None:
    start = at("2026-06-01T00:00")
    one = MeterRows.concat(
        [
            rows(start + HOUR_MS, [1] * 4, [METERED, MISSING, MISSING, ESTIMATED]),
            rows(start + 5 * HOUR_MS, [1]),
        ]
    )

    assert missing_stretch_ms(one, start, start + 6 * HOUR_MS) == 3 * HOUR_MS
    assert missing_stretch_ms(one, start, start + 9 * HOUR_MS) == 3 * HOUR_MS + 3 * QUARTER_MS
    assert missing_stretch_ms(one, start + HOUR_MS, start + 2 * HOUR_MS) == 2 * QUARTER_MS
    assert missing_stretch_ms(MeterRows.empty(), start, start + DAY_MS) == DAY_MS
    assert missing_stretch_ms(whole("2026-06-01T00:00", "2026-06-02T00:00"), start, start + DAY_MS) == 0


@pytest.mark.parametrize(("rest", "fault"), [(-20, False), (-21, True), (500, False)])
def test_a_day_below_minus_two_per_cent_is_a_fault_of_the_mapping(rest: int, fault: bool) -> None:
    days = boundaries("day", "UTC", at("2026-06-01T00:00"), at("2026-06-02T00:00"))
    whole_day = rows(at("2026-06-01T00:00"), [500, 500, 777], [METERED, METERED, MISSING])
    difference = rows(at("2026-06-01T00:00"), [-900, 900 + rest, -777])

    found = negative_differences(difference, whole_day, days)

    expected = [NegativeDifference(at("2026-06-01T00:00"), at("2026-06-02T00:00"), rest, 1_000)]
    assert found == (expected if fault else [])


def mwh(frame: Frame, name: str = "energy_wh") -> Any:
    return np.rint(np.nan_to_num(frame.numbers[name]) * 1000).astype(np.int64)


@given(
    zone=st.sampled_from(["Europe/Sofia", "Europe/Oslo", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    first=st.sampled_from(["2026-03-20T00:00", "2026-10-20T13:45", "2025-12-30T22:15", "2026-04-01T09:30"]),
    energies=st.lists(st.integers(0, 10**9), min_size=1, max_size=96),
    states=st.lists(st.sampled_from([0, 1, 2, 3, 3, 3]), min_size=1, max_size=7),
    days=st.integers(1, 45),
)
@settings(max_examples=40, deadline=None)
def test_hours_days_months_and_years_hold_the_same_energy_in_every_zone(
    zone: str, first: str, energies: list[int], states: list[int], days: int
) -> None:
    count = days * 96
    one = rows(at(first), np.resize(energies, count).tolist(), np.resize(states, count).tolist())
    start, end = at(first), at(first) + count * QUARTER_MS
    units: list[Unit] = ["hour", "day", "month", "year"]
    bounds: dict[Unit, Boundaries] = {unit: boundaries(unit, zone, start, end) for unit in units}
    frames = {unit: roll(one, bounds[unit]) for unit in units}

    for frame in frames.values():
        assert int(mwh(frame).sum()) == int(one.energy_mwh.sum())
        for name in ("energy_metered_wh", "energy_bridged_wh", "energy_estimated_wh"):
            assert int(mwh(frame, name).sum()) == int(
                getattr(one, name.removesuffix("_wh").removeprefix("energy_") + "_mwh").sum()
            )
        parts = mwh(frame, "energy_metered_wh") + mwh(frame, "energy_bridged_wh") + mwh(frame, "energy_estimated_wh")
        assert mwh(frame).tolist() == parts.tolist()
    for short, long in pairwise(units):
        where = np.searchsorted(bounds[long].edges_ms, frames[short].at_ms, "right") - 1
        again = np.bincount(where, weights=mwh(frames[short]), minlength=len(bounds[long])).astype(np.int64)
        assert again.tolist() == mwh(frames[long]).tolist()


def test_a_meter_year_is_rolled_up_in_well_under_fifty_milliseconds() -> None:
    one = whole("2026-01-01T00:00", "2027-01-01T00:00")
    bounds = [
        boundaries(unit, "Europe/Sofia", at("2026-01-01T00:00"), at("2027-01-01T00:00"))
        for unit in ("hour", "day", "month", "year")
    ]

    begin = time.process_time()
    frames = [roll(one, some) for some in bounds]
    took = time.process_time() - begin

    assert [len(frame) for frame in frames] == [8_760, 366, 13, 2]  # two hours of the last local year reach in
    assert took < 0.05
