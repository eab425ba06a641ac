"""Registers, parts, derived values and channels of a profile, out of plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from merilo.profile import (
    FLOAT_DIGITS,
    NUMBER_WORDS,
    TEXT_TYPES,
    Channel,
    Confidence,
    CounterFacts,
    Derived,
    Field,
    Function,
    Order,
    Register,
)
from merilo.profiles.fields import Fields, did_you_mean, is_number, shown
from merilo.quantities import QUANTITIES, Quantity
from merilo.readplan import ADDRESS_MAX

CONFIDENCES: tuple[Confidence, ...] = ("measured", "two-sources", "one-source", "recalled")
FUNCTIONS: Mapping[object, Function] = MappingProxyType({3: 3, "holding": 3, 4: 4, "input": 4})
CHANNELS_MAX = 128
"""Outlets of one strip: twice the largest on the market."""
TEXT_WORDS_MAX = 64
EVERY_MAX = 10_000
MODULUS_MAX = 2**64

_K = Fraction(1000)
UNITS: Mapping[str, tuple[str, Fraction]] = MappingProxyType(
    {
        **{prefix + unit: (unit, size) for unit in ("W", "Wh", "var", "varh", "VA", "V", "A", "Hz")
           for prefix, size in (("m", 1 / _K), ("", Fraction(1)), ("k", _K), ("M", _K * _K))},
        "degC": ("c", Fraction(1)),
        "%": ("pct", Fraction(1)),
        "s": ("s", Fraction(1)),
        "min": ("s", Fraction(60)),
    }
)  # fmt: skip
"""Unit on the wire → canonical unit and its size in it."""


NO_FACTS = CounterFacts()


@dataclass(kw_only=True)
class Context:
    """What the top of a profile says for all registers that do not say otherwise."""

    function: Function | None = None
    type: str = ""
    order: Order = "big"
    alone: bool = False
    source: str = ""
    confidence: Confidence = "one-source"
    counter: CounterFacts = NO_FACTS
    invalid: dict[str, tuple[float, ...]] = field(default_factory=dict)
    wire_addresses: bool = False
    """The author says that numbers like 40001 are addresses on the wire."""
    order_setting: bool = False
    sources: frozenset[str] = frozenset()


def read_function(fields: Fields, default: Function | None) -> Function:
    """The key ``function``; anything that is not a read of words is a fault."""
    value = fields.raw("function")
    if value is None and "function" not in fields:
        if default is None:
            fields.fault((), "the key 'function' is missing: holding (3) or input (4)")
        return default or 3
    if isinstance(value, int | str) and not isinstance(value, bool) and value in FUNCTIONS:
        return FUNCTIONS[value]
    if value in (1, 2) and not isinstance(value, bool):
        fields.fault("function", f"function {value} reads single bits, which carry no quantity", "use 3 or 4")
    elif isinstance(value, int) and not isinstance(value, bool):
        fields.fault(
            "function", f"function {value}: a profile cannot write to a device", "use 3 (holding) or 4 (input)"
        )
    else:
        fields.fault("function", f"expected holding (3) or input (4), found {shown(value)}")
    return 3


def read_field(fields: Fields, context: Context, *, texts: bool = False) -> Field:
    """Function, address, type and order of the words that the mapping speaks of."""
    function = read_function(fields, context.function)
    fields.require("address")
    address = fields.integer("address", 0, ADDRESS_MAX, 0)
    _check_convention(fields, function, address, context)
    type_, words = _read_type(fields, context, texts=texts)
    order = fields.word("order", ("big", "little", "setting"), context.order)
    if words == 1:
        order = "big"  # one word has no order
    elif order == "setting" and not context.order_setting:
        fields.fault("order", "order 'setting' needs a setting that tells it", "name it in word_order")
    if address + words > ADDRESS_MAX + 1:
        fields.fault("address", f"{words} words from {address} end beyond the last address, {ADDRESS_MAX}")
    bit = fields.integer("bit", 0, 15, 0) if "bit" in fields else None
    if bit is not None and type_ != "bitfield16":
        fields.fault("bit", f"only a bitfield16 has bits, this is {type_}")
    return Field(function=function, address=address, type=type_, words=words, order=order, bit=bit)


def _check_convention(fields: Fields, function: Function, address: int, context: Context) -> None:
    base = 40_001 if function == 3 else 30_001
    if context.wire_addresses or not base <= address < base + 9_999:
        return
    kind = "4xxxx = holding" if function == 3 else "3xxxx = input"
    fields.fault(
        "address",
        f"{address} looks like a printed register number ({kind} register, counted from 1)",
        f"write the address on the wire, counted from 0: {address - base}; if {address} is on the wire, say "
        "'addresses: wire' at the top",
    )


def _read_type(fields: Fields, context: Context, *, texts: bool) -> tuple[str, int]:
    type_ = fields.text("type", context.type)
    if not type_:
        fields.fault((), "the key 'type' is missing")
        return "uint16", 1
    if texts and type_ in TEXT_TYPES:
        fields.require("words")
        return type_, fields.integer("words", 1, TEXT_WORDS_MAX, 1)
    if type_ in NUMBER_WORDS:
        return type_, NUMBER_WORDS[type_]
    known = [*NUMBER_WORDS, *(TEXT_TYPES if texts else ())]
    fields.fault("type", f"unknown type {type_!r}", did_you_mean(type_, known) or f"known: {', '.join(known)}")
    return "uint16", 1


def read_origin(fields: Fields, context: Context) -> tuple[str, Confidence]:
    """Where the fact is from and how sure it is."""
    source = fields.text("source", context.source)
    if source and source not in context.sources:
        fields.fault("source", f"{source!r} is not one of the profile's sources", did_you_mean(source, context.sources))
    return source, fields.word("confidence", CONFIDENCES, context.confidence)


def read_quantity(fields: Fields, key: str = "quantity") -> Quantity:
    """The quantity of the vocabulary that the key names."""
    fields.require(key)
    name = fields.text(key)
    if name in QUANTITIES:
        return QUANTITIES[name]
    if name:
        fields.fault(key, f"unknown quantity {name!r}", did_you_mean(name, QUANTITIES))
    return QUANTITIES["active_power_w"]


def read_scale(fields: Fields, quantity: Quantity | None) -> Fraction:
    """The keys ``scale`` and ``unit``: canonical units per raw count."""
    scale = fields.fraction("scale", Fraction(1))
    unit = fields.text("unit")
    if not unit:
        return scale
    if unit not in UNITS:
        fields.fault("unit", f"unknown unit {unit!r}", did_you_mean(unit, UNITS))
        return scale
    canonical, size = UNITS[unit]
    if quantity is not None and canonical != quantity.unit:  # a part may be anything
        fields.fault("unit", f"expected a unit of {quantity.unit or 'a ratio'}, found {unit!r}")
    return scale * size


def read_invalid(fields: Fields, key: str, type_: str) -> tuple[float, ...]:
    """Raw values that mean "not available", as the type's own numbers."""
    found: list[float] = []
    for n, item in fields.items(key):
        if not is_number(item):
            fields.fault((key, n), f"expected a number, found {shown(item)}", "a NaN is always invalid")
            continue
        bits = 16 * NUMBER_WORDS.get(type_, 1)
        is_upper = type_.startswith("int") and item >= 2 ** (bits - 1)
        found.append(item - 2**bits if is_upper else item)
    return tuple(found)


