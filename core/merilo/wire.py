"""Payloads on the broker, built and parsed in one place. JSON, schema version inside, UTC instants, names with units.

Foreign bytes raise PayloadError only, with a reason of the closed list REASONS.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from operator import le
from typing import Literal, TypeVar

import msgspec

from merilo.errors import PayloadError
from merilo.ids import is_id
from merilo.instants import to_ms, to_text
from merilo.quantities import QUANTITIES
from merilo.reading import Reading

VERSION = 1
SUPPORTED = (1,)
"""Versions this release takes."""

PAYLOAD_MAX = 262_144
"""Bytes: the packet limit that brokers are configured with."""
MESSAGE_MAX = 65_536
"""Bytes of one readings message: the outbox splits above it."""
INFLATED_MAX = 2_097_152
"""Bytes after decompression: a small message cannot fill the memory."""
READINGS_MAX = 4_096
"""Readings of one message."""
SEQUENCE_MAX = 2**63 - 1

REASONS = (
    "topic",  # not a Merilo topic, or an invalid id in it
    "too_large",  # more bytes or readings than a message may have
    "not_json",  # cannot be parsed, or bytes follow
    "schema",  # JSON, but not the fields this topic carries
    "version",  # a schema version this release does not know
    "not_finite",  # NaN or infinite
    "out_of_range",  # outside what the quantity can physically be
    "unknown_quantity",
    "device_id",
    "future",  # newer than the receiver's clock allows
    "too_late",  # older than the company's late limit
    "unknown_gateway",  # the registry has no such gateway, or it is bound elsewhere
    "too_many_devices",  # more new devices than one gateway may bring
    "store_refused",  # the store will never take this point
    "internal",  # an exception of ours while one message was handled
)
"""Why something was not taken. Codes; people read words made of them."""

ClockState = Literal["synced", "stamped", "unknown"]
"""synced: the gateway's clock was right. stamped: the source has no clock, the gateway stamped the arrival.
unknown: the boot never synchronised; the instant is bounded by its neighbours."""

_EPOCH_TEXT = re.compile("[0-9a-f]{16}")


class WireReading(msgspec.Struct, frozen=True, gc=False):
    """One reading inside a message."""

    device: str
    at: datetime
    values: dict[str, float]


class _ReadingsIn(msgspec.Struct, frozen=True, gc=False):
    v: int
    epoch: str
    seq: int
    readings: list[WireReading]
    clock: ClockState = "synced"


class _ReadingOut(msgspec.Struct, frozen=True, gc=False):
    device: str
    at: str
    values: dict[str, float]


class _ReadingsOut(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    v: int
    epoch: str
    seq: int
    readings: list[_ReadingOut]
    clock: ClockState = "synced"


class Readings(msgspec.Struct, frozen=True):
    """One message of readings: the n-th has number ``first + n``."""

    epoch: str
    """Names the outbox file: 16 hexadecimal digits."""
    first: int
    readings: tuple[Reading, ...]
    rejected: tuple[tuple[int, str, str], ...] = ()
    """Number, reason and detail of readings of this message that cannot be taken; the others stand."""
    clock: ClockState = "synced"

    @property
    def last(self) -> int:
        """Number of the last reading of the message, the rejected ones included."""
        return self.first + len(self.readings) + len(self.rejected) - 1

    def numbered(self) -> list[tuple[int, Reading]]:
        """The readings that can be taken, each with its number."""
        if not self.rejected:
            return list(enumerate(self.readings, self.first))
        gone = {number for number, _, _ in self.rejected}
        free = (n for n in range(self.first, self.last + 1) if n not in gone)
        return list(zip(free, self.readings, strict=True))


class Rejection(msgspec.Struct, frozen=True):
    """One reading that will never be taken."""

    seq: int
    reason: str


class Ack(msgspec.Struct, frozen=True):
    """What the collector has committed: numbers [from, to] of one epoch, both included."""

    epoch: str
    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    rejected: tuple[Rejection, ...] = ()
    v: int = VERSION


class State(msgspec.Struct, frozen=True):
    """Retained life sign of a gateway; the last will says ``lost``."""

    state: Literal["init", "ready", "disconnected", "lost"]
    at: str
    boot: str
    v: int = VERSION


class BirthQuantity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Facts of one quantity of one device, as the gateway's profile has them."""

    unit: str
    kind: Literal["gauge", "counter", "net_counter"]
    step_wh: float | None = None
    rollover_wh: float | None = None
    resettable: bool = False


