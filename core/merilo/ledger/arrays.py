"""Whole arrays of what `shape` does one by one: the same integers, whatever does not fit 64 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

AMOUNT_END = 1 << 50
"""Below this a quotient can be estimated in floats to within a few units."""
WHOLE_END = 1 << 58
"""Twice a remainder of a few wholes stays inside 64 bits below this."""


def shares(amount: Ints, part: Ints, whole: Ints) -> Ints:
    """amount · part / whole, rounded half up, for 0 <= part <= whole, whole > 0, below the ends above.

    The product needs up to 108 bits. A quotient estimated in floats is off by a few units; what remains is computed
    modulo 2^64, where it is exact because it is small, and corrects the estimate.
    """
    estimate = np.floor(amount.astype(np.float64) * part / whole).astype(np.int64)
    rest = amount * part - estimate * whole
    return np.asarray(estimate + (2 * rest + whole) // (2 * whole), np.int64)


class Curves:
    """Own power over many entries: cumulative energy from the start of each, as `shape.Curve` gives it."""

    def __init__(self, sample_t: Ints, sample_p: Ints, sums: Ints, start: Ints, end: Ints) -> None:
        self.t, self.p, self.sums = sample_t, sample_p, sums
        self.start = start
        self.first = np.searchsorted(sample_t, start, side="left")
        self.last = np.searchsorted(sample_t, end, side="right") - 1
        inside = np.searchsorted(sample_t, end, side="left") > np.searchsorted(sample_t, start, side="right")
        self.shapes = inside
        if len(sample_t):
            self.shapes = inside & (self.at(end) > 0)

    def at(self, instants: Ints) -> Ints:
        """The curve of each entry up to its instant; of entries without samples nothing that means anything."""
        top = len(self.t) - 1
        first, last = np.minimum(self.first, top), np.clip(self.last, 0, top)
        i = np.clip(np.searchsorted(self.t, instants, side="right") - 1, first, np.maximum(last, first))
        following = np.minimum(i + 1, last)
        rate = np.where(i < last, self.p[i] + self.p[following], 2 * self.p[i])
        flat = 2 * self.p[first] * (np.minimum(self.t[first], instants) - self.start)
        inside = self.sums[i] - self.sums[first] + rate * np.maximum(instants - self.t[i], 0)
        return np.asarray(flat + np.where(instants >= self.t[first], inside, 0), np.int64)


def power_sums(sample_t: Ints, sample_p: Ints) -> Ints:
    """Cumulative trapezoid at every sample, modulo 2^64: differences within an entry are exact."""
    pieces = (sample_p[1:] + sample_p[:-1]) * np.diff(sample_t)
    return np.concatenate([np.zeros(min(len(sample_t), 1), np.int64), np.cumsum(pieces)])


def booked(instants: Ints, start: Ints, hold: Ints, end: Ints, energy: Ints, cap: int, curves: Curves) -> Ints:
    """What is booked of each entry up to its instant, as `shape.Shape` gives it."""
    shapes = curves.shapes
    if shapes.any():
        at = np.where(shapes, curves.at(instants), instants - start)
        at_hold = np.where(shapes, curves.at(hold), hold - start)
        total = np.where(shapes, curves.at(end), end - start)
    else:
        at, at_hold, total = instants - start, hold - start, end - start
    held = np.where(hold > start, np.minimum(shares(energy, at_hold, total), cap), 0)
    early = instants <= hold
    amount = np.where(early, held, energy - held)
    part = np.where(early, at, at - at_hold)
    whole = np.where(early, at_hold, total - at_hold)
    flat = whole <= 0
    part = np.where(flat, np.where(early, instants - start, instants - hold), part)
    whole = np.where(flat, np.where(early, hold - start, end - hold), whole)
    return np.where(early, 0, held) + shares(amount, part, whole)


def fits(strongest_mw: int, largest_mwh: int, longest_ms: int) -> bool:
    """Whether entries of this size can be computed in 64 bits."""
    return largest_mwh < AMOUNT_END and max(1, 2 * strongest_mw) * longest_ms < WHOLE_END
