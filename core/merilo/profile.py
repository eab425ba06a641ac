"""A device model as data: what to read, how, and what the words mean. Nothing here can express a write.

A profile is built by ``merilo.profiles.parse`` from plain data, made concrete for one device by
``merilo.profiles.setup.configure`` from what the device says about itself, and used by ``merilo.registers.decode``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from fractions import Fraction
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Literal

from merilo.bustime import Format, Line, SerialLine, TcpLine
from merilo.readplan import Block, Range, ReadRules, Span, plan

Order = Literal["big", "little", "setting"]
"""big: most significant word first. little: least significant word first. setting: the device says it at the start.
Bytes inside a word are always most significant first."""
Confidence = Literal["measured", "two-sources", "one-source", "recalled"]
Function = Literal[3, 4]

NUMBER_WORDS: Mapping[str, int] = MappingProxyType(
    {
        "uint16": 1,
        "int16": 1,
        "bcd16": 1,
        "bitfield16": 1,
        "float16": 1,
        "uint32": 2,
        "int32": 2,
        "bcd32": 2,
        "float32": 2,
        "uint64": 4,
        "int64": 4,
        "float64": 4,
    }
)
"""Words of each type of number."""
FLOAT_DIGITS: Mapping[str, int] = MappingProxyType({"float16": 11, "float32": 24, "float64": 53})
"""Significant binary digits of each type of float."""
TEXT_TYPES = ("ascii", "ascii_byteswapped", "utf16be")
"""Two characters a word, high byte first; two, low byte first; one character a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Words on the wire and what they are."""

    function: Function
    address: int
    """0-based, as in the request."""
    type: str
    """A key of NUMBER_WORDS or one of TEXT_TYPES."""
    words: int
    order: Order = "big"
    bit: int | None = None
    """Of a bitfield: which bit is meant, 0 = least significant."""

    @property
    def block(self) -> Block:
        """The read of exactly this field."""
        return Block(self.function, self.address, self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterFacts:
    """What the ledger must know of a counter."""

    resolution_wh: float | None = None
    """Step where it is coarser than the register's own [Wh or varh]; None: the register's own step."""
    modulus: int | None = None
    """Raw counts after which the counter starts at 0 again; None: not known, and never guessed."""
    resettable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One quantity and the words it is made of: value = sum of raw × scale over its fields × factors."""

    quantity: str
    """Name of the vocabulary, or of a part (hidden)."""
    channel: str = ""
    """Suffix of the device that the value belongs to; empty for the device itself."""
    fields: tuple[tuple[Field, Fraction], ...]
    """Usually one; an integer and its fraction are two, read in one block."""
    invalid: frozenset[float] = frozenset()
    """Raw values that say "not available"; a NaN always does."""
    low: float
    high: float
    """What can be true [unit of the quantity], both included."""
    every: int = 1
    """Read in every n-th cycle."""
    alone: bool = False
    four_quadrant: bool = False
    """Power factor coded over four quadrants: 1 < |x| < 2 is leading with 2 - |x|."""
    times: tuple[str, ...] = ()
    """Settings and parts whose value multiplies."""
    divided_by: tuple[str, ...] = ()
    power_of_ten: tuple[str, ...] = ()
    """Settings and parts whose value is an exponent of ten that multiplies."""
    counter: CounterFacts | None = None
    hidden: bool = False
    """A part: read for other values, no value of its own."""
    unknown: str = ""
    """Name of a setting that the device did not tell: the value cannot be known."""
    source: str = ""
    confidence: Confidence = "one-source"
    note: str = ""

    @property
    def scale(self) -> Fraction:
        """Unit of the quantity for one raw count of the first field, factors left out."""
        return self.fields[0][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A gauge that is a sum of others of its channel or of parts, or a copy of one value."""

    quantity: str
    channel: str = ""
    terms: tuple[tuple[str, int], ...]
    """Name and sign, +1 or -1. One term of weight +1 is a copy."""
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Something that a device says about itself."""

    name: str
    field: Field
    accept: tuple[int | str, ...] = ()
    """Values that this model gives; with ``contains``, empty means: not a check."""
    contains: tuple[str, ...] = ()
    """Texts of which one must occur, upper and lower case being the same."""
    role: Literal["model", "serial", "firmware"] = "model"
    source: str = ""
    confidence: Confidence = "one-source"

    @property
    def is_check(self) -> bool:
        """Whether the value decides if the device is this model."""
        return bool(self.accept or self.contains)

    def matches(self, value: float | str) -> bool:
        """Whether the model gives this value."""
        if value in self.accept:
            return True
        return isinstance(value, str) and any(text.casefold() in value.casefold() for text in self.contains)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A configuration register: read at the start, reported, never written."""

    name: str
    field: Field
    scale: Fraction = Fraction(1)
    holds: float | None = None
    """A known number that tells the word order by the order in which it makes sense."""
    meanings: Mapping[float, float | str] = dataclass_field(default_factory=dict)
    """Raw value → factor, or word order; empty: the number itself counts."""
    default: float | str | None = None
    """What a device means that does not have the register; None: nothing can be assumed."""
    expect: tuple[float, ...] = ()
    """Values that the device must be set to, empty: any."""
    why: str = ""
    """What is wrong with the values otherwise."""
    source: str = ""
    confidence: Confidence = "one-source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A part of a device that is a device of its own: an outlet, an input, a clamp."""

    suffix: str
    """The device's id is ``<id>-<suffix>``."""
    index: int = 0
    """Place among channels of its kind, from 0."""
    counted_by: str = ""
    """Setting that says how many channels there are; empty: all are there."""
    rated_current_a: float | None = None
    phases: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RtuLink:
    """How the device ships on a serial line."""

    baud: int
    format: Format
    unit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpLink:
    """How the device ships on a network."""

    port: int
    unit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttLink:
    """How the device ships on a broker."""

    topic: str
    """What the vendor suggests; people choose it."""


Link = RtuLink | TcpLink | MqttLink


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonValue:
    """One number of a JSON payload."""

    quantity: str
    path: tuple[str, ...]
    """Keys from the top, or from the channel's element."""
    scale: Fraction
    low: float
    high: float
    counter: CounterFacts | None = None
    source: str = ""
    confidence: Confidence = "one-source"


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonChannels:
    """An array of which each element is a device of its own."""

    path: tuple[str, ...]
    """Keys from the top to the array."""
    number: str
    """Key in the element that numbers it."""
    suffix: str
    """With ``{n}`` in place of the number."""
    most: int
    values: tuple[JsonValue, ...]
    rated_current_a: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttMapping:
    """What a JSON payload means."""

    values: tuple[JsonValue, ...]
    channels: tuple[JsonChannels, ...] = ()
    model_path: tuple[str, ...] = ()
    model_contains: tuple[str, ...] = ()
    serial_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What the device can carry."""

    phases: int
    current_a: float | None = None
    """Rated current per phase of the device itself [A]; None: depends on the transformers."""
    ct: Literal["direct", "inside", "outside"] = "direct"
    """direct: no transformers. inside: the device multiplies by their ratio. outside: its values are secondary ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The same model in another shape, told by a value it says about itself."""

    name: str
    told_by: str
    """Identity or setting."""
    values: tuple[float | str, ...]
    """Of a text it is enough that it occurs."""
    profile: Profile

    def matches(self, value: float | str | None) -> bool:
        """Whether this value tells the variant."""
        if isinstance(value, str):
            return any(isinstance(v, str) and v.casefold() in value.casefold() for v in self.values)
        return value is not None and value in self.values


ANY_READ = ReadRules()


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """One device model. Compared by identity: plans and decoders are kept per object."""

    name: str
    version: str
    vendor: str
    model: str
    kind: str
    sources: Mapping[str, str]
    """Key → document, page, or public repository path."""
    default_link: Link
    rules: ReadRules = ANY_READ
    response_ms: float = 40.0
    max_response_ms: float = 500.0
    min_gap_ms: float = 0.0
    rating: Rating
    registers: tuple[Register, ...] = ()
    derived: tuple[Derived, ...] = ()
    channels: tuple[Channel, ...] = ()
    identity: tuple[Identity, ...] = ()
    settings: tuple[Setting, ...] = ()
    word_order: str = ""
    """Setting that tells the word order, empty: fixed."""
    variants: tuple[Variant, ...] = ()
    mqtt: MqttMapping | None = None
    notes: tuple[str, ...] = ()
    """What whoever installs the device must know."""
    variant: str = ""

    @cached_property
    def suffixes(self) -> tuple[str, ...]:
        """The device itself (empty) and its channels."""
        return ("", *(channel.suffix for channel in self.channels))

    @property
    def setup(self) -> Mapping[str, Block]:
        """What to read once at the start, each by itself: name of the identity or setting → block."""
        fields = {i.name: i.field for i in self.identity} | {s.name: s.field for s in self.settings}
        return {name: found.block for name, found in fields.items()}

    @property
    def recalled(self) -> tuple[str, ...]:
        """Quantities whose facts nobody has confirmed on a device or in a document."""
        values: list[Register | JsonValue] = [*self.registers]
        if self.mqtt is not None:
            values += [*self.mqtt.values, *(v for c in self.mqtt.channels for v in c.values)]
        return tuple(dict.fromkeys(v.quantity for v in values if v.confidence == "recalled"))

    def default_line(self) -> Line:
        """The line that the device ships for, with its own response time.

        Raises:
            ValueError: The device is not polled.
        """
        if isinstance(self.default_link, RtuLink):
            link = self.default_link
            return SerialLine(
                baud=link.baud, format=link.format, response_ms=self.response_ms, min_gap_ms=self.min_gap_ms
            )
        if isinstance(self.default_link, TcpLink):
            return TcpLine(round_trip_ms=self.response_ms, min_gap_ms=self.min_gap_ms)
        raise ValueError(f"{self.name} is not polled: it publishes on a broker")

    def plan(
        self, line: Line, cycle: int = 0, *, avoid: Sequence[Range] = (), max_words: int | None = None
    ) -> tuple[Block, ...]:
        """The cheapest reads of one cycle; cycle 0 reads everything.

        Args:
            line: What a read costs.
            cycle: Number of the poll: registers with ``every`` n come when it is a multiple of n.
            avoid: Ranges that this device turned out to refuse.
            max_words: Fewer words than the profile allows, where the device turned out to want it.

        Raises:
            ValueError: ``avoid`` or ``max_words`` leave no read for a register.
        """
        due = frozenset(r.every for r in self.registers if cycle % r.every == 0)
        return _plan(self, line, due, tuple(avoid), max_words)

    def spans(self, due: frozenset[int] | None = None) -> list[Span]:
        """What must come in one answer each; only registers whose poll class is in ``due``, None for all."""
        named = {(r.channel, r.quantity): r for r in self.registers}
        found: list[Span] = []
        for register in self.registers:
            if due is not None and register.every not in due:
                continue
            fields = [f for f, _ in register.fields]
            for name in register.power_of_ten:  # a factor that may change belongs to the same answer as its values
                part = named.get((register.channel, name)) or named.get(("", name))
                fields += [f for f, _ in part.fields] if part is not None else []
            first = min(f.address for f in fields)
            past = max(f.address + f.words for f in fields)
            found.append(Span(fields[0].function, first, past - first, register.alone))
        return found


@lru_cache(maxsize=1024)
def _plan(
    profile: Profile, line: Line, due: frozenset[int], avoid: tuple[Range, ...], max_words: int | None
) -> tuple[Block, ...]:
    rules = profile.rules
    rules = replace(
        rules,
        forbidden=(*rules.forbidden, *avoid),
        max_words=min(rules.max_words, max_words or rules.max_words),
    )
    return plan(profile.spans(due), rules, line)
