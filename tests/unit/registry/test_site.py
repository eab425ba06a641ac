"""Expressions, and the checks that all meters of a site pass together."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo.ids import DeviceKey
from merilo.instants import DAY_MS, QUARTER_MS
from merilo.site import (
    EXPRESSION_MAX,
    Company,
    MeterVersion,
    Site,
    Term,
    check_meters,
    leaf_devices,
    parse_expression,
)

DEVICE = DeviceKey("acme", "hq", "gw1", "main")


def meter(name: str, expression: str | None = None, **other: object) -> MeterVersion:
    given: dict[str, object] = {"valid_from_ms": 0, "expression": expression, **other}
    if expression is None:
        given.setdefault("device", DeviceKey("acme", "hq", "gw1", name))
    return MeterVersion(company="acme", site="hq", meter=name, **given)  # type: ignore[arg-type]  # a table of attributes


def check(*versions: MeterVersion) -> None:
    check_meters(versions, frozenset(version.meter for version in versions))


def test_an_expression_is_sums_differences_and_exact_shares() -> None:
    assert parse_expression("a + b - 0.4*c") == (
        Term(meter="a", factor=Fraction(1)),
        Term(meter="b", factor=Fraction(1)),
        Term(meter="c", factor=Fraction(-2, 5)),
    )
    assert parse_expression("- main + 1/3 * rack-a") == (
        Term(meter="main", factor=Fraction(-1)),
        Term(meter="rack-a", factor=Fraction(1, 3)),
    )


def test_a_hyphen_belongs_to_an_id_and_a_minus_stands_between_spaces() -> None:
    assert parse_expression("rack-a") == (Term(meter="rack-a", factor=Fraction(1)),)
    assert [term.meter for term in parse_expression("rack - a")] == ["rack", "a"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "a b",
        "a +",
        "a ++ b",
        "A",
        "2*a",
        "0*a",
        "1/0*a",
        "1.5*a",
        "a + a",
        "a*0.5",
        "(a)",
        "a / b",
        "a\u00a0+ b +",
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(text: str) -> None:
    with pytest.raises(ValueError, match="expression"):
        parse_expression(text)


def test_an_expression_may_have_500_characters_and_not_one_more() -> None:
    assert len(parse_expression("a".ljust(EXPRESSION_MAX))) == 1
    with pytest.raises(ValueError, match="at most 500"):
        parse_expression("a".ljust(EXPRESSION_MAX + 1))


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_expression(text)


def test_a_meter_formed_of_itself_over_others_is_refused_with_the_circle() -> None:
    with pytest.raises(ValueError, match="is formed of itself"):
        check(meter("a", "b + x"), meter("b", "c"), meter("c", "a"), meter("x"))


def test_a_circle_that_never_holds_at_one_instant_is_none() -> None:
    check(meter("a", "b", valid_to_ms=DAY_MS), meter("b", "a", valid_from_ms=DAY_MS), meter("a", valid_from_ms=DAY_MS))


def test_a_meter_above_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="is its own parent"):
        check(meter("a", parent="b"), meter("b", parent="a"))


def test_an_unknown_parent_or_part_is_refused() -> None:
    with pytest.raises(ValueError, match="no meter 'ghost'"):
        check(meter("a", parent="ghost"))
    with pytest.raises(ValueError, match="no meter 'ghost'"):
        check(meter("a", "b + ghost"), meter("b"))


def test_shares_of_one_meter_may_add_up_to_one_and_not_more() -> None:
    thirds = [meter(name, "1/3*plant") for name in ("a", "b", "c")]
    check(meter("plant"), *thirds)
    with pytest.raises(ValueError, match="shares of meter plant add up to 1\\.01"):
        check(meter("plant"), *thirds, meter("d", "0.01*plant"))


def test_shares_in_different_times_do_not_add_up() -> None:
    check(meter("plant"), meter("a", "0.8*plant", valid_to_ms=DAY_MS), meter("b", "0.8*plant", valid_from_ms=DAY_MS))


def test_a_deep_lattice_of_meters_is_checked_in_time() -> None:
    layers = [meter("m0"), meter("n0")]
    for level in range(1, 60):
        layers += [meter(f"{name}{level}", f"m{level - 1} + n{level - 1}") for name in ("m", "n")]
    check(*layers)
    assert leaf_devices("m59", layers) == {DeviceKey("acme", "hq", "gw1", "m0"), DeviceKey("acme", "hq", "gw1", "n0")}


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "kitchen"},
        {"phase": "l4"},
        {"device": None},
        {"expression": "a"},
        {"valid_from_ms": 1},
        {"valid_to_ms": QUARTER_MS + 1},
        {"valid_from_ms": DAY_MS, "valid_to_ms": DAY_MS},
        {"device": DeviceKey("acme", "other", "gw1", "main")},
    ],
)
def test_a_meter_refuses_nonsense_when_built(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="meter main"):
        MeterVersion(
            **{"company": "acme", "site": "hq", "meter": "main", "valid_from_ms": 0, "device": DEVICE, **wrong}  # type: ignore[arg-type]
        )


def test_companies_and_sites_refuse_nonsense_when_built() -> None:
    with pytest.raises(ValueError, match="reserved"):
        Company(id="programme", name="x")
    with pytest.raises(ValueError, match="raw_days = 0"):
        Company(id="acme", name="x", raw_days=0)
    with pytest.raises(ValueError, match="country"):
        Site(company="acme", id="hq", name="x", zone="Europe/Sofia", country="bg")
    with pytest.raises(ValueError, match="currency"):
        Site(company="acme", id="hq", name="x", zone="Europe/Sofia", currency="euro")
