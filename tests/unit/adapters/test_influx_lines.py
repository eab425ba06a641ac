"""Line protocol as InfluxData's reference describes it, and keys that come back from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo.frame import Frame
from merilo.ports import Point
from merilo.schema import MEASUREMENTS
from merilo_adapters.influx_lines import BYTES_MAX, LINES_MAX, batches, frame_lines, point_lines, series_key
from merilo_adapters.influx_rows import parsed_key
from merilo_adapters.points import tag_fault

ENERGY = MEASUREMENTS["energy_15m"]
TAGS = ("acme", "hq", "main", "main")
storable = st.text(min_size=1, max_size=40).filter(lambda value: tag_fault(value) is None)


def test_a_point_is_one_line_with_escaped_tags_floats_and_quoted_text() -> None:
    point = Point(
        ("acme", "hq", "a,b=c d", "it"),
        1_735_689_600_000,
        {"energy_wh": 1.0, "coverage": 1e-07, "power_mean_w": 1e16, "decision": 'say "\\n"'},
    )

    (line,) = point_lines(ENERGY, [point])

    assert line == (
        b"energy_15m,company=acme,site=hq,meter=a\\,b\\=c\\ d,role=it "
        b'energy_wh=1.0,coverage=1e-07,power_mean_w=1e+16,decision="say \\"\\\\n\\"" 1735689600000'
    )


def test_rows_of_a_frame_are_lines_with_exactly_their_fields() -> None:
    frame = Frame(
        np.array([1000, 2000, 3000]),
        {"energy_wh": np.array([1.5, math.nan, 2.5]), "state": np.array([3.0, 0.0, math.nan])},
        {"decision": [None, 'a"b', None]},
    )

    key = b"energy_15m,company=acme,site=hq,meter=main,role=main "
    assert frame_lines(ENERGY, TAGS, frame) == [
        key + b"energy_wh=1.5,state=3.0 1000",
        key + b'state=0.0,decision="a\\"b" 2000',
        key + b"energy_wh=2.5 3000",
    ]


def test_an_empty_frame_gives_no_line() -> None:
    assert frame_lines(ENERGY, TAGS, Frame.empty()) == []


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_is_written_so_that_it_reads_as_the_same_float(value: float) -> None:
    (line,) = point_lines(ENERGY, [Point(TAGS, 0, {"energy_wh": value})])

    text = line.split(b"energy_wh=")[1].split()[0].decode()
    assert float(text) == value
    assert "." in text or "e" in text
    assert not text.endswith("i")


@given(st.tuples(storable, storable, storable, storable))
def test_tag_values_come_back_from_a_series_key(tags: tuple[str, str, str, str]) -> None:
    assert parsed_key(ENERGY, series_key(ENERGY, tags)) == dict(zip(ENERGY.tags, tags, strict=True))


def test_a_key_without_one_of_the_tags_is_not_ours() -> None:
    assert parsed_key(ENERGY, "energy_15m,company=acme,site=hq") is None
    assert parsed_key(ENERGY, "energy_15m") is None


@given(st.lists(st.integers(0, 30), max_size=60))
def test_batches_hold_every_line_once_in_order(sizes: list[int]) -> None:
    lines = [b"x" * size for size in sizes]

    cut = list(batches(lines))

    assert [line for _, part in cut for line in part] == lines
    assert [first for first, _ in cut] == [sum(len(part) for _, part in cut[:i]) for i in range(len(cut))]


@pytest.mark.parametrize(("count", "expected"), [(LINES_MAX, [5000]), (LINES_MAX + 1, [5000, 1])])
def test_a_request_holds_so_many_lines_and_no_more(count: int, expected: list[int]) -> None:
    assert [len(part) for _, part in batches([b"x"] * count)] == expected


@pytest.mark.parametrize(("size", "expected"), [(BYTES_MAX // 2 - 1, [2, 1]), (BYTES_MAX // 2, [1, 1, 1])])
def test_a_request_holds_so_many_bytes_and_no_more(size: int, expected: list[int]) -> None:
    cut = list(batches([b"x" * size] * 3))

    assert [len(part) for _, part in cut] == expected
    assert all(sum(len(line) + 1 for line in part) <= BYTES_MAX for _, part in cut)


def test_one_line_above_the_limit_goes_alone() -> None:
    cut = list(batches([b"a", b"x" * (BYTES_MAX + 1), b"b"]))

    assert [len(part) for _, part in cut] == [1, 1, 1]
