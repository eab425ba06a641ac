"""Strict YAML: what is refused, and that every error shows its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from merilo_adapters.yaml_file import BYTES_MAX, DEPTH_MAX, ConfigErrors, did_you_mean, load_yaml, parse_yaml, validate


class Device(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    unit: int = Field(ge=1, le=247)


class Bus(BaseModel):
    model_config = ConfigDict(extra="forbid")

    device: str
    devices: list[Device]

    @model_validator(mode="after")
    def _once(self) -> Bus:
        if len({d.unit for d in self.devices}) < len(self.devices):
            raise ValueError("two devices with one unit: expected each unit once")
        return self


class Gateway(BaseModel):
    model_config = ConfigDict(extra="forbid")

    interval_s: float = 10
    buses: list[Bus] | None = None


GATEWAY = """\
interval_s: 5
buses:
  - device: /dev/rs485-A
    devices:
      - {id: main, unit: 1}
      - {id: rack, unit: 2}
"""


def refusal(content: str | bytes) -> str:
    with pytest.raises(ConfigErrors) as caught:
        parse_yaml(content, "f.yaml")
    return str(caught.value)


def test_a_file_becomes_the_model() -> None:
    gateway = validate(Gateway, parse_yaml(GATEWAY, "gateway.yaml"))

    assert gateway.interval_s == 5
    assert gateway.buses is not None
    assert gateway.buses[0].devices[1] == Device(id="rack", unit=2)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("8E1", "8E1"),
        ("1e3", "1e3"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("'no'", "no"),
        ('"010"', "010"),
        ("0x1E", 30),
        ("0o17", 15),
        ("-12", -12),
        ("+5", 5),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.5e3", 1500.0),
        ("1e-3", 0.001),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("[1, {b: c}]", [1, {"b": "c"}]),
    ],
)
def test_values_are_what_they_look_like(written: str, meant: object) -> None:
    found = parse_yaml(f"a: {written}", "f.yaml").data

    assert found == {"a": meant}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(meant)


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "n", "NO", "On"])
def test_words_that_some_readers_take_for_true_or_false_are_refused(word: str) -> None:
    assert refusal(f"a: {word}").startswith(f"f.yaml:1:4: {word} is a word to some and true or false to others")
    assert refusal(f"{word}: 1").startswith("f.yaml:1:1:")


@pytest.mark.parametrize("number", ["010", "007", "-01", "00.5"])
def test_a_leading_zero_is_refused(number: str) -> None:
    assert "a leading 0 is octal to some" in refusal(f"a: {number}")


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ("", "f.yaml: ", "is empty"),
        ("# only a comment\n", "f.yaml: ", "is empty"),
        ("~", "f.yaml: ", "is empty"),
        ("a: .inf", "f.yaml:1:4: ", "not a number that can be used"),
        ("a: -.INF", "f.yaml:1:4: ", "not a number that can be used"),
        ("a: .nan", "f.yaml:1:4: ", "not a number that can be used"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: ", "the key 'a' is there twice"),
        ("a:\n  - {b: 1, b: 2}", "f.yaml:2:12: ", "the key 'b' is there twice"),
        ("a: &x 1", "f.yaml:1:4: ", "anchors (&name) are not accepted"),
        ("a: &x [1]\nb: *x", "f.yaml:1:4: ", "anchors"),
        ("a: *x", "f.yaml:1:4: ", "aliases (*name) are not accepted"),
        ("a: !!python/object:os.system 1", "f.yaml:1:4: ", "the tag"),
        ("a: !secret x", "f.yaml:1:4: ", "the tag"),
        ("a:\n\tb: 1", "f.yaml:2:1: ", "a tab indents this line"),
        ("a:\n  \tb: 1", "f.yaml:2:3: ", "a tab indents this line"),
        ("a: [1, 2", "f.yaml:1:9: ", "not YAML"),
        ("a: b: c", "f.yaml:1:5: ", "not YAML"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: ", "a second document"),
        ("%YAML 1.1\n---\na: 1", "f.yaml:2:1: ", "directives"),
        ("? [1]\n: 2", "f.yaml:1:3: ", "a key must be a word or a number"),
        ("true: 1", "f.yaml:1:1: ", "a key must be a word or a whole number"),
        ("1.5: 1", "f.yaml:1:1: ", "a key must be a word or a whole number"),
        ("\ufeffa: 1", "f.yaml: ", "byte-order mark"),
        ("a: 1".encode("utf-16"), "f.yaml: ", "byte-order mark"),
        (b"a: 1\nb: \xff", "f.yaml:2: ", "is not UTF-8"),
        ("a: \x07", "f.yaml: ", "not YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(content: str | bytes, where: str, what: str) -> None:
    message = refusal(content)

    assert message.startswith(where)
    assert what in message


def test_nesting_is_taken_to_the_limit_and_refused_one_past_it() -> None:
    at_limit = "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1)

    assert parse_yaml(at_limit, "f.yaml").data is not None
    assert "nested deeper" in refusal(f"[{at_limit}]")


def test_size_is_taken_to_the_limit_and_refused_one_past_it() -> None:
    content = "a: 1 #" + "x" * (BYTES_MAX - 6)

    assert parse_yaml(content, "f.yaml").data == {"a": 1}
    assert "more than" in refusal(content + "x")


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="cannot be read: No such file"):
        load_yaml(tmp_path / "gateway.yaml")


def test_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("a: 1\na: 2\n")

    with pytest.raises(ConfigErrors) as caught:
        load_yaml(path, "gateway.yaml")

    assert str(caught.value) == "gateway.yaml:2:1: the key 'a' is there twice. keep one of them\n    a: 2\n    ^"
    path.write_text("a: 1\n")
    assert load_yaml(path).name == str(path)


def test_every_value_and_key_has_its_place() -> None:
    marked = parse_yaml(GATEWAY, "gateway.yaml")

    assert marked.where(("buses", 0, "devices", 1, "unit")) == "gateway.yaml:6:26"
    assert marked.where(("buses", 0, "devices", 1, "unit"), at_key=True) == "gateway.yaml:6:20"
    assert marked.where(("buses", 0, "devices", 9, "unit")) == "gateway.yaml:5:7"  # not there: the nearest above
    assert marked.where(()) == "gateway.yaml:1:1"
    assert ("buses", 0) in marked.marks
    assert ("buses", 9) not in marked.marks
    assert marked.where(("buses", 9), at_key=True) == "gateway.yaml:3:3"


def test_a_message_shows_the_line_and_a_caret() -> None:
    marked = parse_yaml(GATEWAY, "gateway.yaml")

    assert marked.pretty("expected 1 to 247", ("buses", 0, "devices", 0, "unit"), hint="look at the meter") == (
        "gateway.yaml:5:26: expected 1 to 247. look at the meter\n"
        "          - {id: main, unit: 1}\n"
        "                             ^"
    )
    assert str(marked.error("expected 1 to 247", ("interval_s",))).startswith("gateway.yaml:1:13: expected 1 to 247\n")


@pytest.mark.parametrize("line", ["password: 0123", "{api_key: 0123, url: x}", "'token': 0123"])
def test_a_secret_is_never_shown(line: str) -> None:
    message = refusal(line)

    assert "(hidden)" in message
    assert "0123" not in message


def test_all_faults_of_a_model_come_at_once_in_the_order_of_the_file() -> None:
    content = """\
