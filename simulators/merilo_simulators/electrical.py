"""From circuits to what a meter senses: phases, voltages, currents, reactive power, all consistent with each other.

Currents follow from apparent power and voltage, apparent power from active and reactive, and those from the circuits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from merilo.instants import MINUTE_MS
from merilo_simulators.noise import Floats, Ints, smooth
from merilo_simulators.physics import Company, Sample

TAN_PERMILLE: MappingProxyType[str, int] = MappingProxyType(
    {"lighting": 330, "sockets": 395, "hvac": 540, "room_aux": 480, "ups_in": 140, "cooling": 590, "outlet": 250}
)
"""Reactive over active power of each load, in thousandths, all inductive: 330 is a power factor of 0.95."""

Supply = Literal["grid", "ups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """Where a meter, an outlet or a strip is clamped on: the circuits behind each phase."""

    phases: tuple[tuple[str, ...], ...]
    """One or three phases; each lists the circuits that hang on it."""
    supply: Supply = "grid"


def tan_permille(circuit: str) -> int:
    """Reactive over active power of the circuit, in thousandths."""
    load = circuit.removesuffix("_l1").removesuffix("_l2").removesuffix("_l3")
    return TAN_PERMILLE["outlet" if "_outlet_" in load else load]


@dataclass(frozen=True, slots=True)
class Sensed:
    """Everything at one tap at some instants; phases are numbered from 0."""

    active_w: list[Floats]
    reactive_var: list[Floats]
    voltage_v: list[Floats]
    frequency_hz: Floats
    thd_current_pct: list[Floats]
    thd_voltage_pct: list[Floats]

    def apparent_va(self, phase: int) -> Floats:
        """Apparent power of one phase [VA]."""
        return np.hypot(self.active_w[phase], self.reactive_var[phase])

    def current_a(self, phase: int) -> Floats:
        """Current of one phase [A]."""
        return self.apparent_va(phase) / self.voltage_v[phase]

    def angle_deg(self, phase: int) -> Floats:
        """Angle by which the current lags the voltage [deg]."""
        return np.degrees(np.arctan2(self.reactive_var[phase], self.active_w[phase]))

    def power_factor(self, phase: int) -> Floats:
        """Active over apparent power of one phase, 0 to 1; 1 without load."""
        return _ratio(self.active_w[phase], self.apparent_va(phase))

    def total_active_w(self) -> Floats:
        """Active power of all phases [W]."""
        return np.asarray(np.sum(self.active_w, axis=0), dtype=np.float64)

    def total_reactive_var(self) -> Floats:
        """Reactive power of all phases [var]."""
        return np.asarray(np.sum(self.reactive_var, axis=0), dtype=np.float64)

    def total_apparent_va(self) -> Floats:
        """Vector apparent power of all phases [VA]."""
        return np.hypot(self.total_active_w(), self.total_reactive_var())

    def total_power_factor(self) -> Floats:
        """Active over vector apparent power, 0 to 1; 1 without load."""
        return _ratio(self.total_active_w(), self.total_apparent_va())

    def neutral_a(self) -> Floats:
        """Vector sum of the phase currents [A]."""
        total = np.zeros(self.frequency_hz.size, dtype=np.complex128)
        for phase in range(len(self.active_w)):
            angle = np.radians(-120.0 * phase - self.angle_deg(phase))
            total += self.current_a(phase) * np.exp(1j * angle)
        return np.abs(total)

    def voltage_between_v(self, first: int, second: int) -> Floats:
        """Voltage between two phases that are 120° apart [V]."""
        a, b = self.voltage_v[first], self.voltage_v[second]
        return np.sqrt(a * a + b * b + a * b)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)


def sense(company: Company, tap: Tap, sample: Sample, at_ms: Ints) -> Sensed:
    """What is sensed at the tap at these instants; the sample is of the same company and instants."""
    seed, phases = company.seed, range(len(tap.phases))
    active = [np.sum([sample.power_mw(name) for name in each], axis=0) / 1000.0 for each in tap.phases]
    reactive = [
        np.sum([sample.power_mw(name) * (tan_permille(name) / 1e6) for name in each], axis=0) for each in tap.phases
    ]
    centre, swing = (231.5, 3.0) if tap.supply == "grid" else (230.0, 0.3)
    voltage = [
        centre + swing * smooth(seed, f"{tap.supply} voltage {phase}", at_ms, 17 * MINUTE_MS) - active[phase] * 2e-4
        for phase in phases
    ]
    wobble = smooth(seed, "harmonics", at_ms, 11 * MINUTE_MS)
    return Sensed(
        active_w=active,
        reactive_var=reactive,
        voltage_v=voltage,
        frequency_hz=50.0 + 0.04 * smooth(seed, f"{tap.supply} frequency", at_ms, 2 * MINUTE_MS),
        thd_current_pct=[11.0 + phase + 3.0 * wobble for phase in phases],
        thd_voltage_pct=[2.1 + 0.1 * phase + 0.4 * wobble for phase in phases],
    )


def energy_mwms(sample: Sample, circuits: Sequence[str]) -> Ints:
    """Active energy of the circuits together, since the company's origin [mW·ms], exact."""
    return np.asarray(np.sum([sample.energy_mwms(name) for name in circuits], axis=0), dtype=np.int64)


def reactive_mvarms(sample: Sample, circuits: Sequence[str]) -> Ints:
    """Inductive reactive energy of the circuits together, since the company's origin [mvar·ms]."""
    parts = [sample.energy_mwms(name) // 1000 * tan_permille(name) for name in circuits]
    return np.asarray(np.sum(parts, axis=0), dtype=np.int64)
