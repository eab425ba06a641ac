"""What the language of profiles can say, and what it refuses, each fault at its place."""

from __future__ import annotations

from copy import deepcopy
from fractions import Fraction
from typing import Any

import pytest

from merilo.bustime import SerialLine, TcpLine
from merilo.profile import MqttLink, Profile, RtuLink, TcpLink
from merilo.profiles.fields import Issue
from merilo.profiles.parse import ProfileIssuesError, parse_profile
from merilo.readplan import Block, Range, UnreadableError
from merilo_adapters.profile_files import profile_from
from merilo_adapters.yaml_file import ConfigErrors, parse_yaml

BASE: dict[str, Any] = {
    "format": 1,
    "name": "test_meter",
    "version": "1",
    "vendor": "Nobody",
    "model": "Test",
    "kind": "meter",
    "sources": {"manual": "Nobody, manual, page 7"},
    "link": {"rtu": {"baud": 9600, "format": "8N1", "unit": 1}},
    "rating": {"phases": 3, "current_a": 63},
    "read": {"max_words": 20},
    "defaults": {"function": "input", "type": "uint16", "source": "manual"},
    "registers": [
        {"quantity": "voltage_l1_n_v", "address": 0, "scale": 0.1},
        {"quantity": "active_power_w", "address": 1, "type": "int32"},
        {"quantity": "active_energy_import_wh", "address": 3, "type": "uint32", "unit": "kWh"},
    ],
}


def changed(*path: str | int, to: object) -> dict[str, Any]:
    """The base with one thing replaced or added."""
    data: Any = deepcopy(BASE)
    node = data
    for step in path[:-1]:
        node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
    if isinstance(node, list):
        node.insert(int(path[-1]), to)
    else:
        node[path[-1]] = to
    return dict(data)


def register(**keys: object) -> dict[str, Any]:
    """The base with one more register."""
    return changed("registers", 3, to={"quantity": "frequency_hz", "address": 9, **keys})


def issues(data: object, name: str = "") -> list[Issue]:
    with pytest.raises(ProfileIssuesError) as caught:
        parse_profile(data, name)
    return list(caught.value.issues)


def test_a_profile_says_what_its_data_say() -> None:
    profile = parse_profile(BASE)

    assert profile.default_link == RtuLink(baud=9600, format="8N1", unit=1)
    assert profile.default_line() == SerialLine(baud=9600, format="8N1", response_ms=40)
    assert profile.setup == {}
    assert profile.suffixes == ("",)
    energy = profile.registers[2]
    assert (energy.fields[0][0].function, energy.fields[0][0].address, energy.scale) == (4, 3, Fraction(1000))
    assert energy.counter is not None
    assert (energy.source, energy.confidence) == ("manual", "one-source")


@pytest.mark.parametrize("function", [5, 6, 15, 16, 22, 23, 0, -1])
def test_a_function_that_is_no_read_is_a_hard_error(function: int) -> None:
    found = issues(register(function=function))

    assert [(i.path, "cannot write" in i.message) for i in found] == [(("registers", 3, "function"), True)]


@pytest.mark.parametrize("function", [1, 2])
def test_functions_that_read_bits_are_refused_with_the_reason(function: int) -> None:
    assert "single bits" in issues(register(function=function))[0].message


@pytest.mark.parametrize("key", ["write", "write_value", "on_write", "preset", "coil", "command"])
def test_a_key_that_wants_to_write_is_a_hard_error_wherever_it_stands(key: str) -> None:
    for data in (register(**{key: 1}), changed(key, to=1), changed("read", key, to=1), changed("link", key, to=1)):
        found = issues(data)
        assert any("a profile cannot write to a device" in i.message and i.at_key for i in found)


@pytest.mark.parametrize(
    ("function", "address", "base"), [("holding", 40_001, 0), ("input", 30_001, 0), ("holding", 40_073, 72)]
)
def test_a_printed_register_number_is_refused_with_the_wire_address(function: str, address: int, base: int) -> None:
    found = issues(register(function=function, address=address))

    assert [i.path for i in found] == [("registers", 3, "address")]
    assert "looks like a printed register number" in found[0].message
    assert f"counted from 0: {base};" in found[0].hint
    parse_profile({**register(function=function, address=address), "addresses": "wire"})


