"""One register's books: from the raw readings since a checkpoint to base rows, events and new checkpoints.

Starts at the newest checkpoint that no touched reading can have changed, and stops at the first new day checkpoint that
equals the stored one: what lies behind it cannot differ. Everything here may be repeated after a crash at any point, as
long as rows are stored before events, and checkpoints last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from merilo import ledger
from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import DAY_MS, QUARTER_MS, floor_ms
from merilo.ledger import Anchor, BaseRows, LedgerEvent, RegisterFacts, RowSums, Trace, Walk
from merilo.ledger.rows import Sheet
from merilo.quantities import is_export, is_register, is_tariff, power_of

FOREVER_MS = 2**62
CHUNK_MS = 2 * DAY_MS
"""Raw readings are taken up to this far behind the last touched instant first; twice as far each time that is not
enough to meet an equal checkpoint."""


class Head(msgspec.Struct, frozen=True):
    """How far a register's rows reach, and the newest state that no later reading can change."""

    until_ms: int
    anchor: Anchor | None = None
    newest_ms: int = 0
    """The newest reading that was walked; 0 = none."""


class Checkpoints(Protocol):
    """Stored anchors of registers."""

    def head(self, key: RegisterKey) -> Head | None:
        """The newest state, None before the first run."""
        ...

    def newest_before(self, key: RegisterKey, v_below_ms: int, t_below_ms: int) -> Anchor | None:
        """The newest day checkpoint before t_below_ms whose certainty does not reach v_below_ms."""
        ...

    def days(self, key: RegisterKey, after_ms: int, to_ms: int) -> dict[int, Anchor]:
        """The day checkpoints of (after, to] by instant."""
        ...

    def put(self, key: RegisterKey, after_ms: int, to_ms: int, days: Sequence[Anchor], head: Head | None) -> None:
        """Replaces the day checkpoints of (after, to], and the head unless None, in one transaction."""
        ...

    def drop(self, key: RegisterKey) -> None:
        """Forgets a register."""
        ...


class RawReader(Protocol):
    """Raw readings of one device."""

    def frame(self, key: DeviceKey, start_ms: int, end_ms: int) -> Frame:
        """The readings of [start, end)."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """What one recompute of a register leaves to be stored, in this order: rows, events, forms, checkpoints."""

    key: RegisterKey
    from_ms: int
    """First row that is replaced; 0 when there was no checkpoint: whatever lies before the first row goes."""
    to_ms: int
    """End of what is replaced; FOREVER_MS when the walk went to the end."""
    rows: BaseRows
    events_after_ms: int
    events_to_ms: int
    events: tuple[LedgerEvent, ...]
    days: tuple[Anchor, ...]
    head: Head | None
    walked_after_ms: int
    """Every reading after this instant was walked up to the horizon, FOREVER_MS if it was not to the end."""


def trace_of(frame: Frame, register: str, identity_ms: tuple[int, ...] = ()) -> Trace:
    """The readings of one register with the device's own power of the same phase, as whole mWh and mW."""
    n = len(frame)
    nothing = np.full(n, np.nan)
    if is_tariff(register):
        # The device's power belongs to whichever tariff counts now: it proves nothing about a register that rests.
        value, power, sign = frame.numbers.get(register, nothing), nothing, 1
    elif is_register(register):
        value = frame.numbers.get(register, nothing)
        power = frame.numbers.get(power_of(register), nothing)
        sign = 0 if register.startswith(("active_energy_wh", "active_energy_l")) else -1 if is_export(register) else 1
    else:
        value, power, sign = nothing, frame.numbers.get(register, nothing), 1
    power = np.abs(power) if sign == 0 else np.maximum(sign * power, 0.0)
    has_register, has_power = ~np.isnan(value), ~np.isnan(power)
    here = has_register | has_power
    return Trace(
        frame.at_ms[here],
        np.rint(np.where(has_register, value, 0.0)[here] * 1000).astype(np.int64),
        has_register[here],
        np.rint(np.where(has_power, power, 0.0)[here] * 1000).astype(np.int64),
        has_power[here],
        identity_ms,
    )


def registers_in(frame: Frame) -> list[str]:
    """What the ledger walks of a device: its counters, or its powers where it has no counter."""
    there = [name for name, column in frame.numbers.items() if not bool(np.all(np.isnan(column)))]
    counters = sorted(name for name in there if is_register(name))
    if any(name.endswith("_wh") for name in counters):
        return counters
    return counters + sorted(name for name in there if name.startswith("active_power") and name.endswith("_w"))


def start_of(key: RegisterKey, first_ms: int, checkpoints: Checkpoints) -> Anchor | None:
    """The checkpoint a recompute begins at: the newest that a reading at first_ms cannot have changed.

    Its row must not lie behind the present end of the rows, or those between would never be written.
    """
    head = checkpoints.head(key)
    if head is None:
        return None
    behind_ms = head.until_ms + QUARTER_MS
    day, newest = checkpoints.newest_before(key, first_ms, behind_ms), head.anchor
    if newest is None or newest.v_ms >= first_ms or newest.t_ms >= behind_ms:
        return day
    return newest if day is None or day.t_ms <= newest.t_ms else day


