"""The walk of a device that gives power only: the trapezoid between its samples is its energy.

Every sample is a level, nothing that follows can change what lies before it, so there are no breaks and no events.
Between two samples energy grows evenly; it is kept exactly, in halves of mW·ms, and rounded half up once a row. An
anchor carries what the row before it is short of a whole mWh, so that a restart rounds as one walk does.

Decision: a hole is what exceeds the nominal distance of two samples, so that a pair may be that much longer than the
longest hole an estimate may cross.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from merilo.instants import DAY_MS, QUARTER_MS
from merilo.ledger.facts import POWER_GAP_MAX_MS, RegisterFacts, ordered
from merilo.ledger.records import Anchor, Walk
from merilo.ledger.rows import BaseRows, RowSums, Sheet
from merilo.ledger.shape import CURVE_PER_MWH
from merilo.ledger.trace import Trace, valid_samples
from merilo.ledger.walks import with_head

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def walk_power(trace: Trace, facts: Sequence[RegisterFacts], until_ms: int, anchor: Anchor | None = None) -> Walk:
    """Base rows, without register fields, and anchors of a device that gives power only.

    Args:
        trace: Its readings; with an anchor those from the anchor's instant on.
        facts: At least one; `poll_interval_ms` is the nominal distance of samples.
        until_ms: Grid instant; rows before it are given.
        anchor: A sample to start at; None = the first.

    Raises:
        ValueError: No facts, or `until_ms` off the grid.
    """
    if until_ms % QUARTER_MS:
        raise ValueError(f"until_ms must be a whole quarter of an hour, found {until_ms}")
    known = ordered(facts)
    mask = valid_samples(trace)
    if anchor is not None:
        mask = mask & (trace.t_ms > anchor.t_ms)
    t, p = trace.t_ms[mask], trace.power_mw[mask]
    if anchor is not None:
        t = np.concatenate([np.array([anchor.t_ms], np.int64), t])
        p = np.concatenate([np.array([anchor.power_mw or 0], np.int64), p])
    if not len(t):
        return Walk(BaseRows.empty(), (), (), None)
    return _Pairs(t, p, known, anchor).walk(until_ms)


class _Pairs:
    """Neighbouring samples."""

    def __init__(self, t: Ints, p: Ints, facts: Sequence[RegisterFacts], anchor: Anchor | None) -> None:
        self.t, self.p, self.anchor = t, p, anchor
        row = int(t[0]) // QUARTER_MS * QUARTER_MS
        self.first = RowSums(row) if anchor is None else anchor.row
        distance = np.diff(t)
        starts = np.array([one.valid_from_ms for one in facts[1:]], np.int64)
        which = np.searchsorted(starts, t[1:], side="right")
        gap = np.array([one.gap_metered_ms for one in facts], np.int64)[which]
        hole = np.array([one.poll_interval_ms for one in facts], np.int64)[which] + POWER_GAP_MAX_MS
        self.known: Bools = distance <= gap
        self.estimated: Bools = ~self.known & (distance <= hole)
        self.total = p[:-1] + p[1:]
        used = np.where(self.known | self.estimated, distance, 0)
        whole, rest = _energy(self.total, used)
        self.sums: dict[str, Ints] = {}
        for kind, mask in (("known", self.known), ("estimated", self.estimated)):
            for unit, values in (("mwh", whole), ("rest", rest), ("ms", used)):
                self.sums[f"{kind}_{unit}"] = _cumulative(np.where(mask, values, 0))

    def walk(self, until_ms: int) -> Walk:
        sheet = Sheet(self.first, until_ms)
        if sheet.count:
            grid = sheet.first_ms + QUARTER_MS * np.arange(sheet.count + 1, dtype=np.int64)
            grown = {name: np.diff(values) for name, values in self._up_to(grid).items()}
            for name, value in self._before().items():
                grown[name][0] += value
            for kind in ("known", "estimated"):
                rounded = (grown[f"{kind}_rest"] + CURVE_PER_MWH // 2) // CURVE_PER_MWH
                sheet.columns[f"{kind}_mwh"][:] = grown[f"{kind}_mwh"] + rounded
                sheet.columns[f"{kind}_ms"][:] = grown[f"{kind}_ms"]
            sheet.resume(_row(sheet.first_ms, {name: int(sheet.columns[name][0]) for name in _STORED}))
        days = [self._at(int(i)) for i in self._day_firsts()]
        head = self._at(len(self.t) - 1)
        return Walk(sheet.rows(), (), with_head(days, head), head)

    def _before(self) -> dict[str, int]:
        """What the first row holds from before the anchor."""
        found = {name: getattr(self.first, name) for name in _STORED}
        if self.anchor is not None:
            found |= {"known_rest": self.anchor.known_rest, "estimated_rest": self.anchor.estimated_rest}
        return found

    def _up_to(self, instants: Ints) -> dict[str, Ints]:
        """Cumulative energy and covered time at any instants, from the first sample on."""
        if len(self.t) == 1:
            return {name: np.zeros(len(instants), np.int64) for name in self.sums}
        inside = np.clip(instants, self.t[0], self.t[-1])
        i = np.clip(np.searchsorted(self.t, inside, side="right") - 1, 0, len(self.t) - 2)
        covered = self.known[i] | self.estimated[i]
        time = np.where(covered, inside - self.t[i], 0)
        whole, rest = _energy(self.total[i], time)
        added = {"mwh": whole, "rest": rest, "ms": time}
        kinds = {"known": self.known[i], "estimated": self.estimated[i]}
        found: dict[str, Ints] = {}
        for name, sums in self.sums.items():
            kind, unit = name.split("_")
            found[name] = np.asarray(sums[i] + np.where(kinds[kind], added[unit], 0), np.int64)
        return found

    def _day_firsts(self) -> Ints:
        _, firsts = np.unique(self.t // DAY_MS, return_index=True)
        if self.anchor is not None:
            firsts = firsts[1:]
        return np.asarray(firsts, np.int64)

    def _at(self, i: int) -> Anchor:
        """The sample as anchor, with what its row holds up to it."""
        at = int(self.t[i])
        if i == 0 and self.anchor is not None:
            return self.anchor
        row = at // QUARTER_MS * QUARTER_MS
        start = {name: int(values[0]) for name, values in self._up_to(np.array([row], np.int64)).items()}
        sums = {name: int(values[i]) - start[name] for name, values in self.sums.items()}
        if row == self.first.start_ms:
            for name, value in self._before().items():
                sums[name] += value
        for kind in ("known", "estimated"):
            carried, sums[f"{kind}_rest"] = divmod(sums[f"{kind}_rest"], CURVE_PER_MWH)
            sums[f"{kind}_mwh"] += carried
        power = int(self.p[i])
        segment = int(self.t[0]) if self.anchor is None else self.anchor.segment_ms
        return Anchor(
            at,
            at,
            0,
            0,
            segment,
            0,
            at,
            power,
            _row(row, sums),
            power_mw=power,
            known_rest=sums["known_rest"],
            estimated_rest=sums["estimated_rest"],
        )


_STORED = ("known_mwh", "known_ms", "estimated_mwh", "estimated_ms")


def _row(start_ms: int, sums: Mapping[str, int]) -> RowSums:
    return RowSums(
        start_ms,
        sums["known_mwh"],
        sums["known_ms"],
        estimated_mwh=sums["estimated_mwh"],
        estimated_ms=sums["estimated_ms"],
    )


def _cumulative(values: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])


def _energy(total_mw: Ints, time_ms: Ints) -> tuple[Ints, Ints]:
    """Energy of two powers' sum over a time: whole mWh and the rest in halves of mW·ms; exact beyond 64 bits too."""
    largest = int(total_mw.max(initial=0)) * int(time_ms.max(initial=0))
    if largest < 1 << 62:
        product = total_mw * time_ms
        return np.asarray(product // CURVE_PER_MWH, np.int64), np.asarray(product % CURVE_PER_MWH, np.int64)
    pairs = zip(total_mw.tolist(), time_ms.tolist(), strict=True)
    parts = [divmod(total * time, CURVE_PER_MWH) for total, time in pairs]
    return np.array([p[0] for p in parts], np.int64), np.array([p[1] for p in parts], np.int64)
