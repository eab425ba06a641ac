"""Register images: which quantity stands where in which form, and the words that carry it.

This encoder is written from the vendors' register tables alone and shares nothing with the decoder of the gateway,
so that an error in one does not hide an error in the other.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["f32", "i16", "u16", "i32", "u32", "i64"]
Place = tuple[int, int]
"""Function code (3 holding, 4 input) and address on the wire, counted from 0."""
Words = tuple[int, ...]

HOLDING = 3
INPUT = 4

_PACK: Mapping[Form, str] = {"f32": ">f", "i16": ">h", "u16": ">H", "i32": ">i", "u32": ">I", "i64": ">q"}
RANGE: Mapping[Form, tuple[int, int]] = {
    "i16": (-0x8000, 0x7FFF),
    "u16": (0, 0xFFFF),
    "i32": (-0x8000_0000, 0x7FFF_FFFF),
    "u32": (0, 0xFFFF_FFFF),
    "i64": (-(1 << 63), (1 << 63) - 1),
}
UNAVAILABLE: Mapping[Form, Words] = {
    "f32": (0x7FC0, 0x0000),
    "i16": (0x7FFF,),
    "u16": (0xFFFF,),
    "i32": (0x7FFF, 0xFFFF),
    "u32": (0xFFFF, 0xFFFF),
    "i64": (0x8000, 0x0000, 0x0000, 0x0000),
}
"""What a register shows that has no value: a quiet NaN, the largest integer, or the smallest 64-bit one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value in a register image."""

    quantity: str
    """Canonical name, or a name of the simulator's own for what is not stored."""
    function: int
    address: int
    form: Form
    scale: float
    """Canonical value = what the register says × scale; energies are canonical in Wh."""
    low_first: bool = False
    """Least significant word first."""
    channel: int = 0
    """0 is the device itself, n its outlet n."""
    opposite: bool = False
    """The device gives the value with the opposite sign."""


@dataclass(frozen=True, slots=True)
class Span:
    """Registers of one function that a request may cover; gaps inside it read 0. The end is excluded."""

    function: int
    start: int
    end: int


def words(value: float | int, form: Form, low_first: bool = False) -> Words:
    """The words that carry this register value; integers must fit the form."""
    packed = struct.pack(_PACK[form], value)
    found = struct.unpack(f">{len(packed) // 2}H", packed)
    return found[::-1] if low_first else found


def text_words(text: str, count: int) -> Words:
    """ASCII, two characters a word, the first in the high byte, filled with zeros to this many words."""
    packed = text.encode("ascii")[: count * 2].ljust(count * 2, b"\0")
    return struct.unpack(f">{count}H", packed)


def put(image: dict[Place, int], function: int, address: int, values: Words) -> None:
    """Writes consecutive words into an image."""
    for offset, word in enumerate(values):
        image[function, address + offset] = word
