"""A profile made concrete: what a device says about itself, and what the ledger must know of its counters."""

from __future__ import annotations

from typing import Any

import pytest

from merilo.profile import Profile
from merilo.profiles.facts import facts
from merilo.profiles.parse import parse_profile
from merilo.profiles.setup import Answer, Finding, configure, identity_value
from merilo.readplan import Block
from merilo.registers import decode

# 2141.0 = 0x4505D000 (IEEE 754: 2^11 * 1.04541015625), what an SDM630 holds in the word order that is set.
BIG, LITTLE = [0x4505, 0xD000], [0xD000, 0x4505]

METER: dict[str, Any] = {
    "format": 1,
    "name": "test_meter",
    "version": "1",
    "vendor": "Nobody",
    "model": "Direct",
    "kind": "meter",
    "sources": {"manual": "Nobody, manual, page 7"},
    "link": {"tcp": {}},
    "rating": {"phases": 3, "current_a": 63},
    "word_order": "word_order",
    "defaults": {"function": "input", "type": "float32"},
    "counters": {"resolution_wh": 10},
    "identity": [
        {"name": "code", "address": 100, "type": "uint16", "accept": [7, 8]},
        {"name": "label", "address": 101, "type": "ascii", "words": 4, "contains": ["ACME"]},
        {"name": "serial", "address": 110, "type": "uint32", "order": "big", "role": "serial"},
    ],
    "settings": [
        {"name": "word_order", "address": 120, "holds": 2141, "default": "big"},
        {"name": "prefix", "address": 122, "meanings": {0: 1, 1: 1000}, "default": 1},
        {"name": "ratio", "address": 124, "type": "uint16", "scale": 0.1},
        {"name": "mode", "address": 125, "type": "uint16", "expect": [7], "why": "phases are wrong"},
    ],
    "registers": [
        {"quantity": "voltage_l1_n_v", "address": 0},
        {"quantity": "active_energy_import_wh", "address": 2, "unit": "kWh", "times": "prefix"},
        {"quantity": "current_l1_a", "address": 4, "type": "uint16", "times": "ratio"},
        {"quantity": "current_l2_a", "address": 5, "type": "uint16", "divided_by": "ratio"},
    ],
    "variants": [
        {
            "name": "CT",
            "told_by": "code",
            "values": [8],
            "model": "With transformers",
            "rating": {"phases": 3, "ct": "inside"},
            "remove": ["current_l2_a"],
            "registers": [{"quantity": "frequency_hz", "address": 6}],
        },
        {"name": "Plus", "told_by": "label", "values": ["plus"], "model": "Plus"},
    ],
}
ANSWERS: dict[str, Answer] = {
    "code": [7],
    "label": [0x4163, 0x6D65, 0x2031, 0x0000],  # "Acme 1"
    "serial": [0x0001, 0x0002],
    "word_order": BIG,
    "prefix": [0, 0],
    "ratio": [50],
    "mode": [7],
}
WORDS = {Block(4, 0, 6): [0x4370, 0x8000, 0x3F80, 0, 3, 10]}  # 240.5, 1.0, 3, 10


@pytest.fixture(scope="module")
def meter() -> Profile:
    return parse_profile(METER)


def test_all_setup_registers_are_listed_with_their_own_read(meter: Profile) -> None:
    assert meter.setup == {
        "code": Block(4, 100, 1),
        "label": Block(4, 101, 4),
        "serial": Block(4, 110, 2),
        "word_order": Block(4, 120, 2),
        "prefix": Block(4, 122, 2),
        "ratio": Block(4, 124, 1),
        "mode": Block(4, 125, 1),
    }


def test_a_device_that_says_all_is_confirmed_and_decoded(meter: Profile) -> None:
    setup = configure(meter, ANSWERS)

    assert setup.confirmed is True
    assert setup.findings == ()
    assert setup.texts == {"model": "7", "serial": "65538"}
    assert setup.values == {"word_order": "big", "prefix": 1.0, "ratio": 5.0, "mode": 7.0}
    assert decode(setup.profile, WORDS).values[""] == {
        "voltage_l1_n_v": 240.5,
        "active_energy_import_wh": 1000.0,
        "current_l1_a": 15.0,  # 3 * 5
        "current_l2_a": 2.0,  # 10 / 5
    }


