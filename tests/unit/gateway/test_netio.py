"""Publishing devices: what becomes a reading, and what does not."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from merilo.profiles.setup import Setup
from merilo.reading import Reading
from merilo_adapters.profile_files import load_profile
from merilo_gateway.netio import JsonSource

START = 1_796_083_200_000
PROFILE = load_profile("netio_powerpdu_mqtt")
GOOD = {
    "Agent": {"Model": "NETIO PowerPDU 4KS", "SerialNumber": "A1"},
    "GlobalMeasure": {"Voltage": 231.4, "TotalLoad": 462, "TotalEnergy": 12345},
    "Outputs": [{"ID": 1, "Load": 220, "Energy": 5000, "Current": 1000}],
}


class Sink:
    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.events: list[str] = []
        self.descriptions = 0

    def reading(self, reading: Reading) -> None:
        self.readings.append(reading)

    def busy(self, source: str) -> None:
        raise AssertionError("a publishing device has no bus")

    def idle(self, source: str) -> None:
        raise AssertionError("a publishing device has no bus")

    def event(self, kind: str, device: str, parameters: Mapping[str, str | float | int | bool]) -> None:
        self.events.append(kind)

    def identified(self, device: str, setup: Setup) -> None:
        raise AssertionError("a publishing device is not asked")

    def described(self, device: str) -> None:
        self.descriptions += 1


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def source(sink: Sink) -> JsonSource:
    return JsonSource(device="pdu1", profile=PROFILE, interval_ms=10_000, sink=sink)


def send(source: JsonSource, body: object, at_s: float, *, retained: bool = False) -> bool:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return source.arrived(payload, retained=retained, now_ms=START + int(at_s * 1000))


def test_energy_in_wh_and_current_in_milliamperes_become_our_units(source: JsonSource, sink: Sink) -> None:
    assert send(source, GOOD, 0)

    values = {r.device: r.values for r in sink.readings}
    assert values["pdu1"]["active_energy_import_wh"] == 12345.0
    assert values["pdu1-outlet-1"]["current_l1_a"] == 1.0
    assert {r.at_ms for r in sink.readings} == {START}


def test_the_first_message_of_each_interval_counts(source: JsonSource, sink: Sink) -> None:
    taken = [send(source, GOOD, second) for second in (0, 1, 9.9, 10, 19, 20)]

    assert taken == [True, False, False, True, False, True]


def test_a_retained_message_has_no_time_and_is_not_taken(source: JsonSource, sink: Sink) -> None:
    assert not send(source, GOOD, 0, retained=True)
    assert sink.readings == []


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, {**GOOD, "Agent": {"Model": "Other"}}])
def test_what_is_not_such_a_payload_is_told_once_and_the_next_good_one_is_taken(
    source: JsonSource, sink: Sink, body: object
) -> None:
    for second in range(3):
        assert not send(source, body, second)

    assert send(source, GOOD, 3)
    assert sink.events.count("message_refused") == 1


def test_silence_is_three_intervals_or_a_minute_and_is_told_once_each_way(source: JsonSource, sink: Sink) -> None:
    send(source, GOOD, 0)
    sink.events.clear()
    for second in range(0, 200, 5):
        source.look(START + second * 1000)
    assert sink.events == ["device_silent"]

    send(source, GOOD, 200)

    assert sink.events == ["device_silent", "device_back"]


def test_a_source_that_never_spoke_becomes_silent_too(source: JsonSource, sink: Sink) -> None:
    source.look(START)
    source.look(START + 61_000)

    assert sink.events == ["device_silent"]


def test_another_strip_with_the_same_topic_is_noticed(source: JsonSource, sink: Sink) -> None:
    send(source, GOOD, 0)
    send(source, {**GOOD, "Agent": {"Model": "NETIO PowerPDU 4KS", "SerialNumber": "B2"}}, 10)

    assert "identity_changed" in sink.events
    assert sink.descriptions == 2
