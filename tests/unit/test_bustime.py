"""Time of one read: values worked out from the framing of the Modbus serial-line specification."""

from __future__ import annotations

import pytest

from merilo.bustime import BAUD_MAX, BAUD_MIN, SerialLine, TcpLine, read_ms

# Words, then milliseconds at 8N1: wire only, and with a device that takes 40 ms to answer.
# Example, 2 words at 9600 baud: tc = 10/9600 s = 1.0417 ms; 8 tc + 3.5 tc + 9 tc + 3.5 tc = 24 tc = 25.0 ms.
TIMES = [
    (1, 2400, 91.7, 117.1),
    (1, 9600, 22.9, 59.3),
    (1, 115_200, 4.8, 43.1),
    (2, 2400, 100.0, 125.4),
    (2, 9600, 25.0, 61.4),
    (2, 19_200, 12.5, 50.7),
    (2, 38_400, 7.9, 46.2),
    (2, 115_200, 5.0, 43.2),
    (40, 9600, 104.2, 140.5),
    (40, 38_400, 27.7, 66.0),
    (80, 2400, 750.0, 775.4),
    (80, 9600, 187.5, 223.9),
    (80, 19_200, 93.7, 131.9),
    (80, 38_400, 48.6, 86.8),
    (80, 115_200, 18.5, 56.8),
    (125, 2400, 1125.0, 1150.4),
    (125, 9600, 281.2, 317.6),
    (125, 115_200, 26.3, 64.6),
]


@pytest.mark.parametrize(("words", "baud", "wire", "with_response"), TIMES)
def test_a_read_takes_what_its_characters_and_silences_take(
    words: int, baud: int, wire: float, with_response: float
) -> None:
    assert read_ms(words, SerialLine(baud=baud, response_ms=0)) == pytest.approx(wire, abs=0.051)
    assert read_ms(words, SerialLine(baud=baud, response_ms=40)) == pytest.approx(with_response, abs=0.051)


@pytest.mark.parametrize(
    ("words", "baud", "expected"), [(2, 9600, 63.5), (2, 19_200, 51.7), (80, 9600, 242.2), (80, 19_200, 141.1)]
)
def test_parity_makes_a_character_eleven_bits_long(words: int, baud: int, expected: float) -> None:
    assert read_ms(words, SerialLine(baud=baud, format="8E1")) == pytest.approx(expected, abs=0.051)


def test_the_silence_is_fixed_above_19200_baud_only() -> None:
    assert SerialLine(baud=19_200).silence_ms == pytest.approx(3.5 * 10 / 19.2)
    assert SerialLine(baud=19_201).silence_ms == 1.75


def test_a_device_that_wants_a_longer_gap_gets_it_once_per_read() -> None:
    plain, slow = SerialLine(baud=38_400), SerialLine(baud=38_400, min_gap_ms=35)

    assert read_ms(2, slow) - read_ms(2, plain) == pytest.approx(35 - 1.75)


def test_a_converter_adds_its_delay_to_every_read() -> None:
    assert read_ms(2, SerialLine(baud=9600, extra_ms=20)) - read_ms(2, SerialLine(baud=9600)) == pytest.approx(20)


def test_on_a_network_a_read_costs_a_round_trip_and_a_little_per_word() -> None:
    line = TcpLine(round_trip_ms=8, word_us=2, min_gap_ms=1)

    assert read_ms(125, line) == pytest.approx(9.25)


@pytest.mark.parametrize("baud", [BAUD_MIN - 1, BAUD_MAX + 1, 0, -9600])
def test_a_speed_that_no_line_has_is_refused(baud: int) -> None:
    with pytest.raises(ValueError, match="baud"):
        SerialLine(baud=baud)


def test_the_slowest_and_the_fastest_speed_are_taken() -> None:
    assert SerialLine(baud=BAUD_MIN).char_ms > SerialLine(baud=BAUD_MAX).char_ms


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        SerialLine(baud=9600, format="7E1")  # type: ignore[arg-type]  # what a file could say
    with pytest.raises(ValueError, match="below 0"):
        SerialLine(baud=9600, response_ms=-1)
    with pytest.raises(ValueError, match="below 0"):
        TcpLine(round_trip_ms=-1)
