"""Every shipped profile, and one of a meter that nobody makes, against cases from documents and hand calculation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from merilo.errors import ConfigError, PayloadError
from merilo.mqttmap import BYTES_MAX, decode_json, identity_json
from merilo.profile import Profile, RtuLink
from merilo.profiles.facts import facts
from merilo.profiles.setup import Answer, configure
from merilo.readplan import Block
from merilo.registers import decode
from merilo_adapters.profile_files import list_profiles, load_profile
from merilo_adapters.yaml_file import load_yaml

DEVICES = Path(__file__).parents[1] / "cases" / "devices"
INVENTED = DEVICES / "acme_odd"
CASES = sorted(path for path in DEVICES.glob("*/*.yaml") if path.stem != path.parent.name)
SHIPPED = [listed.name for listed in list_profiles() if listed.where == "shipped"]


def words_of(text: str | None) -> list[int] | None:
    return None if text is None else [int(word, 16) for word in text.split()]


def case_of(path: Path) -> dict[str, Any]:
    data = load_yaml(path).data
    assert isinstance(data, dict)
    return dict(data)


def profile_of(path: Path) -> Profile:
    return load_profile(path.parent.name, [INVENTED])


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_words_of_a_device_mean_what_its_case_says(path: Path) -> None:
    case, profile = case_of(path), profile_of(path)
    assert case["source"]

    if "payload" in case:
        decoded = decode_json(profile, case["payload"].encode())
        confirmed, texts = identity_json(profile, case["payload"].encode())
    else:
        answers: dict[str, Answer] = {name: words_of(text) for name, text in case.get("setup", {}).items()}
        assert set(answers) <= set(profile.setup)
        setup = configure(profile, answers)
        blocks = {}
        for block in case["blocks"]:
            words = words_of(block["words"])
            blocks[Block(block["function"], block["start"], len(words or ()))] = words
        decoded = decode(setup.profile, blocks)
        confirmed, texts = setup.confirmed, dict(setup.texts)
        assert setup.profile.model == case.get("model", profile.model)
        assert [f.code for f in setup.findings if f.code not in ("identity_unread", "identity_wrong")] == case.get(
            "findings", []
        )

    assert {device: set(values) for device, values in decoded.values.items()} == {
        device: set(values) for device, values in case["values"].items()
    }
    for device, values in case["values"].items():
        assert decoded.values[device] == pytest.approx(values, rel=1e-6)
    assert sorted(decoded.missing) == sorted(tuple(m.values()) for m in case.get("missing", []))
    assert confirmed is case.get("confirmed")
    assert {role: texts[role] for role in case.get("texts", {})} == case.get("texts", {})


def test_every_profile_has_a_case() -> None:
    assert {path.parent.name for path in CASES} >= set(SHIPPED)
    assert set(SHIPPED) >= {
        "eastron_sdm630", "schneider_iem3155", "carlo_gavazzi_em340", "netio_powerpdu", "netio_powerpdu_mqtt",
    }  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_names_its_sources_and_can_be_planned_within_its_rules(name: str) -> None:
    profile = load_profile(name)

    assert profile.name == name
    assert all(r.source in profile.sources for r in profile.registers)
    assert profile.recalled == ()
    for cycle in (0, 1) if profile.registers else ():
        blocks = profile.plan(profile.default_line(), cycle)
        assert all(b.count <= profile.rules.max_words for b in blocks)
        assert all(b.start % profile.rules.start_multiple == 0 for b in blocks)
    assert all(f.step_wh > 0 for f in facts(profile).values())


def test_an_sdm630_is_polled_with_two_reads_and_asked_for_the_rest_now_and_then() -> None:
    profile = load_profile("eastron_sdm630")

    assert profile.plan(profile.default_line(), 1) == (Block(4, 0, 80), Block(4, 342, 22))
    assert len(profile.plan(profile.default_line(), 0)) == 6
    assert profile.setup["meter_code"] == Block(3, 0xFC02, 1)


def test_an_invented_meter_needs_a_profile_and_a_case_but_no_code() -> None:
    profile = load_profile("acme_odd", [INVENTED])
    case = case_of(INVENTED / "case.yaml")

    assert profile.default_link == RtuLink(baud=19_200, format="8E1", unit=17)
    line = profile.default_line()
    assert [block._asdict() for block in profile.plan(line)] == case["plan"]
    assert profile.plan(line, 1) == (
        Block(3, 100, 3), Block(3, 103, 4), Block(3, 108, 1), Block(4, 0, 5), Block(4, 6, 6),
    )  # fmt: skip
    export = facts(profile)["", "active_energy_export_wh"]
    assert facts(profile)["", "active_energy_import_wh"].rollover_wh == 1e11  # 10^8 kWh
    assert (export.rollover_wh, export.float_digits, export.step_at(2.0**54)) == (1e8, 53, 4.0)


def test_a_profile_of_the_owner_goes_before_a_shipped_one(tmp_path: Path) -> None:
    shipped = load_profile("netio_powerpdu")
    source = (DEVICES / "acme_odd" / "acme_odd.yaml").read_text()
    (tmp_path / "netio_powerpdu.yaml").write_text(source.replace("name: acme_odd", "name: netio_powerpdu"))

    own = load_profile("netio_powerpdu", [tmp_path, tmp_path / "not there"])

    assert (shipped.vendor, own.vendor) == ("NETIO", "Acme")
    listed = dict(list_profiles([tmp_path, tmp_path / "not there"]))
    assert listed["netio_powerpdu"] == str(tmp_path)
    assert listed["eastron_sdm630"] == "shipped"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("eastron_sdm360", "did you mean 'eastron_sdm630'?"),
        ("zzz", "known: carlo_gavazzi_em340"),
        ("../../etc/passwd", "expected 2 to 48 of a-z"),
        ("", "expected 2 to 48 of a-z"),
    ],
)
def test_a_profile_that_is_not_there_names_what_is(name: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile(name)

    assert expected in str(caught.value)


# JSON


def strip() -> Profile:
    return load_profile("netio_powerpdu_mqtt")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"a": "\xff"}', "not_json"),
        (b"[" * 60_000, "not_json"),
        (b"[1]", "schema"),
        (b"null", "schema"),
        (b" " * (BYTES_MAX + 1), "too_large"),
    ],
)
def test_a_payload_that_is_no_object_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_json(strip(), payload)

    assert caught.value.reason == reason


def test_a_payload_is_taken_to_the_limit() -> None:
    assert decode_json(strip(), b"{}" + b" " * (BYTES_MAX - 2)).values == {}


@pytest.mark.parametrize("value", ["true", '"230"', "[230]", "{}", "1e999", "-1"])
def test_what_is_no_true_number_is_left_out(value: str) -> None:
    payload = f'{{"GlobalMeasure": {{"Voltage": {value}, "TotalLoad": 5}}}}'.encode()
    try:
        decoded = decode_json(strip(), payload)
    except PayloadError as error:  # a number beyond all floats
        assert (value, error.reason) == ("1e999", "not_json")  # noqa: PT017  # either is right for the parser
        return

    assert decoded.values == {"": {"active_power_w": 5.0}}
    assert {m.reason for m in decoded.missing if m.quantity == "voltage_l1_n_v"} <= {"not_a_number", "out_of_range"}


def test_outlets_that_cannot_be_told_apart_are_passed_over() -> None:
    payload = b"""{"Outputs": [{"Load": 1}, {"ID": "2", "Load": 2}, {"ID": true, "Load": 3}, {"ID": 9, "Load": 4},
                  {"ID": -1, "Load": 5}, 6, {"ID": 8, "Load": 7}, {"ID": 8, "Load": 8}]}"""

    assert decode_json(strip(), payload).values == {"outlet-8": {"active_power_w": 7.0}}
    assert decode_json(strip(), b'{"Outputs": {"ID": 1, "Load": 1}}').values == {}


def test_a_payload_may_not_say_what_it_is() -> None:
    assert identity_json(strip(), b"{}") == (None, {})
    assert identity_json(strip(), b'{"Agent": {"Model": "Other plug"}}') == (False, {"model": "Other plug"})
    assert identity_json(load_profile("eastron_sdm630"), b"{}") == (None, {})


def test_a_profile_without_a_mapping_takes_no_json() -> None:
    with pytest.raises(ValueError, match="says nothing about JSON"):
        decode_json(load_profile("eastron_sdm630"), b"{}")


def test_counters_of_a_payload_have_facts() -> None:
    found = facts(strip())

    assert found["", "active_energy_import_wh"].max_power_w == 4600  # 1.25 * 230 V * 16 A
    assert found["outlet-8", "active_energy_import_wh"].step_wh == 1
    assert ("outlet-9", "active_energy_import_wh") not in found
