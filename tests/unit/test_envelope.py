"""The envelope refuses half a figure; sums of energy carry their gates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from merilo.envelope import Envelope, Inputs, Period, Uncertainty, energy_sum
from merilo.errors import ConfigError
from merilo.frame import Frame
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS, to_ms

SOFIA = "Europe/Sofia"
DAY = to_ms(datetime(2026, 5, 31, 21, tzinfo=UTC))
"""1 June 2026 begins in Sofia."""


def envelope(**fields: Any) -> Envelope:
    plain: dict[str, Any] = {
        "value": 1.58,
        "unit": "",
        "period": Period.of(DAY, DAY + DAY_MS, SOFIA),
        "label": "iPUE",
        "method": "pue",
        "method_version": "1",
        "coverage": 0.97,
        "estimated_share": 0.0,
        "uncertainty": Uncertainty(low=1.55, high=1.61, confidence=0.95, kind="meter_class"),
        "uncertainty_reason": None,
        "inputs": Inputs(meters=("main", "it"), decisions=(3,)),
    }
    return Envelope(**(plain | fields))


def frame(states: list[int], energy_wh: float = 1_500.0, start_ms: int = DAY, decision: str | None = None) -> Frame:
    """Stored rows of a quarter of an hour each."""
    state = np.array(states, np.float64)
    energy = np.where(state > 0, energy_wh, np.nan)
    return Frame(
        start_ms + QUARTER_MS * np.arange(len(states), dtype=np.int64),
        {
            "state": state,
            "energy_wh": energy,
            "energy_metered_wh": np.where(state == 3, energy, np.where(state > 0, 0.0, np.nan)),
            "energy_bridged_wh": np.where(state == 2, energy, np.where(state > 0, 0.0, np.nan)),
            "energy_estimated_wh": np.where(state == 1, energy, np.where(state > 0, 0.0, np.nan)),
            "energy_low_wh": np.nan_to_num(energy),
        },
        {"decision": [decision, *[None] * (len(states) - 1)]} if states else {},
    )


def test_an_envelope_travels_as_the_documented_fields() -> None:
    found = msgspec.json.decode(msgspec.json.encode(envelope()))

    assert list(found) == [
        "value",
        "unit",
        "period",
        "label",
        "method",
        "method_version",
        "coverage",
        "estimated_share",
        "uncertainty",
        "uncertainty_reason",
        "inputs",
        "warnings",
        "reason",
        "id",
    ]
    assert found["period"] == {"start": "2026-05-31T21:00:00Z", "end": "2026-06-01T21:00:00Z", "tz": SOFIA}
    assert found["inputs"]["meters"] == ["main", "it"]
    assert msgspec.json.decode(msgspec.json.encode(envelope()), type=Envelope) == envelope()


def test_the_id_belongs_to_the_content() -> None:
    one = envelope()

    assert envelope().id == one.id
    assert len(one.id) == 16
    assert envelope(value=1.59, uncertainty=Uncertainty(low=1.5, high=1.7, confidence=0.95, kind="x")).id != one.id
    assert envelope(value=1.58 * (1 + 1e-13)).id == one.id  # linear algebra differs between processors
    assert envelope(inputs=Inputs(meters=("main", "it"), decisions=(3, 4))).id != one.id
    with pytest.raises(ValueError, match="does not belong"):
        envelope(id="0" * 16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"value": None}, "exactly one of the two"),
        ({"reason": "coverage_low"}, "exactly one of the two"),
        ({"value": None, "reason": ""}, "exactly one of the two"),
        ({"value": None, "reason": "coverage_low"}, "a band of a value that is null"),
        ({"value": float("nan")}, "not finite"),
        ({"value": float("inf")}, "not finite"),
        ({"uncertainty": None}, "reason for having none"),
        ({"uncertainty_reason": "unknown"}, "reason for having none"),
        ({"coverage": 1.01}, "coverage = 1.01 is outside"),
        ({"coverage": float("nan")}, "coverage = nan is outside"),
        ({"estimated_share": -0.1}, "estimated_share = -0.1 is outside"),
        ({"method": ""}, "expected both"),
        ({"method_version": ""}, "expected both"),
    ],
)
def test_half_a_figure_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        envelope(**fields)


def test_a_refusal_has_a_reason_and_no_value() -> None:
    found = envelope(value=None, reason="no_it_meter", uncertainty=None, uncertainty_reason="no_value")

    assert (found.value, found.reason) == (None, "no_it_meter")


@pytest.mark.parametrize(
    "build",
    [
        lambda: Period.of(DAY, DAY, SOFIA),
        lambda: Period(start=datetime(2026, 1, 1), end=datetime(2026, 1, 2), tz=SOFIA),  # noqa: DTZ001  # the point
        lambda: Uncertainty(low=2, high=1, confidence=0.95, kind="x"),
        lambda: Uncertainty(low=1, high=float("nan"), confidence=0.95, kind="x"),
        lambda: Uncertainty(low=1, high=2, confidence=95, kind="x"),
    ],
)
def test_periods_and_bands_that_make_no_sense_are_refused(build: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|outside"):
        build()


# -- sums of energy --------------------------------------------------------------------------------------------------


def day(states: list[int], **more: Any) -> Envelope:
    return energy_sum({"m": frame(states)}, DAY, DAY + DAY_MS, SOFIA, ["m"], **more)


def test_a_whole_day_is_complete() -> None:
    found = day([3] * 90 + [2] * 3 + [1] * 3)

    assert found.value == 144_000.0
    assert (found.unit, found.label, found.method, found.reason, found.warnings) == (
        "Wh",
        "complete",
        "energy_sum",
        None,
        (),
    )
    assert found.coverage == 93 / 96
    assert found.estimated_share == 3 / 96
    assert found.inputs.meters == ("m",)


@pytest.mark.parametrize(("covered", "label"), [(87, "complete"), (86, "partial")])
def test_a_day_needs_nine_tenths_of_its_intervals(covered: int, label: str) -> None:
    # 0.90 of 96 are 86.4.
    found = day([3] * covered + [1] * (96 - covered))

    assert found.label == label
    assert found.value == 144_000.0  # people may see it, with its label
    assert found.warnings == (() if label == "complete" else ("coverage_low",))


@pytest.mark.parametrize(("missing", "label"), [(96, "complete"), (97, "partial")])
def test_a_month_may_not_hold_more_than_a_day_without_energy(missing: int, label: str) -> None:
    # 97 of 2 880 intervals are 3 %: coverage alone would pass.
    end = DAY + 30 * DAY_MS
    found = energy_sum({"m": frame([3] * 1_000 + [0] * missing + [3] * (1_880 - missing))}, DAY, end, SOFIA, ["m"])

    assert found.coverage > 0.96
    assert found.label == label
    assert found.warnings == (() if label == "complete" else ("missing_stretch",))


def test_rows_that_do_not_exist_are_missing() -> None:
    late = energy_sum({"m": frame([3] * 86, start_ms=DAY + 10 * QUARTER_MS)}, DAY, DAY + DAY_MS, SOFIA, ["m"])

    assert late.coverage == 86 / 96
    assert late.label == "partial"


def test_a_running_period_is_judged_by_what_has_passed_and_is_provisional() -> None:
    found = day([3] * 40, until_ms=DAY + 10 * HOUR_MS)
    gaps = day([3] * 30 + [0] * 10, until_ms=DAY + 10 * HOUR_MS)
    over = day([3] * 96, until_ms=DAY + DAY_MS)

    assert (found.label, found.coverage, found.value) == ("provisional", 1.0, 60_000.0)
    assert (gaps.label, gaps.coverage) == ("partial", 0.75)
    assert over.label == "complete"


def test_an_interval_counts_where_every_meter_is_covered() -> None:
    two = {"a": frame([3] * 48 + [0] * 48), "b": frame([0] * 24 + [3] * 72, 500.0)}

    found = energy_sum(two, DAY, DAY + DAY_MS, SOFIA, ["a", "b"])

    assert found.value == 48 * 1_500 + 72 * 500
    assert found.coverage == 24 / 96


@pytest.mark.parametrize(
    ("frames", "until_ms", "reason"),
    [
        ({}, None, "no_rows"),
        ({"m": frame([0] * 96)}, None, "meter_missing"),
        ({"m": frame([3] * 96, start_ms=DAY + DAY_MS)}, None, "no_rows"),
        ({"m": frame([3] * 96)}, DAY, "not_begun"),
        ({"m": frame([3] * 96)}, DAY - DAY_MS, "not_begun"),
    ],
)
def test_without_energy_there_is_no_figure_but_a_reason(
    frames: dict[str, Frame], until_ms: int | None, reason: str
) -> None:
    found = energy_sum(frames, DAY, DAY + DAY_MS, SOFIA, ["m"], until_ms=until_ms)

    assert (found.value, found.reason, found.estimated_share, found.coverage) == (None, reason, None, 0.0)
    assert found.uncertainty_reason == "no_value"


def test_a_meter_without_any_energy_gives_no_sum_of_the_others() -> None:
    found = energy_sum({"a": frame([3] * 96)}, DAY, DAY + DAY_MS, SOFIA, ["a", "b"])

    assert (found.value, found.reason) == (None, "meter_missing")


def test_energy_that_a_rule_handed_out_counts_as_estimated() -> None:
    assert day([3] * 96, apportioned_wh=36_000.0).estimated_share == 0.25
    assert day([1] * 96, apportioned_wh=36_000.0).estimated_share == 1.0


def test_no_energy_at_all_is_estimated_only_if_somebody_estimated_it() -> None:
    zero = energy_sum({"m": frame([3] * 96, 0.0)}, DAY, DAY + DAY_MS, SOFIA, ["m"])

    assert (zero.value, zero.estimated_share) == (0.0, 0.0)


def test_decisions_behind_the_rows_are_inputs() -> None:
    two = {"a": frame([3] * 96, decision="12,3"), "b": frame([3] * 96, decision="3,7")}

    assert energy_sum(two, DAY, DAY + DAY_MS, SOFIA, ["b", "a"]).inputs == Inputs(
        meters=("b", "a"), decisions=(3, 7, 12)
    )


@pytest.mark.parametrize(
    ("meters", "start_ms", "end_ms"),
    [([], DAY, DAY + DAY_MS), (["m", "m"], DAY, DAY + DAY_MS), (["m"], DAY, DAY), (["m"], DAY + 1, DAY + DAY_MS)],
)
def test_questions_that_make_no_sense_are_refused(meters: list[str], start_ms: int, end_ms: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        energy_sum({}, start_ms, end_ms, SOFIA, meters)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected an IANA name"):
        energy_sum({}, DAY, DAY + DAY_MS, "Europe/Atlantis", ["m"])
