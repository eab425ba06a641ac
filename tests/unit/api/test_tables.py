"""Cells of CSV files: texts that look like formulas stay texts, numbers stay numbers."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo_api.tables import DIALECTS, safe_cell, to_csv

EN = DIALECTS["en"]


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x","y")',
        "+359 2 123",
        "-cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "  =1",
        "＝1+1",
        "＋1",
    ],
)
def test_a_text_that_begins_like_a_formula_is_quoted(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["main", "1-2", "a=b", "електромер", ""])
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert safe_cell(text) == text


@given(st.text(max_size=8))
def test_no_text_cell_begins_with_a_formula_sign(text: str) -> None:
    assert not safe_cell(text).lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


def test_negative_numbers_stay_numbers() -> None:
    rows = to_csv([{"id": "pv", "value": np.array([-12.5, np.nan, 1e-9, 1e12])}], None, EN).decode()

    assert rows.split("\r\n")[1:-1] == ["pv,-12.5", "pv,", "pv,0.000000001", "pv,1000000000000"]


def test_series_with_other_columns_share_one_head() -> None:
    rows = to_csv([{"id": "a", "x": np.array([1.0])}, {"id": "b", "y": np.array([2.0])}], None, EN).decode()

    assert rows == "id,x,y\r\na,1,\r\nb,,2\r\n"


def test_rows_without_columns_are_rows() -> None:
    rows = to_csv([{"number": 1, "code": "reset", "end": None}], None, EN).decode()

    assert rows == "number,code,end\r\n1,reset,\r\n"


def test_local_times_follow_the_change_of_the_clock() -> None:
    starts = np.array([1792882800000, 1792886400000, 1792890000000], "datetime64[ms]")  # 2026-10-24T23:00Z and on
    rows = to_csv([{"start": starts}], ZoneInfo("Europe/Sofia"), EN).decode().split("\r\n")

    assert [row.split(",")[0] for row in rows[1:-1]] == ["2026-10-25 02:00", "2026-10-25 03:00", "2026-10-25 03:00"]
