"""Frames and faults on the wire, byte by byte, without sockets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo.instants import DAY_MS
from merilo_simulators.counters import Outage
from merilo_simulators.devices.meter import Meter
from merilo_simulators.faults import WIRE_KINDS, WireFault
from merilo_simulators.modbus import Emission, Framing, Request, Stream, answer, crc16, plain_answer
from merilo_simulators.physics import ORIGIN_MS
from merilo_simulators.site import example_site
from merilo_simulators.strip import publication

NOW = ORIGIN_MS + 10 * DAY_MS
POWER = bytes.fromhex("0400340002")
"""Read input registers 52 and 53: total active power of an SDM630."""

EXAMPLE = bytes.fromhex("01040000000271CB")
"""The request of the Eastron manual's example, with its checksum."""


@pytest.fixture
def meter() -> Meter:
    return example_site(7).meter("main")


def healthy(meter: Meter, framing: Framing = "rtu") -> bytes:
    pdu = plain_answer(meter, POWER, NOW)
    if framing == "tcp":
        return struct.pack(">HHHB", 258, 0, len(pdu) + 1, 1) + pdu
    return bytes((1,)) + pdu + crc16(bytes((1,)) + pdu)


def asked(meter: Meter, *faults: WireFault, framing: Framing = "rtu", at_ms: int = NOW) -> list[Emission]:
    meter.faults.add(*faults)
    return answer(meter, Request(1, POWER, 258), at_ms, framing)


def only(emissions: list[Emission]) -> bytes:
    assert [each.after_ms for each in emissions] == [0]
    return emissions[0].data


# --- frames ---


def test_checksum_of_the_eastron_manuals_example() -> None:
    # 01 04 00 00 00 02 71 CB asks for 230.2 V: 01 04 04 43 66 33 34 1B 38.
    assert crc16(bytes.fromhex("010400000002")) == bytes.fromhex("71CB")
    assert crc16(bytes.fromhex("01040443663334")) == bytes.fromhex("1B38")


def test_a_request_is_found_behind_noise_and_in_pieces() -> None:
    stream = Stream("rtu")
    noisy = bytes.fromhex("FF00") + EXAMPLE

    found = [request for byte in noisy for request in stream.feed(bytes((byte,)))]

    assert found == [Request(1, EXAMPLE[1:6])]


def test_an_unfinished_request_is_over_after_silence() -> None:
    stream = Stream("rtu")
    list(stream.feed(bytes.fromhex("010400")))

    stream.silence()

    assert list(stream.feed(EXAMPLE)) == [Request(1, EXAMPLE[1:6])]


def test_tcp_requests_come_out_in_order_with_their_transaction() -> None:
    two = struct.pack(">HHHB", 1, 0, 6, 1) + POWER + struct.pack(">HHHB", 2, 0, 6, 9) + POWER

    assert list(Stream("tcp").feed(two)) == [Request(1, POWER, 1), Request(9, POWER, 2)]


@given(st.lists(st.binary(max_size=40), max_size=30), st.sampled_from(["rtu", "tcp"]))
def test_any_bytes_are_taken_without_an_error(pieces: list[bytes], framing: Framing) -> None:
    stream = Stream(framing)

    for piece in pieces:
        assert all(isinstance(request, Request) for request in stream.feed(piece))


@given(st.binary(min_size=1, max_size=253))
def test_any_request_gets_an_answer_or_an_exception(pdu: bytes) -> None:
    found = plain_answer(example_site(7).meter("main"), pdu, NOW)

    assert found[0] & 0x7F == pdu[0] & 0x7F
    assert len(found) <= 253


def test_writing_and_identification_are_illegal_functions(meter: Meter) -> None:
    assert plain_answer(meter, bytes.fromhex("0600140001"), NOW) == bytes((0x86, 1))
    assert plain_answer(meter, bytes.fromhex("2B0E0100"), NOW) == bytes((0xAB, 1))


# --- faults ---


@pytest.mark.parametrize("framing", ["rtu", "tcp"])
def test_without_faults_the_answer_is_the_healthy_one(meter: Meter, framing: Framing) -> None:
    assert only(asked(meter, framing=framing)) == healthy(meter, framing)
    assert not meter.faults.injected


@pytest.mark.parametrize("framing", ["rtu", "tcp"])
def test_a_late_answer_is_right_but_late(meter: Meter, framing: Framing) -> None:
    found = asked(meter, WireFault(kind="late", ms=700), framing=framing)

    assert found == [Emission(700, healthy(meter, framing))]


def test_a_late_answer_can_be_drawn_from_a_range(meter: Meter) -> None:
    meter.faults.add(WireFault(kind="late", ms=100, ms_max=300))

    delays = {asked(meter)[0].after_ms for _ in range(60)}

    assert len(delays) > 20
    assert min(delays) >= 100
    assert max(delays) <= 300


def test_a_short_answer_is_a_valid_frame_with_one_register_less(meter: Meter) -> None:
    found = only(asked(meter, WireFault(kind="short")))

    assert found[:3] == bytes((1, 4, 2))
    assert found[3:5] == healthy(meter)[3:5]
    assert crc16(found[:-2]) == found[-2:]
    assert len(found) == 7


def test_a_wrong_unit_or_function_is_a_valid_frame_of_somebody_else(meter: Meter) -> None:
    unit = only(asked(meter, WireFault(kind="wrong_unit", times=1)))
    function = only(asked(meter, WireFault(kind="wrong_function")))

    assert (unit[0], unit[1:-2]) == (2, healthy(meter)[1:-2])
    assert (function[:2], function[2:-2]) == (bytes((1, 3)), healthy(meter)[2:-2])
    assert crc16(unit[:-2]) == unit[-2:]
    assert crc16(function[:-2]) == function[-2:]


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 10, 11])
def test_an_exception_carries_its_code(meter: Meter, code: int) -> None:
    assert only(asked(meter, WireFault(kind="exception", code=code)))[:3] == bytes((1, 0x84, code))