def test_numbers_next_to_the_printed_ones_are_addresses() -> None:
    parse_profile(register(function="holding", address=40_000))
    parse_profile(register(function="holding", address=50_000))
    parse_profile(register(function="input", address=40_001))
    assert "printed" in issues(register(function="holding", address=49_999))[0].message


REFUSED: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    # Registers
    (register(adress=4), ("registers", 3, "adress"), "did you mean 'address'?"),
    (register(quantity="frequenzy_hz"), ("registers", 3, "quantity"), "did you mean 'frequency_hz'?"),
    (register(quantity=7), ("registers", 3, "quantity"), "expected a text, found 7"),
    (register(address=-1), ("registers", 3, "address"), "expected a whole number 0 to 65535, found -1"),
    (register(address=65_536), ("registers", 3, "address"), "found 65536"),
    (register(address=1.5), ("registers", 3, "address"), "found 1.5"),
    (register(address=True), ("registers", 3, "address"), "found true"),
    (register(address=65_535, type="uint32"), ("registers", 3, "address"), "end beyond the last address"),
    (register(function="coils"), ("registers", 3, "function"), "expected holding (3) or input (4), found 'coils'"),
    (register(function=True), ("registers", 3, "function"), "found true"),
    (register(type="uint23"), ("registers", 3, "type"), "did you mean 'uint32'?"),
    (register(type="ascii"), ("registers", 3, "type"), "unknown type 'ascii'"),
    (register(order="middle", type="int32"), ("registers", 3, "order"), "expected one of big, little, setting"),
    (register(order="setting", type="int32"), ("registers", 3, "order"), "needs a setting that tells it"),
    (register(scale=0), ("registers", 3, "scale"), "expected a number that is not 0"),
    (register(scale=float("nan")), ("registers", 3, "scale"), "expected a number that is not 0"),
    (register(scale=float("inf")), ("registers", 3, "scale"), "expected a number that is not 0"),
    (register(scale="1/0"), ("registers", 3, "scale"), "expected a number that is not 0"),
    (register(scale="ten"), ("registers", 3, "scale"), "expected a number that is not 0"),
    (register(scale=True), ("registers", 3, "scale"), "expected a number that is not 0"),
    (register(scale=1e13), ("registers", 3, "scale"), "expected a number that is not 0"),
    (register(unit="kHzz"), ("registers", 3, "unit"), "did you mean 'kHz'?"),
    (register(unit="kW"), ("registers", 3, "unit"), "expected a unit of Hz, found 'kW'"),
    (register(quantity="power_factor", unit="W"), ("registers", 3, "unit"), "a unit of a ratio"),
    (register(range=[60, 40]), ("registers", 3, "range"), "expected two numbers"),
    (register(range=[40]), ("registers", 3, "range"), "expected two numbers"),
    (register(range=40), ("registers", 3, "range"), "expected a list, found 40"),
    (register(range=[0, 2000]), ("registers", 3, "range"), "highest <= 1000"),
    (register(invalid=["none"]), ("registers", 3, "invalid", 0), "expected a number, found 'none'"),
    (register(every=0), ("registers", 3, "every"), "expected a whole number 1 to 10000"),
    (register(alone="yes"), ("registers", 3, "alone"), "expected true or false, found 'yes'"),
    (register(bit=3), ("registers", 3, "bit"), "only a bitfield16 has bits"),
    (register(four_quadrant=True), ("registers", 3, "four_quadrant"), "only a power factor"),
    (register(counter={"modulus": 100}), ("registers", 3, "counter"), "frequency_hz is no counter"),
    (register(times="ratio"), ("registers",), "'ratio' is no setting and no part"),
    (register(times=[7]), ("registers", 3, "times", 0), "expected a text, found 7"),
    (register(source="book"), ("registers", 3, "source"), "not one of the profile's sources"),
    (register(confidence="sure"), ("registers", 3, "confidence"), "expected one of measured, two-sources"),
    (register(quantity="voltage_l1_n_v"), ("registers",), "voltage_l1_n_v of the device is given twice"),
    (changed("registers", 3, to={"quantity": "frequency_hz"}), ("registers", 3), "the key 'address' is missing"),
    (changed("registers", 3, to={"address": 9}), ("registers", 3), "the key 'quantity' is missing"),
    (changed("registers", 3, to="frequency_hz"), ("registers", 3), "expected keys with values, found 'frequency_hz'"),
    (changed("registers", to={}), ("registers",), "expected a list, found {}"),
    (changed("registers", to=[]), (), "there is nothing to read"),
    (
        register(quantity="active_energy_export_wh", type="float32"),
        ("registers", 3),
        "a float counter needs counter: {resolution_wh: …}",
    ),
    (
        register(quantity="active_energy_export_wh", counter={"modulus": 1}),
        ("registers", 3, "counter", "modulus"),
        "expected a whole number 2 to",
    ),
    (
        register(quantity="active_energy_export_wh", counter={"resolution_wh": 0}),
        ("registers", 3, "counter", "resolution_wh"),
        "expected a number 1e-06 to 1e+06, found 0",
    ),
    (
        register(type="uint32", fraction={"address": 11, "function": "holding"}),
        ("registers", 3, "fraction"),
        "need one function",
    ),
    (register(type="uint32", fraction={"address": 99}), ("registers",), "no allowed read covers it"),
    # The device
    (changed("read", "max_words", to=126), ("read", "max_words"), "expected a whole number 1 to 125, found 126"),
    (changed("read", "max_words", to=0), ("read", "max_words"), "expected a whole number 1 to 125, found 0"),
    (changed("read", "max_words", to=1), ("registers",), "no allowed read covers it"),
    (changed("read", "count_multiple", to=21), ("read", "count_multiple"), "expected a whole number 1 to 20"),
    (changed("read", "holes", to="some"), ("read", "holes"), "expected one of strict, listed, free"),
    (changed("read", "holes", to="listed"), ("read", "holes"), "go together"),
    (changed("read", "readable", to=[{"first": 1, "last": 2}]), ("read", "holes"), "go together"),
    (changed("read", "forbidden", to=[{"first": 0, "last": 0}]), ("registers",), "no allowed read covers it"),
    (changed("read", "forbidden", to=[{"first": 3, "last": 2}]), ("read", "forbidden", 0, "last"), "3 to 65535"),
    (changed("read", "barriers", to=[{"before": 2}]), ("registers",), "no allowed read covers it"),
    (changed("read", "max_response_ms", to=30), ("read", "max_response_ms"), "below the typical response of 40 ms"),
    (changed("read", "response_ms", to=-1), ("read", "response_ms"), "expected a number 0 to 10000"),
    (changed("link", "rtu", "format", to="7E1"), ("link", "rtu", "format"), "expected one of 8N1, 8E1, 8O1, 8N2"),
    (changed("link", "rtu", "baud", to=1), ("link", "rtu", "baud"), "expected a whole number 300 to"),
    (changed("link", "tcp", to={}), ("link",), "expected exactly one of rtu, tcp and mqtt"),
    (changed("link", to={}), ("link",), "expected exactly one of rtu, tcp and mqtt"),
    (changed("link", to={"mqtt": {"topic": "a/b"}}), ("link",), "go together"),
    (changed("rating", "phases", to=4), ("rating", "phases"), "expected a whole number 1 to 3"),
    (changed("rating", "ct", to="maybe"), ("rating", "ct"), "expected one of direct, inside, outside"),
    (changed("kind", to="plug"), ("kind",), "expected one of meter, pdu, ups, sensor"),
    (changed("name", to="Test Meter"), ("name",), "expected 2 to 48 of a-z"),
    (changed("format", to=2), ("format",), "expected a whole number 1 to 1, found 2"),
    (changed("sources", to={}), ("sources",), "expected at least one document"),
    (changed("sources", "manual", to=7), ("sources", "manual"), "expected a text, found 7"),
    (changed("defaults", "source", to="book"), ("defaults", "source"), "not one of the profile's sources"),
    (changed("invalid", to={"uint17": [1]}), ("invalid", "uint17"), "did you mean"),
    (changed("word_order", to="order"), ("word_order",), "'order' is no setting"),
    (changed("notes", to=[1]), ("notes", 0), "expected a text, found 1"),
    # Identity, settings
    (changed("identity", to=[{"name": "a", "address": 1, "type": "ascii"}]), ("identity", 0), "'words' is missing"),
    (
        changed("identity", to=[{"name": "a", "address": 1, "accept": [1.5]}]),
        ("identity", 0, "accept", 0),
        "expected a whole number or a text",
    ),
    (
        changed("settings", to=[{"name": "a", "address": 1, "meanings": {0: 0}}]),
        ("settings", 0, "meanings", 0),
        "expected number: factor",
    ),
    (
        changed("settings", to=[{"name": "a", "address": 1, "default": "middle"}]),
        ("settings", 0, "default"),
        "expected a number, big or little",
    ),
    (
        changed("settings", to=[{"name": "a", "address": 1, "expect": [7]}]),
        ("settings", 0),
        "needs 'why'",
    ),
    (
        changed("settings", to=[{"name": "a", "address": 1}, {"name": "a", "address": 2}]),
        (),
        "the name 'a' is given twice",
    ),
    # Derived values, channels
    (
        changed("derived", to=[{"quantity": "active_energy_export_wh", "sum_of": ["active_energy_import_wh"]}]),
        ("derived", 0, "quantity"),
        "counters are never summed in a profile",
    ),
    (changed("derived", to=[{"quantity": "frequency_hz"}]), ("derived", 0), "either sum_of"),
    (
        changed("derived", to=[{"quantity": "frequency_hz", "copy_of": "active_power_l1_w"}]),
        ("derived",),
        "'active_power_l1_w' is not read",
    ),
    (
        changed("channels", to=[{"suffix": "outlet", "count": 2, "registers": []}]),
        ("channels", 0, "suffix"),
        "with {n} for the number",
    ),
    (
        changed("channels", to=[{"suffix": "Outlet-{n}", "count": 2, "registers": []}]),
        ("channels", 0, "suffix"),
        "with {n} for the number",
    ),
    (
        changed("channels", to=[{"suffix": "o-{n}", "count": 2, "counted_by": "outlets", "registers": []}]),
        ("channels",),
        "counted_by 'outlets' is no setting",
    ),
    # Payloads
    (changed("mqtt", to={"model_path": "a.b"}), ("mqtt",), "expected values or channels, found neither"),
    (
        changed("mqtt", to={"channels": [{"path": "a", "number": "n", "suffix": "outlet", "values": []}]}),
        ("mqtt", "channels", 0, "suffix"),
        "with {n} for the number",
    ),
    (changed("defaults", to={"type": "uint16"}), ("registers", 0), "the key 'function' is missing"),
    (changed("defaults", to={"function": "input"}), ("registers", 0), "the key 'type' is missing"),
    # Variants
    (
        changed("variants", to=[{"name": "v", "told_by": "code", "values": [1]}]),
        ("variants", 0, "told_by"),
        "'code' is no identity or setting",
    ),
    (
        changed(
            "variants",
            to=[{"name": "v", "told_by": "x", "values": [1], "registers": [{"quantity": "load_pct", "address": "a"}]}],
        ),
        ("variants", 0, "registers", 0, "address"),
        "expected a whole number",
    ),
    (
        changed("variants", to=[{"name": "v", "told_by": "x", "values": [1], "rating": {"phases": 9}}]),
        ("variants", 0, "rating", "phases"),
        "expected a whole number 1 to 3",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "path", "message"), REFUSED, ids=[f"{n}-{r[2][:30]}" for n, r in enumerate(REFUSED)])
