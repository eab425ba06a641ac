"""What every series store does. Passing these tests is the definition of a store."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import numpy as np
import pytest

from merilo.errors import StoreRefusedError
from merilo.frame import Frame
from merilo.ports import Point, Replaced
from merilo_adapters.points import tag_fault
from merilo_adapters.stores import Store

pytestmark = pytest.mark.real

QUARTER = 900_000
DAY = 96 * QUARTER
T0 = 1_735_689_600_000
"""2025-01-01T00:00Z, for rows that are kept for ever."""
RAW0 = time.time_ns() // 1_000_000 // DAY * DAY - 10 * DAY
"""Ten days ago, inside the retention of raw rows."""
MAIN = {"company": "acme", "site": "hq", "meter": "main", "role": "main"}
IT = {"company": "acme", "site": "hq", "meter": "rack-1", "role": "it"}
DEVICE = {"company": "acme", "site": "hq", "gateway": "gw1", "device": "meter-1"}

Rows = dict[int, dict[str, float | str]]


def tags_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(tags.values())


def frame(at: Sequence[int], **columns: Sequence[float | None]) -> Frame:
    return Frame(np.array(at, np.int64), {name: np.array(values, np.float64) for name, values in columns.items()})


def rows_of(
    store: Store,
    company: str,
    measurement: str,
    tags: Mapping[str, str],
    start: int = T0 - DAY,
    end: int = T0 + 400 * DAY,
) -> Rows:
    found = store.read(company, measurement, tags, start, end)
    assert len(found) <= 1
    return found[0].frame.rows() if found else {}


class TestWrite:
    def test_what_was_written_comes_back_with_its_tags_in_order_of_instants(self, store: Store, company: str) -> None:
        points = [Point(tags_of(MAIN), T0 + i * QUARTER, {"energy_wh": float(i), "state": 3.0}) for i in (2, 0, 1)]

        rejected = store.write(company, "energy_15m", points)

        found = store.read(company, "energy_15m", {}, T0, T0 + DAY)
        assert rejected == []
        assert [dict(s.tags) for s in found] == [MAIN]
        assert found[0].measurement == "energy_15m"
        assert found[0].frame.at_ms.tolist() == [T0, T0 + QUARTER, T0 + 2 * QUARTER]
        assert found[0].frame.numbers["energy_wh"].tolist() == [0.0, 1.0, 2.0]

    def test_a_rewrite_unites_the_fields_and_the_last_value_wins(self, store: Store, company: str) -> None:
        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, {"energy_wh": 5.0, "state": 3.0})])

        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, {"state": 0.0, "coverage": 0.5})])

        expected = {T0: {"energy_wh": 5.0, "state": 0.0, "coverage": 0.5}}
        assert rows_of(store, company, "energy_15m", MAIN) == expected

    def test_one_instant_twice_in_a_batch_is_united_in_the_order_of_the_batch(self, store: Store, company: str) -> None:
        values: list[dict[str, float | str]] = [
            {"energy_wh": 1.0},
            {"energy_wh": 2.0, "state": 3.0},
            {"energy_wh": 3.0},
        ]

        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, fields) for fields in values])

        assert rows_of(store, company, "energy_15m", MAIN) == {T0: {"energy_wh": 3.0, "state": 3.0}}

    def test_a_replayed_batch_changes_nothing(self, store: Store, company: str) -> None:
        points = [Point(tags_of(DEVICE), RAW0 + i * 10_000 + 7, {"active_power_w": i / 7}) for i in range(200)]
        store.write(company, "readings", points)
        before = rows_of(store, company, "readings", DEVICE, RAW0, RAW0 + DAY)

        store.write(company, "readings", list(reversed(points)))

        assert len(before) == 200
        assert rows_of(store, company, "readings", DEVICE, RAW0, RAW0 + DAY) == before

    def test_more_points_than_one_request_takes_all_arrive(self, store: Store, company: str) -> None:
        points = [Point(tags_of(DEVICE), RAW0 + i * 1_000, {"active_power_w": float(i)}) for i in range(12_001)]

        assert store.write(company, "readings", points) == []

        found = store.read(company, "readings", DEVICE, RAW0, RAW0 + DAY)[0].frame
        assert found.numbers["active_power_w"].tolist() == [float(i) for i in range(12_001)]

    def test_writing_nothing_is_nothing(self, store: Store, company: str) -> None:
        assert store.write(company, "readings", []) == []

    def test_both_policies_hold_what_their_measurements_say(self, store: Store, company: str) -> None:
        store.write(company, "readings", [Point(tags_of(DEVICE), RAW0, {"active_power_w": 1.5})])
        store.write(company, "register_15m", [Point((*tags_of(DEVICE), "active_energy_wh"), T0, {"known_wh": 2.5})])

        assert rows_of(store, company, "readings", DEVICE, RAW0, RAW0 + 1) == {RAW0: {"active_power_w": 1.5}}
        assert rows_of(store, company, "register_15m", DEVICE) == {T0: {"known_wh": 2.5}}

    def test_a_point_beyond_the_retention_comes_back_and_the_others_are_stored(
        self, store: Store, company: str
    ) -> None:
        at = [RAW0, T0, RAW0 + 1, T0 + 1, RAW0 + 2]
        points = [Point(tags_of(DEVICE), t, {"active_power_w": float(i)}) for i, t in enumerate(at)]

        rejected = store.write(company, "readings", points)

        assert [r.position for r in rejected] == [1, 3]
        assert all("retention" in r.reason for r in rejected)
        stored = rows_of(store, company, "readings", DEVICE, 0, RAW0 + DAY)
        assert stored == {t: {"active_power_w": float(i)} for i, t in enumerate(at) if t >= RAW0}

    def test_only_points_beyond_the_retention_come_back_all(self, store: Store, company: str) -> None:
        points = [Point(tags_of(DEVICE), T0 + i, {"active_power_w": 1.0}) for i in range(40)]

        assert [r.position for r in store.write(company, "readings", points)] == list(range(40))
        assert store.read(company, "readings", {}, 0, RAW0 + DAY) == []


class TestValues:
    NUMBERS = (
        0.0,
        -0.1,
        1 / 3,
        5e-324,
        1e-07,
        -2.2250738585072014e-308,
        123456789.123456789,
        1e16,
        9_007_199_254_740_993.0,
        1e20,
        1e21,
        -1.7976931348623157e308,
        0.1 + 0.2,
    )

    def test_floats_come_back_to_the_last_bit(self, store: Store, company: str) -> None:
        points = [Point(tags_of(MAIN), T0 + i * QUARTER, {"energy_wh": v}) for i, v in enumerate(self.NUMBERS)]

        assert store.write(company, "energy_15m", points) == []

        found = store.read(company, "energy_15m", MAIN, T0, T0 + DAY)[0].frame
        assert [repr(v) for v in found.numbers["energy_wh"].tolist()] == [repr(v) for v in self.NUMBERS]

    def test_floats_of_a_frame_come_back_to_the_last_bit(self, store: Store, company: str) -> None:
        at = [T0 + i * QUARTER for i in range(len(self.NUMBERS))]

        store.replace(company, "energy_15m", MAIN, T0, T0 + DAY, frame(at, energy_wh=self.NUMBERS))

        found = store.read(company, "energy_15m", MAIN, T0, T0 + DAY)[0].frame
        assert [repr(v) for v in found.numbers["energy_wh"].tolist()] == [repr(v) for v in self.NUMBERS]

    def test_whole_and_numpy_numbers_are_stored_as_floats(self, store: Store, company: str) -> None:
        fields: dict[str, float | str] = {"energy_wh": 7, "coverage": np.float64(0.5), "state": np.int64(3)}  # type: ignore[dict-item]

        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, fields)])
        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0 + QUARTER, {"energy_wh": 7.5})])

        expected: Rows = {T0: {"energy_wh": 7.0, "coverage": 0.5, "state": 3.0}, T0 + QUARTER: {"energy_wh": 7.5}}
        assert rows_of(store, company, "energy_15m", MAIN) == expected

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400])
    def test_a_number_that_is_not_finite_is_refused_by_name_and_nothing_is_sent(
        self, store: Store, company: str, value: float
    ) -> None:
        good = Point(tags_of(MAIN), T0, {"energy_wh": 1.0})
        bad = Point(tags_of(MAIN), T0 + QUARTER, {"energy_wh": 1.0, "coverage": value})

        with pytest.raises(ValueError, match=r"point 1: .*coverage"):
            store.write(company, "energy_15m", [good, bad])

        assert store.tags(company, "energy_15m", {}) == []

    @pytest.mark.parametrize(
        ("fields", "fault"),
        [
            ({}, "without a field"),
            ({"energy_wh": "5"}, "energy_wh"),
            ({"energy_wh": True}, "energy_wh"),
            ({"decision": 5.0}, "decision"),
            ({"decision": "a\0b"}, "decision"),
            ({"decision": "\ud800"}, "decision"),
            ({"no_such_field": 1.0}, "no_such_field"),
            ({"time": 1.0}, "time"),
        ],
    )
    def test_fields_that_the_schema_does_not_have_are_refused(
        self, store: Store, company: str, fields: dict[str, float | str], fault: str
    ) -> None:
        with pytest.raises(ValueError, match=fault):
            store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, fields)])

    @pytest.mark.parametrize("at", [-1, 9_223_372_036_854])
    def test_an_instant_that_no_store_holds_is_refused(self, store: Store, company: str, at: int) -> None:
        with pytest.raises(ValueError, match="instant"):
            store.write(company, "energy_15m", [Point(tags_of(MAIN), at, {"energy_wh": 1.0})])

    TEXTS = (
        "",
        " ",
        "2026-11-01 смяна",
        'say "yes"',
        "back\\slash\\",
        "two\nlines\tand tab",
        '{"a": "\\n", "b": [1, 2]}',
        "a=1,b=2 c",
        "'; DROP MEASUREMENT energy_15m",
        "#comment",
        "x" * 5_000,
    )

    def test_texts_come_back_as_they_are(self, store: Store, company: str) -> None:
        points = [
            Point(tags_of(MAIN), T0 + i * QUARTER, {"state": 1.0, "decision": v}) for i, v in enumerate(self.TEXTS)
        ]

        assert store.write(company, "energy_15m", points) == []

        found = store.read(company, "energy_15m", MAIN, T0, T0 + DAY)[0].frame
        assert list(found.texts["decision"]) == list(self.TEXTS)

    def test_texts_of_a_frame_come_back_as_they_are(self, store: Store, company: str) -> None:
        at = np.arange(len(self.TEXTS) + 1, dtype=np.int64) * QUARTER + T0
        written = Frame(at, {"state": np.ones(len(at))}, {"decision": [*self.TEXTS, None]})

        store.replace(company, "energy_15m", MAIN, T0, T0 + DAY, written)

        found = store.read(company, "energy_15m", MAIN, T0, T0 + DAY)[0].frame
        assert list(found.texts["decision"]) == [*self.TEXTS, None]

    HOSTILE = (
        "a,b=c d=1",
        'quote"inside',
        "quote's",
        "ends with\\",
        "\\",
        "#first",
        "смяна",
        "日本",
        " leading and trailing ",
        "two\nlines",
        "tab\tinside",
        "nul\0",
        "a" * 256,
        "a" * 257,
        "",
        "\ud800",
        "e\u0301",
        "$tag_meter",
        "%s %(x)s {0}",
        "../../etc",
        "a/b*c?d[e]",
    )

    @pytest.mark.parametrize("value", HOSTILE, ids=ascii)
    def test_a_hostile_tag_value_comes_back_as_it_is_or_is_refused(
        self, store: Store, company: str, value: str
    ) -> None:
        hostile = {**MAIN, "meter": value}
        point = Point(tags_of(hostile), T0, {"energy_wh": 1.0})
        if tag_fault(value) is not None:
            with pytest.raises(ValueError, match="meter"):
                store.write(company, "energy_15m", [point])
            assert store.tags(company, "energy_15m", {}) == []
            return

        rejected = store.write(company, "energy_15m", [point])

        assert rejected == []
        assert store.tags(company, "energy_15m", {}) == [hostile]
        assert store.tags(company, "energy_15m", {"meter": value}) == [hostile]
        assert rows_of(store, company, "energy_15m", {"meter": value}) == {T0: {"energy_wh": 1.0}}
        assert store.replace(company, "energy_15m", hostile, T0, T0 + 1, Frame.empty()).deleted == 1
        assert rows_of(store, company, "energy_15m", {}) == {}

    @pytest.mark.parametrize(
        "value",
        [
            "' OR '1'='1",
            "main' OR \"meter\" != 'x",
            'main" OR "meter" = "main',
            "main'; DROP MEASUREMENT energy_15m; --",
            "/.*/",
            "$meter",
            "%",
            "*",
            "",
            "main\\' OR 1=1",
            "main\n",
            "\ud800",
        ],
        ids=ascii,
    )
    def test_a_hostile_query_value_matches_nothing_and_drops_nothing(
        self, store: Store, company: str, value: str
    ) -> None:
        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, {"energy_wh": 1.0})])

        assert store.read(company, "energy_15m", {"meter": value}, T0, T0 + DAY) == []
        assert store.tags(company, "energy_15m", {"meter": value}) == []

        assert rows_of(store, company, "energy_15m", MAIN) == {T0: {"energy_wh": 1.0}}


class TestRead:
    def test_some_tag_values_give_all_series_that_have_them_ordered_by_tags(self, store: Store, company: str) -> None:
        other = {"company": "acme", "site": "branch", "meter": "main", "role": "main"}
        for tags in (IT, MAIN, other):
            store.write(company, "energy_1h", [Point(tags_of(tags), T0, {"energy_wh": 1.0})])

        def found(tags: dict[str, str]) -> list[dict[str, str]]:
            return [dict(s.tags) for s in store.read(company, "energy_1h", tags, T0, T0 + DAY)]

        assert found({}) == [other, MAIN, IT]
        assert found({"site": "hq"}) == [MAIN, IT]
        assert found({"meter": "main", "role": "main"}) == [other, MAIN]
        assert found({"role": "it"}) == [IT]
        assert found({"role": "nobody"}) == []

    def test_the_range_includes_its_start_and_excludes_its_end(self, store: Store, company: str) -> None:
        at = [T0 - 1, T0, T0 + 1, T0 + 999, T0 + 1000]
        store.write(company, "energy_15m", [Point(tags_of(MAIN), t, {"energy_wh": float(t - T0)}) for t in at])

        assert sorted(rows_of(store, company, "energy_15m", MAIN, T0, T0 + 1000)) == [T0, T0 + 1, T0 + 999]
        assert rows_of(store, company, "energy_15m", MAIN, T0, T0) == {}
        assert rows_of(store, company, "energy_15m", MAIN, T0 + 1000, T0) == {}
        assert sorted(rows_of(store, company, "energy_15m", MAIN, -(2**63), 2**63)) == at

    def test_a_missing_field_is_nan_and_a_missing_text_none(self, store: Store, company: str) -> None:
        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, {"energy_wh": 1.0})])
        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0 + QUARTER, {"state": 0.0, "decision": "7"})])

        found = store.read(company, "energy_15m", MAIN, T0, T0 + DAY)[0].frame

        assert set(found.numbers) == {"energy_wh", "state"}
        assert np.isnan(found.numbers["energy_wh"]).tolist() == [False, True]
        assert np.isnan(found.numbers["state"]).tolist() == [True, False]
        assert list(found.texts["decision"]) == [None, "7"]

    def test_chosen_fields_all_appear_and_rows_without_any_of_them_do_not(self, store: Store, company: str) -> None:
        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, {"energy_wh": 1.0, "state": 3.0})])
        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0 + QUARTER, {"state": 0.0})])
        store.write(company, "energy_15m", [Point(tags_of(IT), T0, {"state": 0.0})])

        found = store.read(company, "energy_15m", {}, T0, T0 + DAY, ["energy_wh", "power_max_w", "decision"])

        assert [dict(s.tags) for s in found] == [MAIN]
        assert set(found[0].frame.numbers) == {"energy_wh", "power_max_w"}
        assert found[0].frame.numbers["energy_wh"].tolist() == [1.0]
        assert np.isnan(found[0].frame.numbers["power_max_w"]).tolist() == [True]
        assert list(found[0].frame.texts["decision"]) == [None]

    def test_a_measurement_that_nobody_wrote_is_empty(self, store: Store, company: str) -> None:
        assert store.read(company, "quality_1d", {}, T0, T0 + DAY) == []
        assert store.read(company, "readings", {"device": "x"}, T0, T0 + DAY, ["active_power_w"]) == []
        assert store.tags(company, "quality_1d", {}) == []
        assert store.tags(company, "readings", {}) == []

    def test_a_name_outside_the_schema_is_refused(self, store: Store, company: str) -> None:
        with pytest.raises(ValueError, match="no_such"):
            store.read(company, "no_such", {}, T0, T0 + 1)
        with pytest.raises(ValueError, match="colour"):
            store.read(company, "energy_15m", {"colour": "red"}, T0, T0 + 1)
        with pytest.raises(ValueError, match="no_such"):
            store.read(company, "energy_15m", {}, T0, T0 + 1, ["energy_wh", "no_such"])
        with pytest.raises(ValueError, match="None for all"):
            store.read(company, "energy_15m", {}, T0, T0 + 1, [])
        with pytest.raises(ValueError, match="expected all of"):
            store.replace(company, "energy_15m", {"company": "acme"}, T0, T0 + 1, Frame.empty())
        with pytest.raises(ValueError, match="4"):
            store.write(company, "energy_15m", [Point(("acme", "hq", "main"), T0, {"energy_wh": 1.0})])

    def test_a_long_series_comes_back_whole(self, store: Store, company: str) -> None:
        count = 35_040
        at = T0 + np.arange(count, dtype=np.int64) * QUARTER
        values = np.arange(count, dtype=np.float64)
        for tags in (MAIN, IT):
            store.replace(company, "energy_15m", tags, T0, T0 + 366 * DAY, Frame(at, {"energy_wh": values}))

        found = store.read(company, "energy_15m", {}, T0, T0 + 366 * DAY)

        assert [len(s.frame) for s in found] == [count, count]
        assert all(bool(np.array_equal(s.frame.numbers["energy_wh"], values)) for s in found)
        assert all(bool(np.array_equal(s.frame.at_ms, at)) for s in found)


class TestTags:
    def test_full_tag_sets_of_both_policies_ordered(self, store: Store, company: str) -> None:
        second = {**DEVICE, "device": "meter-2"}
        for tags in (second, DEVICE):
            store.write(company, "readings", [Point(tags_of(tags), RAW0, {"active_power_w": 1.0})])
        for tags in (IT, MAIN):
            store.write(company, "energy_15m", [Point(tags_of(tags), T0, {"energy_wh": 1.0})])

        assert store.tags(company, "readings", {}) == [DEVICE, second]
        assert store.tags(company, "readings", {"device": "meter-2", "site": "hq"}) == [second]
        assert store.tags(company, "readings", {"device": "meter-3"}) == []
        assert store.tags(company, "energy_15m", {"company": "acme"}) == [MAIN, IT]

    def test_companies_do_not_see_each_other(self, store: Store, company: str) -> None:
        other = f"{company}-b"
        store.init(other, 90)
        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, {"energy_wh": 1.0})])

        assert store.tags(other, "energy_15m", {}) == []
        assert store.read(other, "energy_15m", {}, 0, T0 + DAY) == []


class TestReplace:
    def energy(self, store: Store, company: str, tags: Mapping[str, str], count: int = 8) -> None:
        at = [T0 + i * QUARTER for i in range(count)]
        full = frame(at, energy_wh=[float(i) for i in range(count)], state=[3.0] * count, power_mean_w=[4.0] * count)
        store.replace(company, "energy_15m", tags, T0, T0 + count * QUARTER, full)

    def test_a_field_that_the_new_rows_lack_is_gone(self, store: Store, company: str) -> None:
        self.energy(store, company, MAIN)
        before = rows_of(store, company, "energy_15m", MAIN)
        at = [T0 + 2 * QUARTER, T0 + 3 * QUARTER]

        done = store.replace(
            company, "energy_15m", MAIN, at[0], at[1] + QUARTER, frame(at, state=[0.0, 0.0], coverage=[0.0, 0.0])
        )

        expected = before | {t: {"state": 0.0, "coverage": 0.0} for t in at}
        assert rows_of(store, company, "energy_15m", MAIN) == expected
        assert done == Replaced(deleted=2, written=2)

    def test_rows_that_the_new_ones_lack_are_gone_and_those_outside_stay(self, store: Store, company: str) -> None:
        self.energy(store, company, MAIN)
        before = rows_of(store, company, "energy_15m", MAIN)

        done = store.replace(
            company,
            "energy_15m",
            MAIN,
            T0 + 2 * QUARTER,
            T0 + 6 * QUARTER,
            frame([T0 + 3 * QUARTER], energy_wh=[30.0], state=[2.0], power_mean_w=[4.0]),
        )

        kept = {t: row for t, row in before.items() if not T0 + 2 * QUARTER <= t < T0 + 6 * QUARTER}
        expected = kept | {T0 + 3 * QUARTER: {"energy_wh": 30.0, "state": 2.0, "power_mean_w": 4.0}}
        assert rows_of(store, company, "energy_15m", MAIN) == expected
        assert done.deleted == 3

    def test_rows_between_two_that_lose_a_field_survive(self, store: Store, company: str) -> None:
        self.energy(store, company, MAIN)
        new = frame(
            [T0 + i * QUARTER for i in range(8)],
            energy_wh=[0.0, None, 2.0, 3.0, None, 5.0, 6.0, 7.0],
            state=[3.0, 0.0, 3.0, 3.0, 0.0, 3.0, 3.0, 3.0],
            power_mean_w=[4.0, None, 4.0, 4.0, None, 4.0, 4.0, 4.0],
        )

        done = store.replace(company, "energy_15m", MAIN, T0, T0 + 8 * QUARTER, new)

        assert rows_of(store, company, "energy_15m", MAIN) == new.rows()
        assert done.deleted == 2
        assert 2 <= done.written <= 4

    def test_equal_rows_are_not_written_again(self, store: Store, company: str) -> None:
        self.energy(store, company, MAIN)
        same = store.read(company, "energy_15m", MAIN, T0, T0 + 8 * QUARTER)[0].frame
        changed = np.array(same.numbers["energy_wh"])
        changed[5] = 55.0

        nothing = store.replace(company, "energy_15m", MAIN, T0, T0 + 8 * QUARTER, same)
        one = store.replace(
            company,
            "energy_15m",
            MAIN,
            T0,
            T0 + 8 * QUARTER,
            Frame(same.at_ms, {**same.numbers, "energy_wh": changed}),
        )

        assert nothing == Replaced(deleted=0, written=0)
        assert one == Replaced(deleted=0, written=1)

    def test_a_field_more_is_written_without_a_deletion(self, store: Store, company: str) -> None:
        self.energy(store, company, MAIN, 2)
        at = [T0, T0 + QUARTER]
        more = frame(at, energy_wh=[0.0, 1.0], state=[3.0, 3.0], power_mean_w=[4.0, 4.0], power_max_w=[9.0, None])

        assert store.replace(company, "energy_15m", MAIN, T0, T0 + 2 * QUARTER, more) == Replaced(0, 1)

        assert rows_of(store, company, "energy_15m", MAIN) == more.rows()

    def test_an_empty_frame_clears_the_range_and_no_other_series(self, store: Store, company: str) -> None:
        self.energy(store, company, MAIN)
        self.energy(store, company, IT)
        store.write(company, "energy_1h", [Point(tags_of(MAIN), T0, {"energy_wh": 1.0})])
        other = rows_of(store, company, "energy_15m", IT)

        done = store.replace(company, "energy_15m", MAIN, T0, T0 + 100 * QUARTER, Frame.empty())

        assert done == Replaced(deleted=8, written=0)
        assert rows_of(store, company, "energy_15m", MAIN) == {}
        assert rows_of(store, company, "energy_15m", IT) == other
        assert rows_of(store, company, "energy_1h", MAIN) == {T0: {"energy_wh": 1.0}}

    def test_a_series_that_lost_its_last_row_has_no_tags_and_can_return(self, store: Store, company: str) -> None:
        self.energy(store, company, MAIN)
        self.energy(store, company, IT)

        store.replace(company, "energy_15m", MAIN, T0, T0 + 8 * QUARTER, Frame.empty())
        without = store.tags(company, "energy_15m", {})
        self.energy(store, company, MAIN)

        assert without == [IT]
        assert store.tags(company, "energy_15m", {}) == [MAIN, IT]
        assert len(rows_of(store, company, "energy_15m", MAIN)) == 8

    def test_the_range_includes_its_start_and_excludes_its_end(self, store: Store, company: str) -> None:
        self.energy(store, company, MAIN)

        store.replace(company, "energy_15m", MAIN, T0 + QUARTER, T0 + 3 * QUARTER, Frame.empty())

        left = sorted(rows_of(store, company, "energy_15m", MAIN))
        assert left == [T0 + i * QUARTER for i in (0, 3, 4, 5, 6, 7)]

    def test_a_text_that_the_new_row_lacks_is_gone(self, store: Store, company: str) -> None:
        at = np.array([T0], np.int64)
        decided = Frame(at, {"state": np.array([1.0])}, {"decision": ["7"]})
        store.replace(company, "energy_15m", MAIN, T0, T0 + 1, decided)

        again = store.replace(company, "energy_15m", MAIN, T0, T0 + 1, decided)
        done = store.replace(company, "energy_15m", MAIN, T0, T0 + 1, Frame(at, {"state": np.array([1.0])}))

        assert again == Replaced(0, 0)
        assert done == Replaced(1, 1)
        assert rows_of(store, company, "energy_15m", MAIN) == {T0: {"state": 1.0}}

    def test_raw_rows_can_be_replaced_too(self, store: Store, company: str) -> None:
        at = [RAW0, RAW0 + 60_000]
        store.replace(company, "power_1m", MAIN, RAW0, RAW0 + DAY, frame(at, power_mean_w=[1, 2], power_max_w=[3, 4]))

        store.replace(company, "power_1m", MAIN, RAW0, RAW0 + DAY, frame([at[1]], power_mean_w=[5]))

        assert rows_of(store, company, "power_1m", MAIN, RAW0, RAW0 + DAY) == {at[1]: {"power_mean_w": 5.0}}

    def test_raw_rows_beyond_the_retention_are_refused(self, store: Store, company: str) -> None:
        with pytest.raises(StoreRefusedError, match="retention"):
            store.replace(company, "power_1m", MAIN, T0, T0 + DAY, frame([T0], power_mean_w=[1.0]))

    @pytest.mark.parametrize(
        ("new", "fault"),
        [
            (frame([T0 - 1], energy_wh=[1.0]), "not all in"),
            (frame([T0 + DAY], energy_wh=[1.0]), "not all in"),
            (frame([T0], energy_wh=[float("inf")]), "energy_wh"),
            (frame([T0, T0 + 1], energy_wh=[1.0, None]), "row 1 .* no field"),
            (frame([T0], no_such=[1.0]), "no_such"),
            (Frame(np.array([T0]), {"state": np.ones(1)}, {"energy_wh": ["5"]}), "energy_wh"),
        ],
    )
    def test_a_frame_that_cannot_be_stored_is_refused_and_changes_nothing(
        self, store: Store, company: str, new: Frame, fault: str
    ) -> None:
        self.energy(store, company, MAIN)
        before = rows_of(store, company, "energy_15m", MAIN)

        with pytest.raises(ValueError, match=fault):
            store.replace(company, "energy_15m", MAIN, T0, T0 + DAY, new)

        assert rows_of(store, company, "energy_15m", MAIN) == before

    def test_a_write_after_a_replace_and_a_replace_after_a_write_see_each_other(
        self, store: Store, company: str
    ) -> None:
        self.energy(store, company, MAIN, 1)
        store.replace(company, "energy_15m", MAIN, T0, T0 + QUARTER, frame([T0], state=[0.0]))

        store.write(company, "energy_15m", [Point(tags_of(MAIN), T0, {"energy_wh": 9.0})])

        assert rows_of(store, company, "energy_15m", MAIN) == {T0: {"state": 0.0, "energy_wh": 9.0}}


class TestMissingDatabase:
    def test_every_verb_says_that_the_database_is_missing(self, store: Store) -> None:
        with pytest.raises(StoreRefusedError, match="not found"):
            store.write("nobody", "energy_15m", [Point(tags_of(MAIN), T0, {"energy_wh": 1.0})])
        with pytest.raises(StoreRefusedError, match="not found"):
            store.read("nobody", "energy_15m", {}, T0, T0 + DAY)
        with pytest.raises(StoreRefusedError, match="not found"):
            store.tags("nobody", "energy_15m", {})
        with pytest.raises(StoreRefusedError, match="not found"):
            store.replace("nobody", "energy_15m", MAIN, T0, T0 + DAY, frame([T0], energy_wh=[1.0]))

    @pytest.mark.parametrize("name", ["", "Acme", 'a"b', "a/raw", "../x", "x" * 33, "-a"])
    def test_a_company_that_is_not_an_id_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(ValueError, match="company"):
            store.init(name, 90)
        with pytest.raises(ValueError, match="company"):
            store.read(name, "energy_15m", {}, T0, T0 + DAY)


class TestSettingUp:
    def test_programs_that_set_up_a_company_at_the_same_instant_all_succeed(self, store: Store) -> None:
        name, together = f"t{uuid4().hex[:12]}", threading.Barrier(4)

        def set_up() -> None:
            together.wait(10)
            store.init(name, 90)

        with ThreadPoolExecutor(4) as programs:
            for done in [programs.submit(set_up) for _ in range(4)]:
                done.result()

        store.write(name, "energy_15m", [Point(tags_of(MAIN), T0, {"energy_wh": 1.0})])
        assert rows_of(store, name, "energy_15m", MAIN) == {T0: {"energy_wh": 1.0}}