class BirthDevice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One device as its gateway knows it; role and parent are proposals, the registry decides."""

    model: str = ""
    serial: str = ""
    profile: str = ""
    profile_version: str = ""
    role: str = ""
    parent: str = ""
    channel_of: str = ""
    interval_s: float = 10.0
    max_power_w: float | None = None
    zero_is_valid: bool | None = None
    meters: tuple[BirthMeter, ...] = ()
    quantities: dict[str, BirthQuantity] = {}


class BirthMeter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A meter that the gateway's file proposes: one phase of the device, or the whole of it."""

    meter: str
    role: str = ""
    phase: Literal["", "l1", "l2", "l3"] = ""


class Birth(msgspec.Struct, frozen=True):
    """Retained description of a gateway and its devices."""

    at: str
    boot: str
    epoch: str
    software: str
    config_hash: str
    devices: dict[str, BirthDevice] = {}
    v: int = VERSION


class DeviceHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """Poll counters of one device since the last health message."""

    up: bool
    polls: int
    polls_failed: int
    latency_s: float | None = None
    age_s: float | None = None
    reason: str = ""


class Health(msgspec.Struct, frozen=True):
    """Once a minute from each gateway."""

    at: str
    boot: str
    outbox_rows: int
    outbox_age_s: float
    outbox_bytes: int = 0
    evicted: int = 0
    clock: ClockState = "synced"
    clock_offset_s: float | None = None
    cpu_temperature_c: float | None = None
    disk_free: float | None = None
    mqtt_reconnects: int = 0
    version: str = ""
    config_hash: str = ""
    devices: dict[str, DeviceHealth] = {}
    counters: dict[str, int] = {}
    v: int = VERSION


class GatewayEvent(msgspec.Struct, frozen=True):
    """Something that happened at a gateway: device silent or back, identity changed, clock step, rows dropped."""

    at: str
    kind: str
    device: str = ""
    parameters: dict[str, str | float | int | bool] = {}
    v: int = VERSION


class Resync(msgspec.Struct, frozen=True):
    """Command: send the stored rows of these ranges again; empty ranges: everything of the grace window."""

    id: str
    expires: str
    epoch: str = ""
    ranges: tuple[tuple[int, int], ...] = ()
    since: str = ""
    """Alternatively all readings since this instant."""
    v: int = VERSION


Message = TypeVar("Message", Ack, State, Birth, Health, GatewayEvent, Resync)

_encoder = msgspec.json.Encoder()
_readings_decoder = msgspec.json.Decoder(_ReadingsIn)
_version_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def readings_payload(
    epoch: str, first: int, readings: Sequence[Reading], *, clock: ClockState = "synced", compress: bool = False
) -> bytes:
    """The bytes of one readings message.

    Args:
        epoch: Name of the outbox file, 16 hexadecimal digits.
        first: Number of the first reading, at least 0.
        readings: At least one, in order.
        clock: How far the instants can be trusted.
        compress: zlib, for metered links.
    """
    body = _encoder.encode(
        _ReadingsOut(
            VERSION, epoch, first, [_ReadingOut(r.device, to_text(r.at_ms), dict(r.values)) for r in readings], clock
        )
    )
    return zlib.compress(body, 6) if compress else body


def _inflate(payload: bytes) -> bytes:
    if len(payload) > PAYLOAD_MAX:
        raise PayloadError("too_large", f"expected at most {PAYLOAD_MAX} bytes, found {len(payload)}")
    if payload[:1] != b"\x78":
        return payload
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(payload, INFLATED_MAX)
    except zlib.error as error:
        raise PayloadError("not_json", f"expected zlib data, found {error}") from error
    if inflater.unconsumed_tail or not inflater.eof:
        raise PayloadError("too_large", f"expected at most {INFLATED_MAX} bytes after decompression, or data is cut")
    return body


def _parse_error(body: bytes, error: Exception) -> PayloadError:
    """Tells broken JSON, a foreign version and a foreign schema apart."""
    try:
        top = _version_decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as broken:
        if isinstance(broken, msgspec.ValidationError):
            return PayloadError("schema", f"expected a JSON object, {broken}")
        return PayloadError("not_json", f"expected one JSON object, {broken}")
    version = bytes(top["v"]) if "v" in top else b"nothing"
    if version not in [str(v).encode() for v in SUPPORTED]:
        return PayloadError("version", f"expected v of {SUPPORTED}, found {version[:20].decode(errors='replace')}")
    return PayloadError("schema", str(error))


