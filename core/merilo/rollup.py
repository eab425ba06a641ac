"""Roll-ups: 15-minute rows of one meter summed over local hours, days, months and years."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from merilo.calendar import Boundaries
from merilo.frame import Column, Frame
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS
from merilo.ledger import BRIDGED, METERED, MISSING
from merilo.meterrows import MeterRows

Ints = NDArray[np.int64]

COVERAGE_MIN = 0.90
"""Coverage that a day, a month or a longer period needs before an indicator uses it."""
MISSING_MAX_MS = DAY_MS
"""Longest stretch without energy that a period of more than a day may hold: a lost day is not made up by others."""
NEGATIVE_SHARE = 0.02
"""A difference below minus this share of what it was taken from is a fault of the mapping, not of rounding."""


def roll(rows: MeterRows, bounds: Boundaries, until_ms: int | None = None) -> Frame:
    """The stored fields of each local period that holds a row, stamped with its start in UTC.

    Sums are of whole milliwatt-hours, so hours, days, months and years agree exactly. Coverage is the share of the
    15-minute intervals of the local period; of the running period, of those before `until_ms`.

    Args:
        rows: All rows of the periods; rows outside of them count nowhere.
        bounds: Local periods.
        until_ms: End of the rows that can exist by now; None where every period is over. Periods that begin at or
            after it are left out.
    """
    edges = bounds.edges_ms
    cut = np.searchsorted(rows.start_ms, edges)
    keep = np.diff(cut) > 0
    if until_ms is not None:
        keep &= edges[:-1] < until_ms
    low, high = cut[:-1][keep], cut[1:][keep]
    expected = bounds.intervals(until_ms)[keep]
    has = rows.has_energy
    exports = rows.has_export & (rows.state_export > MISSING)
    count, energy = _sums(has, low, high), _sums(rows.energy_mwh, low, high)
    some, exported = count > 0, _sums(exports, low, high) > 0
    metered = rows.state == METERED
    numbers = {
        "energy_wh": _wh(energy, some),
        "energy_metered_wh": _wh(_sums(rows.metered_mwh, low, high), some),
        "energy_bridged_wh": _wh(_sums(rows.bridged_mwh, low, high), some),
        "energy_estimated_wh": _wh(_sums(rows.estimated_mwh, low, high), some),
        "energy_low_wh": _sums(rows.low_mwh, low, high) / 1000.0,
        "power_mean_w": _mean_w(energy, count),
        "power_max_w": _largest_w(rows.energy_mwh, metered, low, high),
        "coverage": _sums(rows.state >= BRIDGED, low, high) / expected,
        "coverage_shape": _sums(metered, low, high) / expected,
    }
    if exported.any():
        numbers["energy_export_wh"] = _wh(_sums(rows.export_mwh, low, high), exported)
    return Frame(edges[:-1][keep], numbers)


def missing_stretch_ms(rows: MeterRows, start_ms: int, end_ms: int) -> int:
    """Longest stretch of [start, end) without energy [ms], absent rows included."""
    part = rows.between(start_ms, end_ms)
    with_energy = part.start_ms[part.has_energy]
    ends = np.concatenate(([start_ms], with_energy + QUARTER_MS))
    starts = np.concatenate((with_energy, [end_ms]))
    return max(0, int((starts - ends).max()))


class NegativeDifference(NamedTuple):
    """A local period in which less was left of a meter than nothing."""

    start_ms: int
    end_ms: int
    energy_mwh: int
    minuend_mwh: int


def negative_differences(difference: MeterRows, minuend: MeterRows, bounds: Boundaries) -> list[NegativeDifference]:
    """Periods (days) whose difference is below -2 % of what it was taken from: meters are mapped wrongly.

    Args:
        difference: Rows of the meter that is a difference.
        minuend: Rows of the meter it was taken from.
        bounds: Local days.
    """
    common, left, right = np.intersect1d(
        difference.start_ms[difference.has_energy], minuend.start_ms[minuend.has_energy], return_indices=True
    )
    cut = np.searchsorted(common, bounds.edges_ms)
    energy = _sums(difference.energy_mwh[difference.has_energy][left], cut[:-1], cut[1:])
    whole = _sums(minuend.energy_mwh[minuend.has_energy][right], cut[:-1], cut[1:])
    return [
        NegativeDifference(*(int(value) for value in (bounds.edges_ms[i], bounds.edges_ms[i + 1], energy[i], whole[i])))
        for i in np.flatnonzero(energy < -NEGATIVE_SHARE * np.abs(whole))
    ]


def _sums(column: NDArray[np.int64] | NDArray[np.bool_], low: NDArray[np.intp], high: NDArray[np.intp]) -> Ints:
    """Sum of each run of rows [low, high)."""
    total = np.concatenate(([0], np.cumsum(column, dtype=np.int64)))
    found: Ints = total[high] - total[low]
    return found


def _largest_w(energy_mwh: Ints, metered: NDArray[np.bool_], low: NDArray[np.intp], high: NDArray[np.intp]) -> Column:
    """Largest mean power of a metered row in each run [W], NaN where it has none."""
    if not len(low):
        return np.empty(0, np.float64)
    where = np.flatnonzero(metered)
    first, last = np.searchsorted(where, low), np.searchsorted(where, high)
    found = np.full(len(low), np.nan)
    some = first < last
    if some.any():
        # Runs lie side by side, so each maximum runs to the start of the next run that has rows.
        peaks = np.maximum.reduceat(energy_mwh[where[: last[-1]]], first[some])
        found[some] = peaks * (HOUR_MS // QUARTER_MS) / 1000.0
    return found


def _mean_w(energy_mwh: Ints, count: Ints) -> Column:
    """Energy by the time that has energy [W]."""
    found: Column = np.where(count > 0, energy_mwh * (HOUR_MS // QUARTER_MS) / 1000.0 / np.maximum(count, 1), np.nan)
    return found


def _wh(mwh: Ints, where: NDArray[np.bool_]) -> Column:
    found: Column = np.where(where, mwh / 1000.0, np.nan)
    return found
