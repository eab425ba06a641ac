"""Forming: rows of registers become rows of meters, 15 minutes each, in whole milliwatt-hours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from math import lcm

import numpy as np
from numpy.typing import NDArray

from merilo.decisions import Decision, EffectiveRows, spread
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import QUARTER_MS
from merilo.ledger import BRIDGED, ESTIMATED, METERED, MISSING
from merilo.meterrows import Bools, Ints, MeterRows
from merilo.meters import Scheme, registers_of
from merilo.site import MeterVersion


def form(
    scheme: Scheme,
    start_ms: int,
    end_ms: int,
    registers: Mapping[RegisterKey, EffectiveRows],
    *,
    meters: Collection[str] | None = None,
    formed: Mapping[str, MeterRows] | None = None,
    decisions: Iterable[Decision] = (),
) -> dict[str, MeterRows]:
    """Rows of meters in [start, end): each row by the definitions valid at its start.

    A meter has a row where one of its parts has one. A part without a row there is missing.

    Args:
        scheme: All meters of the site.
        start_ms: Grid instant.
        end_ms: Grid instant, excluded.
        registers: Decided rows of every register of the devices that the meters need.
        meters: Which meters to form, None for all.
        formed: Rows of meters that are parts of these and are not formed here.
        decisions: `set_energy` decisions about these meters, in any order.

    Raises:
        ValueError: A bound off the grid.
    """
    if start_ms % QUARTER_MS or end_ms % QUARTER_MS:
        raise ValueError(f"[{start_ms}, {end_ms}) is not on the 15-minute grid")
    set_by_hand = sorted(
        (one for one in decisions if one.kind == "set_energy" and not one.revoked),
        key=lambda one: (one.created_ms, one.id),
    )
    found: dict[str, list[MeterRows]] = {}
    for low, high in scheme.pieces(start_ms, end_ms) if start_ms < end_ms else ():
        here = {name: _Grid.of(rows, low, high) for name, rows in (formed or {}).items()}
        for meter in scheme.order(low):
            version = scheme.at(meter, low)
            if version is None or (meters is not None and meter not in meters):
                continue
            grid = _Grid(low, high)
            if version.device is not None:
                _from_device(grid, version, registers)
            else:
                _from_meters(grid, version, scheme, here)
            for one in set_by_hand:
                if one.target == version.key:
                    _set_energy(grid, one)
            here[meter] = grid
            found.setdefault(meter, []).append(grid.rows(version.role))
    return {meter: MeterRows.concat(pieces) for meter, pieces in found.items()}


class _Grid:
    """One meter's rows in [start, end), one entry per quarter of an hour whether it has a row or not."""

    def __init__(self, start_ms: int, end_ms: int) -> None:
        count = (end_ms - start_ms) // QUARTER_MS
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.starts: Ints = start_ms + QUARTER_MS * np.arange(count, dtype=np.int64)
        self.exists: Bools = np.zeros(count, np.bool_)
        self.state: Ints = np.zeros(count, np.int64)
        self.energy: Ints = np.zeros(count, np.int64)
        self.low: Ints = np.zeros(count, np.int64)
        self.metered: Ints = np.zeros(count, np.int64)
        self.bridged: Ints = np.zeros(count, np.int64)
        self.estimated: Ints = np.zeros(count, np.int64)
        self.apportioned: Ints = np.zeros(count, np.int64)
        self.has_export: Bools = np.zeros(count, np.bool_)
        self.state_export: Ints = np.zeros(count, np.int64)
        self.export: Ints = np.zeros(count, np.int64)
        self.decisions: dict[int, tuple[int, ...]] = {}

    @classmethod
    def of(cls, rows: MeterRows | EffectiveRows, start_ms: int, end_ms: int) -> _Grid:
        """Rows of a meter or a register, laid on a grid."""
        grid = cls(start_ms, end_ms)
        low, high = (int(i) for i in np.searchsorted(rows.start_ms, (start_ms, end_ms)))
        where = (rows.start_ms[low:high] - start_ms) // QUARTER_MS
        grid.exists[where] = True
        for name in MeterRows.COLUMNS if isinstance(rows, MeterRows) else _OF_REGISTER:
            getattr(grid, _SHORT[name])[where] = getattr(rows, name)[low:high]
        _note(grid, rows.decisions)
        return grid

    def share(self, energy: Ints, low: Ints, export: Ints) -> _Grid:
        """The same rows with other energies, all of them apportioned."""
        grid = _Grid(self.start_ms, self.end_ms)
        grid.exists, grid.state, grid.has_export = self.exists, self.state, self.has_export
        grid.state_export, grid.decisions = self.state_export, self.decisions
        grid.energy, grid.low, grid.export = energy, low, export
        grid.apportioned = np.abs(energy)
        return grid

    def rows(self, role: str) -> MeterRows:
        """The rows that exist."""
        keep = self.exists
        return MeterRows(
            start_ms=self.starts[keep],
            **{name: getattr(self, _SHORT[name])[keep] for name in MeterRows.COLUMNS},
            decisions=self.decisions,
            roles=((self.start_ms, role),) if keep.any() else (),
        )