def row_of(at_ms: int) -> int:
    """Start of the quarter of an hour that contains the instant."""
    return floor_ms(at_ms, QUARTER_MS)


def recompute(
    key: RegisterKey,
    first_ms: int,
    last_ms: int | None,
    until_ms: int,
    horizon_ms: int,
    facts: Sequence[RegisterFacts],
    raw: RawReader,
    checkpoints: Checkpoints,
    identity_ms: tuple[int, ...] = (),
) -> Run:
    """Walks one register from the checkpoint before ``first_ms`` to an equal checkpoint after ``last_ms``.

    Args:
        first_ms: Earliest touched instant.
        last_ms: Latest touched instant; None walks to the end (the grid moved on).
        until_ms: Grid instant at which the rows end.
        horizon_ms: Not before until_ms; what lies from here on is not looked at.
        facts: Dated facts of the register, oldest first.
    """
    old = checkpoints.head(key)
    start = start_of(key, first_ms, checkpoints)
    start_ms = start.t_ms if start else 0
    stored = checkpoints.days(key, start_ms, FOREVER_MS) if last_ms is not None else {}
    identity_ms = tuple(at_ms for at_ms in identity_ms if at_ms < horizon_ms)
    reach = CHUNK_MS
    while True:
        end_ms = max(last_ms or 0, start_ms) + reach
        whole = last_ms is None or max(stored, default=0) <= last_ms or end_ms > until_ms + DAY_MS
        frame = raw.frame(key.device_key, start_ms, horizon_ms if whole else min(end_ms, horizon_ms))
        trace = trace_of(frame, key.register, identity_ms)
        newest_ms = max(old.newest_ms if old else 0, int(trace.t_ms[-1]) if len(trace) else 0)
        if last_ms is None and old is not None and 0 < newest_ms == old.newest_ms < old.until_ms < until_ms:
            return _asleep(key, old, until_ms)
        edge_ms = until_ms if whole else min(until_ms, floor_ms(end_ms, QUARTER_MS))
        found = (ledger.walk if is_register(key.register) else ledger.walk_power)(trace, facts, edge_ms, start)
        stop = _stop(found.anchors, stored, start, last_ms, FOREVER_MS if whole else end_ms - 1)
        if whole:
            reaches_ms = old.until_ms if stop and old else until_ms
            certain = found.head or (old.anchor if old else None)
            return _run(key, start, stop, found, until_ms, Head(reaches_ms, certain, newest_ms))
        if stop is not None and old and old.anchor and old.anchor.t_ms >= stop.t_ms:
            return _run(key, start, stop, found, until_ms, None)
        reach *= 2


def _asleep(key: RegisterKey, old: Head, until_ms: int) -> Run:
    """Nothing new was said and all rows of what was are written: missing ones follow, and none before them changes.

    The readings behind those rows may have expired long ago, so they must not be walked again.
    """
    rows = Sheet(RowSums(old.until_ms), until_ms).rows()
    head = Head(until_ms, old.anchor, old.newest_ms)
    return Run(key, old.until_ms, FOREVER_MS, rows, FOREVER_MS, FOREVER_MS, (), (), head, FOREVER_MS)


def _firsts(anchors: Sequence[Anchor], start: Anchor | None) -> list[Anchor]:
    """The anchors that are the first of their UTC day, the start's own day excepted."""
    day = start.t_ms // DAY_MS if start else -1
    found = []
    for anchor in sorted(anchors, key=lambda one: one.t_ms):  # the head comes last, wherever it lies
        if anchor.t_ms // DAY_MS > day:
            found.append(anchor)
            day = anchor.t_ms // DAY_MS
    return found


def _stop(
    anchors: Sequence[Anchor], stored: Mapping[int, Anchor], start: Anchor | None, last_ms: int | None, known_ms: int
) -> Anchor | None:
    if last_ms is None:
        return None
    for anchor in _firsts(anchors, start):
        if anchor.t_ms > last_ms and anchor.v_ms <= known_ms and stored.get(anchor.t_ms) == anchor:
            return anchor
    return None


def _run(
    key: RegisterKey, start: Anchor | None, stop: Anchor | None, found: Walk, until_ms: int, head: Head | None
) -> Run:
    after_ms = start.t_ms if start else -1
    to_ms = stop.t_ms if stop else FOREVER_MS
    end_row_ms = row_of(stop.t_ms) if stop else FOREVER_MS
    from_ms = row_of(start.t_ms) if start else 0
    return Run(
        key=key,
        from_ms=from_ms,
        to_ms=end_row_ms,
        rows=found.rows.slice(from_ms, min(end_row_ms, until_ms)),
        events_after_ms=after_ms,
        events_to_ms=to_ms,
        events=tuple(e for e in found.events if after_ms < e.at_ms <= to_ms),
        days=tuple(a for a in _firsts(found.anchors, start) if after_ms < a.t_ms <= to_ms),
        head=head,
        walked_after_ms=FOREVER_MS if stop else start.v_ms if start else -1,
    )
