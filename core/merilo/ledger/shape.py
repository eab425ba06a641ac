"""How the energy of one entry lies in time: exact integers, so that sums telescope wherever an entry is cut.

Own power is a curve of cumulative energy: the trapezoid between samples, straight between two of them, the ends held
flat. Its unit is twice a mW·ms, so that the trapezoid needs no halves. What is booked up to an instant is rounded once,
half up, on the cumulative value of the entry; a row gets the difference of two such values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from merilo.instants import HOUR_MS

Ints = NDArray[np.int64]

CURVE_PER_MWH = 2 * HOUR_MS
"""Units of a curve in a milliwatt-hour."""


def share(amount: int, part: int, whole: int) -> int:
    """amount · part / whole, rounded half up; whole above 0."""
    return (2 * amount * part + whole) // (2 * whole)


class Curve:
    """Own power over [start, end] from the samples inside, ends included; at least one sample."""

    __slots__ = ("_knots", "_sums", "end_ms", "samples", "start_ms", "values")

    def __init__(self, start_ms: int, end_ms: int, samples: list[int], values: list[int]) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.samples = samples
        self.values = values
        self._knots: list[int] = []
        self._sums: list[int] = []

    @property
    def total(self) -> int:
        """The whole curve."""
        return self._cumulative()[1][-1]

    @property
    def shapes(self) -> bool:
        """Whether it can shape an entry: a sample strictly inside, and some energy."""
        samples = self.samples
        inside = self.start_ms < samples[0] < self.end_ms or self.start_ms < samples[-1] < self.end_ms
        # Instants are unique, so every sample above zero has a stretch of time beside it.
        return (inside or len(samples) > 2) and max(self.values) > 0

    @property
    def hole_ms(self) -> int:
        """Longest stretch without a sample, the ends counting as such."""
        return max(b - a for a, b in pairwise([self.start_ms, *self.samples, self.end_ms]))

    def at(self, at_ms: int) -> int:
        """The curve from its start up to this instant."""
        knots, sums = self._cumulative()
        i = bisect_right(knots, at_ms) - 1
        if i >= len(knots) - 1:
            return sums[-1]
        if at_ms == knots[i]:
            return sums[i]
        # The stretch is a whole number of units per millisecond, so the division is exact.
        return sums[i] + (sums[i + 1] - sums[i]) // (knots[i + 1] - knots[i]) * (at_ms - knots[i])

    def _cumulative(self) -> tuple[list[int], list[int]]:
        """The instants where the curve bends, and its value there; made when first asked for."""
        if not self._knots:
            samples, values = self.samples, self.values
            total = 2 * values[0] * (samples[0] - self.start_ms)
            sums = [0, total]
            for i in range(1, len(samples)):
                total += (values[i - 1] + values[i]) * (samples[i] - samples[i - 1])
                sums.append(total)
            sums.append(total + 2 * values[-1] * (self.end_ms - samples[-1]))
            self._knots, self._sums = [self.start_ms, *samples, self.end_ms], sums
        return self._knots, self._sums


class Power:
    """The samples of a register's own power, for a walk that asks at every tick."""

    def __init__(self, sample_t: Ints, sample_p: Ints) -> None:
        self.instants: list[int] = sample_t.tolist()
        self.values: list[int] = sample_p.tolist()

    def curve(self, start_ms: int, end_ms: int, aside: Collection[int] = ()) -> Curve | None:
        """Own power over [start, end] without the samples of readings set aside; None without a sample."""
        instants, values = self._inside(start_ms, end_ms)
        if aside:
            kept = [i for i, at in enumerate(instants) if at not in aside]
            instants, values = [instants[i] for i in kept], [values[i] for i in kept]
        return Curve(start_ms, end_ms, instants, values) if instants else None

    def _inside(self, start_ms: int, end_ms: int) -> tuple[list[int], list[int]]:
        low, high = bisect_left(self.instants, start_ms), bisect_right(self.instants, end_ms)
        return self.instants[low:high], self.values[low:high]


class SparePower(Power):
    """The same for a walk that asks seldom: nothing is unpacked before."""

    def __init__(self, sample_t: Ints, sample_p: Ints) -> None:
        self.sample_t = sample_t
        self.sample_p = sample_p

    def _inside(self, start_ms: int, end_ms: int) -> tuple[list[int], list[int]]:
        low = int(np.searchsorted(self.sample_t, start_ms, side="left"))
        high = int(np.searchsorted(self.sample_t, end_ms, side="right"))
        return self.sample_t[low:high].tolist(), self.sample_p[low:high].tolist()


@dataclass(frozen=True, slots=True)
class Shape:
    """An entry of `energy_mwh` over [start, end], of which at most `hold_cap_mwh` lies before the last poll that saw
    the register unchanged (`hold_ms`, equal to start where none did)."""

    start_ms: int
    hold_ms: int
    end_ms: int
    energy_mwh: int
    hold_cap_mwh: int
    curve: Curve | None
    """Own power where it shapes the entry, else None: the entry lies flat in time."""

    def booked(self, instants: Sequence[int]) -> list[int]:
        """What is booked from the start up to each instant, of which the first is the start and the last the end."""
        if len(instants) == 2:
            return [0, self.energy_mwh]
        held = min(self._held(), self.hold_cap_mwh) if self.hold_ms > self.start_ms else 0
        return [
            self._part(self.start_ms, self.hold_ms, held, at)
            if at <= self.hold_ms
            else held + self._part(self.hold_ms, self.end_ms, self.energy_mwh - held, at)
            for at in instants
        ]

    def _held(self) -> int:
        if self.curve is None:
            return share(self.energy_mwh, self.hold_ms - self.start_ms, self.end_ms - self.start_ms)
        return share(self.energy_mwh, self.curve.at(self.hold_ms), self.curve.total)

    def _part(self, start_ms: int, end_ms: int, energy_mwh: int, at_ms: int) -> int:
        if at_ms <= start_ms:
            return 0
        if at_ms == end_ms:
            return energy_mwh
        if self.curve is not None:
            base = self.curve.at(start_ms)
            whole = self.curve.at(end_ms) - base
            if whole > 0:
                return share(energy_mwh, self.curve.at(at_ms) - base, whole)
        return share(energy_mwh, at_ms - start_ms, end_ms - start_ms)