def test_the_word_order_and_the_prefix_that_are_set_count(meter: Profile) -> None:
    setup = configure(meter, ANSWERS | {"word_order": LITTLE, "prefix": [0, 0x3F80]})  # 1.0, low word first

    words = {Block(4, 0, 6): [0x8000, 0x4370, 0, 0x3F80, 3, 10]}
    values = decode(setup.profile, words).values[""]

    assert setup.values["word_order"] == "little"
    assert (values["voltage_l1_n_v"], values["active_energy_import_wh"]) == (240.5, 1_000_000.0)


def test_a_word_order_may_also_be_told_by_a_code() -> None:
    data = METER | {
        "settings": [{"name": "word_order", "address": 1, "type": "uint16", "meanings": {0: "big", 1: "little"}}]
    }
    data["registers"] = [{"quantity": "voltage_l1_n_v", "address": 0}]
    profile = parse_profile({**data, "variants": []})

    assert configure(profile, {"word_order": [1]}).values == {"word_order": "little"}
    assert configure(profile, {"word_order": [0]}).values == {"word_order": "big"}


def test_a_register_that_the_device_refuses_means_the_default(meter: Profile) -> None:
    setup = configure(meter, ANSWERS | {"word_order": None, "prefix": None})

    assert [(f.code, f.name) for f in setup.findings] == [
        ("setting_assumed", "word_order"),
        ("setting_assumed", "prefix"),
    ]
    assert decode(setup.profile, WORDS).values[""]["active_energy_import_wh"] == 1000.0


def test_a_register_that_was_not_heard_leaves_what_depends_on_it_out(meter: Profile) -> None:
    heard = {k: v for k, v in ANSWERS.items() if k not in ("prefix", "ratio")}

    setup = configure(meter, heard)
    decoded = decode(setup.profile, WORDS)

    assert [(f.code, f.name) for f in setup.findings] == [("setting_unknown", "prefix"), ("setting_unknown", "ratio")]
    assert decoded.values == {"": {"voltage_l1_n_v": 240.5}}
    assert {(m.quantity, m.reason) for m in decoded.missing} == {
        ("active_energy_import_wh", "setting_unknown"),
        ("current_l1_a", "setting_unknown"),
        ("current_l2_a", "setting_unknown"),
    }


def test_a_word_order_that_makes_no_sense_leaves_all_floats_out(meter: Profile) -> None:
    setup = configure(meter, ANSWERS | {"word_order": [1, 2]})

    assert setup.findings[0] == Finding("setting_unknown", "word_order", "[1, 2]", "", "")
    assert set(decode(setup.profile, WORDS).values[""]) == {"current_l1_a", "current_l2_a"}


def test_a_little_default_counts_where_the_register_is_missing() -> None:
    data = METER | {"variants": []}
    data["settings"] = [{**METER["settings"][0], "default": "little"}, *METER["settings"][1:]]

    setup = configure(parse_profile(data), ANSWERS | {"word_order": None, "prefix": [0, 0]})

    assert setup.values["word_order"] == "little"


def test_a_required_setting_that_is_wrong_is_reported_with_its_consequence(meter: Profile) -> None:
    setup = configure(meter, ANSWERS | {"mode": [3]})

    assert setup.findings == (Finding("setting_wrong", "mode", "3", "7", "phases are wrong"),)


def test_a_code_without_a_meaning_is_unknown(meter: Profile) -> None:
    setup = configure(meter, ANSWERS | {"prefix": [0x4000, 0]})  # 2.0

    assert setup.findings == (Finding("setting_unknown", "prefix", "2", "0 or 1", ""),)


def test_a_ratio_of_zero_is_no_ratio(meter: Profile) -> None:
    decoded = decode(configure(meter, ANSWERS | {"ratio": [0]}).profile, WORDS)

    assert {m.quantity for m in decoded.missing} == {"current_l1_a", "current_l2_a"}


def test_another_model_is_named(meter: Profile) -> None:
    setup = configure(meter, ANSWERS | {"code": [99]})

    assert setup.confirmed is False
    assert setup.findings == (Finding("identity_wrong", "code", "99", "7 or 8"),)


