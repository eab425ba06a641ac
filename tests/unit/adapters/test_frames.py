"""Frames compared: a replace must reach the new rows from any old ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo.frame import Frame
from merilo.ports import Point
from merilo.schema import MEASUREMENTS
from merilo_adapters.frames import difference, select, trimmed
from merilo_adapters.points import check_at, check_tags, clean_fields, clean_points, tag_fault, whole_tags

ENERGY = MEASUREMENTS["energy_15m"]
Rows = dict[int, dict[str, float | str]]
rows = st.dictionaries(
    st.integers(0, 12),
    st.fixed_dictionaries(
        {},
        optional={
            "energy_wh": st.sampled_from([0.0, 1.0, 2.0]),
            "state": st.sampled_from([0.0, 3.0]),
            "decision": st.sampled_from(["7", "8"]),
        },
    ).filter(bool),
    max_size=8,
)


def frame_of(found: Rows) -> Frame:
    at = sorted(found)
    numbers = {
        name: np.array([float(found[t].get(name, np.nan)) for t in at])
        for name in ("energy_wh", "state")
        if any(name in row for row in found.values())
    }
    texts: dict[str, list[str | None]] = {}
    if any("decision" in row for row in found.values()):
        texts["decision"] = [None if "decision" not in found[t] else str(found[t]["decision"]) for t in at]
    return Frame(np.array(at, np.int64), numbers, texts)


@given(rows, rows)
def test_deleting_what_lost_and_uniting_what_changed_gives_the_new_rows(old: Rows, new: Rows) -> None:
    before, after = frame_of(old), frame_of(new)

    change = difference(before, after)

    left = {int(t): dict(old[int(t)]) for t in before.at_ms[~change.lost]}
    written = select(after, change.changed).rows()
    lost = {int(t) for t in before.at_ms[change.lost]}
    united = {t: {**left.get(t, {}), **written.get(t, {})} for t in {*left, *written}}
    assert united == new
    assert all(t not in new or set(old[t]) - set(new[t]) for t in lost)
    assert all(old.get(t) != new[t] for t in written)


@given(rows)
def test_equal_frames_differ_in_nothing(same: Rows) -> None:
    change = difference(frame_of(same), frame_of(same))

    assert not change.lost.any()
    assert not change.changed.any()


def test_a_read_of_chosen_fields_has_all_columns_and_only_rows_with_one_of_them() -> None:
    frame = frame_of({1: {"energy_wh": 1.0}, 2: {"decision": "7"}})

    found = trimmed(ENERGY, frame, ("power_max_w", "energy_wh"))

    assert list(found.numbers) == ["power_max_w", "energy_wh"]
    assert trimmed(ENERGY, frame_of({1: {"energy_wh": 1.0}}), None).rows() == {1: {"energy_wh": 1.0}}


@pytest.mark.parametrize("value", ["", "a" * 257, "a\\", 'a"b', "a\nb", "\x7f", "\u0085", "\ud800", 5])
def test_a_tag_value_that_some_store_would_change_is_refused(value: object) -> None:
    assert tag_fault(value) is not None


@pytest.mark.parametrize("value", ["a", "a" * 256, "a b,c=d", "смяна", "'", "#", " "])
def test_a_tag_value_that_every_store_keeps_is_taken(value: str) -> None:
    assert tag_fault(value) is None


def test_the_fault_names_point_measurement_and_field() -> None:
    good = Point(("acme", "hq", "main", "main"), 0, {"energy_wh": 1.0})

    with pytest.raises(ValueError, match=r"point 1: energy_15m: field coverage = nan is not finite"):
        clean_points(ENERGY, [good, good._replace(fields={"coverage": float("nan")})])
    with pytest.raises(ValueError, match=r"point 1: energy_15m: tag meter is empty"):
        clean_points(ENERGY, [good, good._replace(tags=("acme", "hq", "", "main"))])
    with pytest.raises(ValueError, match="5 tag values, expected 4"):
        check_tags(ENERGY, ("a", "b", "c", "d", "e"))
    with pytest.raises(ValueError, match="expected all of company"):
        whole_tags(ENERGY, {"company": "acme"})


@pytest.mark.parametrize(("at_ms", "taken"), [(-1, False), (0, True), (9_223_372_036_853, True), (2**63, False)])
def test_instants_are_taken_up_to_the_last_that_nanoseconds_hold(at_ms: int, taken: bool) -> None:
    if taken:
        check_at(ENERGY, at_ms)
    else:
        with pytest.raises(ValueError, match="instant"):
            check_at(ENERGY, at_ms)


def test_numbers_of_any_kind_become_plain_floats() -> None:
    clean = clean_fields(ENERGY, {"energy_wh": 7, "state": np.float32(3), "coverage": np.int8(1)})  # type: ignore[dict-item]

    assert clean == {"energy_wh": 7.0, "state": 3.0, "coverage": 1.0}
    assert all(type(value) is float for value in clean.values())