intervall_s: 5
buses:
  - device: 7
    devices:
      - {id: main, unit: 248}
      - {unit: 1, id: 12}
      - {id: rack, unit: 2, units: 3}
"""

    with pytest.raises(ConfigErrors) as caught:
        validate(Gateway, parse_yaml(content, "gateway.yaml"))

    assert [error.where for error in caught.value.errors] == [
        "gateway.yaml:1:1",
        "gateway.yaml:3:13",
        "gateway.yaml:5:26",
        "gateway.yaml:6:23",
        "gateway.yaml:7:29",
    ]
    text = str(caught.value)
    assert "unknown key 'intervall_s'. did you mean 'interval_s'?" in text
    assert "buses.0.devices.0.unit: expected at most 247, found 248" in text
    assert "unknown key 'units'. did you mean 'unit'?" in text


def test_a_secret_of_a_wrong_kind_is_not_shown_either() -> None:
    class Login(BaseModel):
        password: bool

    with pytest.raises(ConfigErrors) as caught:
        validate(Login, parse_yaml("password: hunter2", "g.yaml"))

    assert "password: expected true or false, found (hidden)" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_list_whose_entries_are_wrong_is_not_called_empty_too() -> None:
    with pytest.raises(ConfigErrors) as caught:
        validate(Gateway, parse_yaml("buses:\n  - device: x\n    devices:\n      - {id: a, unit: one}", "g.yaml"))

    assert [error.what for error in caught.value.errors] == [
        "buses.0.devices.0.unit: expected a whole number, found 'one'"
    ]


def test_a_missing_key_is_shown_where_it_belongs() -> None:
    with pytest.raises(ConfigErrors) as caught:
        validate(Gateway, parse_yaml("buses:\n  - device: x\n    devices:\n      - {id: a}", "g.yaml"))

    assert str(caught.value).startswith("g.yaml:4:9: buses.0.devices.0: the key 'unit' is missing")


def test_a_rule_over_several_keys_is_shown_at_what_it_is_about() -> None:
    content = "buses:\n  - device: x\n    devices: [{id: a, unit: 1}, {id: b, unit: 1}]"

    with pytest.raises(ConfigErrors) as caught:
        validate(Gateway, parse_yaml(content, "g.yaml"))

    assert str(caught.value).startswith("g.yaml:2:5: buses.0: two devices with one unit")


def test_a_file_that_is_no_mapping_at_all_is_refused() -> None:
    with pytest.raises(ConfigErrors, match=r"g.yaml:1:1: file: "):
        validate(Gateway, parse_yaml("[1]", "g.yaml"))


def test_unknown_keys_without_a_near_one_list_the_known() -> None:
    with pytest.raises(ConfigErrors, match="known: interval_s, buses"):
        validate(Gateway, parse_yaml("zzz: 1", "g.yaml"))


def test_near_words_are_offered_and_far_ones_are_not() -> None:
    assert did_you_mean("adress", ["address", "function"]) == "did you mean 'address'?"
    assert did_you_mean("zzz", ["address", "function"]) == ""


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{},&*!|>'\"# \n\t0123?%~", max_size=40))
def test_no_text_whatever_gives_another_error(content: str) -> None:
    try:
        found = parse_yaml(content, "f.yaml").data
    except ConfigErrors as error:
        found = str(error)

    assert found is not None
