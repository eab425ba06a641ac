"""Words into values. What cannot be a value is left out with its reason: never 0, never an error for the rest.

The layout of a profile over the blocks of a plan is worked out once and kept; a poll then costs one unpacking per block
and one pass over its numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

from merilo.profile import FLOAT_DIGITS, NUMBER_WORDS, Field, Profile, Register
from merilo.readplan import Block

Reason = Literal[
    "not_read",  # the block was not answered
    "not_a_number",  # NaN, or no decimal digits in a decimal register
    "infinite",
    "invalid",  # the device's own code for "not available"
    "out_of_range",  # not what the quantity can physically be
    "denormal",  # a float next to 0 that only garbage or a wrong word order gives
    "setting_unknown",  # the device did not tell a factor or the word order
    "part_missing",  # one of the values it is made of is missing
]

SMALLEST_NORMAL = 2.0**-126
"""IEEE 754 single precision: what is smaller has lost digits, and no device measures it."""
EXPONENT_MAX = 10
"""Powers of ten a scale-factor register can hold (SunSpec: -10 to 10)."""

_CODES: Mapping[str, str] = {
    "uint16": "H", "bcd16": "H", "bitfield16": "H", "int16": "h", "float16": "e",
    "uint32": "I", "bcd32": "I", "int32": "i", "float32": "f", "uint64": "Q", "int64": "q", "float64": "d",
}  # fmt: skip


class Missing(NamedTuple):
    """A value that is not there, and why."""

    channel: str
    quantity: str
    reason: Reason


class Decoded(NamedTuple):
    """What one poll said."""

    values: dict[str, dict[str, float]]
    """Suffix of the device (empty: the device itself) → quantity → value; only devices that have a value."""
    missing: list[Missing]


def decode(profile: Profile, blocks: Mapping[Block, Sequence[int] | None]) -> Decoded:
    """The values that the words hold.

    Args:
        profile: The device as it is configured.
        blocks: Every read that was tried, with its words (0 to 65535 each), or None where no answer came. Words of
            another length than asked for count as no answer. Registers outside the blocks are not spoken of.
    """
    return _layout(profile, tuple(blocks)).decode(blocks)


def number(field: Field, words: Sequence[int]) -> float | None:
    """The number in one field's own words; None where they hold none.

    Raises:
        ValueError: The field holds a text, or the number of words is another.
    """
    if field.type not in _CODES or len(words) != field.words:
        raise ValueError(f"{field.type} of {field.words} words: not a number, or {len(words)} words given")
    ordered = words if field.order != "little" else words[::-1]
    (raw,) = struct.unpack(">" + _CODES[field.type], struct.pack(f">{len(words)}H", *ordered))
    found = _plain(field, raw)
    return found if found is None or found == found else None


def text(field: Field, words: Sequence[int]) -> str:
    """The text in one field's own words, without padding; unprintable characters are dropped."""
    if field.type == "utf16be":
        found = struct.pack(f">{len(words)}H", *words).decode("utf-16-be", "replace")
    else:
        packed = struct.pack(f"{'<' if field.type == 'ascii_byteswapped' else '>'}{len(words)}H", *words)
        found = packed.decode("ascii", "replace")
    return "".join(c for c in found.split("\0", 1)[0] if c.isprintable()).strip()


def _plain(field: Field, raw: float) -> float | None:
    """The raw number, its decimal digits or its bit; None where decimal digits are none."""
    if field.bit is not None:
        return int(raw) >> field.bit & 1
    if field.type.startswith("bcd"):
        digits = f"{int(raw):x}"
        return int(digits) if digits.isdigit() else None
    return raw


class _Spec(NamedTuple):
    """How one number of a block becomes a value, in the order of unpacking."""

    slot: int
    """Which device; -1: the number only goes to ``composed`` values."""
    quantity: str
    numerator: int
    denominator: int
    low: float
    high: float
    invalid: frozenset[float]


class _Layer(NamedTuple):
    """Fields of one block that do not overlap, unpacked at once."""

    unpack: struct.Struct
    is_reversed: bool
    """Read from the last word to the first: then low-word-first numbers have their high word first."""
    specs: tuple[_Spec, ...]
    fields: tuple[Field, ...]