def test_a_device_that_does_not_say_what_it_is_is_neither_confirmed_nor_refused(meter: Profile) -> None:
    setup = configure(meter, {k: v for k, v in ANSWERS.items() if k not in ("code", "label")} | {"label": None})

    assert setup.confirmed is None
    assert [(f.code, f.name) for f in setup.findings] == [("identity_unread", "code"), ("identity_unread", "label")]


def test_a_variant_is_told_by_a_number(meter: Profile) -> None:
    setup = configure(meter, ANSWERS | {"code": [8]})

    assert (setup.profile.variant, setup.profile.model) == ("CT", "With transformers")
    assert {r.quantity for r in setup.profile.registers} == {
        "voltage_l1_n_v", "active_energy_import_wh", "current_l1_a", "frequency_hz",
    }  # fmt: skip
    assert configure(meter, ANSWERS).profile.variant == ""


def test_a_variant_is_told_by_a_part_of_a_text(meter: Profile) -> None:
    label = [int.from_bytes(b"ACME PLU"[n : n + 2], "big") for n in (0, 2, 4, 6)]

    assert configure(meter, ANSWERS | {"label": label}).profile.model == "Direct"  # "ACME PLU"
    label = [int.from_bytes(b"ACMEPlus"[n : n + 2], "big") for n in (0, 2, 4, 6)]
    assert configure(meter, ANSWERS | {"label": label}).profile.model == "Plus"


def test_identities_are_numbers_or_texts(meter: Profile) -> None:
    assert [identity_value(i, w) for i, w in zip(meter.identity, ([7], [0x4163] * 4, [0, 9]), strict=True)] == [
        7,
        "AcAcAcAc",
        9,
    ]


SECONDARY = {
    "format": 1, "name": "secondary", "version": "1", "vendor": "N", "model": "S", "kind": "meter",
    "sources": {"a": "b"}, "link": {"tcp": {}}, "rating": {"phases": 3, "ct": "outside"},
    "defaults": {"function": "input", "type": "uint16"},
    "registers": [
        {"quantity": "active_power_w", "address": 0},
        {"quantity": "voltage_l1_n_v", "address": 1},
        {"quantity": "active_energy_import_wh", "address": 2, "type": "uint32", "unit": "kWh", "scale": 0.01,
         "counter": {"resolution_wh": 20, "modulus": 100_000_000}},
    ],
}  # fmt: skip


def test_secondary_values_are_multiplied_by_the_ratio_of_the_transformers() -> None:
    setup = configure(parse_profile(SECONDARY), {}, ct_ratio=80)  # 400/5

    assert decode(setup.profile, {Block(4, 0, 4): [100, 230, 0, 7]}).values[""] == {
        "active_power_w": 8000.0,
        "voltage_l1_n_v": 230.0,
        "active_energy_import_wh": 5600.0,  # 7 * 0.01 kWh * 80
    }
    found = facts(setup.profile, ct_primary_a=400)["", "active_energy_import_wh"]
    assert found.step_wh == 1600  # 20 Wh * 80
    assert found.rollover_wh == 80 * 1e9  # 10^8 counts of 10 Wh


def test_without_the_ratio_secondary_values_are_left_out() -> None:
    setup = configure(parse_profile(SECONDARY), {})

    assert [f.code for f in setup.findings] == ["ct_missing"]
    assert decode(setup.profile, {Block(4, 0, 4): [100, 230, 0, 7]}).values[""] == {"voltage_l1_n_v": 230.0}


def test_inside_multiplied_values_are_left_alone(meter: Profile) -> None:
    setup = configure(meter, ANSWERS | {"code": [8]}, ct_ratio=80)

    assert decode(setup.profile, WORDS).values[""]["current_l1_a"] == 15.0