def test_what_is_wrong_is_refused_at_its_place(data: dict[str, Any], path: tuple[str | int, ...], message: str) -> None:
    found = issues(data)

    assert any(i.path == path and message in f"{i.message}. {i.hint}" for i in found), found


@pytest.mark.parametrize("key", ["format", "name", "version", "vendor", "model", "kind", "sources", "link", "rating"])
def test_a_key_that_every_profile_needs_is_missed(key: str) -> None:
    data = {k: v for k, v in BASE.items() if k != key}

    assert Issue((), f"the key {key!r} is missing") in issues(data)


@pytest.mark.parametrize("data", [None, [], "x", 7])
def test_what_is_no_profile_at_all_is_refused(data: object) -> None:
    assert any("expected keys with values" in i.message for i in issues(data))


def test_the_name_must_be_that_of_the_file() -> None:
    assert [i.path for i in issues(BASE, "other_meter")] == [("name",)]
    assert parse_profile(BASE, "test_meter").name == "test_meter"


def test_a_fault_in_a_repeated_channel_is_said_once() -> None:
    channel = {"suffix": "o-{n}", "count": 8, "registers": [{"quantity": "frequency_hz", "address": "x"}]}

    assert len(issues(changed("channels", to=[channel]))) == 1


def test_all_faults_are_shown_at_their_lines() -> None:
    text = """\
format: 1
name: bad_meter
version: "1"
vendor: Nobody
model: Bad
kind: meter
sources: {manual: page 1}
link: {tcp: {}}
rating: {phases: 1}
registers:
  - {quantity: voltage_l1_n_v, function: input, adress: 0, type: uint16}
  - {quantity: frequency_hz, function: 6, address: 4, type: uint16}
"""
    with pytest.raises(ConfigErrors) as caught:
        profile_from(parse_yaml(text, "bad_meter.yaml"))

    assert [e.where for e in caught.value.errors] == [
        "bad_meter.yaml:11:5",
        "bad_meter.yaml:11:49",
        "bad_meter.yaml:12:40",
    ]
    assert "unknown key 'adress'. did you mean 'address'?" in str(caught.value)
    assert caught.value.shown.endswith("\n" + " " * (4 + 39) + "^")


