"""Small scenes for the ledger's tests: units, polls written by hand, one row as plain numbers, both paths at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from merilo.ledger import LedgerEvent, RegisterFacts, Trace, Walk, walk

from .truth import Poll

T0 = 1_767_225_600_000
"""2026-01-01T00:00:00Z, a UTC midnight and so a grid instant."""
SECOND = 1_000
MINUTE = 60_000
QUARTER = 900_000
HOUR = 3_600_000
DAY = 86_400_000
WH = 1_000
KWH = 1_000_000
W = 1_000
KW = 1_000_000

METERED, BRIDGED, ESTIMATED, MISSING = 3, 2, 1, 0

BREAKS_SEGMENT = {"swap", "reset", "decode_change", "overbooked"}
"""Kinds after which a new segment begins; back_step and stuck do so by their detail."""


def facts(
    *,
    step_mwh: int = 10 * WH,
    max_power_mw: int = 23 * KW,
    poll_interval_ms: int = MINUTE,
    rollover_mwh: int | None = None,
    zero_is_valid: bool = True,
    valid_from_ms: int = 0,
) -> RegisterFacts:
    """Facts of an ordinary register: 10 Wh step, 23 kW, polls every minute."""
    return RegisterFacts(
        step_mwh=step_mwh,
        max_power_mw=max_power_mw,
        poll_interval_ms=poll_interval_ms,
        rollover_mwh=rollover_mwh,
        zero_is_valid=zero_is_valid,
        valid_from_ms=valid_from_ms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One base row as plain integers; the three last are None where the row has no register."""

    start_ms: int
    state: int
    known_mwh: int
    known_ms: int
    known_state: int
    estimated_mwh: int
    estimated_ms: int
    held_mwh: int
    held_ms: int
    held_k: int
    register_mwh: int | None
    before_ms: int | None
    after_ms: int | None


def rows(walked: Walk) -> list[Row]:
    """All rows of a walk."""
    base = walked.rows
    found = []
    for i in range(len(base)):
        has = bool(base.has_register[i])
        found.append(
            Row(
                start_ms=int(base.start_ms[i]),
                state=int(base.state[i]),
                known_mwh=int(base.known_mwh[i]),
                known_ms=int(base.known_ms[i]),
                known_state=int(base.known_state[i]),
                estimated_mwh=int(base.estimated_mwh[i]),
                estimated_ms=int(base.estimated_ms[i]),
                held_mwh=int(base.held_mwh[i]),
                held_ms=int(base.held_ms[i]),
                held_k=int(base.held_k[i]),
                register_mwh=int(base.register_mwh[i]) if has else None,
                before_ms=int(base.before_ms[i]) if has else None,
                after_ms=int(base.after_ms[i]) if has else None,
            )
        )
    return found


def known(walked: Walk) -> int:
    """All energy known from the register [mWh]."""
    return sum(row.known_mwh for row in rows(walked))


def estimated(walked: Walk) -> int:
    """All energy that was estimated [mWh]."""
    return sum(row.estimated_mwh for row in rows(walked))


def booked(walked: Walk) -> int:
    """All energy of the register, known or estimated [mWh]."""
    return known(walked) + estimated(walked)


def states(walked: Walk) -> list[int]:
    """The states of all rows."""
    return [row.state for row in rows(walked)]


def named(walked: Walk) -> list[tuple[str, str]]:
    """(kind, detail) of every event, in order."""
    return [(event.kind, event.detail) for event in walked.events]


def only(walked: Walk) -> LedgerEvent:
    """The one event of a walk."""
    assert len(walked.events) == 1, named(walked)
    return walked.events[0]


def both(
    polls: Iterable[Poll],
    register: RegisterFacts | Sequence[RegisterFacts],
    until_ms: int,
    identity_ms: Sequence[int] = (),
) -> Walk:
    """Walk by both paths, demand that they agree, and give the result."""
    known_facts = [register] if isinstance(register, RegisterFacts) else list(register)
    trace = Trace.of(list(polls), identity_ms=tuple(identity_ms))
    plain = walk(trace, known_facts, until_ms, vectorised=False)
    fast = walk(trace, known_facts, until_ms, vectorised=True)
    assert_same(fast, plain)
    return fast


def assert_same(one: Walk, other: Walk) -> None:
    """Rows, events, anchors and head are equal; rows are shown where they are not."""
    if not one.rows.same(other.rows):
        differing = [(a, b) for a, b in zip(rows(one), rows(other), strict=False) if a != b]
        raise AssertionError(f"{len(one.rows)} and {len(other.rows)} rows, first difference: {differing[:1]}")
    assert one.events == other.events
    assert one.anchors == other.anchors
    assert one.head == other.head


def steady(
    start_ms: int,
    end_ms: int,
    every_ms: int,
    first_mwh: int,
    power_mw: int,
    *,
    step_mwh: int = 1,
    power: bool = False,
) -> list[Poll]:
    """Polls from start to end, both included, of a constant load: register first + floor(energy / step) · step."""
    found: list[Poll] = []
    for at in range(start_ms, end_ms + 1, every_ms):
        energy = power_mw * (at - start_ms) // HOUR
        found.append((at, first_mwh + energy // step_mwh * step_mwh, power_mw if power else None))
    return found


def changed(polls: Iterable[Poll], start_ms: int, end_ms: int, register: Callable[[int], int]) -> list[Poll]:
    """The same polls with the register of [start, end) put through a function."""
    return [
        (at, register(shown) if shown is not None and start_ms <= at < end_ms else shown, power)
        for at, shown, power in polls
    ]


def near(found: int | None, expected: float, within: float = 1.0) -> bool:
    """Whether an energy is there and the hand-computed one but for the rounding to 1 mWh at its two ends."""
    return found is not None and abs(found - expected) <= within


def moved(event: LedgerEvent) -> int:
    """By how much the register differs across an event [mWh]."""
    assert event.r0_mwh is not None
    assert event.r1_mwh is not None
    return event.r1_mwh - event.r0_mwh