def test_the_number_of_channels_comes_from_the_device() -> None:
    data = {
        **SECONDARY, "rating": {"phases": 1},
        "settings": [{"name": "outlets", "address": 50, "type": "uint16", "default": 1},
                     {"name": "exponent", "address": 51, "type": "int16"}],
        "channels": [{"suffix": "outlet-{n}", "count": 4, "counted_by": "outlets", "registers": [
            {"quantity": "active_power_w", "address": 10, "power_of_ten": "exponent"}]},
            {"suffix": "in-{n}", "count": 2, "first": 0, "registers": [{"quantity": "frequency_hz", "address": 20}]}],
    }  # fmt: skip
    profile = parse_profile(data)

    def suffixes(answers: dict[str, Answer]) -> tuple[str, ...]:
        return configure(profile, answers).profile.suffixes

    assert suffixes({"outlets": [2]}) == ("", "outlet-1", "outlet-2", "in-0", "in-1")
    assert suffixes({"outlets": None}) == ("", "outlet-1", "in-0", "in-1")
    assert len(suffixes({})) == 7  # not heard: as many as there may be
    configured = configure(profile, {"outlets": [1], "exponent": [0xFFFE]}).profile
    assert decode(configured, {Block(4, 10, 1): [250]}).values == {"outlet-1": {"active_power_w": 2.5}}


# Facts


def test_facts_name_step_rollover_and_largest_power(meter: Profile) -> None:
    found = facts(configure(meter, ANSWERS).profile)["", "active_energy_import_wh"]

    assert found.step_wh == 10
    assert found.rollover_wh is None
    assert found.max_power_w == 54_337.5  # 1.25 * 3 * 230 V * 63 A
    assert found.resettable is False


def test_the_step_of_a_float_counter_grows_with_it(meter: Profile) -> None:
    found = facts(configure(meter, ANSWERS).profile)["", "active_energy_import_wh"]

    assert found.step_at(0) == 10
    assert found.step_at(65_536_000) == 10  # 0.0078125 kWh is below the display's step
    assert found.step_at(524_288_000) == 62.5  # 0.0625 kWh
    assert found.step_at(524_287_900) == pytest.approx(31.25)


def test_transformers_and_fuses_go_before_the_rating(meter: Profile) -> None:
    key = ("", "active_energy_import_wh")

    assert facts(meter, ct_primary_a=400)[key].max_power_w == 345_000  # 1.25 * 3 * 230 * 400
    assert facts(meter, fuse_a=16)[key].max_power_w == 13_800
    assert facts(meter, ct_primary_a=400, fuse_a=16)[key].max_power_w == 345_000
    variant = configure(meter, ANSWERS | {"code": [8]}).profile
    assert facts(variant)[key].max_power_w is None  # nobody knows the transformers


def test_phases_and_channels_have_limits_of_their_own() -> None:
    data: dict[str, Any] = {**SECONDARY, "rating": {"phases": 3, "current_a": 10}}
    data["registers"] = [{"quantity": "active_energy_import_l1_wh", "address": 0, "type": "uint32",
                          "fraction": {"address": 2, "scale": 0.01}, "counter": {"modulus": 1000}}]  # fmt: skip
    data["channels"] = [{"suffix": "o-{n}", "count": 1, "current_a": 16, "registers": [
        {"quantity": "active_energy_import_wh", "address": 9, "counter": {"resettable": True}}]}]  # fmt: skip

    found = facts(parse_profile(data))

    phase, outlet = found["", "active_energy_import_l1_wh"], found["o-1", "active_energy_import_wh"]
    assert (phase.max_power_w, phase.step_wh, phase.rollover_wh) == (2875, 0.01, 1000)  # 1.25 * 230 * 10
    assert phase.step_at(1e9) == 0.01
    assert (outlet.max_power_w, outlet.step_wh, outlet.resettable) == (4600, 1, True)  # 1.25 * 230 * 16


def test_a_copied_counter_has_the_facts_of_its_original() -> None:
    copies = [{"quantity": "active_energy_import_l1_wh", "copy_of": "active_energy_import_wh"},
              {"quantity": "active_power_l1_w", "copy_of": "active_power_w"}]  # fmt: skip
    found = facts(parse_profile({**SECONDARY, "derived": copies, "rating": {"phases": 1, "current_a": 10}}))

    assert found["", "active_energy_import_l1_wh"] == found["", "active_energy_import_wh"]
    assert ("", "active_power_l1_w") not in found
