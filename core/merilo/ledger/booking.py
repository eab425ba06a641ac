"""Puts entries, closed holds and estimates on the rows they lie in, and the register at the grid instants between.

Decisions where more than one reading of the rules is possible:

* A stretch between two polls that is longer than may be called known makes the rows it touches bridged, not the whole
  entry; a shape that is unknown makes all rows of the entry bridged.
* `before_ms` and `after_ms` count to polls that carry the register: they say which readings the register at a row's
  start hangs on, and a sample of power is none of them.
* The register at a row's start is taken modulo its wrap only while the level lies below that: a level above it shows
  that the register does not wrap there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from merilo.instants import HOUR_MS, QUARTER_MS
from merilo.ledger.facts import POWER_GAP_MAX_MS, RegisterFacts
from merilo.ledger.rows import BRIDGED, METERED, Sheet, cuts, spans
from merilo.ledger.shape import CURVE_PER_MWH, Curve, Power, Shape, share
from merilo.ledger.trace import scaled

Booked = Callable[[int], int]
"""Energy from the start of a stretch up to an instant [mWh]."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Energy of the register over [start, end]."""

    facts: RegisterFacts
    k: int
    level_mwh: int
    carry_mwh: int
    polls: Sequence[int]
    """All accepted polls of the register, the ends included."""
    aside: Collection[int]
    """Instants whose power counts for nothing."""
    energy_mwh: int
    hold_ms: int
    """Last poll that saw the register unchanged, else the start."""
    hold_cap_mwh: int = 0
    """Most that can lie before it."""
    caught_up: bool = False
    """The register had stood still: the shape is a guess."""

    @property
    def start_ms(self) -> int:
        """Its level."""
        return self.polls[0]

    @property
    def end_ms(self) -> int:
        """The poll that ends it."""
        return self.polls[-1]


class Booking:
    """Writes on one sheet, from left to right."""

    def __init__(self, sheet: Sheet, power: Power, until_ms: int) -> None:
        self.sheet = sheet
        self.power = power
        self.until_ms = until_ms

    def entry(self, entry: Entry) -> None:
        """Books an entry: known, or held and estimated from own power while the register is suspended."""
        start, end = entry.start_ms, entry.end_ms
        points = cuts(start, end, self.until_ms)
        curve = self.power.curve(start, end, entry.aside)
        shaping = curve if curve is not None and curve.shapes else None
        shape = Shape(start, entry.hold_ms, end, entry.energy_mwh, entry.hold_cap_mwh, shaping)
        booked = shape.booked(points)
        estimate = own_power(curve) if entry.k and curve is not None and curve.hole_ms <= POWER_GAP_MAX_MS else None
        gaps = _gaps(entry, shaping)
        worst = METERED if _shape_known(entry, shaping) else BRIDGED
        sheet = self.sheet
        for i, (low, high) in enumerate(spans(points)):
            sheet.move(low)
            if i and low % QUARTER_MS == 0:
                self._register(entry, booked[i], low)
            energy, time = booked[i + 1] - booked[i], high - low
            if entry.k:
                sheet.hold(energy, time, entry.k)
                if estimate is not None:
                    sheet.estimate(estimate(high) - estimate(low), time)
            else:
                bridged = any(a < high and low < b for a, b in gaps)
                sheet.know(energy, time, BRIDGED if bridged else worst)

    def estimate(self, start_ms: int, end_ms: int, booked: Booked, entry: Entry | None = None) -> int:
        """Books an estimate and gives its energy [mWh]; with an entry, the register goes on with it."""
        points = cuts(start_ms, end_ms, self.until_ms)
        for i, (low, high) in enumerate(spans(points)):
            self.sheet.move(low)
            if i and entry is not None and low % QUARTER_MS == 0:
                self._register(entry, booked(low), low)
            self.sheet.estimate(booked(high) - booked(low), high - low)
        return booked(end_ms)

    def pair(
        self, start_ms: int, end_ms: int, facts: RegisterFacts, mean_mw: int | None, aside: Collection[int]
    ) -> int | None:
        """Fills an unknown pair by own power, a short one also by the mean power before it; None = by nothing."""
        curve = self.power.curve(start_ms, end_ms, aside)
        if curve is not None and curve.hole_ms <= POWER_GAP_MAX_MS:
            return self.estimate(start_ms, end_ms, own_power(curve))
        if mean_mw is None or end_ms - start_ms > facts.short_unknown_ms:
            return None
        return self.estimate(start_ms, end_ms, lambda at: share(mean_mw, at - start_ms, HOUR_MS))

    def level(self, entry_facts: RegisterFacts, k: int, level_mwh: int, carry_mwh: int | None, at_ms: int) -> None:
        """Goes to the row of a level; on the grid the row begins with the level itself."""
        self.sheet.move(at_ms)
        if at_ms == self.sheet.start_ms and carry_mwh is not None:
            self.sheet.register = (as_read(entry_facts, k, level_mwh, level_mwh + carry_mwh), 0, 0)

    def _register(self, entry: Entry, booked_mwh: int, at_ms: int) -> None:
        value = entry.level_mwh + entry.carry_mwh + booked_mwh
        polls = entry.polls
        before = polls[bisect_right(polls, at_ms) - 1]
        after = polls[bisect_left(polls, at_ms)]
        read = as_read(entry.facts, entry.k, entry.level_mwh, value)
        self.sheet.register = (read, at_ms - before, after - at_ms)


def own_power(curve: Curve) -> Booked:
    """Energy by own power, rounded on its cumulative value."""
    return lambda at: share(1, curve.at(at), CURVE_PER_MWH)


def as_read(facts: RegisterFacts, k: int, level_mwh: int, value_mwh: int) -> int:
    """A register value of the walk in units as read, modulo the wrap."""
    value = scaled(value_mwh, -k)
    modulus = facts.rollover_mwh
    return value % modulus if modulus is not None and 0 <= scaled(level_mwh, -k) < modulus else value


def _shape_known(entry: Entry, shaping: Curve | None) -> bool:
    if entry.caught_up:
        return False
    return shaping is not None or entry.facts.fine or entry.end_ms - entry.start_ms <= entry.facts.gap_metered_ms


def _gaps(entry: Entry, shaping: Curve | None) -> list[tuple[int, int]]:
    """The stretches between polls that are too long; inside a shaped entry samples of power are polls too."""
    longest = entry.facts.gap_metered_ms
    if entry.end_ms - entry.start_ms <= longest:
        return []
    polls = entry.polls if shaping is None else sorted({*entry.polls, *shaping.samples})
    return [(a, b) for a, b in spans(polls) if b - a > longest]
