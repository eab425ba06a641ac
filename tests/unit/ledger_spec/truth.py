"""A true load, the register that counts it, and the ways a register or its polls go wrong.

Everything is exact: power is an integer [mW] between integer edges [ms], so the energy up to any instant is an
integer of mW·ms. A register shows that energy floored to its step. The ledger never sees this module's numbers
other than as polls, so what it books can be judged against them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Poll: TypeAlias = tuple[int, int | None, int | None]
"""(instant [UTC ms], register [mWh], own power [mW])."""
Ints: TypeAlias = npt.NDArray[np.int64]
Shown: TypeAlias = Callable[[Ints], Ints]
"""What a register shows [mWh] at given instants [ms]."""

MWMS_PER_MWH = 3_600_000


class Load:
    """Power that is constant between edges and zero outside of them.

    Args:
        edges_ms: Rising instants, one more than powers.
        power_mw: Power from each edge to the next [mW], at least 0.
    """

    def __init__(self, edges_ms: Sequence[int] | Ints, power_mw: Sequence[int] | Ints) -> None:
        self.edges_ms = np.asarray(edges_ms, np.int64)
        self.power_mw = np.asarray(power_mw, np.int64)
        if len(self.edges_ms) != len(self.power_mw) + 1 or (np.diff(self.edges_ms) <= 0).any():
            raise ValueError("a load has rising edges, one more than powers")
        work = np.diff(self.edges_ms) * self.power_mw
        self._work = np.concatenate(([0], np.cumsum(work))).astype(np.int64)

    def work(self, at_ms: Ints) -> Ints:
        """Energy since the first edge [mW·ms], exact."""
        at = np.clip(np.asarray(at_ms, np.int64), self.edges_ms[0], self.edges_ms[-1])
        slot = np.clip(np.searchsorted(self.edges_ms, at, "right") - 1, 0, len(self.power_mw) - 1)
        found: Ints = self._work[slot] + (at - self.edges_ms[slot]) * self.power_mw[slot]
        return found

    def power(self, at_ms: Ints) -> Ints:
        """Power [mW]; at an edge that of the stretch it begins."""
        at = np.asarray(at_ms, np.int64)
        slot = np.clip(np.searchsorted(self.edges_ms, at, "right") - 1, 0, len(self.power_mw) - 1)
        inside = (at >= self.edges_ms[0]) & (at <= self.edges_ms[-1])
        found: Ints = np.where(inside, self.power_mw[slot], 0)
        return found

    def energy_mwh(self, start_ms: int, end_ms: int) -> float:
        """True energy of [start, end) [mWh]."""
        before, after = self.work(np.array([start_ms, end_ms], np.int64)).tolist()
        return int(after - before) / MWMS_PER_MWH


def office(start_ms: int, days: int, seed: int) -> Load:
    """2 kW all day and 3.5 kW more from 08:00 to 18:00 on the first five days of seven, ±2 % every 5 min."""
    rng = np.random.default_rng(seed)
    slot_ms = 300_000
    count = days * 288
    hour = np.arange(count) % 288 / 12
    day = np.arange(count) // 288 % 7
    work = (hour >= 8) & (hour < 18) & (day < 5)
    power = (2_000_000 + 3_500_000 * work) * (1 + rng.uniform(-0.02, 0.02, count))
    return Load(start_ms + slot_ms * np.arange(count + 1, dtype=np.int64), power.astype(np.int64))


def restless(start_ms: int, end_ms: int, base_mw: int, swing_mw: int, rng: np.random.Generator) -> Load:
    """A seeded load between base and base + swing that changes every one to forty minutes, now and then to nothing."""
    edges = [start_ms]
    while edges[-1] < end_ms:
        edges.append(edges[-1] + int(rng.integers(60_000, 2_400_000)))
    count = len(edges) - 1
    power = base_mw + rng.integers(0, swing_mw + 1, count)
    power[rng.random(count) < 0.08] = 0
    return Load(edges, power.astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A register on a load: it shows floor((first + energy) / step) · step, modulo its rollover."""

    load: Load
    step_mwh: int
    first_mwh: int = 0
    """What it shows at the load's first edge."""
    rollover_mwh: int | None = None

    def counted(self, at_ms: Ints, since_ms: int | None = None, first_mwh: int | None = None) -> Ints:
        """The register of a counter that showed first at since; both default to the meter's own."""
        begin = int(self.load.edges_ms[0]) if since_ms is None else since_ms
        first = self.first_mwh if first_mwh is None else first_mwh
        whole, rest = divmod(first, self.step_mwh)  # apart, so that no product leaves 64 bits
        work = self.load.work(at_ms) - self.load.work(np.array([begin], np.int64))[0] + rest * MWMS_PER_MWH
        shown: Ints = (whole + work // (MWMS_PER_MWH * self.step_mwh)) * self.step_mwh
        return self.wrapped(shown)

    def wrapped(self, register: Ints) -> Ints:
        """The same modulo the rollover, if there is one."""
        if self.rollover_mwh is None:
            return register
        found: Ints = register % self.rollover_mwh
        return found


def schedule(start_ms: int, end_ms: int, every_ms: int, jitter_ms: int = 0, seed: int = 0) -> Ints:
    """Instants from start, every_ms apart, each late by up to jitter_ms (less than every_ms), none after end."""
    at = np.arange(start_ms, end_ms + 1, every_ms, dtype=np.int64)
    if jitter_ms:
        at = at + np.random.default_rng(seed).integers(0, jitter_ms + 1, len(at))
    found: Ints = at[at <= end_ms]
    return found


class Polls:
    """Polls of one register, made worse fault by fault; each fault acts on what the register shows by then."""

    def __init__(self, meter: Meter, at_ms: Ints, *, power: bool = True, power_gain: float = 1.0) -> None:
        self.meter = meter
        self.at_ms = at_ms
        self.identity_ms: tuple[int, ...] = ()
        self.faults: tuple[str, ...] = ()
        self._shown: Shown = meter.counted
        self._kept = np.ones(len(at_ms), bool)
        self._has_register = np.ones(len(at_ms), bool)
        self._power = (meter.load.power(at_ms) * power_gain).astype(np.int64)
        self.has_power = power
        self._has_power = np.full(len(at_ms), power)

    def shows(self, at_ms: int) -> int:
        """What the register shows at one instant, faults so far included [mWh]."""
        return int(self._shown(np.array([at_ms], np.int64))[0])

    def readings(self) -> list[Poll]:
        """The polls in order of time; a reading with neither register nor power does not exist."""
        register = self._shown(self.at_ms).tolist()
        found: list[Poll] = []
        columns = zip(
            self.at_ms.tolist(),
            register,
            self._power.tolist(),
            self._kept.tolist(),
            self._has_register.tolist(),
            self._has_power.tolist(),
            strict=True,
        )
        for at, shown, power, kept, has_register, has_power in columns:
            if kept and (has_register or has_power):
                found.append((at, shown if has_register else None, power if has_power else None))
        return found

    def _during(self, start_ms: int, end_ms: int) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = (self.at_ms >= start_ms) & (self.at_ms < end_ms)
        return found

    def _from(self, at_ms: int, after: Shown, until_ms: int | None = None) -> None:
        before = self._shown

        def shown(at: Ints) -> Ints:
            inside = at >= at_ms if until_ms is None else (at >= at_ms) & (at < until_ms)
            found: Ints = np.where(inside, after(at), before(at))
            return found

        self._shown = shown

    def outage(self, start_ms: int, end_ms: int) -> Polls:
        """No reading at all in [start, end)."""
        self._kept &= ~self._during(start_ms, end_ms)
        return self._noted("outage")

    def without_register(self, start_ms: int, end_ms: int) -> Polls:
        """Readings in [start, end) carry power only."""
        self._has_register &= ~self._during(start_ms, end_ms)
        return self._noted("without_register")

    def without_power(self, start_ms: int, end_ms: int) -> Polls:
        """Readings in [start, end) carry the register only."""
        self._has_power &= ~self._during(start_ms, end_ms)
        return self._noted("without_power")

    def lost(self, share: float, rng: np.random.Generator) -> Polls:
        """That share of the polls never came; the first and the last did."""
        away = rng.random(len(self.at_ms)) < share
        away[[0, -1]] = False
        self._kept &= ~away
        return self._noted("lost")

    def reset(self, at_ms: int) -> Polls:
        """The counter started from zero at this instant."""
        self._from(at_ms, lambda at: self.meter.counted(at, at_ms, 0))
        return self._noted("reset")

    def swap(self, at_ms: int, first_mwh: int, *, reported: bool = False) -> Polls:
        """Another meter with this first value from the instant on; reported = the gateway saw a new serial number."""
        self._from(at_ms, lambda at: self.meter.counted(at, at_ms, first_mwh))
        if reported:
            self.identity_ms = (*self.identity_ms, at_ms)
        return self._noted("identity" if reported else "swap")

    def zero_burst(self, start_ms: int, end_ms: int) -> Polls:
        """Register and power read 0 in [start, end)."""
        self._from(start_ms, lambda at: np.zeros(len(at), np.int64), end_ms)
        self._power = np.where(self._during(start_ms, end_ms), 0, self._power)
        return self._noted("zero_burst")

    def spike(self, start_ms: int, end_ms: int, factor: int = 10) -> Polls:
        """The register reads factor times too much in [start, end)."""
        before = self._shown
        self._from(start_ms, lambda at: before(at) * factor, end_ms)
        return self._noted("spike")

    def stale(self, start_ms: int, end_ms: int, fall_mwh: int) -> Polls:
        """An older, lower value by fall is served in [start, end): a back-step that returns."""
        before = self._shown
        self._from(start_ms, lambda at: np.maximum(before(at) - fall_mwh, 0), end_ms)
        return self._noted("back_step")

    def restored(self, at_ms: int, fall_mwh: int) -> Polls:
        """The device restored a value lower by fall and counts on from there."""
        before = self._shown
        self._from(at_ms, lambda at: np.maximum(before(at) - fall_mwh, 0))
        return self._noted("rebased")

    def stuck(self, start_ms: int, end_ms: int, *, lost: bool = False) -> Polls:
        """The register stands still in [start, end), then shows the truth, or has lost what it did not count."""
        before = self._shown
        still = self.shows(start_ms)
        gone = self.shows(end_ms) - still if lost else 0
        self._from(start_ms, lambda at: np.full(len(at), still, np.int64), end_ms)
        if lost:
            self._from(end_ms, lambda at: self.meter.wrapped(before(at) - gone))
        return self._noted("stuck_resumed" if lost else "stuck")

    def decode(self, at_ms: int, k: int, until_ms: int | None = None) -> Polls:
        """The decoder multiplies the register by 10^k from the instant on."""
        before = self._shown

        def after(at: Ints) -> Ints:
            found: Ints = before(at) * 10**k if k >= 0 else before(at) // 10**-k
            return found

        self._from(at_ms, after, until_ms)
        return self._noted("decode")

    def _noted(self, fault: str) -> Polls:
        self.faults = (*self.faults, fault)
        return self