def read_range(fields: Fields, low: float, high: float) -> tuple[float, float]:
    """The key ``range``: [lowest, highest], inside what the quantity can be."""
    if "range" not in fields:
        return low, high
    ends = [item for _, item in fields.items("range")]
    if len(ends) == 2 and is_number(ends[0]) and is_number(ends[1]) and low <= ends[0] < ends[1] <= high:
        return float(ends[0]), float(ends[1])
    fields.fault("range", f"expected two numbers, {low:g} <= lowest < highest <= {high:g}")
    return low, high


def read_counter(fields: Fields, quantity: Quantity, default: CounterFacts, *, is_float: bool) -> CounterFacts | None:
    """The key ``counter`` of a register that counts; None for a gauge."""
    below = fields.below("counter")
    if quantity.kind != "counter":
        if below is not None:
            fields.fault("counter", f"{quantity.name} is no counter")
        return None
    facts = default if below is None else read_counter_facts(below, default)
    if is_float and facts.resolution_wh is None:
        fields.fault((), "a float counter needs counter: {resolution_wh: …}", "the step that the document states")
    return facts


def read_counter_facts(fields: Fields, default: CounterFacts) -> CounterFacts:
    """Resolution, modulus and resettable."""
    resolution = fields.number("resolution_wh", 1e-6, 1e6)
    modulus = fields.integer("modulus", 2, MODULUS_MAX, 2) if "modulus" in fields else default.modulus
    resettable = fields.flag("resettable") if "resettable" in fields else default.resettable
    fields.done()
    return CounterFacts(
        resolution_wh=default.resolution_wh if resolution is None else resolution,
        modulus=modulus,
        resettable=resettable,
    )


