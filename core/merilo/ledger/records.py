"""What a walk gives besides rows: events, anchors, and all of it together."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from merilo.ledger.rows import BaseRows, RowSums


class LedgerEvent(msgspec.Struct, frozen=True):
    """Something a register did that a person should know of. Its identity is (register, `at_ms`)."""

    kind: str
    """swap, stuck, back_step, spike, zero_burst, rollover, reset, decode_change, overbooked,
    register_power_mismatch, step_mismatch."""
    detail: str
    """ignored, rebased, undecided, caught_up, open, resumed, identity, suspected, or empty."""
    at_ms: int
    """The reading that disturbed; for `stuck` the first poll that proves it."""
    t0_ms: int
    t1_ms: int
    """The pair: last accepted poll before, first accepted reading after."""
    r0_mwh: int | None
    r1_mwh: int | None
    """The register at the pair, in units of the walk; of readings that were set aside the first one's."""
    low_mwh: int | None
    high_mwh: int | None
    """Bounds of the pair's true energy where it is unknown."""
    estimated_mwh: int | None
    """What has been booked as estimated for the pair (`overbooked`: what had been booked too much); None = nothing."""
    set_aside: int
    """Readings that count for nothing."""
    settles_at_ms: int | None
    """Until then a return to the old level revises the event; None = it stands."""
    k: int = 0
    """Power of ten that the register is walked with from here on."""


class Anchor(msgspec.Struct, frozen=True):
    """The walk's whole state at a level: a walk can start here as if it came from the first reading."""

    t_ms: int
    """The level's instant: the first poll that saw it, or the last poll of a closed hold."""
    v_ms: int
    """Instant up to which all readings must be known for this state to be certain; not before `t_ms`."""
    register_mwh: int
    """The level, times 10^k. 0 for a meter without register."""
    carry_mwh: int | None
    """Energy already booked above the level; None = unknown (the register stood still and nothing says how much)."""
    segment_ms: int
    """First reading of the run of entries without an unknown pair."""
    k: int
    """Power of ten that the register is walked with; not 0 = suspended."""
    tick_ms: int
    """When the register last moved."""
    mean_mw: int | None
    """Mean power of the last entry; None before the first."""
    row: RowSums
    """The row that contains `t_ms`, up to there."""
    open_ms: int | None = None
    """Where the unknown stretch began, while the carry is unknown."""
    open_mwh: int | None = None
    """All that was booked up to there, as a register value."""
    power_mw: int | None = None
    """The sample, for a meter without register."""
    known_rest: int = 0
    """Of a meter without register: what the row has beyond its whole known mWh, in halves of mW·ms."""
    estimated_rest: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Rows, events and anchors of one register."""

    rows: BaseRows
    events: tuple[LedgerEvent, ...]
    """By instant."""
    anchors: tuple[Anchor, ...]
    """The first of each UTC day among the levels after the start, in order, and the head as last."""
    head: Anchor | None
    """Newest anchor that the newest reading makes certain."""