def readings_from(payload: bytes) -> Readings:
    """Takes a readings message apart. A bad reading is rejected by itself; the others stand.

    Raises:
        PayloadError: The message as a whole cannot be taken.
    """
    body = _inflate(payload)
    try:
        message = _readings_decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, OverflowError, ValueError) as error:
        raise _parse_error(body, error) from error
    if message.v not in SUPPORTED:
        raise PayloadError("version", f"expected v of {SUPPORTED}, found {message.v}")
    if not _EPOCH_TEXT.fullmatch(message.epoch):
        raise PayloadError("schema", f"epoch: expected 16 hexadecimal digits, found {message.epoch[:40]!r}")
    if not 1 <= len(message.readings) <= READINGS_MAX:
        raise PayloadError("too_large", f"expected 1 to {READINGS_MAX} readings, found {len(message.readings)}")
    if not 0 <= message.seq <= SEQUENCE_MAX - READINGS_MAX:
        raise PayloadError("schema", f"seq: expected 0 to 2^63, found {message.seq}")
    good: list[Reading] = []
    rejected: list[tuple[int, str, str]] = []
    for offset, reading in enumerate(message.readings):
        try:
            good.append(_checked(reading))
        except PayloadError as error:
            rejected.append((message.seq + offset, error.reason, error.detail))
    return Readings(message.epoch, message.seq, tuple(good), tuple(rejected), message.clock)


def _checked(reading: WireReading) -> Reading:
    if not is_id(reading.device):
        raise PayloadError("device_id", f"expected an id, found {reading.device[:40]!r}")
    if reading.at.tzinfo is None:
        raise PayloadError("schema", f"{reading.device}: at has no offset")
    if not reading.values:
        raise PayloadError("schema", f"{reading.device}: no values")
    names, values = tuple(reading.values), tuple(reading.values.values())
    try:
        low, high = _limits(names)
    except KeyError:
        unknown = next(name for name in names if name not in QUANTITIES)
        raise PayloadError("unknown_quantity", f"{reading.device}: {unknown[:60]!r}") from None
    if not (all(map(le, low, values)) and all(map(le, values, high))):
        raise _beyond(reading)
    return _reading(reading.device, to_ms(reading.at), reading.values)


@lru_cache(maxsize=4096)
def _limits(names: tuple[str, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Smallest and largest true values of these quantities; a device always sends the same ones."""
    found = [QUANTITIES[name] for name in names]
    return tuple(quantity.low for quantity in found), tuple(quantity.high for quantity in found)


def _beyond(reading: WireReading) -> PayloadError:
    """Names the first value that cannot be true."""
    for name, value in reading.values.items():
        low, high = QUANTITIES[name].low, QUANTITIES[name].high
        if not low <= value <= high:
            reason = "out_of_range" if math.isfinite(value) else "not_finite"
            return PayloadError(reason, f"{reading.device}: {name} = {value}, expected {low:g} to {high:g}")
    raise AssertionError("every value lies within its limits")


_set = object.__setattr__


def _reading(device: str, at_ms: int, values: dict[str, float]) -> Reading:
    """A reading of what was checked just before: more strictly than Reading does, and once is enough."""
    found = object.__new__(Reading)
    _set(found, "device", device)
    _set(found, "at_ms", at_ms)
    _set(found, "values", values)
    return found


def to_payload(message: Ack | State | Birth | Health | GatewayEvent | Resync) -> bytes:
    """The bytes of any other message."""
    return _encoder.encode(message)


def from_payload(payload: bytes, kind: type[Message]) -> Message:
    """Takes any other message apart.

    Raises:
        PayloadError: Not such a message.
    """
    body = _inflate(payload)
    try:
        message = msgspec.json.decode(body, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, OverflowError, ValueError) as error:
        raise _parse_error(body, error) from error
    if message.v not in SUPPORTED:
        raise PayloadError("version", f"expected v of {SUPPORTED}, found {message.v}")
    return message


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted numbers as closed ranges: ``1 2 3 7`` gives ``(1, 3) (7, 7)``."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
