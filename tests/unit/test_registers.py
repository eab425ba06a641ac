"""Words into values, against vendor documents and a second, separately written encoder."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo.profile import NUMBER_WORDS, Field, Profile
from merilo.profiles.parse import parse_profile
from merilo.readplan import Block
from merilo.registers import Missing, decode, number, text


def words_of(hexadecimal: str) -> list[int]:
    return [int(word, 16) for word in hexadecimal.split()]


def profile(registers: Sequence[object], **more: object) -> Profile:
    return parse_profile(
        {
            "format": 1,
            "name": "test_meter",
            "version": "1",
            "vendor": "Nobody",
            "model": "Test",
            "kind": "meter",
            "sources": {"test": "made for this test"},
            "link": {"tcp": {}},
            "rating": {"phases": 1},
            "defaults": {"function": "input"},
            "registers": list(registers),
            **more,
        }
    )


def one(type_: str, words: str, **more: object) -> tuple[float | None, str]:
    """Value and reason of one voltage, or of the quantity that ``more`` names."""
    register = {"quantity": "voltage_l1_n_v", "address": 10, "type": type_, **more}
    found = words_of(words)
    decoded = decode(profile([register]), {Block(4, 10, len(found)): found})
    quantity = str(register["quantity"])
    reasons = [m.reason for m in decoded.missing if m.quantity == quantity]
    return decoded.values.get("", {}).get(quantity), ",".join(reasons)


# Each line: type, words, options, value. Sources: [E] Eastron "SDM630 Modbus protocol" V1.8 and V2.0, examples of
# function 04 and of the float format; [S] SunSpec model specification; the rest by hand, as written behind it.
VECTORS: list[tuple[str, str, dict[str, object], float]] = [
    ("float32", "4366 3334", {}, 230.2),  # [E] the answer to a request for Volts 1
    ("float32", "4370 8000", {}, 240.5),  # [E] 240.5 = 43708000 hex
    ("float32", "3334 4366", {"order": "little"}, 230.2),
    ("float64", "406C C666 6666 6666", {}, 230.2),  # IEEE 754: 0x406CC66666666666
    ("float64", "6666 6666 C666 406C", {"order": "little"}, 230.2),
    ("float16", "5B32", {}, 230.25),  # 2^7 * (1 + 818/1024), bits 0 10110 1100110010
    ("uint16", "08FE", {"scale": 0.1}, 230.2),  # 0x08FE = 2302
    ("int16", "FFFF", {"quantity": "active_power_w"}, -1.0),
    ("uint32", "0001 0000", {}, 65_536.0),
    ("uint32", "0000 0001", {"order": "little"}, 65_536.0),
    ("int32", "F85E FFFF", {"order": "little", "scale": 0.1, "quantity": "active_power_w"}, -195.4),  # -0x7A2 = -1954
    ("uint64", "0000 0001 0000 0002", {"quantity": "active_energy_import_wh"}, 4_294_967_298.0),
    ("int64", "0002 0000 0001 0000", {"order": "little", "quantity": "active_energy_import_wh"}, 4_294_967_298.0),
    ("bcd16", "2302", {"scale": 0.1}, 230.2),
    ("bcd32", "0012 3456", {"unit": "mV"}, 123.456),
    ("bcd32", "3456 0012", {"unit": "mV", "order": "little"}, 123.456),
    ("uint16", "0064", {"scale": "1/256", "quantity": "load_pct"}, 0.390625),  # 100 / 256
    ("int16", "0064", {"scale": -1, "quantity": "active_power_w"}, -100.0),  # sign flip
    ("float32", "3F00 0000", {"quantity": "power_factor", "four_quadrant": True}, 0.5),
    ("float32", "3FC0 0000", {"quantity": "power_factor", "four_quadrant": True}, 0.5),  # 1.5 leads with 2 - 1.5
    ("float32", "BFC0 0000", {"quantity": "power_factor", "four_quadrant": True}, 0.5),  # 2 - |-1.5|
    ("float32", "BF00 0000", {"quantity": "power_factor", "four_quadrant": True}, -0.5),
    ("float32", "3F80 0000", {"quantity": "power_factor", "four_quadrant": True}, 1.0),
    ("float32", "4000 0000", {"quantity": "voltage_l1_n_v", "unit": "kV"}, 2000.0),
    ("float32", "0000 0000", {}, 0.0),
    ("float32", "8000 0000", {}, 0.0),  # minus zero
    ("float32", "0000 0000", {"quantity": "power_factor", "four_quadrant": True}, 0.0),
    ("bitfield16", "0004", {"bit": 2, "quantity": "load_pct"}, 1.0),
    ("bitfield16", "0004", {"bit": 3, "quantity": "load_pct"}, 0.0),
]


@pytest.mark.parametrize(("type_", "words", "options", "value"), VECTORS)
def test_words_become_the_value_of_the_document(
    type_: str, words: str, options: dict[str, object], value: float
) -> None:
    found, reason = one(type_, words, **options)

    assert reason == ""
    assert found == pytest.approx(value, rel=1e-7, abs=1e-12)
    assert type(found) is float


def test_decimal_scales_give_the_decimal_a_person_expects() -> None:
    assert one("uint16", "08FE", scale=0.1) == (230.2, "")  # 2302 * 0.1 is 230.20000000000002 in floats
    assert one("uint16", "0003", scale=0.1) == (0.3, "")


ABSENT: list[tuple[str, str, dict[str, object], str]] = [
    ("float32", "7FC0 0000", {}, "not_a_number"),
    ("float32", "FFC0 0000", {}, "not_a_number"),
    ("float32", "FFFF FFFF", {}, "not_a_number"),
    ("float32", "7F80 0000", {}, "infinite"),
    ("float32", "FF80 0000", {}, "infinite"),
    ("float32", "0000 4366", {}, "denormal"),  # words swapped: 230 read low word first
    ("float32", "8000 0001", {}, "denormal"),
    ("float32", "0000 0000", {"range": [100, 250]}, "out_of_range"),
    ("float32", "0080 0000", {"range": [100, 250]}, "out_of_range"),
    ("float32", "C366 3334", {}, "out_of_range"),  # -230.2 V
    ("float32", "7F7F FFFF", {}, "out_of_range"),
    ("float64", "7FF8 0000 0000 0000", {}, "not_a_number"),
    ("uint16", "FFFF", {"invalid": [0xFFFF]}, "invalid"),
    ("int16", "8000", {"invalid": [0x8000]}, "invalid"),
    ("int16", "8000", {"invalid": [-32768]}, "invalid"),
    ("uint32", "FFFF FFFF", {"invalid": [0xFFFFFFFF]}, "invalid"),
    ("int32", "FFFF 7FFF", {"order": "little", "invalid": [0x7FFFFFFF]}, "invalid"),  # "EEE" of a display
    ("uint32", "0000 0000", {"invalid": [0], "quantity": "active_energy_import_wh"}, "invalid"),  # SunSpec acc32
    ("bcd16", "23A2", {}, "not_a_number"),
    ("bcd32", "FFFF FFFF", {"invalid": [0xFFFFFFFF]}, "not_a_number"),
    ("bcd16", "9999", {"invalid": [0x9999]}, "invalid"),
    ("uint16", "08FE", {"scale": 0.1, "range": [100, 230]}, "out_of_range"),
    ("float32", "3F80 0001", {"quantity": "power_factor"}, "out_of_range"),
    ("float32", "4000 0000", {"quantity": "power_factor", "four_quadrant": True}, "out_of_range"),
    ("float32", "7FC0 0000", {"quantity": "power_factor", "four_quadrant": True}, "not_a_number"),
    ("float32", "7F80 0000", {"quantity": "power_factor", "four_quadrant": True}, "infinite"),
    ("float32", "0000 0001", {"quantity": "power_factor", "four_quadrant": True}, "denormal"),
    ("float32", "3F80 0000", {"quantity": "power_factor", "four_quadrant": True, "invalid": [1]}, "invalid"),
]


@pytest.mark.parametrize(("type_", "words", "options", "reason"), ABSENT)
def test_what_is_no_value_is_left_out_with_its_reason(
    type_: str, words: str, options: dict[str, object], reason: str
) -> None:
    assert one(type_, words, **options) == (None, reason)


@pytest.mark.parametrize("options", [{}, {"quantity": "power_factor", "four_quadrant": True}])
def test_the_smallest_normal_float_is_a_value_and_the_next_below_is_none(options: dict[str, object]) -> None:
    assert one("float32", "0080 0000", **options) == (2.0**-126, "")
    assert one("float32", "007F FFFF", **options) == (None, "denormal")
    options = {"quantity": "active_power_w"} | options
    assert one("float32", "8080 0000", **options) == (-(2.0**-126), "")
    assert one("float32", "807F FFFF", **options) == (None, "denormal")


def test_a_range_includes_both_ends() -> None:
    assert one("uint16", "0064", range=[100, 230]) == (100.0, "")
    assert one("uint16", "00E6", range=[100, 230]) == (230.0, "")
    assert one("uint16", "00E7", range=[100, 230]) == (None, "out_of_range")


def test_one_bad_value_takes_nothing_from_its_neighbours() -> None:
    meter = profile(
        [
            {"quantity": "voltage_l1_n_v", "address": 0, "type": "float32"},
            {"quantity": "voltage_l2_n_v", "address": 2, "type": "float32"},
            {"quantity": "voltage_l3_n_v", "address": 4, "type": "float32"},
        ]
    )

    decoded = decode(meter, {Block(4, 0, 6): words_of("4370 8000 7FC0 0000 4370 8000")})

    assert decoded.values == {"": {"voltage_l1_n_v": 240.5, "voltage_l3_n_v": 240.5}}
    assert decoded.missing == [Missing("", "voltage_l2_n_v", "not_a_number")]


TWO_BLOCKS = [
    {"quantity": "voltage_l1_n_v", "address": 0, "type": "uint16"},
    {"quantity": "frequency_hz", "address": 50, "type": "uint16"},
]


@pytest.mark.parametrize("answer", [None, [], [230, 0]])
def test_a_block_without_its_answer_leaves_the_others(answer: list[int] | None) -> None:
    decoded = decode(profile(TWO_BLOCKS), {Block(4, 0, 1): answer, Block(4, 50, 1): [50]})

    assert decoded.values == {"": {"frequency_hz": 50.0}}
    assert decoded.missing == [Missing("", "voltage_l1_n_v", "not_read")]


def test_registers_outside_the_blocks_are_not_spoken_of() -> None:
    decoded = decode(profile(TWO_BLOCKS), {Block(4, 50, 1): [50]})

    assert (decoded.values, decoded.missing) == ({"": {"frequency_hz": 50.0}}, [])
    assert decode(profile(TWO_BLOCKS), {}) == ({}, [])
    assert decode(profile(TWO_BLOCKS), {Block(3, 0, 60): [1] * 60}).values == {}


def test_a_silent_device_has_no_values_at_all() -> None:
    decoded = decode(profile(TWO_BLOCKS), {Block(4, 0, 1): None, Block(4, 50, 1): None})

    assert decoded.values == {}
    assert len(decoded.missing) == 2


def test_registers_of_mixed_types_orders_and_overlaps_share_a_block() -> None:
    meter = profile(
        [
            {"quantity": "voltage_l1_n_v", "address": 1, "type": "uint16"},
            {"quantity": "current_l1_a", "address": 2, "type": "uint32", "order": "little", "unit": "mA"},
            {"quantity": "current_l2_a", "address": 3, "type": "uint16"},  # half of the one before
            {"quantity": "active_power_w", "address": 5, "type": "int32"},
            {"quantity": "active_energy_import_wh", "address": 7, "type": "uint64", "order": "little"},
        ]
    )
    words = [9, 230, 1500, 0, 9, 0xFFFF, 0xFFFE, 4, 3, 2, 0, 9]

    decoded = decode(meter, {Block(4, 0, 12): words})

    assert decoded.values == {
        "": {
            "voltage_l1_n_v": 230.0,
            "current_l1_a": 1.5,
            "current_l2_a": 0.0,
            "active_power_w": -2.0,
            "active_energy_import_wh": 4 + 3 * 2.0**16 + 2 * 2.0**32,
        }
    }
    assert decoded.missing == []


def test_an_integer_and_its_fraction_are_one_counter() -> None:
    register = {
        "quantity": "active_energy_import_wh",
        "address": 0,
        "type": "uint32",
        "unit": "kWh",
        "fraction": {"address": 2, "type": "uint16", "unit": "Wh"},
    }
    meter = profile([register])

    assert decode(meter, {Block(4, 0, 3): [1, 2, 345]}).values == {"": {"active_energy_import_wh": 65_538_345.0}}
    assert decode(meter, {Block(4, 0, 3): None}).missing == [Missing("", "active_energy_import_wh", "not_read")]
    # One half in each block is no counter: the two could belong to different instants.
    assert decode(meter, {Block(4, 0, 2): [1, 2], Block(4, 2, 1): [345]}).values == {}


RATIO = {
    "parts": [
        {"name": "ratio", "address": 20, "type": "uint16"},
        {"name": "base", "address": 21, "type": "uint16"},
        {"name": "exponent", "address": 22, "type": "int16", "invalid": [0x8000]},
    ]
}
RATED = {
    "quantity": "active_power_w",
    "address": 10,
    "type": "int16",
    "times": "ratio",
    "divided_by": ["base"],
    "power_of_ten": "exponent",
}


@pytest.mark.parametrize(
    ("words", "value", "reason"),
    [
        ([400, 5, 0], 8000.0, ""),  # 100 * 400 / 5
        ([400, 5, 1], 80_000.0, ""),
        ([400, 5, 0xFFFE], 80.0, ""),  # exponent -2
        ([400, 0, 0], None, "part_missing"),  # nothing can be divided by 0
        ([400, 5, 0x8000], None, "part_missing"),  # factor not available
        ([400, 5, 11], None, "part_missing"),  # no such scale factor
        ([400, 5, 10], None, "out_of_range"),
    ],
)
def test_factors_may_stand_in_other_registers(words: list[int], value: float | None, reason: str) -> None:
    meter = profile([RATED], **RATIO)

    decoded = decode(meter, {Block(4, 10, 1): [100], Block(4, 20, 3): words})

    assert decoded.values.get("", {}).get("active_power_w") == value
    assert [m.reason for m in decoded.missing] == ([reason] if reason else [])


def test_a_factor_that_was_not_read_leaves_its_values_out() -> None:
    meter = profile([RATED], **RATIO)

    decoded = decode(meter, {Block(4, 10, 1): [100], Block(4, 20, 3): None})

    assert decoded == ({}, [Missing("", "active_power_w", "part_missing")])


def test_an_exponent_that_is_no_whole_number_is_no_exponent() -> None:
    parts = [{"name": "exponent", "address": 20, "type": "uint16", "scale": 0.5}]
    register = {"quantity": "active_power_w", "address": 10, "type": "int16", "power_of_ten": "exponent"}

    decoded = decode(profile([register], parts=parts), {Block(4, 10, 1): [100], Block(4, 20, 1): [1]})

    assert [m.reason for m in decoded.missing] == ["part_missing"]


PHASES = [{"quantity": f"active_power_l{n}_w", "address": n, "type": "int16", "invalid": [0x8000]} for n in (1, 2, 3)]
SUM = [{"quantity": "active_power_w", "sum_of": [f"active_power_l{n}_w" for n in (1, 2, 3)]}]


def test_gauges_of_phases_can_be_summed() -> None:
    meter = profile(PHASES, derived=SUM)

    assert decode(meter, {Block(4, 1, 3): [100, 200, 0xFFFF]}).values[""]["active_power_w"] == 299.0


def test_a_sum_without_one_of_its_terms_is_missing() -> None:
    decoded = decode(profile(PHASES, derived=SUM), {Block(4, 1, 3): [100, 0x8000, 300]})

    assert decoded.values == {"": {"active_power_l1_w": 100.0, "active_power_l3_w": 300.0}}
    assert Missing("", "active_power_w", "part_missing") in decoded.missing


def test_a_difference_and_a_copy_come_out_of_parts_and_values() -> None:
    meter = profile(
        [{"quantity": "active_energy_import_wh", "address": 0, "type": "uint16"}],
        parts=[
            {"name": "taken", "address": 1, "type": "uint16"},
            {"name": "given", "address": 2, "type": "uint16"},
        ],
        derived=[
            {"quantity": "active_power_w", "sum_of": ["taken", "-given"]},
            {"quantity": "active_energy_import_l1_wh", "copy_of": "active_energy_import_wh"},
        ],
    )

    decoded = decode(meter, {Block(4, 0, 3): [7, 100, 350]})

    assert decoded.values[""] == {
        "active_energy_import_wh": 7.0,
        "active_power_w": -250.0,
        "active_energy_import_l1_wh": 7.0,
    }


@pytest.mark.parametrize(("third", "value"), [(0xFFFE, None), (0xFFFF, -1.0), (0, 0.0), (100, 100.0), (101, None)])
def test_a_sum_outside_its_range_is_missing(third: int, value: float | None) -> None:
    meter = profile(PHASES, derived=[{**SUM[0], "range": [-1, 100]}])

    decoded = decode(meter, {Block(4, 1, 3): [0, 0, third]})

    assert decoded.values[""].get("active_power_w") == value
    assert decoded.missing == ([Missing("", "active_power_w", "out_of_range")] if value is None else [])


def test_a_sum_keeps_fractions() -> None:
    phases = [{**phase, "scale": 0.1} for phase in PHASES]

    decoded = decode(profile(phases, derived=SUM), {Block(4, 1, 3): [5, 5, 5]})

    assert decoded.values[""]["active_power_w"] == 1.5


def test_two_registers_may_share_their_words_and_only_one_be_unknown() -> None:
    meter = profile(
        [
            {"quantity": "voltage_l1_n_v", "address": 0, "type": "bcd16"},
            {"quantity": "voltage_l2_n_v", "address": 0, "type": "bcd16", "times": "ratio"},
        ],
        settings=[{"name": "ratio", "address": 9, "type": "uint16"}],
    )

    decoded = decode(meter, {Block(4, 0, 1): [0x0230]})

    assert decoded == ({"": {"voltage_l1_n_v": 230.0}}, [Missing("", "voltage_l2_n_v", "setting_unknown")])


def test_a_sum_whose_terms_were_not_asked_for_is_not_spoken_of() -> None:
    meter = profile([*PHASES, {"quantity": "frequency_hz", "address": 90, "type": "uint16"}], derived=SUM)

    assert decode(meter, {Block(4, 90, 1): [50]}) == ({"": {"frequency_hz": 50.0}}, [])


def test_before_the_device_told_its_word_order_and_factor_nothing_is_guessed() -> None:
    meter = profile(
        [
            {"quantity": "voltage_l1_n_v", "address": 0, "type": "float32"},
            {"quantity": "current_l1_a", "address": 2, "type": "uint16", "times": "ct"},
            {"quantity": "frequency_hz", "address": 3, "type": "uint16"},
        ],
        parts=[{"name": "hidden", "address": 4, "type": "float32"}],
        word_order="order",
        settings=[
            {"name": "order", "address": 40, "type": "float32", "holds": 2141},
            {"name": "ct", "address": 42, "type": "uint16"},
        ],
    )

    decoded = decode(meter, {Block(4, 0, 6): words_of("4370 8000 0001 0032 0000 0000")})

    assert decoded.values == {"": {"frequency_hz": 50.0}}
    assert decoded.missing == [
        Missing("", "voltage_l1_n_v", "setting_unknown"),
        Missing("", "current_l1_a", "setting_unknown"),
    ]


def test_channels_are_devices_of_their_own() -> None:
    channel = {
        "suffix": "outlet-{n}",
        "count": 2,
        "registers": [{"quantity": "active_power_w", "address": 5, "type": "uint16"}],
    }
    meter = profile([{"quantity": "active_power_w", "address": 4, "type": "uint16"}], channels=[channel])

    decoded = decode(meter, {Block(4, 4, 3): [30, 10, 20]})

    assert decoded.values == {
        "": {"active_power_w": 30.0},
        "outlet-1": {"active_power_w": 10.0},
        "outlet-2": {"active_power_w": 20.0},
    }


def test_channels_have_sums_of_their_own() -> None:
    channel = {
        "suffix": "in-{n}",
        "count": 2,
        "registers": [
            {"quantity": "active_power_l1_w", "address": 10, "stride": 2, "type": "uint16"},
            {"quantity": "active_power_l2_w", "address": 11, "stride": 2, "type": "uint16"},
        ],
        "derived": [{"quantity": "active_power_w", "sum_of": ["active_power_l1_w", "active_power_l2_w", "loss"]}],
    }
    meter = profile(
        [{"quantity": "active_power_l1_w", "address": 0, "type": "uint16"}],
        channels=[channel],
        parts=[{"name": "loss", "address": 20, "type": "uint16"}],
    )

    decoded = decode(meter, {Block(4, 10, 4): [1, 2, 30, 40], Block(4, 20, 1): [5]})

    assert {device: values["active_power_w"] for device, values in decoded.values.items()} == {
        "in-1": 8.0,
        "in-2": 75.0,
    }
    # The device's own phase says nothing of its channels.
    assert decode(meter, {Block(4, 0, 1): [7]}) == ({"": {"active_power_l1_w": 7.0}}, [])
    # Of one channel that was not asked for nothing is said, but of the other that a term is missing.
    assert decode(meter, {Block(4, 10, 2): [1, 2]}).missing == [Missing("in-1", "active_power_w", "part_missing")]


def field(type_: str, words: int = 0, **more: object) -> Field:
    return Field(function=3, address=0, type=type_, words=words or NUMBER_WORDS[type_], **more)  # type: ignore[arg-type]  # any order


def test_texts_lose_their_padding() -> None:
    assert text(field("ascii", 3), words_of("5375 6E53 0000")) == "SunS"
    assert text(field("utf16be", 5), words_of("0053 004F 0043 004F 0020")) == "SOCO"
    assert text(field("ascii_byteswapped", 2), words_of("7553 536E")) == "SunS"
    assert text(field("ascii", 2), words_of("0141 FF42")) == "A\N{REPLACEMENT CHARACTER}B"
    assert text(field("ascii", 2), words_of("4100 4242")) == "A"  # what follows the end is rubbish


def test_one_number_can_be_read_by_itself() -> None:
    assert number(field("float32"), words_of("4505 D000")) == 2141.0
    assert number(field("float32", order="little"), words_of("D000 4505")) == 2141.0
    assert number(field("float32"), words_of("7FC0 0000")) is None
    assert number(field("bcd16"), [0x0A00]) is None
    assert number(field("bitfield16", bit=15), [0x8000]) == 1


@pytest.mark.parametrize(("given_field", "words"), [(field("ascii", 1), [1]), (field("float32"), [1])])
def test_a_text_or_another_number_of_words_is_no_number(given_field: Field, words: list[int]) -> None:
    with pytest.raises(ValueError, match="words"):
        number(given_field, words)


def encode(type_: str, order: str, value: float) -> list[int]:
    """The second encoder: by arithmetic where the decoder uses struct formats."""
    count = NUMBER_WORDS[type_]
    if type_.startswith("float"):
        bits = int.from_bytes(struct.pack({"float16": ">e", "float32": ">f", "float64": ">d"}[type_], value), "big")
    elif type_.startswith("bcd"):
        bits = int(str(int(value)), 16)
    else:
        bits = int(value) % 2 ** (16 * count)
    words = [bits >> 16 * (count - 1 - n) & 0xFFFF for n in range(count)]
    return words[::-1] if order == "little" else words


RANGES = {
    "uint16": (0, 2**16 - 1), "int16": (-(2**15), 2**15 - 1), "uint32": (0, 2**32 - 1), "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**53), "int64": (-(2**53), 2**53), "bcd16": (0, 9999), "bcd32": (0, 99_999_999),
}  # fmt: skip


@st.composite
def layouts(draw: st.DrawFn) -> list[tuple[str, str, float]]:
    found = []
    for _ in range(draw(st.integers(1, 8))):
        type_ = draw(st.sampled_from([t for t in NUMBER_WORDS if t not in ("float16", "bitfield16")]))
        if type_ in RANGES:
            value: float = draw(st.integers(*RANGES[type_]))
        else:
            value = draw(st.floats(-1e8, 1e8, width=32).filter(lambda v: v == 0 or abs(v) > 1e-30))
        found.append((type_, draw(st.sampled_from(["big", "little"])), value))
    return found


QUANTITIES_WIDE = [f"active_energy_net{p}_wh" for p in ("", "_l1", "_l2", "_l3")] + [
    f"active_power{p}_w" for p in ("", "_l1", "_l2", "_l3")
]


@given(layouts(), st.integers(0, 3), st.sampled_from([1, 0.1, 0.001, "1/3"]))
def test_what_the_second_encoder_writes_is_read_back(
    layout: list[tuple[str, str, float]], hole: int, scale: float | str
) -> None:
    registers, words = [], [7] * hole
    for (type_, order, value), quantity in zip(layout, QUANTITIES_WIDE, strict=False):
        registers.append({"quantity": quantity, "address": len(words), "type": type_, "order": order, "scale": scale})
        words += encode(type_, order, value) + [7] * hole
    expected = {
        str(r["quantity"]): float(Fraction(v) * Fraction(str(scale)))
        for r, (_, _, v) in zip(registers, layout, strict=True)
    }

    decoded = decode(profile(registers), {Block(4, 0, len(words)): words})

    for quantity, value in expected.items():
        if quantity.endswith("_w") and abs(value) > 1e9:  # more than the quantity can be
            assert Missing("", quantity, "out_of_range") in decoded.missing
        elif abs(value) <= 9e12:
            assert decoded.values[""][quantity] == pytest.approx(value, rel=1e-15)


@given(st.lists(st.integers(0, 0xFFFF), min_size=20, max_size=20))
def test_no_words_whatever_make_the_decoder_fail_or_give_what_is_no_number(words: list[int]) -> None:
    types = ["float32", "float64", "uint16", "int64", "bcd32", "float16"]
    registers = [
        {"quantity": q, "address": n * 3, "type": t, **({"power_of_ten": "exponent"} if n % 2 else {})}
        for n, (q, t) in enumerate(zip(QUANTITIES_WIDE, types, strict=False))
    ]
    meter = profile(registers, parts=[{"name": "exponent", "address": 19, "type": "int16"}])

    decoded = decode(meter, {Block(4, 0, 20): words})

    values = decoded.values.get("", {})
    assert all(math.isfinite(v) for v in values.values())
    assert {*values, *(m.quantity for m in decoded.missing)} == {str(r["quantity"]) for r in registers}


def test_a_poll_of_50_values_is_decoded_in_little_time() -> None:
    quantities = [*QUANTITIES_WIDE, *(f"reactive_power{p}_var" for p in ("", "_l1", "_l2", "_l3"))]
    meter = profile([{"quantity": q, "address": 2 * n, "type": "float32"} for n, q in enumerate(quantities)])
    blocks = {Block(4, 0, 2 * len(quantities)): words_of("4370 8000") * len(quantities)}
    decode(meter, blocks)

    best = math.inf
    for _ in range(20):  # the best of many is what the code needs; the rest is the machine
        start = time.process_time()
        for _ in range(20):
            decode(meter, blocks)
        best = min(best, (time.process_time() - start) / 20 / len(quantities))

    assert best < 4e-6
