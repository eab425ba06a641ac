"""A decision of an operator, and the rows that decisions give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from merilo.ids import MeterKey, RegisterKey
from merilo.ledger import MISSING

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Kind = Literal["confirm", "scale", "swap", "reclassify", "exclude", "set_energy"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In order of application. A revocation is no kind of its own here: a revoked decision is left out."""

ReclassifiedAs = Literal["rollover", "load", "reset"]

_STRETCH = ("scale", "exclude", "set_energy")
"""Kinds that speak of [from, to); the others speak of one instant."""
_PARAMETERS: Mapping[Kind, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        "confirm": (frozenset(), frozenset()),
        "scale": (frozenset({"factor"}), frozenset()),
        "swap": (frozenset({"final_wh", "first_wh"}), frozenset()),
        "reclassify": (frozenset({"type"}), frozenset({"rollover_wh"})),
        "exclude": (frozenset(), frozenset()),
        "set_energy": (frozenset({"energy_wh"}), frozenset()),
    }
)
"""Required and optional parameters of each kind."""

OrphanReason = Literal["event_gone", "event_undecided", "no_pair", "rollover_unknown", "outside_limit", "nothing_known"]
"""Why a decision is not applied: its event went with late data, or cannot be decided yet; the event leaves no unknown
stretch; no modulus is known; the decided energy is negative or more than the register can truthfully count; the row
that it would correct has no known part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision of an operator about a register, or about a meter (`set_energy`).

    Raises:
        ValueError: A parameter that is missing, unknown or outside its range, a target of the wrong sort, or an empty
            stretch.
    """

    id: int
    kind: Kind
    target: RegisterKey | MeterKey
    from_ms: int
    """Begin of the stretch; for `swap` the instant of the swap, for `confirm` and `reclassify` that of the event."""
    to_ms: int
    """End of the stretch, excluded; equal to `from_ms` for kinds that speak of an instant."""
    parameters: Mapping[str, float | str] = field(default_factory=dict)
    """`scale`: factor on the register as read. `swap`: final_wh of the old, first_wh of the new device.
    `reclassify`: type, and rollover_wh where the facts know none. `set_energy`: energy_wh of the whole stretch."""
    created_ms: int = 0
    revoked: bool = False

    def __post_init__(self) -> None:
        where = f"decision {self.id} ({self.kind})"
        if self.kind not in KINDS:
            raise ValueError(f"decision {self.id}: kind {str(self.kind)[:40]!r}, expected one of {', '.join(KINDS)}")
        sort = MeterKey if self.kind == "set_energy" else RegisterKey
        if not isinstance(self.target, sort):
            raise ValueError(f"{where}: expected a {sort.__name__} as target, found {self.target!r}")
        if self.to_ms < self.from_ms or (self.kind in _STRETCH and self.to_ms == self.from_ms):
            raise ValueError(f"{where}: the stretch [{self.from_ms}, {self.to_ms}) is empty")
        required, optional = _PARAMETERS[self.kind]
        given = set(self.parameters)
        if missing := required - given:
            raise ValueError(f"{where}: parameter {sorted(missing)[0]} is missing")
        if unknown := given - required - optional:
            raise ValueError(f"{where}: parameter {sorted(unknown)[0][:40]!r} is unknown")
        for name in given - {"type"}:
            value = self.parameters[name]
            low_is_out = name in ("factor", "rollover_wh")
            if isinstance(value, str) or not math.isfinite(value) or value < 0 or (low_is_out and value == 0):
                bound = "above 0" if low_is_out else "of at least 0"
                raise ValueError(f"{where}: {name} = {value!r}, expected a number {bound}")
        if self.kind == "reclassify" and self.parameters["type"] not in get_args(ReclassifiedAs):
            raise ValueError(f"{where}: type {self.parameters['type']!r}, expected rollover, load or reset")

    def mwh(self, name: str) -> int:
        """An energy among the parameters, given in Wh [mWh]."""
        return round(float(self.parameters[name]) * 1000)


class Orphan(NamedTuple):
    """A decision that is not applied."""

    decision: int
    reason: OrphanReason


class Reach(NamedTuple):
    """The rows [start, end) that a decision changes.

    `open_start`, `open_end`: the rows given did not reach far enough to say; give more of them on that side.
    """

    start_ms: int
    end_ms: int
    open_start: bool = False
    open_end: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class EffectiveRows:
    """Rows of one register with all decisions applied, in columns, one entry per quarter of an hour."""

    start_ms: Ints
    state: Ints
    energy_mwh: Ints
    """0 where the row is missing."""
    low_mwh: Ints
    """The energy; of a missing row its known part."""
    metered_mwh: Ints
    bridged_mwh: Ints
    estimated_mwh: Ints
    """The three parts add up to the energy."""
    decisions: Mapping[int, tuple[int, ...]]
    """Row start to the ids of the decisions that touch the row, ascending; rows that none touches are absent."""
    orphans: tuple[Orphan, ...] = ()

    def __len__(self) -> int:
        return len(self.start_ms)

    @property
    def has_energy(self) -> Bools:
        """Which rows have energy: all but the missing ones."""
        found: Bools = self.state > MISSING
        return found
