"""Registers become meters: sums, differences, shares, export, validity, bills. Numbers by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.decisions import Decision, EffectiveRows
from merilo.forming import form, split
from merilo.ids import DeviceKey, MeterKey, RegisterKey
from merilo.instants import QUARTER_MS
from merilo.meterrows import MeterRows
from merilo.meters import Scheme
from merilo.site import MeterVersion

T0 = 1_767_225_600_000
METERED, BRIDGED, ESTIMATED, MISSING = 3, 2, 1, 0
WH = 1_000
IMPORT, EXPORT = "active_energy_import_wh", "active_energy_export_wh"


def device(name: str) -> DeviceKey:
    return DeviceKey("acme", "hq", "gw1", name)


def version(meter: str, source: str | DeviceKey, **more: Any) -> MeterVersion:
    fields: dict[str, Any] = {"company": "acme", "site": "hq", "meter": meter, "valid_from_ms": 0}
    fields["device" if isinstance(source, DeviceKey) else "expression"] = source
    return MeterVersion(**(fields | more))


def rows(
    energies: Sequence[int],
    states: Sequence[int] | None = None,
    low: Sequence[int] | None = None,
    first: int = 0,
    **more: Any,
) -> EffectiveRows:
    """Effective rows [mWh]; energy of a missing row is 0 and its known part is in low."""
    state = np.array([METERED] * len(energies) if states is None else states, np.int64)
    energy = np.where(state > MISSING, np.array(energies, np.int64), 0)
    return EffectiveRows(
        start_ms=T0 + QUARTER_MS * (first + np.arange(len(energies), dtype=np.int64)),
        state=state,
        energy_mwh=energy,
        low_mwh=np.where(state > MISSING, energy, 0 if low is None else np.array(low, np.int64)),
        metered_mwh=np.where(state == METERED, energy, 0),
        bridged_mwh=np.where(state == BRIDGED, energy, 0),
        estimated_mwh=np.where(state == ESTIMATED, energy, 0),
        **({"decisions": {}} | more),
    )


def formed(
    versions: Sequence[MeterVersion], registers: Mapping[tuple[str, str], EffectiveRows], count: int = 4, **more: Any
) -> dict[str, MeterRows]:
    """Meters of the rows from T0 on; registers by device and name."""
    keys = {RegisterKey(*device(name), register): found for (name, register), found in registers.items()}
    found = form(Scheme(versions), T0, T0 + count * QUARTER_MS, keys, **more)
    for one in found.values():
        assert np.array_equal(one.energy_mwh, one.metered_mwh + one.bridged_mwh + one.estimated_mwh)
        assert np.array_equal(one.low_mwh[one.has_energy], one.energy_mwh[one.has_energy])
        assert not np.any(one.energy_mwh[~one.has_energy])
    return found


def two(a: EffectiveRows, b: EffectiveRows, expression: str, **more: Any) -> MeterRows:
    """A meter formed of two devices."""
    versions = [version("a", device("a")), version("b", device("b")), version("m", expression)]
    return formed(versions, {("a", IMPORT): a, ("b", IMPORT): b}, **more)["m"]


# -- meters of devices -----------------------------------------------------------------------------------------------


def test_a_device_gives_its_total_with_the_states_of_its_register() -> None:
    found = formed([version("m", device("a"))], {("a", IMPORT): rows([10, 20, 0, 40], [3, 2, 0, 1], [0, 0, 7, 0])})["m"]

    assert found.start_ms.tolist() == [T0 + i * QUARTER_MS for i in range(4)]
    assert found.state.tolist() == [3, 2, 0, 1]
    assert found.energy_mwh.tolist() == [10, 20, 0, 40]
    assert found.low_mwh.tolist() == [10, 20, 7, 40]
    assert found.has_export.tolist() == [False] * 4


def test_tariffs_are_added_and_the_worst_state_counts() -> None:
    registers = {
        ("a", "active_energy_import_t1_wh"): rows([10, 10, 0, 10], [3, 3, 0, 3], [0, 0, 4, 0]),
        ("a", "active_energy_import_t2_wh"): rows([1, 2, 3, 4], [3, 2, 3, 1]),
    }

    found = formed([version("m", device("a"))], registers)["m"]

    assert found.state.tolist() == [3, 2, 0, 1]
    assert found.energy_mwh.tolist() == [11, 12, 0, 14]
    assert found.low_mwh.tolist() == [11, 12, 7, 14]
    # What is metered in one and estimated in the other stays apart.
    assert (found.metered_mwh.tolist(), found.estimated_mwh.tolist()) == ([11, 10, 0, 10], [0, 0, 0, 4])


def test_one_three_phase_device_gives_three_meters_and_never_its_total_twice() -> None:
    registers = {("a", IMPORT): rows([60])} | {
        ("a", f"active_energy_import_l{i}_wh"): rows([10 * i]) for i in (1, 2, 3)
    }
    versions = [version("m", device("a"))] + [version(f"l{i}", device("a"), phase=f"l{i}") for i in (1, 2, 3)]

    found = formed(versions, registers, 1)

    assert [found[name].energy_mwh.tolist() for name in ("l1", "l2", "l3", "m")] == [[10], [20], [30], [60]]


def test_export_has_its_own_state() -> None:
    registers = {("a", IMPORT): rows([10, 0, 30], [3, 0, 3]), ("a", EXPORT): rows([1, 2, 0], [3, 2, 0])}

    found = formed([version("m", device("a"))], registers, 3)["m"]

    assert found.state.tolist() == [3, 0, 3]
    assert found.state_export.tolist() == [3, 2, 0]
    assert found.export_mwh.tolist() == [1, 2, 0]
    assert found.energy_mwh.tolist() == [10, 0, 30]


def test_a_part_that_has_no_row_yet_is_missing_and_before_all_parts_there_is_no_row() -> None:
    found = two(rows([10, 10], first=1), rows([5], first=2), "a + b")

    assert found.start_ms.tolist() == [T0 + QUARTER_MS, T0 + 2 * QUARTER_MS]
    assert found.state.tolist() == [MISSING, METERED]
    assert found.low_mwh.tolist() == [10, 15]


def test_decisions_of_registers_stand_on_the_rows_of_meters() -> None:
    a = rows([1, 1], decisions={T0: (4, 9)})
    b = rows([1, 1], decisions={T0: (2,), T0 + QUARTER_MS: (4,)})

    assert two(a, b, "a + b").decisions == {T0: (2, 4, 9), T0 + QUARTER_MS: (4,)}


# -- expressions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0, 1, 2, 3])
@pytest.mark.parametrize("b", [0, 1, 2, 3])
def test_a_sum_has_the_worst_state_of_its_parts_and_all_energy_goes_to_it(a: int, b: int) -> None:
    found = two(rows([10], [a], [6]), rows([5], [b], [2]), "a + b", count=1)

    worst = min(a, b)
    assert found.state.tolist() == [worst]
    assert found.energy_mwh.tolist() == [15 if worst else 0]
    by_state = (found.estimated_mwh[0], found.bridged_mwh[0], found.metered_mwh[0])
    assert by_state == tuple(15 if worst == state else 0 for state in (1, 2, 3))
    assert found.low_mwh.tolist() == [15 if worst else (10 if a else 6) + (5 if b else 2)]


@pytest.mark.parametrize(
    ("a", "b", "low"),
    [
        (([10], [3], [0]), ([4], [0], [4]), 0),  # what is taken away is not known
        (([10], [0], [7]), ([4], [3], [0]), 3),
        (([10], [0], [7]), ([9], [1], [0]), 0),  # floored
    ],
)
def test_of_a_missing_difference_only_what_is_certain_is_known(a: Any, b: Any, low: int) -> None:
    found = two(rows(*a), rows(*b), "a - b", count=1)

    assert found.state.tolist() == [MISSING]
    assert found.low_mwh.tolist() == [low]


@pytest.mark.parametrize("states", [(3, 3), (3, 2), (1, 3)])
def test_a_negative_difference_is_kept_and_at_best_bridged(states: tuple[int, int]) -> None:
    found = two(rows([10, 10], [states[0]] * 2), rows([12, 10], [states[1]] * 2), "a - b", count=2)

    assert found.energy_mwh.tolist() == [-2, 0]
    assert found.state.tolist() == [min(2, *states), min(states)]
    assert found.low_mwh.tolist() == [-2, 0]


def test_a_difference_and_what_was_taken_away_add_up_again() -> None:
    versions = [
        version("a", device("a")),
        version("b", device("b")),
        version("rest", "a - b"),
        version("again", "rest + b"),
    ]

    found = formed(versions, {("a", IMPORT): rows([10, 7]), ("b", IMPORT): rows([12, 1])}, 2)

    assert found["again"].energy_mwh.tolist() == [10, 7]
    assert found["again"].state.tolist() == [BRIDGED, METERED]


def test_exports_follow_the_expression_over_the_parts_that_have_any() -> None:
    versions = [version(name, device(name)) for name in "abc"] + [version("m", "a + b - c")]
    registers = {(name, IMPORT): rows([10, 10, 10]) for name in "abc"}
    registers |= {("a", EXPORT): rows([5, 5, 0], [3, 3, 0]), ("c", EXPORT): rows([2, 7, 1])}

    found = formed(versions, registers, 3)["m"]

    assert found.has_export.tolist() == [True] * 3
    assert found.export_mwh.tolist() == [3, -2, 0]
    assert found.state_export.tolist() == [METERED, BRIDGED, MISSING]
    assert found.state.tolist() == [METERED] * 3


# -- shares ----------------------------------------------------------------------------------------------------------


def test_shares_are_rounded_by_largest_remainder_with_ties_by_meter() -> None:
    # 0.4 and 0.6 of 1, 2, 3, 5 mWh: remainders 0.4/0.6, 0.8/0.2, 0.2/0.8, 0/0.
    versions = [version("c", device("c")), version("a", "0.4*c"), version("b", "0.6*c")]

    found = formed(versions, {("c", IMPORT): rows([1, 2, 3, 5])})

    assert found["a"].energy_mwh.tolist() == [0, 1, 1, 2]
    assert found["b"].energy_mwh.tolist() == [1, 1, 2, 3]
    thirds = [version("c", device("c"))] + [version(name, "1/3*c") for name in "zxy"]
    equal = formed(thirds, {("c", IMPORT): rows([4, 5, 6, 0])})
    assert equal["x"].energy_mwh.tolist() == [2, 2, 2, 0]
    assert equal["y"].energy_mwh.tolist() == [1, 2, 2, 0]
    assert equal["z"].energy_mwh.tolist() == [1, 1, 2, 0]


def test_a_share_keeps_the_state_of_its_source_and_counts_as_apportioned() -> None:
    versions = [version("c", device("c")), version("a", "0.5*c"), version("b", "0.5*c"), version("m", "a + d")]
    versions.append(version("d", device("d")))
    registers = {("c", IMPORT): rows([10, 20, 0], [3, 2, 0], [0, 0, 5]), ("d", IMPORT): rows([1, 1, 1])}

    found = formed(versions, registers, 3)

    assert found["a"].state.tolist() == [METERED, BRIDGED, MISSING]
    assert found["a"].apportioned_mwh.tolist() == [5, 10, 0]
    assert found["a"].low_mwh.tolist() == [5, 10, 2]  # half of 5, rounded to the safe side
    assert found["m"].energy_mwh.tolist() == [6, 11, 0]
    assert found["m"].apportioned_mwh.tolist() == [5, 10, 0]
    assert found["d"].apportioned_mwh.tolist() == [0, 0, 0]


def test_taking_a_share_away_takes_the_very_part_that_was_given() -> None:
    # The server room gets 0.35 of the chiller, the office is what is left of the whole.
    versions = [
        version("chiller", device("c")),
        version("main", device("a")),
        version("room", "0.35*chiller"),
        version("shop", "0.33*chiller"),
        version("workshop", "0.32*chiller"),
        version("office", "main - 0.35*chiller"),
    ]

    found = formed(versions, {("c", IMPORT): rows([1, 2, 4, 999]), ("a", IMPORT): rows([1_000] * 4)})

    # Of 4 mWh the remainders are 0.40, 0.32, 0.28: the room gets 2. Of 999 they are 0.65, 0.67, 0.68: it gets 349.
    assert found["room"].energy_mwh.tolist() == [1, 1, 2, 349]
    assert (found["room"].energy_mwh + found["office"].energy_mwh).tolist() == [1_000] * 4


def test_shares_below_one_leave_the_rest_to_nobody() -> None:
    versions = [
        version("c", device("c")),
        version("a", "0.3*c"),
        version("b", "b2 - 0.2*c"),
        version("b2", device("b")),
    ]

    found = formed(versions, {("c", IMPORT): rows([100, 101]), ("b", IMPORT): rows([50, 50])}, 2)

    assert found["a"].energy_mwh.tolist() == [30, 30]
    assert found["b"].energy_mwh.tolist() == [30, 30]


def test_a_share_of_a_negative_difference_adds_up_too() -> None:
    versions = [version("a", device("a")), version("b", device("b")), version("d", "a - b")]
    versions += [version("x", "0.3*d"), version("y", "0.7*d")]

    found = formed(versions, {("a", IMPORT): rows([10]), ("b", IMPORT): rows([15])}, 1)

    assert found["d"].energy_mwh.tolist() == [-5]
    assert found["x"].energy_mwh[0] + found["y"].energy_mwh[0] == -5
    assert found["x"].state.tolist() == [BRIDGED]


@given(
    totals=st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=20),
    weights=st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    rest=st.integers(0, 10**5),
)
def test_parts_of_a_split_add_up_to_the_source_exactly(totals: list[int], weights: list[int], rest: int) -> None:
    unit = sum(weights) + rest
    shares = [Fraction(weight, unit) for weight in weights]

    parts = split(np.array(totals, np.int64), shares)

    for row, total in enumerate(totals):
        for part, share in zip(parts, shares, strict=True):
            assert abs(int(part[row]) - total * share) < 1
        if not rest:
            assert sum(int(part[row]) for part in parts) == total
        else:
            assert abs(sum(int(part[row]) for part in parts) - total * (1 - Fraction(rest, unit))) < 1


@given(
    data=st.lists(
        st.tuples(st.integers(0, 10**9), st.sampled_from([0, 1, 2, 3]), st.integers(0, 10**9)), min_size=1, max_size=30
    ),
    cuts=st.lists(st.integers(1, 999), min_size=0, max_size=4, unique=True),
)
@settings(max_examples=40, deadline=None)
def test_meters_that_share_a_source_give_it_back(data: list[tuple[int, int, int]], cuts: list[int]) -> None:
    source = rows([one[0] for one in data], [one[1] for one in data], [one[2] for one in data])
    edges = [0, *sorted(cuts), 1_000]
    widths = [high - low for low, high in pairwise(edges)]
    names = [f"m{i}" for i in range(len(widths))]
    shares = [f"{width}/1000*c" if width < 1_000 else "c" for width in widths]
    versions = [version("c", device("c"))] + [version(n, s) for n, s in zip(names, shares, strict=True)]
    versions.append(version("sum", " + ".join(names)))

    found = formed(versions, {("c", IMPORT): source}, len(data))

    assert found["sum"].energy_mwh.tolist() == found["c"].energy_mwh.tolist()
    assert found["sum"].state.tolist() == found["c"].state.tolist()
    assert np.all(found["sum"].low_mwh <= found["c"].low_mwh)


# -- validity, roles, bills ------------------------------------------------------------------------------------------


def test_a_row_is_formed_by_the_definition_valid_at_its_start() -> None:
    change = T0 + 2 * QUARTER_MS
    versions = [
        version("m", device("a"), valid_to_ms=change, role="it"),
        version("m", device("b"), valid_from_ms=change, role="cooling"),
    ]

    found = formed(versions, {("a", IMPORT): rows([1] * 4), ("b", IMPORT): rows([2] * 4)})["m"]

    assert found.energy_mwh.tolist() == [1, 1, 2, 2]
    assert found.roles == ((T0, "it"), (change, "cooling"))
    parts = found.by_role()
    assert {role: part.energy_mwh.tolist() for role, part in parts.items()} == {"it": [1, 1], "cooling": [2, 2]}


def test_a_role_that_comes_back_is_one_series() -> None:
    edges = [0, T0 + QUARTER_MS, T0 + 2 * QUARTER_MS, None]
    versions = [
        version("m", device("a"), valid_from_ms=edges[i], valid_to_ms=edges[i + 1], role=role)
        for i, role in enumerate(["it", "other", "it"])
    ]

    parts = formed(versions, {("a", IMPORT): rows([1, 2, 3, 4], decisions={T0 + QUARTER_MS: (1,)})})["m"].by_role()

    assert {role: part.energy_mwh.tolist() for role, part in parts.items()} == {"it": [1, 3, 4], "other": [2]}
    assert (parts["it"].decisions, parts["other"].decisions) == ({}, {T0 + QUARTER_MS: (1,)})


def test_a_meter_outside_of_its_validity_is_a_missing_part() -> None:
    versions = [
        version("a", device("a")),
        version("b", device("b"), valid_from_ms=T0 + QUARTER_MS),
        version("m", "a + b"),
    ]

    found = formed(versions, {("a", IMPORT): rows([1, 1]), ("b", IMPORT): rows([2, 2])}, 2)["m"]

    assert found.state.tolist() == [MISSING, METERED]


def test_some_meters_are_formed_of_rows_that_were_formed_before() -> None:
    versions = [version("a", device("a")), version("b", device("b")), version("m", "a - b")]
    registers = {("a", IMPORT): rows([9, 8]), ("b", IMPORT): rows([2, 3])}
    everything = formed(versions, registers, 2)

    again = formed(versions, {}, 2, meters=["m"], formed={name: everything[name] for name in "ab"})

    assert list(again) == ["m"]
    assert again["m"].energy_mwh.tolist() == everything["m"].energy_mwh.tolist() == [7, 5]


def bill(number: int, first: int, end: int, energy_wh: float, revoked: bool = False) -> Decision:
    return Decision(
        id=number,
        kind="set_energy",
        target=MeterKey("acme", "hq", "m"),
        from_ms=T0 + first * QUARTER_MS,
        to_ms=T0 + end * QUARTER_MS,
        parameters={"energy_wh": energy_wh},
        created_ms=number,
        revoked=revoked,
    )


def test_a_bill_lies_flat_over_its_rows_estimated_and_to_the_milliwatt_hour() -> None:
    registers = {("a", IMPORT): rows([9, 9, 0, 9], [3, 3, 0, 3], decisions={T0 + QUARTER_MS: (3,)})}
    versions = [version("m", device("a")), version("twice", "m + a"), version("a", device("a"))]

    found = formed(versions, registers, 4, decisions=[bill(7, 1, 4, 0.1)])

    assert found["m"].energy_mwh.tolist() == [9, 33, 34, 33]
    assert found["m"].state.tolist() == [METERED, ESTIMATED, ESTIMATED, ESTIMATED]
    assert found["m"].decisions == {
        T0 + QUARTER_MS: (3, 7),
        T0 + 2 * QUARTER_MS: (7,),
        T0 + 3 * QUARTER_MS: (7,),
    }
    assert found["twice"].energy_mwh.tolist() == [18, 42, 0, 42]
    assert found["a"].energy_mwh.tolist() == [9, 9, 0, 9]


def test_a_bill_gives_each_row_the_same_however_much_is_formed() -> None:
    versions = [version("m", device("a"))]
    registers = {("a", IMPORT): rows([9] * 8)}
    one = [bill(7, 1, 7, 1.0)]

    whole = formed(versions, registers, 8, decisions=one)["m"]
    part = formed(versions, registers, 3, decisions=one)["m"]

    assert whole.energy_mwh[:3].tolist() == part.energy_mwh.tolist()
    assert int(whole.energy_mwh[1:7].sum()) == 1_000


def test_a_bill_makes_rows_where_no_device_was_yet_and_a_revoked_one_nothing() -> None:
    versions = [version("m", device("a"))]
    registers = {("a", IMPORT): rows([9, 9], first=2)}

    billed = formed(versions, registers, 4, decisions=[bill(7, 0, 2, 1.0), bill(8, 0, 4, 77.0, revoked=True)])["m"]
    bare = formed(versions, registers, 4)["m"]

    assert billed.energy_mwh.tolist() == [500, 500, 9, 9]
    assert bare.start_ms.tolist() == [T0 + 2 * QUARTER_MS, T0 + 3 * QUARTER_MS]


def test_the_later_of_two_bills_stands() -> None:
    found = formed(
        [version("m", device("a"))],
        {("a", IMPORT): rows([9, 9])},
        2,
        decisions=[bill(2, 0, 1, 5.0), bill(1, 0, 2, 2.0)],
    )["m"]

    assert found.energy_mwh.tolist() == [5_000, 1_000]


def test_bounds_off_the_grid_are_refused_and_an_empty_stretch_is_empty() -> None:
    scheme = Scheme([version("m", device("a"))])

    assert form(scheme, T0, T0, {}) == {}
    assert len(form(scheme, T0, T0 + QUARTER_MS, {})["m"]) == 0
    assert len(MeterRows.concat([])) == 0
    with pytest.raises(ValueError, match="15-minute grid"):
        form(scheme, T0 + 1, T0 + QUARTER_MS, {})


# -- stored fields ---------------------------------------------------------------------------------------------------


def test_a_row_has_one_of_two_sets_of_fields() -> None:
    states = [3, 2, 1, 0]
    registers = {
        ("a", IMPORT): rows(
            [1_500 * WH] * 4, states, [0, 0, 0, 200 * WH], decisions={T0: (12, 3), T0 + 3 * QUARTER_MS: (3,)}
        ),
        ("a", EXPORT): rows([10 * WH] * 4, [3, 0, 3, 3]),
    }

    found = formed([version("m", device("a"))], registers)["m"].to_frame().rows()

    with_energy = {
        "energy_wh": 1_500.0,
        "energy_metered_wh": 0.0,
        "energy_bridged_wh": 0.0,
        "energy_estimated_wh": 0.0,
        "energy_low_wh": 1_500.0,
        "power_mean_w": 6_000.0,
    }
    export = {"energy_export_wh": 10.0, "state_export": 3.0}
    assert found == {
        T0: with_energy
        | export
        | {"energy_metered_wh": 1_500.0, "power_max_w": 6_000.0, "state": 3.0, "coverage": 1.0, "coverage_shape": 1.0}
        | {"decision": "3,12"},
        T0 + QUARTER_MS: with_energy
        | {"energy_bridged_wh": 1_500.0, "state": 2.0, "coverage": 1.0, "coverage_shape": 0.0, "state_export": 0.0},
        T0 + 2 * QUARTER_MS: with_energy
        | export
        | {"energy_estimated_wh": 1_500.0, "state": 1.0, "coverage": 0.0, "coverage_shape": 0.0},
        T0 + 3 * QUARTER_MS: export | {"energy_low_wh": 200.0, "state": 0.0, "coverage": 0.0, "coverage_shape": 0.0},
    }


def test_a_meter_without_export_has_no_field_of_it() -> None:
    frame = formed([version("m", device("a"))], {("a", IMPORT): rows([1])}, 1)["m"].to_frame()

    assert set(frame.numbers) & {"energy_export_wh", "state_export"} == set()
    assert dict(frame.texts) == {}


@given(
    data=st.lists(
        st.tuples(
            st.integers(0, 2 * 10**15), st.sampled_from([0, 1, 2, 3]), st.integers(0, 10**9), st.sampled_from([0, 2, 3])
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=40, deadline=None)
def test_stored_rows_come_back_as_they_were(data: list[tuple[int, int, int, int]]) -> None:
    energies, states, low, exports = (list(column) for column in zip(*data, strict=True))
    registers = {
        ("a", IMPORT): replace(rows(energies, states, low), decisions={T0: (4, 11)} if states[0] else {}),
        ("a", EXPORT): rows(low, exports),
    }
    one = formed([version("m", device("a"))], registers, len(data))["m"]

    again = MeterRows.from_frame(one.to_frame(), "unassigned")

    for name in ("start_ms", *MeterRows.COLUMNS):
        assert getattr(again, name).tolist() == getattr(one, name).tolist(), name
    assert again.decisions == one.decisions
    assert again.roles == one.roles