def test_a_bad_checksum_breaks_only_the_checksum(meter: Meter) -> None:
    found = only(asked(meter, WireFault(kind="bad_crc")))

    assert found[:-2] == healthy(meter)[:-2]
    assert crc16(found[:-2]) != found[-2:]


def test_on_tcp_the_protocol_number_is_broken_instead(meter: Meter) -> None:
    found = only(asked(meter, WireFault(kind="bad_crc"), framing="tcp"))

    assert struct.unpack(">H", found[2:4])[0] != 0
    assert found[4:] == healthy(meter, "tcp")[4:]


def test_garbage_is_no_frame_and_garbage_words_are_one(meter: Meter) -> None:
    garbage = only(asked(meter, WireFault(kind="garbage", times=1)))
    random_words = only(asked(meter, WireFault(kind="garbage_words")))

    assert crc16(garbage[:-2]) != garbage[-2:]
    assert random_words[:3] == healthy(meter)[:3]
    assert random_words[3:-2] != healthy(meter)[3:-2]
    assert crc16(random_words[:-2]) == random_words[-2:]


def test_a_twin_answers_behind_with_its_own_values(meter: Meter) -> None:
    first, second = asked(meter, WireFault(kind="twin"))

    assert first.data == healthy(meter)
    assert second.data[:3] == first.data[:3]
    assert second.data != first.data
    assert crc16(second.data[:-2]) == second.data[-2:]


def test_twins_that_speak_at_once_and_their_bits(meter: Meter) -> None:
    first, second = (each.data for each in asked(meter, WireFault(kind="twin", times=1)))

    assert only(asked(meter, WireFault(kind="twin_mixed"))) == bytes(a & b for a, b in zip(first, second, strict=True))


def test_silence_lasts_as_long_as_it_is_told(meter: Meter) -> None:
    meter.faults.add(WireFault(kind="silent", from_ms=NOW, until_ms=NOW + 1000))

    lengths = [len(asked(meter, at_ms=at)) for at in (NOW - 1, NOW, NOW + 999, NOW + 1000)]

    assert lengths == [1, 0, 0, 1]
    assert meter.faults.injected == {"silent": 2}


def test_a_device_without_supply_says_nothing(meter: Meter) -> None:
    meter.faults.add(Outage(from_ms=NOW, until_ms=NOW + 1))

    assert asked(meter) == []
    assert meter.faults.injected == {"outage": 1}


def test_a_fault_strikes_as_often_as_told_and_every_strike_is_counted(meter: Meter) -> None:
    meter.faults.add(WireFault(kind="silent", times=3))

    answers = [len(asked(meter)) for _ in range(5)]

    assert answers == [0, 0, 0, 1, 1]
    assert meter.faults.injected == {"silent": 3}


def test_a_fault_added_after_others_were_cleared_strikes_its_full_number(meter: Meter) -> None:
    for _ in range(50):
        assert asked(meter, WireFault(kind="silent", times=1)) == []
        meter.faults.clear_wire()

    assert meter.faults.injected == {"silent": 50}


def test_a_share_is_drawn_by_seed_and_so_repeatable() -> None:
    runs = []
    for _ in range(2):
        meter = example_site(7).meter("main")
        meter.faults.add(WireFault(kind="silent", share=0.3))
        runs.append([len(asked(meter)) for _ in range(200)])

    assert runs[0] == runs[1]
    assert 35 < runs[0].count(0) < 85


def test_faults_are_switched_off_by_kind_or_all(meter: Meter) -> None:
    meter.faults.add(WireFault(kind="silent"), WireFault(kind="exception", code=6))

    meter.faults.clear_wire("silent")
    assert only(asked(meter))[1] == 0x84
    meter.faults.clear_wire()
    assert only(asked(meter)) == healthy(meter)


@pytest.mark.parametrize("kind", WIRE_KINDS)
@pytest.mark.parametrize("framing", ["rtu", "tcp"])
def test_every_kind_changes_what_is_sent_and_counts_it(kind: str, framing: Framing) -> None:
    meter = example_site(7).meter("main")
    fault = WireFault(kind=kind, ms=5, code=6)  # type: ignore[arg-type]  # parametrised over the closed set

    assert asked(meter, fault, framing=framing) != [Emission(0, healthy(meter, framing))]
    assert meter.faults.injected == {kind: 1}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "sleepy"}, "expected one of late, short"),
        ({"kind": "silent", "share": 0.0}, "outside"),
        ({"kind": "late"}, "ms = 0 must be above 0"),
        ({"kind": "exception"}, "code = 0 is outside 1..255"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WireFault(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_strip_is_silent_sends_half_a_message_or_noise() -> None:
    strip = example_site(7).meter("pdu1")
    whole = publication(strip, NOW)
    assert whole is not None

    strip.faults.add(*(WireFault(kind=kind, times=1) for kind in ("silent", "short", "garbage")))
    silent, half, noise = (publication(strip, NOW) for _ in range(3))

    assert silent is None
    assert half == whole[: len(whole) // 2]
    assert noise is not None
    assert noise[:1] != b"{"
    assert publication(strip, NOW) == whole
    assert strip.faults.injected == {"silent": 1, "short": 1, "garbage": 1}