class _BlockLayout(NamedTuple):
    block: Block
    pack: struct.Struct
    layers: tuple[_Layer, ...]
    registers: tuple[Register, ...]
    """Whose words are in the block."""


class _Layout:
    """A profile laid over the blocks of a plan."""

    def __init__(self, profile: Profile, blocks: tuple[Block, ...]) -> None:
        self._suffixes = profile.suffixes
        slots = {suffix: n for n, suffix in enumerate(profile.suffixes)}
        parts = frozenset(r.quantity for r in profile.registers if r.hidden)
        placed: dict[Block, list[Register]] = {block: [] for block in blocks}
        for register in profile.registers:
            home = next((b for b in blocks if _holds(b, register)), None)
            if home is not None:
                placed[home].append(register)
        read = [r for found in placed.values() for r in found]
        unknown = [r for r in read if _is_unknown(r, parts)]
        self._unknown = [Missing(r.channel, r.quantity, "setting_unknown") for r in unknown if not r.hidden]
        self._blocks = [_lay(b, [r for r in placed[b] if r not in unknown], slots) for b in blocks]
        self._composed = [r for r in read if not _is_simple(r) and r not in unknown]
        named = {(r.channel, r.quantity) for r in read if not r.hidden}
        read_parts = {r.quantity for r in read if r.hidden}
        self._derived = [
            d for d in profile.derived if any((d.channel, n) in named or n in read_parts for n, _ in d.terms)
        ]

    def decode(self, blocks: Mapping[Block, Sequence[int] | None]) -> Decoded:
        outs: list[dict[str, float]] = [{} for _ in self._suffixes]
        missing = list(self._unknown)
        raws: dict[Field, float] = {}
        for block, pack, layers, registers in self._blocks:
            words = blocks[block]
            if words is None or len(words) != block.count:
                missing += [Missing(r.channel, r.quantity, "not_read") for r in registers if not r.hidden]
                continue
            upright = pack.pack(*words)
            for unpack, is_reversed, specs, fields in layers:
                numbers = unpack.unpack(pack.pack(*words[::-1]) if is_reversed else upright)
                for raw, (slot, quantity, numerator, denominator, low, high, invalid), field in zip(
                    numbers, specs, fields, strict=True
                ):
                    if slot < 0:
                        raws[field] = raw
                        continue
                    value = raw * numerator / denominator
                    if (
                        low <= value <= high
                        and raw not in invalid
                        and (raw >= SMALLEST_NORMAL or raw <= -SMALLEST_NORMAL or raw == 0)
                    ):
                        outs[slot][quantity] = value
                    else:
                        reason = _reason(raw, invalid)
                        missing.append(Missing(self._suffixes[slot], quantity, reason))
        if self._composed or self._derived:
            self._compose(raws, outs, missing)
        return Decoded({s: out for s, out in zip(self._suffixes, outs, strict=True) if out}, missing)

    def _compose(self, raws: dict[Field, float], outs: list[dict[str, float]], missing: list[Missing]) -> None:
        """Values that need more than one number, or more than a factor."""
        by_suffix = dict(zip(self._suffixes, outs, strict=True))
        parts: dict[str, float] = {}
        for register in sorted(self._composed, key=lambda r: not r.hidden):
            if any(f not in raws for f, _ in register.fields):
                continue  # said already
            value = _composed_value(register, raws, parts)
            if not isinstance(value, float):
                if not register.hidden:
                    missing.append(Missing(register.channel, register.quantity, value))
            elif register.hidden:
                parts[register.quantity] = value
            else:
                by_suffix[register.channel][register.quantity] = value
        for derived in self._derived:
            out = by_suffix[derived.channel]
            terms = [(out.get(name, parts.get(name)), sign) for name, sign in derived.terms]
            known = [value * sign for value, sign in terms if value is not None]
            value = sum(known)
            if len(known) < len(terms):
                missing.append(Missing(derived.channel, derived.quantity, "part_missing"))
            elif derived.low <= value <= derived.high:
                out[derived.quantity] = value
            else:
                missing.append(Missing(derived.channel, derived.quantity, "out_of_range"))


@lru_cache(maxsize=1024)
def _layout(profile: Profile, blocks: tuple[Block, ...]) -> _Layout:
    return _Layout(profile, blocks)


