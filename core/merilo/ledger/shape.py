"""How the energy of one entry lies in time: exact integers, so that sums telescope wherever an entry is cut.

Own power is a curve of cumulative energy: the trapezoid between samples, straight between two of them, the ends held
flat. Its unit is twice a mW·ms, so that the trapezoid needs no halves. What is booked up to an instant is rounded once,
half up, on the cumulative value of the entry; a row gets the difference of two such values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from merilo.instants import HOUR_MS

CURVE_PER_MWH = 2 * HOUR_MS
"""Units of a curve in a milliwatt-hour."""


def share(amount: int, part: int, whole: int) -> int:
    """amount · part / whole, rounded half up; whole above 0."""
    return (2 * amount * part + whole) // (2 * whole)


class Curve:
    """Own power over [start, end] from the samples inside, ends included; at least one sample."""

    __slots__ = ("end_ms", "knots", "samples", "start_ms", "sums", "values")

    def __init__(self, start_ms: int, end_ms: int, samples: list[int], values: list[int]) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.samples = samples
        self.values = values
        total = 2 * values[0] * (samples[0] - start_ms)
        sums = [0, total]
        for i in range(1, len(samples)):
            total += (values[i - 1] + values[i]) * (samples[i] - samples[i - 1])
            sums.append(total)
        sums.append(total + 2 * values[-1] * (end_ms - samples[-1]))
        self.knots = [start_ms, *samples, end_ms]
        self.sums = sums

    @property
    def total(self) -> int:
        """The whole curve."""
        return self.sums[-1]

    @property
    def shapes(self) -> bool:
        """Whether it can shape an entry: a sample strictly inside, and some energy."""
        if self.sums[-1] <= 0:
            return False
        return any(self.start_ms < sample < self.end_ms for sample in (self.samples[0], self.samples[-1])) or (
            len(self.samples) > 2
        )

    @property
    def hole_ms(self) -> int:
        """Longest stretch without a sample, the ends counting as such."""
        return max(b - a for a, b in zip(self.knots[:-1], self.knots[1:], strict=True))

    def at(self, at_ms: int) -> int:
        """The curve from its start up to this instant."""
        i = bisect_right(self.knots, at_ms) - 1
        if i >= len(self.knots) - 1:
            return self.sums[-1]
        low, high = self.sums[i], self.sums[i + 1]
        if at_ms == self.knots[i]:
            return low
        # The stretch is a whole number of units per millisecond, so the division is exact.
        return low + (high - low) // (self.knots[i + 1] - self.knots[i]) * (at_ms - self.knots[i])


class Power:
    """The samples of a register's own power."""

    def __init__(self, instants: list[int], values: list[int]) -> None:
        self.instants = instants
        self.values = values

    def curve(self, start_ms: int, end_ms: int, aside: Collection[int] = ()) -> Curve | None:
        """Own power over [start, end] without the samples of readings set aside; None without a sample."""
        low, high = bisect_left(self.instants, start_ms), bisect_right(self.instants, end_ms)
        if low == high:
            return None
        instants, values = self.instants[low:high], self.values[low:high]
        if aside:
            kept = [i for i, at in enumerate(instants) if at not in aside]
            if not kept:
                return None
            instants, values = [instants[i] for i in kept], [values[i] for i in kept]
        return Curve(start_ms, end_ms, instants, values)


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
        """What is booked from the start up to each instant."""
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
        if self.curve is not None:
            base = self.curve.at(start_ms)
            whole = self.curve.at(end_ms) - base
            if whole > 0:
                return share(energy_mwh, self.curve.at(at_ms) - base, whole)
        return share(energy_mwh, at_ms - start_ms, end_ms - start_ms)
