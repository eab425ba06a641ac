"""Rows of the outbox as bytes: encode, check, and thin. Pure: no file, no clock."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import msgspec

from merilo.errors import OutboxError
from merilo.instants import QUARTER_MS
from merilo.quantities import is_register
from merilo.reading import Reading
from merilo.wire import ClockState

SCHEMA = 1
"""Of the body. Rows of older schemas stay readable; they are never rewritten for an upgrade."""
ORDINAL_BITS = 40
"""A row's key is its epoch's ordinal, shifted, plus its first number: 10^12 readings for each epoch."""
NUMBER_MAX = (1 << ORDINAL_BITS) - 1
READING_BYTES = 60
"""JSON around device and values of one reading in a message."""
MESSAGE_BYTES = 120
"""JSON around the readings of a message."""

Clock = Literal["synced", "stamped", "unknown", "unsynced"]
"""As on the wire; ``unsynced`` rows wait until their boot's clock is right."""
Level = Literal[0, 1, 2]
"""0: as read. 1: gauges once per quarter of an hour. 2: counters likewise."""


class Numbered(NamedTuple):
    """A reading and its number."""

    number: int
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stored cycle (after thinning: several)."""

    ordinal: int
    """Which epoch, counted in this file."""
    epoch: str
    first: int
    """Number of the first reading."""
    span: int
    """Numbers that the row stands for; after thinning more than it has readings."""
    boot: str
    mono_ns: int
    """Monotonic clock of the boot when the cycle was stored [ns]."""
    wall_ms: int
    """Wall clock at the same moment [UTC ms]."""
    clock: Clock
    readings: tuple[Numbered, ...]

    @property
    def key(self) -> int:
        """Where the row lies."""
        return self.ordinal << ORDINAL_BITS | self.first

    @property
    def last(self) -> int:
        """The last number the row stands for."""
        return self.first + self.span - 1


_Body = list[tuple[int, str, int, dict[str, float]]]
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Body)


def _crc(key: int, span: int, epoch: str, boot: str, mono_ns: int, wall_ms: int, clock: str, schema: int) -> int:
    return zlib.crc32(f"{key}|{span}|{epoch}|{boot}|{mono_ns}|{wall_ms}|{clock}|{schema}|".encode())


Columns = tuple[int, int, str, str, int, int, str, int, int, bytes]
"""id, span, epoch, boot, mono_ns, wall_ms, clock, schema, crc, body"""


def to_columns(row: Row) -> Columns:
    """What is stored of a row."""
    entries = [(n - row.first, r.device, r.at_ms, dict(r.values)) for n, r in row.readings]
    body = zlib.compress(_encoder.encode(entries), 6)
    crc = zlib.crc32(body, _crc(row.key, row.span, row.epoch, row.boot, row.mono_ns, row.wall_ms, row.clock, SCHEMA))
    return (row.key, row.span, row.epoch, row.boot, row.mono_ns, row.wall_ms, row.clock, SCHEMA, crc, body)


def from_columns(columns: Sequence[object]) -> Row:
    """The row that was stored.

    Raises:
        OutboxError: The checksum or anything behind it is wrong: the bytes are not those that were written.
    """
    try:
        key, span, epoch, boot, mono_ns, wall_ms, clock, schema, crc, body = columns
        if not isinstance(key, int) or not isinstance(span, int) or not isinstance(body, bytes):
            raise OutboxError(f"row {key!r}: expected numbers and bytes, found other types")
        head = _crc(key, span, str(epoch), str(boot), mono_ns, wall_ms, str(clock), schema)  # type: ignore[arg-type]
        if zlib.crc32(body, head) != crc:
            raise OutboxError(f"row {key}: expected checksum {crc}, found another")
        if schema != SCHEMA:
            raise OutboxError(f"row {key}: expected schema {SCHEMA}, found {schema!r}")
        first = key & NUMBER_MAX
        entries = _decoder.decode(zlib.decompress(body))
        return Row(
            ordinal=key >> ORDINAL_BITS,
            epoch=str(epoch),
            first=first,
            span=span,
            boot=str(boot),
            mono_ns=mono_ns,  # type: ignore[arg-type]  # vouched for by the checksum
            wall_ms=wall_ms,  # type: ignore[arg-type]
            clock=clock,  # type: ignore[arg-type]
            readings=tuple(Numbered(first + o, Reading(device=d, at_ms=at, values=v)) for o, d, at, v in entries),
        )
    except (ValueError, TypeError, zlib.error, msgspec.MsgspecError) as error:
        raise OutboxError(f"row {columns[0]!r}: cannot be decoded, {error}") from error


def shifted(row: Row, by_ms: int, clock: Clock) -> Row:
    """The same row with every instant moved."""
    moved = tuple(
        Numbered(n, Reading(device=r.device, at_ms=r.at_ms + by_ms, values=r.values)) for n, r in row.readings
    )
    return replace(row, wall_ms=row.wall_ms + by_ms, clock=clock, readings=moved)


def message_bytes(reading: Reading) -> int:
    """Bytes that a reading takes in a message; never less than it really does."""
    return len(_encoder.encode(dict(reading.values))) + len(reading.device) + READING_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What goes into one message: readings with numbers that follow each other."""

    epoch: str
    first: int
    readings: tuple[Reading, ...]
    clock: ClockState

    @property
    def last(self) -> int:
        """Number of the last reading."""
        return self.first + len(self.readings) - 1

    @property
    def span(self) -> Span:
        """The numbers of the batch."""
        return Span(self.epoch, self.first, self.last)


