"""Base rows written by hand, one register, for the steps after the walk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from merilo.decisions import Decision, EffectiveRows, Kind, decide
from merilo.ids import MeterKey, RegisterKey
from merilo.ledger import BaseRows, LedgerEvent, RegisterFacts

T0 = 1_767_225_600_000
"""2026-01-01T00:00:00Z, a UTC midnight and so a grid instant."""
SECOND, MINUTE, QUARTER, HOUR, DAY = 1_000, 60_000, 900_000, 3_600_000, 86_400_000
WH, KWH = 1_000, 1_000_000
METERED, BRIDGED, ESTIMATED, MISSING = 3, 2, 1, 0

REGISTER = RegisterKey("acme", "hq", "gw1", "m1", "active_energy_import_wh")
METER = MeterKey("acme", "hq", "m1")
FACTS = (RegisterFacts(step_mwh=10 * WH, max_power_mw=23 * KWH, poll_interval_ms=MINUTE),)
"""10 Wh step, 23 kW, polls every minute: an entry of up to 900 s is metered."""


def base(count: int, **columns: Mapping[int, int | bool]) -> BaseRows:
    """Rows of 6 kW on a register that begins at 500 kWh, polled on the grid; each column can be changed by row."""
    grid = np.arange(count, dtype=np.int64)
    found: dict[str, Any] = {
        "state": np.full(count, METERED),
        "known_mwh": np.full(count, 1_500 * WH),
        "known_ms": np.full(count, QUARTER),
        "known_state": np.full(count, METERED),
        **{name: np.zeros(count, np.int64) for name in ("estimated_mwh", "estimated_ms", "held_mwh", "held_ms")},
        "held_k": np.zeros(count, np.int64),
        "register_mwh": 500 * KWH + 1_500 * WH * grid,
        "before_ms": np.zeros(count, np.int64),
        "after_ms": np.zeros(count, np.int64),
        "has_register": np.ones(count, np.bool_),
    }
    for name, changes in columns.items():
        for row, value in changes.items():
            found[name][row] = value
    covered = found["known_ms"] + found["estimated_ms"] >= QUARTER
    found["state"] = np.where(covered, np.where(found["estimated_ms"] > 0, ESTIMATED, found["known_state"]), MISSING)
    return BaseRows(start_ms=T0 + QUARTER * grid, **found)


def event(kind: str, detail: str, t0_ms: int, t1_ms: int, **fields: Any) -> LedgerEvent:
    """An event of the walk with what matters to decisions; its instant is the end of its pair."""
    plain: dict[str, Any] = {"at_ms": t1_ms, "r0_mwh": None, "r1_mwh": None, "low_mwh": None, "high_mwh": None}
    plain |= {"estimated_mwh": None, "set_aside": 0, "settles_at_ms": None}
    return LedgerEvent(kind=kind, detail=detail, t0_ms=t0_ms, t1_ms=t1_ms, **(plain | fields))


def decision(number: int, kind: Kind, from_ms: int, to_ms: int | None = None, **parameters: float | str) -> Decision:
    """A decision about the register, or with set_energy about the meter; created in the order of its number."""
    return Decision(
        id=number,
        kind=kind,
        target=METER if kind == "set_energy" else REGISTER,
        from_ms=from_ms,
        to_ms=from_ms if to_ms is None else to_ms,
        parameters=parameters,
        created_ms=T0 + number,
    )


def decided(
    rows: BaseRows,
    decisions: Sequence[Decision],
    events: Sequence[LedgerEvent] = (),
    facts: Sequence[RegisterFacts] = FACTS,
) -> EffectiveRows:
    """Effective rows whose columns fit together."""
    found = decide(rows, events, decisions, facts)
    assert np.array_equal(found.energy_mwh, found.metered_mwh + found.bridged_mwh + found.estimated_mwh)
    assert np.array_equal(found.low_mwh[found.has_energy], found.energy_mwh[found.has_energy])
    return found


def wh(column: Any) -> list[float]:
    """A column of milliwatt-hours in Wh."""
    return [value / WH for value in column.tolist()]


def same(one: EffectiveRows, other: EffectiveRows) -> bool:
    """Whether two results agree in every column and in the decisions behind them."""
    names = ("start_ms", "state", "energy_mwh", "low_mwh", "metered_mwh", "bridged_mwh", "estimated_mwh")
    return one.decisions == other.decisions and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in names
    )
