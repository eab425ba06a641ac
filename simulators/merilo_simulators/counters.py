"""What can happen to a device's counters: each fault turns a counter, a function of the instant, into another one.

Faults compose in the order in which they are listed. With the same faults, history and live registers agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from merilo_simulators.noise import Ints

Counter = Callable[[Ints], Ints]
"""Value of one counter at each instant, start value included [mWh]: 64 bits hold every register there is."""


def mwh(wh: float) -> int:
    """Watt-hours as milliwatt-hours."""
    return round(wh * 1000)


def _at(counter: Counter, instant_ms: int) -> int:
    return int(counter(np.array([instant_ms], dtype=np.int64))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """All counters start again from 0."""

    kind = "reset"
    at_ms: int

    def over(self, counter: Counter) -> Counter:
        """The counter with this fault."""
        start = _at(counter, self.at_ms)
        return lambda t: counter(t) - np.where(t >= self.at_ms, start, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Another device of the same model in the same place: another serial number, another start value."""

    kind = "swap"
    at_ms: int
    serial: int
    start_wh: int

    def over(self, counter: Counter) -> Counter:
        """The counter with this fault."""
        shift = mwh(self.start_wh) - _at(counter, self.at_ms)
        return lambda t: counter(t) + np.where(t >= self.at_ms, shift, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """The counter passes its modulus at that instant: it stands just below it before and goes on from 0."""

    kind = "rollover"
    at_ms: int
    modulus_wh: int

    def over(self, counter: Counter) -> Counter:
        """The counter with this fault."""
        passed, modulus = _at(counter, self.at_ms), mwh(self.modulus_wh)
        return lambda t: (counter(t) - passed) % modulus


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroBurst:
    """The device answers, but its counters and powers are 0."""

    kind = "zero_burst"
    from_ms: int
    until_ms: int

    def over(self, counter: Counter) -> Counter:
        """The counter with this fault."""
        return lambda t: np.where((t >= self.from_ms) & (t < self.until_ms), 0, counter(t))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """The counters are too high for a while and then right again."""

    kind = "spike"
    from_ms: int
    until_ms: int
    wh: int

    def over(self, counter: Counter) -> Counter:
        """The counter with this fault."""
        return lambda t: counter(t) + np.where((t >= self.from_ms) & (t < self.until_ms), mwh(self.wh), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """The counters stand still for a while and then show the true value again."""

    kind = "stuck"
    from_ms: int
    until_ms: int

    def over(self, counter: Counter) -> Counter:
        """The counter with this fault."""
        start = _at(counter, self.from_ms)
        return lambda t: np.where((t >= self.from_ms) & (t < self.until_ms), start, counter(t))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The device has no supply: it says nothing, and what flows meanwhile is never counted."""

    kind = "outage"
    from_ms: int
    until_ms: int

    def over(self, counter: Counter) -> Counter:
        """The counter with this fault."""
        start = _at(counter, self.from_ms)
        missed = _at(counter, self.until_ms) - start
        return lambda t: np.where(t < self.from_ms, counter(t), np.where(t < self.until_ms, start, counter(t) - missed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """Every measured register carries the device's "not available" pattern; the counters themselves are right."""

    kind = "unavailable"
    from_ms: int
    until_ms: int

    def over(self, counter: Counter) -> Counter:
        """The counter with this fault: the same."""
        return counter


CounterFault = Reset | Swap | Rollover | ZeroBurst | Spike | Stuck | Outage | Unavailable


def with_faults(counter: Counter, faults: Sequence[CounterFault]) -> Counter:
    """The counter as the device shows it under these faults."""
    for fault in faults:
        counter = fault.over(counter)
    return counter


def is_on(fault: CounterFault, at_ms: int) -> bool:
    """Whether the fault changes what the device shows at this instant."""
    if isinstance(fault, Reset | Swap | Rollover):
        return at_ms >= fault.at_ms
    return fault.from_ms <= at_ms < fault.until_ms
