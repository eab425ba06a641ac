"""How long one read takes on a line, by the framing rules of the Modbus serial-line specification (V1.02, 2.5.1).

A character takes 10 bits with format 8N1 and 11 with 8E1, 8O1 and 8N2. A request to read is 8 characters, its answer
5 + 2 N for N words. Frames are parted by a silence of 3.5 characters, above 19200 baud by a fixed 1.75 ms.

    T(N) = 8 tc + max(response, silence) + (5 + 2 N) tc + silence
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["8N1", "8E1", "8O1", "8N2"]
FORMATS: tuple[Format, ...] = ("8N1", "8E1", "8O1", "8N2")

BAUD_MIN, BAUD_MAX = 300, 1_000_000
REQUEST_CHARS = 8
ANSWER_CHARS = 5
FIXED_SILENCE_ABOVE = 19_200
"""Baud; faster lines keep a fixed silence, because interrupts would come too often otherwise (same specification)."""
FIXED_SILENCE_MS = 1.75
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialLine:
    """A serial line, or a serial line behind a network converter.

    Raises:
        ValueError: A speed, format or time that no line has.
    """

    baud: int
    format: Format = "8N1"
    response_ms: float = 40.0
    """From the end of the request to the start of the answer [ms]; 40 is what panel meters typically need."""
    min_gap_ms: float = 0.0
    """Silence that the slowest device asks for before the next request [ms]; the standard's silence is the least."""
    extra_ms: float = 0.0
    """Added to every read [ms]: network and packing delay of a converter."""

    def __post_init__(self) -> None:
        if not BAUD_MIN <= self.baud <= BAUD_MAX:
            raise ValueError(f"baud {self.baud}: expected {BAUD_MIN} to {BAUD_MAX}")
        if self.format not in FORMATS:
            raise ValueError(f"format {self.format!r}: expected one of {', '.join(FORMATS)}")
        if min(self.response_ms, self.min_gap_ms, self.extra_ms) < 0:
            raise ValueError("a time below 0 ms")

    @property
    def char_ms(self) -> float:
        """Time of one character [ms]."""
        return (10 if self.format == "8N1" else 11) * 1000.0 / self.baud

    @property
    def silence_ms(self) -> float:
        """Silence between two frames [ms]."""
        return FIXED_SILENCE_MS if self.baud > FIXED_SILENCE_ABOVE else 3.5 * self.char_ms

    @property
    def fixed_ns(self) -> int:
        """What a read costs before the first word [ns]."""
        waits = max(self.response_ms, self.silence_ms) + max(self.silence_ms, self.min_gap_ms) + self.extra_ms
        return round(((REQUEST_CHARS + ANSWER_CHARS) * self.char_ms + waits) * NS_PER_MS)

    @property
    def word_ns(self) -> int:
        """What each word adds [ns]."""
        return round(2 * self.char_ms * NS_PER_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpLine:
    """Modbus TCP: a round trip with the device's own time, and a little per word.

    Raises:
        ValueError: A time below 0.
    """

    round_trip_ms: float = 5.0
    """Request, device and answer [ms]."""
    word_us: float = 2.0
    """What each word adds [µs]: two bytes at 10 Mbit/s and the device's own copying."""
    min_gap_ms: float = 0.0
    """Pause that the device asks for before the next request [ms]."""

    def __post_init__(self) -> None:
        if min(self.round_trip_ms, self.word_us, self.min_gap_ms) < 0:
            raise ValueError("a time below 0 ms")

    @property
    def fixed_ns(self) -> int:
        """What a read costs before the first word [ns]."""
        return round((self.round_trip_ms + self.min_gap_ms) * NS_PER_MS)

    @property
    def word_ns(self) -> int:
        """What each word adds [ns]."""
        return round(self.word_us * 1000)


Line = SerialLine | TcpLine


def read_ms(words: int, line: Line) -> float:
    """Time of one read of so many words, the silence after it included [ms]."""
    return (line.fixed_ns + words * line.word_ns) / NS_PER_MS