def _is_unknown(register: Register, parts: frozenset[str]) -> bool:
    """Whether the device has not told something that the value depends on."""
    if register.unknown or any(f.order == "setting" for f, _ in register.fields):
        return True
    return not parts.issuperset((*register.times, *register.divided_by, *register.power_of_ten))


def _is_simple(register: Register) -> bool:
    return not (
        register.hidden
        or register.four_quadrant
        or register.times
        or register.divided_by
        or register.power_of_ten
        or len(register.fields) > 1
        or register.fields[0][0].type.startswith(("bcd", "bitfield"))
    )


def _holds(block: Block, register: Register) -> bool:
    return all(
        f.function == block.function and block.start <= f.address and f.address + f.words <= block.end
        for f, _ in register.fields
    )


def _lay(block: Block, registers: Sequence[Register], slots: Mapping[str, int]) -> _BlockLayout:
    placed: list[tuple[bool, int, Field, _Spec]] = []
    for register in registers:
        simple = _is_simple(register)
        for field, scale in register.fields:
            is_reversed = field.order == "little"
            offset = field.address - block.start
            spec = _Spec(
                slots[register.channel] if simple else -1,
                register.quantity,
                scale.numerator,
                scale.denominator,
                register.low,
                register.high,
                register.invalid,
            )
            placed.append((is_reversed, block.count - offset - field.words if is_reversed else offset, field, spec))
    layers: list[_Layer] = []
    for is_reversed in (False, True):
        rest = sorted((p for p in placed if p[0] is is_reversed), key=lambda p: p[1])
        while rest:
            layer, rest = _first_layer(block.count, rest)
            layers.append(layer)
    return _BlockLayout(block, struct.Struct(f">{block.count}H"), tuple(layers), tuple(registers))


def _first_layer(
    count: int, placed: list[tuple[bool, int, Field, _Spec]]
) -> tuple[_Layer, list[tuple[bool, int, Field, _Spec]]]:
    """As many fields from the left as do not overlap, and the others."""
    codes, at = [">"], 0
    taken, left = [], []
    for item in placed:
        _, offset, field, _ = item
        if offset < at:
            left.append(item)
            continue
        codes += [f"{2 * (offset - at)}x", _CODES[field.type]]
        at = offset + field.words
        taken.append(item)
    codes.append(f"{2 * (count - at)}x")
    layer = _Layer(struct.Struct("".join(codes)), taken[0][0], tuple(i[3] for i in taken), tuple(i[2] for i in taken))
    return layer, left


def _reason(raw: float, invalid: frozenset[float]) -> Reason:
    """Why a number is no value."""
    if raw != raw:
        return "not_a_number"
    if raw in invalid:
        return "invalid"
    if raw in (float("inf"), float("-inf")):
        return "infinite"
    return "denormal" if 0 < abs(raw) < SMALLEST_NORMAL else "out_of_range"


def _composed_value(register: Register, raws: Mapping[Field, float], parts: Mapping[str, float]) -> float | Reason:
    total: Fraction | float = Fraction(0)
    for field, scale in register.fields:
        raw = raws[field]
        plain = _plain(field, raw)
        if plain is None or plain != plain:
            return "not_a_number"
        if raw in register.invalid:
            return "invalid"
        if field.type in FLOAT_DIGITS:
            if raw in (float("inf"), float("-inf")):
                return "infinite"
            if 0 < abs(raw) < SMALLEST_NORMAL:
                return "denormal"
        total += Fraction(plain) * scale
    for name in (*register.times, *register.divided_by, *register.power_of_ten):
        if name not in parts:
            return "part_missing"
    for name in register.times:
        total *= Fraction(parts[name])
    for name in register.divided_by:
        if not parts[name]:
            return "part_missing"
        total /= Fraction(parts[name])
    for name in register.power_of_ten:
        exponent = parts[name]
        if abs(exponent) > EXPONENT_MAX or exponent != int(exponent):
            return "part_missing"
        total *= Fraction(10) ** int(exponent)
    value = float(total)
    if register.four_quadrant and 1 < abs(value) < 2:
        value = 2 - abs(value)
    return value if register.low <= value <= register.high else "out_of_range"


assert set(_CODES) == set(NUMBER_WORDS)
