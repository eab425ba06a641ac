"""Rows of one meter in columns, and the stored fields that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from merilo.frame import Column, Frame
from merilo.instants import HOUR_MS, QUARTER_MS
from merilo.ledger import BRIDGED, METERED, MISSING

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_PER_HOUR = HOUR_MS // QUARTER_MS


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MeterRows:
    """Rows of one meter on the 15-minute grid, ordered by start; a quarter of an hour may be absent."""

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "state",
        "energy_mwh",
        "low_mwh",
        "metered_mwh",
        "bridged_mwh",
        "estimated_mwh",
        "apportioned_mwh",
        "has_export",
        "state_export",
        "export_mwh",
    )
    """All columns but the start."""

    start_ms: Ints
    state: Ints
    energy_mwh: Ints
    """Import; 0 where the row is missing; a difference may be negative."""
    low_mwh: Ints
    """The energy; of a missing row what is known at least."""
    metered_mwh: Ints
    bridged_mwh: Ints
    estimated_mwh: Ints
    """The three parts add up to the energy."""
    apportioned_mwh: Ints
    """Energy that a share decided and not a meter. It is not stored, so rows that were read back have none."""
    has_export: Bools
    """Whether the meter counts export at all."""
    state_export: Ints
    export_mwh: Ints
    decisions: Mapping[int, tuple[int, ...]]
    """Row start to the ids of the decisions behind the row."""
    roles: tuple[tuple[int, str], ...] = ()
    """(first row start, role) for every change of role."""

    def __len__(self) -> int:
        return len(self.start_ms)

    @property
    def has_energy(self) -> Bools:
        """Which rows have energy: all but the missing ones."""
        found: Bools = self.state > MISSING
        return found

    @classmethod
    def concat(cls, parts: Iterable[MeterRows]) -> MeterRows:
        """All rows of the parts, which follow one another in time."""
        given = list(parts)
        if not given:
            return cls.empty()
        roles: list[tuple[int, str]] = []
        for at_ms, role in (one for part in given for one in part.roles):
            if not roles or roles[-1][1] != role:
                roles.append((at_ms, role))
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in given]) for name in ("start_ms", *cls.COLUMNS)},
            decisions={at_ms: ids for part in given for at_ms, ids in part.decisions.items()},
            roles=tuple(roles),
        )

    @classmethod
    def empty(cls) -> MeterRows:
        """No rows."""
        return cls.from_frame(Frame.empty())

    def between(self, start_ms: int, end_ms: int) -> MeterRows:
        """The rows that start in [start, end)."""
        return self._where((self.start_ms >= start_ms) & (self.start_ms < end_ms))

    def by_role(self) -> dict[str, MeterRows]:
        """The rows of each role: what one stored series holds."""
        changes = np.array([at_ms for at_ms, _ in self.roles], np.int64)
        which = np.searchsorted(changes, self.start_ms, "right") - 1
        found: dict[str, Bools] = {}
        for index, (_, role) in enumerate(self.roles):
            found[role] = found.get(role, np.zeros(len(self), np.bool_)) | (which == index)
        return {role: self._where(keep) for role, keep in found.items()}

    def _where(self, keep: Bools) -> MeterRows:
        starts = self.start_ms[keep]
        kept = set(starts.tolist()) if self.decisions else set()
        return MeterRows(
            start_ms=starts,
            **{name: getattr(self, name)[keep] for name in self.COLUMNS},
            decisions={at_ms: ids for at_ms, ids in self.decisions.items() if at_ms in kept},
            roles=self.roles,
        )

    def to_frame(self) -> Frame:
        """The stored fields of a quarter of an hour.

        A row has one of two sets of fields, so that a rewrite deletes a field only where energy disappears: with
        energy all of them, without energy only the lower bound, the state and the coverage. Export has its own state
        and follows it alone.
        """
        has = self.has_energy
        exports = self.has_export & (self.state_export > MISSING)
        power = self.energy_mwh * _PER_HOUR
        numbers = {
            "energy_wh": _wh(self.energy_mwh, has),
            "energy_metered_wh": _wh(self.metered_mwh, has),
            "energy_bridged_wh": _wh(self.bridged_mwh, has),
            "energy_estimated_wh": _wh(self.estimated_mwh, has),
            "energy_low_wh": _wh(self.low_mwh),
            "power_mean_w": _wh(power, has),
            "power_max_w": _wh(power, self.state == METERED),
            "state": self.state.astype(np.float64),
            "coverage": (self.state >= BRIDGED).astype(np.float64),
            "coverage_shape": (self.state == METERED).astype(np.float64),
        }
        if self.has_export.any():
            numbers["energy_export_wh"] = _wh(self.export_mwh, exports)
            numbers["state_export"] = np.where(self.has_export, self.state_export.astype(np.float64), np.nan)
        texts: dict[str, list[str | None]] = {}
        if self.decisions:
            ids = [self.decisions.get(at_ms) for at_ms in self.start_ms.tolist()]
            texts["decision"] = [
                ",".join(map(str, some)) if some and known else None
                for some, known in zip(ids, has.tolist(), strict=True)
            ]
        return Frame(self.start_ms, numbers, texts)

    @classmethod
    def from_frame(cls, frame: Frame, role: str = "") -> MeterRows:
        """Rows as they were stored; what a share decided is not known any more."""
        none = np.full(len(frame), np.nan)

        def column(name: str) -> Column:
            return frame.numbers.get(name, none)

        def whole(values: Column, scale: int = 1) -> Ints:
            return np.rint(np.nan_to_num(values) * scale).astype(np.int64)

        texts = frame.texts.get("decision", [None] * len(frame))
        return cls(
            start_ms=frame.at_ms,
            state=whole(column("state")),
            energy_mwh=whole(column("energy_wh"), 1000),
            low_mwh=whole(column("energy_low_wh"), 1000),
            metered_mwh=whole(column("energy_metered_wh"), 1000),
            bridged_mwh=whole(column("energy_bridged_wh"), 1000),
            estimated_mwh=whole(column("energy_estimated_wh"), 1000),
            apportioned_mwh=np.zeros(len(frame), np.int64),
            has_export=~np.isnan(column("state_export")),
            state_export=whole(column("state_export")),
            export_mwh=whole(column("energy_export_wh"), 1000),
            decisions={
                int(at_ms): tuple(int(one) for one in text.split(","))
                for at_ms, text in zip(frame.at_ms, texts, strict=True)
                if text
            },
            roles=((int(frame.at_ms[0]), role),) if len(frame) and role else (),
        )


def _wh(mwh: Ints, where: Bools | None = None) -> Column:
    """Watt-hours of milliwatt-hours, NaN where the row has no such field."""
    found: Column = mwh / 1000.0
    return found if where is None else np.where(where, found, np.nan)