_SHORT = {name: name.removesuffix("_mwh") for name in MeterRows.COLUMNS}
_OF_REGISTER = ("state", "energy_mwh", "low_mwh", "metered_mwh", "bridged_mwh", "estimated_mwh")


def _from_device(grid: _Grid, version: MeterVersion, registers: Mapping[RegisterKey, EffectiveRows]) -> None:
    """Import and export registers are added apart, each with its own worst state."""
    device: DeviceKey | None = version.device
    available = {key.register: rows for key, rows in registers.items() if key.device_key == device}
    chosen = registers_of(available, version.phase)
    imports = [_Grid.of(available[name], grid.start_ms, grid.end_ms) for name in chosen.imports]
    exports = [_Grid.of(available[name], grid.start_ms, grid.end_ms) for name in chosen.exports]
    for part in (*imports, *exports):
        grid.exists |= part.exists
        _note(grid, part.decisions)
    if imports:
        grid.state = _worst([part.state for part in imports])
        has = grid.state > MISSING
        for name in ("energy", "metered", "bridged", "estimated"):
            setattr(grid, name, np.where(has, _sum([getattr(part, name) for part in imports]), 0))
        grid.low = _sum([part.low for part in imports])
    if exports:
        grid.has_export = np.logical_or.reduce([part.exists for part in exports])
        grid.state_export = _worst([part.state for part in exports])
        grid.export = np.where(grid.state_export > MISSING, _sum([part.energy for part in exports]), 0)


def _from_meters(grid: _Grid, version: MeterVersion, scheme: Scheme, formed: Mapping[str, _Grid]) -> None:
    """Sum of the parts, row by row: worst state, no energy where a part has none.

    A difference that is negative in a row is kept, so that what was taken away and what is left add up again; but
    then the parts do not resolve the row, and it is bridged at best.
    """
    added: list[_Grid] = []
    taken: list[_Grid] = []
    for term in scheme.terms(version):
        part = formed.get(term.meter) or _Grid(grid.start_ms, grid.end_ms)
        size = abs(term.factor)
        if size < 1:
            part = _shared(
                part, size, version.meter if term.factor > 0 else "", scheme.shares(term.meter, part.start_ms)
            )
        (added if term.factor > 0 else taken).append(part)
    parts = [*added, *taken]
    for part in parts:
        grid.exists |= part.exists
        _note(grid, part.decisions)
    state = _worst([part.state for part in parts])
    grid.energy = np.where(state > MISSING, _sum([p.energy for p in added]) - _sum([p.energy for p in taken], grid), 0)
    grid.state = np.where(grid.energy < 0, np.minimum(state, BRIDGED), state)
    grid.metered = np.where(grid.state == METERED, grid.energy, 0)
    grid.bridged = np.where(grid.state == BRIDGED, grid.energy, 0)
    grid.estimated = np.where(grid.state == ESTIMATED, grid.energy, 0)
    grid.low = np.where(state > MISSING, grid.energy, _lower_bound(added, taken, grid))
    by_rule = np.minimum(_sum([p.apportioned for p in parts]), np.abs(grid.energy))
    grid.apportioned = np.where(state > MISSING, by_rule, 0)
    _exports_of_meters(grid, added, taken)


def _lower_bound(added: Sequence[_Grid], taken: Sequence[_Grid], grid: _Grid) -> Ints:
    """Of a missing row: what is known of the parts that are added, if all of what is taken away is known."""
    known = np.logical_and.reduce([part.state > MISSING for part in taken]) if taken else np.True_
    bound = _sum([part.low for part in added], grid) - _sum([part.energy for part in taken], grid)
    found: Ints = np.where(known, np.maximum(bound, 0), 0)
    return found


