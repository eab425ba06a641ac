"""The readings of one register, in columns, and what the walk looks up in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from merilo.instants import HOUR_MS
from merilo.ledger.facts import TIME_SLACK_MS, RegisterFacts

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REGISTER_END_MWH = 1 << 60
"""From here on, 10^12 kWh, a value is no register: sums with it would leave 64 bits."""
POWER_END_MW = 1 << 40
"""From here on, a gigawatt, a value is no power."""
_LARGEST = (1 << 63) - 1
_SAFE = 1 << 61
"""Below this, sums and differences of two values stay inside 64 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Readings of one register with the device's own power, ordered by instant, instants unique."""

    t_ms: Ints
    register_mwh: Ints
    """As read; 0 where the reading has none."""
    has_register: Bools
    power_mw: Ints
    """Already max(P, 0) for an import register, max(-P, 0) for an export register; 0 where the reading has none."""
    has_power: Bools
    identity_ms: tuple[int, ...] = ()
    """Instants at which the gateway reported a changed serial number or profile."""

    def __len__(self) -> int:
        return len(self.t_ms)

    @classmethod
    def of(cls, readings: Iterable[tuple[int, int | None, int | None]], identity_ms: Sequence[int] = ()) -> Trace:
        """A trace of (instant, register, power) in any order; of equal instants the last one given stands."""
        latest = {t: (r, p) for t, r, p in readings}
        instants = sorted(latest)
        pairs = [latest[t] for t in instants]
        return cls(
            np.array(instants, np.int64),
            np.array([0 if r is None else r for r, _ in pairs], np.int64),
            np.array([r is not None for r, _ in pairs], np.bool_),
            np.array([0 if p is None else max(p, 0) for _, p in pairs], np.int64),
            np.array([p is not None for _, p in pairs], np.bool_),
            tuple(sorted(set(identity_ms))),
        )

    def since(self, start_ms: int) -> Trace:
        """The readings not before this instant: what a walk from an anchor at it needs."""
        i = int(np.searchsorted(self.t_ms, start_ms))
        return Trace(
            self.t_ms[i:],
            self.register_mwh[i:],
            self.has_register[i:],
            self.power_mw[i:],
            self.has_power[i:],
            tuple(at for at in self.identity_ms if at > start_ms),
        )


def scaled(register_mwh: int, k: int) -> int:
    """The register times 10^k, floored."""
    factor: int = 10 ** abs(k)
    return register_mwh * factor if k >= 0 else register_mwh // factor


def valid_polls(trace: Trace) -> Bools:
    """Which readings carry a register that can be one."""
    return trace.has_register & (trace.register_mwh < REGISTER_END_MWH) & (trace.register_mwh > -REGISTER_END_MWH)


def valid_samples(trace: Trace) -> Bools:
    """Which readings carry a power that can be one."""
    return trace.has_power & (trace.power_mw >= 0) & (trace.power_mw < POWER_END_MW)


class Source:
    """What a walk looks up after its start: polls (readings with the register) and samples (readings with power)."""

    def __init__(self, trace: Trace, facts: Sequence[RegisterFacts], start_ms: int) -> None:
        polls = valid_polls(trace) & (trace.t_ms > start_ms)
        samples = valid_samples(trace) & (trace.t_ms >= start_ms)
        self.facts = facts
        self.poll_t = trace.t_ms[polls]
        self.poll_r = trace.register_mwh[polls]
        self.sample_t = trace.t_ms[samples]
        self.sample_p = trace.power_mw[samples]
        self.t: list[int] = self.poll_t.tolist()
        self.r: list[int] = self.poll_r.tolist()
        self.newest_ms = int(trace.t_ms[-1]) if len(trace) else -_LARGEST
        self.identity_ms = trace.identity_ms
        self._values: dict[int, list[int]] = {0: self.r}
        self._jumps: dict[int, list[int]] = {}

    def values(self, k: int) -> list[int]:
        """The register at every poll times 10^k."""
        if k not in self._values:
            self._values[k] = [scaled(r, k) for r in self.r]
        return self._values[k]

    def jumps(self, k: int) -> list[int]:
        """Indices of the polls that are implausible after the poll before them."""
        if k not in self._jumps:
            self._jumps[k] = np.nonzero(self._implausible(k))[0].tolist()
        return self._jumps[k]

    def _implausible(self, k: int) -> Bools:
        n = len(self.t)
        found = np.zeros(n, np.bool_)
        low = -2 * self.steps(k)
        if k == 0:
            rise = np.diff(self.poll_r)
            found[1:] = (rise < low[1:]) | (rise > self.limits()[1:])
            return found
        values, limits = self.values(k), self.limits(k).tolist()
        for i in range(1, n):
            found[i] = not low[i] <= values[i] - values[i - 1] <= limits[i]
        return found

    def steps(self, k: int = 0) -> Ints:
        """The step in force at every poll, in units of the walk."""
        return self._by_facts([step_mwh(one, k) for one in self.facts])

    def limits(self, k: int = 0) -> Ints:
        """Largest plausible rise from the poll before to each poll; that of the first poll says nothing."""
        which = self.facts_index()
        power = np.array([one.max_power_mw for one in self.facts], np.int64)[which]
        time = np.diff(self.poll_t, prepend=self.poll_t[:1])
        fits = time <= _SAFE // power - TIME_SLACK_MS
        found = np.where(fits, power, 0) * (time + TIME_SLACK_MS) // HOUR_MS + 2 * self.steps(k)
        for i in np.nonzero(~fits)[0].tolist():
            found[i] = min(limit_mwh(self.facts[which[i]], int(time[i]), k), _LARGEST)
        return np.asarray(found, np.int64)

    def facts_index(self) -> Ints:
        """Which facts are in force at every poll."""
        starts = np.array([one.valid_from_ms for one in self.facts[1:]], np.int64)
        return np.asarray(np.searchsorted(starts, self.poll_t, side="right"), np.int64)

    def _by_facts(self, values: Sequence[int]) -> Ints:
        return np.asarray(np.array(values, np.int64)[self.facts_index()], np.int64)


def step_mwh(facts: RegisterFacts, k: int) -> int:
    """The step in units of the walk: a register that is read too small moves in steps that are as much larger."""
    factor: int = 10 ** max(k, 0)
    return facts.step_mwh * factor


def limit_mwh(facts: RegisterFacts, duration_ms: int, k: int) -> int:
    """Largest plausible rise within this time, in units of the walk."""
    return facts.limit_mwh(duration_ms) + 2 * (step_mwh(facts, k) - facts.step_mwh)