class Span(NamedTuple):
    """Numbers of one epoch, both ends included."""

    epoch: str
    first: int
    last: int

    def holds(self, epoch: str, number: int) -> bool:
        """Whether the number is one of these."""
        return epoch == self.epoch and self.first <= number <= self.last


def thinned(rows: Sequence[Row], level: Level) -> tuple[Row, list[int]]:
    """Rows of one quarter of an hour as one row, and the numbers that were given up.

    Level 1 keeps everything of the first reading of each device, and the counters of the others; level 2 the first
    reading only.

    Args:
        rows: At least one, of one epoch, in order.
    """
    kept: list[Numbered] = []
    lost: list[int] = []
    seen: set[str] = set()
    for number, reading in (numbered for row in rows for numbered in row.readings):
        if reading.device not in seen:
            seen.add(reading.device)
            kept.append(Numbered(number, reading))
            continue
        counters = {name: value for name, value in reading.values.items() if is_register(name)} if level == 1 else {}
        if counters:
            kept.append(Numbered(number, Reading(device=reading.device, at_ms=reading.at_ms, values=counters)))
        else:
            lost.append(number)
    head, tail = rows[0], rows[-1]
    return replace(head, span=tail.last - head.first + 1, readings=tuple(kept)), lost


def quarter(row: Row) -> int:
    """Which quarter of an hour the row belongs to."""
    return row.wall_ms // QUARTER_MS


def batches(
    rows: Iterable[tuple[Row, Sequence[tuple[int, int]]]], skip: Sequence[Span], limit_bytes: int
) -> Batch | None:
    """The first message that rows give: a run of numbers, at most that many bytes.

    Args:
        rows: In order, each with the ranges of it that are acknowledged already.
        skip: Numbers that are under way.
        limit_bytes: A single reading is sent even if it alone is more.
    """
    taken: list[Numbered] = []
    head: Row | None = None
    size = MESSAGE_BYTES
    for row, acked in rows:
        around = [s for s in skip if s.epoch == row.epoch and s.first <= row.last and s.last >= row.first]
        for number, reading in row.readings:
            done = any(low <= number <= high for low, high in acked)
            if done or any(s.holds(row.epoch, number) for s in around):
                if taken:
                    return _batch(head, taken)
                continue
            size += message_bytes(reading)
            follows = not taken or (
                head is not None
                and (row.epoch, row.clock) == (head.epoch, head.clock)
                and number == taken[-1].number + 1
                and size <= limit_bytes
            )
            if not follows:
                return _batch(head, taken)
            head = head or row
            taken.append(Numbered(number, reading))
    return _batch(head, taken)


def _batch(head: Row | None, taken: Sequence[Numbered]) -> Batch | None:
    if head is None or not taken:
        return None
    clock: ClockState = "unknown" if head.clock == "unsynced" else head.clock
    return Batch(epoch=head.epoch, first=taken[0].number, readings=tuple(r for _, r in taken), clock=clock)