def _exports_of_meters(grid: _Grid, added: Sequence[_Grid], taken: Sequence[_Grid]) -> None:
    """The same sum over the exports of those parts that have any."""
    grid.has_export = np.logical_or.reduce([part.has_export for part in (*added, *taken)])
    state = _worst([np.where(part.has_export, part.state_export, METERED) for part in (*added, *taken)])
    known = grid.has_export & (state > MISSING)
    export = _sum([part.export for part in added], grid) - _sum([part.export for part in taken], grid)
    grid.export = np.where(known, export, 0)
    state = np.where(grid.export < 0, np.minimum(state, BRIDGED), state)
    grid.state_export = np.where(grid.has_export, state, MISSING)


def _shared(part: _Grid, size: Fraction, meter: str, shares: Mapping[str, Fraction]) -> _Grid:
    """The share of a meter; taking a share away takes the very part that another meter was given, if one was."""
    taker = meter if meter in shares else next((name for name, share in shares.items() if share == size), "")
    if not taker:
        shares, taker = {"": size}, ""
    names = list(shares)
    fractions = list(shares.values())
    index = names.index(taker)
    energy = split(part.energy, fractions)[index]
    low = np.where(part.state > MISSING, energy, _floor_share(part.low, size))
    return part.share(energy, low, split(part.export, fractions)[index])


def split(total_mwh: Ints, shares: Sequence[Fraction]) -> list[Ints]:
    """Each row split by largest remainder: the parts, and what shares below 1 leave to nobody, add up to the row.

    Args:
        total_mwh: Rows [mWh].
        shares: In the order in which equal remainders are served, adding up to at most 1.
    """
    rest = 1 - sum(shares, Fraction(0))
    every = [*shares, rest] if rest else list(shares)
    unit = reduce(lcm, (share.denominator for share in every), 1)
    weights = [int(share * unit) for share in every]
    # total = whole * unit + part, so that nothing grows beyond the total or the square of the unit.
    whole, part = np.divmod(total_mwh, unit)
    floors = np.array([whole * weight + part * weight // unit for weight in weights])
    remainders = np.array([part * weight % unit for weight in weights])
    over = total_mwh - floors.sum(axis=0)
    rank = np.argsort(np.argsort(-remainders, axis=0, kind="stable"), axis=0, kind="stable")
    found: NDArray[np.int64] = floors + (rank < over)
    return list(found[: len(shares)])


def _floor_share(low_mwh: Ints, size: Fraction) -> Ints:
    whole, part = np.divmod(low_mwh, size.denominator)
    found: Ints = whole * size.numerator + part * size.numerator // size.denominator
    return found


def _set_energy(grid: _Grid, one: Decision) -> None:
    """A bill, a photo or a log book: its energy lies flat over the whole rows of its stretch."""
    start, end = -(-one.from_ms // QUARTER_MS) * QUARTER_MS, one.to_ms // QUARTER_MS * QUARTER_MS
    where = (grid.starts >= start) & (grid.starts < end)
    if not where.any():
        return
    energy, _ = spread(one.mwh("energy_wh"), start, end, grid.starts[where])
    grid.exists[where] = True
    grid.state[where] = ESTIMATED
    for column in (grid.energy, grid.low, grid.estimated):
        column[where] = energy
    for column in (grid.metered, grid.bridged, grid.apportioned):
        column[where] = 0
    _note(grid, {int(at_ms): (one.id,) for at_ms in grid.starts[where]})


def _note(grid: _Grid, decisions: Mapping[int, tuple[int, ...]]) -> None:
    for at_ms, ids in decisions.items():
        if grid.start_ms <= at_ms < grid.end_ms:
            grid.decisions[at_ms] = tuple(sorted({*grid.decisions.get(at_ms, ()), *ids}))


def _worst(states: Sequence[Ints]) -> Ints:
    found: Ints = reduce(np.minimum, states)
    return found


def _sum(columns: Sequence[Ints], like: _Grid | None = None) -> Ints:
    if not columns and like is not None:
        return np.zeros(len(like.starts), np.int64)
    found: Ints = reduce(np.add, columns)
    return found