# Poll classes, limits learnt from the device, links


def slow() -> Profile:
    return parse_profile(register(every=6))


def test_slow_registers_come_in_every_nth_cycle() -> None:
    profile, line = slow(), TcpLine()

    assert profile.plan(line, 0) == (Block(4, 0, 5), Block(4, 9, 1))
    assert profile.plan(line, 1) == (Block(4, 0, 5),)
    assert profile.plan(line, 5) == (Block(4, 0, 5),)
    assert profile.plan(line, 6) == profile.plan(line)


def test_what_a_device_refuses_can_be_planned_around() -> None:
    profile = parse_profile(changed("read", "holes", to="free") | {"registers": register()["registers"]})
    line = SerialLine(baud=9600)

    assert profile.plan(line) == (Block(4, 0, 10),)
    assert profile.plan(line, avoid=[Range(6, 6)]) == (Block(4, 0, 5), Block(4, 9, 1))
    assert all(b.count <= 2 for b in profile.plan(line, max_words=2))
    with pytest.raises(UnreadableError):
        profile.plan(line, max_words=1)


def test_links_say_how_the_device_ships() -> None:
    tcp = parse_profile(changed("link", to={"tcp": {"unit": 255}}) | {"read": {"response_ms": 8, "min_gap_ms": 2}})
    mqtt = changed("link", to={"mqtt": {"topic": "a/b"}})
    del mqtt["registers"]
    mqtt["mqtt"] = {"values": [{"quantity": "frequency_hz", "path": "F", "confidence": "recalled"}]}
    published = parse_profile(mqtt)

    assert tcp.default_link == TcpLink(port=502, unit=255)
    assert tcp.default_line() == TcpLine(round_trip_ms=8, min_gap_ms=2)
    assert published.default_link == MqttLink(topic="a/b")
    assert published.recalled == ("frequency_hz",)
    with pytest.raises(ValueError, match="publishes on a broker"):
        published.default_line()


def test_a_scale_factor_comes_in_the_same_answer_as_its_values() -> None:
    data = register(type="int16", power_of_ten="factor")
    data["parts"] = [{"name": "factor", "address": 17, "type": "int16"}]
    data["read"]["holes"] = "free"

    assert parse_profile(data).plan(TcpLine(word_us=1e6)) == (Block(4, 0, 5), Block(4, 9, 9))


def test_a_signed_type_takes_its_sentinel_in_either_spelling() -> None:
    profile = parse_profile(changed("invalid", to={"int32": [0x80000000]}))

    assert profile.registers[1].invalid == {-(2**31)}


def test_recalled_facts_are_visible() -> None:
    assert parse_profile(register(confidence="recalled")).recalled == ("frequency_hz",)
    assert parse_profile(BASE).recalled == ()