def read_register(
    fields: Fields, context: Context, *, part: bool = False, channel: str = "", offset: int = 0
) -> Register:
    """One element of ``registers`` or ``parts``.

    Args:
        fields: The element.
        context: What holds where the element is silent.
        part: The element has a name instead of a quantity and gives no value of its own.
        channel: Suffix of the channel it belongs to.
        offset: Number of the channel, times the element's ``stride``, is added to the address.
    """
    quantity = None if part else read_quantity(fields)
    if part:
        fields.require("name")
    stride = fields.integer("stride", 1, ADDRESS_MAX, 1) if channel else 0
    main = _shift(read_field(fields, context), offset * stride)
    terms = [(main, read_scale(fields, quantity))]
    fraction = fields.below("fraction")
    if fraction is not None:
        below = _shift(read_field(fraction, context), offset * stride)
        terms.append((below, read_scale(fraction, quantity)))
        fraction.done()
        if below.function != main.function:
            fraction.fault((), "an integer and its fraction need one function to come in one read")
    is_float = main.type in FLOAT_DIGITS
    low, high = (quantity.low, quantity.high) if quantity is not None else (-1e18, 1e18)
    low, high = read_range(fields, low, high)
    source, confidence = read_origin(fields, context)
    own = read_invalid(fields, "invalid", main.type) if "invalid" in fields else context.invalid.get(main.type, ())
    register = Register(
        quantity=fields.text("name") if quantity is None else quantity.name,
        channel=channel,
        fields=tuple(terms),
        invalid=frozenset(own),
        low=low,
        high=high,
        every=fields.integer("every", 1, EVERY_MAX, 1),
        alone=fields.flag("alone") if "alone" in fields else context.alone,
        four_quadrant=fields.flag("four_quadrant"),
        times=fields.names("times"),
        divided_by=fields.names("divided_by"),
        power_of_ten=fields.names("power_of_ten"),
        counter=None if quantity is None else read_counter(fields, quantity, context.counter, is_float=is_float),
        hidden=part,
        source=source,
        confidence=confidence,
        note=fields.text("note"),
    )
    if register.four_quadrant and not register.quantity.startswith("power_factor"):
        fields.fault("four_quadrant", "only a power factor is coded over four quadrants")
    fields.done()
    return register


def _shift(found: Field, by: int) -> Field:
    return Field(
        function=found.function, address=found.address + by, type=found.type, words=found.words,
        order=found.order, bit=found.bit,
    )  # fmt: skip


def read_derived(fields: Fields) -> Derived:
    """One element of ``derived``: ``sum_of`` names with an optional minus, or ``copy_of`` one name."""
    quantity = read_quantity(fields)
    copied = fields.text("copy_of")
    names = (copied,) if copied else fields.names("sum_of")
    if bool(copied) == ("sum_of" in fields) or not names:
        fields.fault((), "expected either sum_of: [names] or copy_of: name")
    if quantity.kind != "gauge" and not copied:
        fields.fault(
            "quantity", f"{quantity.name} counts: counters are never summed in a profile", "the ledger walks each alone"
        )
    terms = tuple((n.removeprefix("-"), -1 if n.startswith("-") else 1) for n in names)
    low, high = read_range(fields, quantity.low, quantity.high)
    fields.done()
    return Derived(quantity=quantity.name, terms=terms, low=low, high=high)


class ChannelGroup(NamedTuple):
    """Channels of one kind and what is read and made of them."""

    channels: list[Channel]
    registers: list[Register]
    derived: list[Derived]


def read_channels(fields: Fields, context: Context) -> ChannelGroup:
    """One element of ``channels``: as many channels as it counts, each with its registers and derived values."""
    fields.require("suffix", "count", "registers")
    suffix = fields.text("suffix", "channel-{n}")
    count = fields.integer("count", 1, CHANNELS_MAX, 1)
    first = fields.integer("first", 0, CHANNELS_MAX, 1)
    counted_by = fields.text("counted_by")
    current = fields.number("current_a", 0.1, 10_000.0)
    phases = fields.integer("phases", 1, 3, 1)
    if not is_suffix(suffix.replace("{n}", "1")) or (count > 1 and "{n}" not in suffix):
        fields.fault("suffix", f"expected a-z, 0-9 and '-' with {{n}} for the number, found {suffix!r}")
    channels: list[Channel] = []
    registers: list[Register] = []
    items = list(fields.items("registers"))
    made = fields.each("derived", read_derived)
    for offset in range(count):
        name = suffix.replace("{n}", str(first + offset))
        channels.append(
            Channel(suffix=name, index=offset, counted_by=counted_by, rated_current_a=current, phases=phases)
        )
        issues = fields.issues if offset == 0 else []  # the same text, the same faults: said once
        registers += [
            read_register(Fields(item, (*fields.path, "registers", n), issues), context, channel=name, offset=offset)
            for n, item in items
        ]
    fields.done()
    derived = [replace(value, channel=channel.suffix) for channel in channels for value in made]
    return ChannelGroup(channels, registers, derived)


def is_suffix(text: str) -> bool:
    """Whether the text can follow a device's id and a hyphen."""
    return text.isascii() and 1 <= len(text) <= 20 and text.replace("-", "").isalnum() and text == text.lower()
