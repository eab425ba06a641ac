"""Which registers and which meters make a meter."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.ids import DeviceKey
from merilo.meters import Registers, Scheme, ShareGap, format_expression, registers_of
from merilo.site import MeterVersion, Phase, Term, parse_expression

DAY = 86_400_000
M1 = DeviceKey("acme", "hq", "gw1", "m1")
IN, OUT = "active_energy_import", "active_energy_export"


def version(
    meter: str, source: str | DeviceKey, from_ms: int = 0, to_ms: int | None = None, **more: Any
) -> MeterVersion:
    plain: dict[str, Any] = {"device": source} if isinstance(source, DeviceKey) else {"expression": source}
    return MeterVersion(
        company="acme", site="hq", meter=meter, valid_from_ms=from_ms, valid_to_ms=to_ms, **plain, **more
    )


@pytest.mark.parametrize(
    ("available", "phase", "imports", "exports"),
    [
        ([f"{IN}_wh", f"{OUT}_wh"], "", [f"{IN}_wh"], [f"{OUT}_wh"]),
        ([f"{IN}_t1_wh", f"{IN}_t2_wh", f"{OUT}_t1_wh"], "", [f"{IN}_t1_wh", f"{IN}_t2_wh"], [f"{OUT}_t1_wh"]),
        # A total stands alone, whatever else the device has.
        ([f"{IN}_wh", f"{IN}_t1_wh", f"{IN}_t2_wh", f"{IN}_l1_wh", f"{IN}_l2_wh"], "", [f"{IN}_wh"], []),
        ([f"{IN}_t1_wh", f"{IN}_l1_wh"], "", [f"{IN}_t1_wh"], []),
        ([f"{IN}_l3_wh", f"{IN}_l1_wh", f"{IN}_l2_wh"], "", [f"{IN}_l1_wh", f"{IN}_l2_wh", f"{IN}_l3_wh"], []),
        ([f"{IN}_wh", f"{IN}_l1_wh", f"{OUT}_l1_wh", f"{OUT}_wh"], "l1", [f"{IN}_l1_wh"], [f"{OUT}_l1_wh"]),
        ([f"{IN}_t1_l2_wh", f"{IN}_t2_l2_wh"], "l2", [f"{IN}_t1_l2_wh", f"{IN}_t2_l2_wh"], []),
        ([f"{IN}_wh"], "l2", [], []),
        # Total import beside export by phase: each direction by itself.
        ([f"{IN}_wh", f"{OUT}_l1_wh", f"{OUT}_l2_wh"], "", [f"{IN}_wh"], [f"{OUT}_l1_wh", f"{OUT}_l2_wh"]),
        (["active_energy_wh", "active_energy_l1_wh"], "", ["active_energy_wh"], []),
        (["active_energy_wh", f"{IN}_wh"], "", [f"{IN}_wh"], []),
        (["active_energy_net_wh", "reactive_energy_import_varh"], "", [], []),
        (["active_power_w", "active_power_l1_w"], "", ["active_power_w"], []),
        (["active_power_l1_w", "active_power_l2_w"], "", ["active_power_l1_w", "active_power_l2_w"], []),
        (["active_power_w", "active_power_l1_w"], "l1", ["active_power_l1_w"], []),
        (["active_power_w", f"{IN}_wh"], "", [f"{IN}_wh"], []),
        ([], "", [], []),
    ],
)
def test_registers_are_chosen_so_that_nothing_counts_twice(
    available: list[str], phase: Phase, imports: list[str], exports: list[str]
) -> None:
    assert registers_of(available, phase) == Registers(tuple(imports), tuple(exports))


@pytest.mark.parametrize(
    "text", ["a", "a + b - 0.4*c", "- a", "1/3*a + 2/7*b", "0.000000001*a", "-0.5*a-1 + b-c", "main - pdu-1 - pdu-2"]
)
def test_an_expression_is_written_as_it_is_read(text: str) -> None:
    terms = parse_expression(text)

    assert parse_expression(format_expression(terms)) == terms


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a+b", None),
        ("a  -  0.40 * c", "a - 0.4*c"),
        ("1*a - 2/4*b", "a - 0.5*b"),
        ("1/3*a", "1/3*a"),
        ("- 0.4*a", "- 0.4*a"),
    ],
)
def test_an_expression_has_one_way_to_be_written(text: str, written: str | None) -> None:
    if written is None:
        with pytest.raises(ValueError, match="at position 1"):
            parse_expression(text)  # a sign stands between spaces: ids carry hyphens
    else:
        assert format_expression(parse_expression(text)) == written


@given(
    terms=st.lists(
        st.builds(
            Term,
            meter=st.from_regex("[a-z0-9][a-z0-9-]{0,11}", fullmatch=True),
            factor=st.one_of(
                st.sampled_from([Fraction(1), Fraction(-1)]),
                st.tuples(st.integers(1, 999), st.integers(1, 9999), st.sampled_from([1, -1])).map(
                    lambda found: Fraction(min(found[:2]), max(found[:2])) * found[2]
                ),
            ),
        ),
        min_size=1,
        max_size=12,
        unique_by=lambda term: term.meter,
    )
)
@settings(max_examples=40, deadline=None)
def test_every_expression_survives_being_written_and_read(terms: list[Term]) -> None:
    assert parse_expression(format_expression(terms)) == tuple(terms)


def test_nothing_is_no_expression() -> None:
    with pytest.raises(ValueError, match="at least one meter"):
        format_expression([])


@pytest.mark.parametrize(
    ("text", "position"),
    [("a + - b", 5), ("a b", 2), ("a + 0.4 c", 5), ("a + B", 5), ("2*a", 1), ("0*a", 1), ("a - 1/0*b", 5)],
)
def test_an_error_in_an_expression_names_its_position(text: str, position: int) -> None:
    with pytest.raises(ValueError, match=f"at position {position}, found"):
        parse_expression(text)


def test_meters_are_formed_after_their_parts() -> None:
    scheme = Scheme([version("a-sum", "m1 + z"), version("m1", M1), version("z", "m1"), version("b", "m1 - a-sum")])

    order = scheme.order(0)

    assert sorted(order) == ["a-sum", "b", "m1", "z"]
    assert order.index("m1") < order.index("z") < order.index("a-sum") < order.index("b")


def test_a_meter_that_is_formed_of_itself_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match=r"is formed of itself: .*a -> |is formed of itself: .*b -> "):
        Scheme([version("a", "b"), version("b", "c"), version("c", "a - d"), version("d", M1)])


def test_two_meters_may_take_turns_in_being_formed_of_each_other() -> None:
    scheme = Scheme(
        [
            version("a", M1, 0, DAY),
            version("a", "b", DAY),
            version("b", "a", 0, DAY),
            version("b", M1, DAY),
        ]
    )

    assert scheme.order(0) == ("a", "b")
    assert scheme.order(DAY) == ("b", "a")
    assert list(scheme.pieces(0, 2 * DAY)) == [(0, DAY), (DAY, 2 * DAY)]


@pytest.mark.parametrize("second_from", [0, DAY - 900_000])
def test_two_definitions_for_one_instant_are_refused(second_from: int) -> None:
    with pytest.raises(ValueError, match="two definitions"):
        Scheme([version("a", M1, 0, DAY), version("a", M1, second_from)])


def test_shares_of_a_meter_add_up_to_one_or_are_named() -> None:
    whole = [version("c", M1), version("a", "0.4*c"), version("b", "0.6*c")]

    assert Scheme(whole).share_gaps() == []
    assert dict(Scheme(whole).shares("c", 0)) == {"a": Fraction(2, 5), "b": Fraction(3, 5)}
    assert Scheme(whole[:2]).share_gaps() == [ShareGap("c", 0, Fraction(2, 5))]
    with pytest.raises(ValueError, match=r"add up to 1\.1"):
        Scheme([*whole, version("d", "0.1*c")])


def test_shares_count_where_they_are_valid_together() -> None:
    scheme = Scheme(
        [version("c", M1), version("a", "0.4*c", 0, DAY), version("b", "0.6*c", 0, DAY), version("d", "0.7*c", DAY)]
    )

    assert scheme.share_gaps() == [ShareGap("c", DAY, Fraction(7, 10))]
    assert dict(scheme.shares("c", DAY)) == {"d": Fraction(7, 10)}


def test_a_change_reaches_every_meter_that_rests_on_it() -> None:
    scheme = Scheme(
        [
            version("m1", M1),
            version("l1", M1, phase="l1"),
            version("m2", M1._replace(device="m2")),
            version("sum", "m1 + m2"),
            version("top", "sum - m2"),
            version("old", "m2", 0, DAY),
        ]
    )

    assert scheme.affected({M1}) == {"m1", "l1", "sum", "top"}
    assert scheme.affected((), {"sum"}) == {"sum", "top"}
    assert scheme.affected({M1._replace(device="m2")}) == {"m2", "sum", "top", "old"}
