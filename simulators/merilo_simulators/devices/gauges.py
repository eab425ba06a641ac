"""How each gauge of a meter follows from what is sensed at its tap."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from merilo_simulators.electrical import Sensed
from merilo_simulators.noise import Floats

Gauge = Callable[[Sensed], Floats]


def _mean(values: list[Floats]) -> Floats:
    return np.asarray(np.mean(values, axis=0), dtype=np.float64)


def _sum(values: list[Floats]) -> Floats:
    return np.asarray(np.sum(values, axis=0), dtype=np.float64)


def _currents(s: Sensed) -> list[Floats]:
    return [s.current_a(phase) for phase in range(len(s.active_w))]


def _between(s: Sensed) -> list[Floats]:
    return [s.voltage_between_v(0, 1), s.voltage_between_v(1, 2), s.voltage_between_v(2, 0)]


def _of_phase(phase: int) -> dict[str, Gauge]:
    name = f"l{phase + 1}"
    return {
        f"voltage_{name}_n_v": lambda s: s.voltage_v[phase],
        f"current_{name}_a": lambda s: s.current_a(phase),
        f"active_power_{name}_w": lambda s: s.active_w[phase],
        f"reactive_power_{name}_var": lambda s: s.reactive_var[phase],
        f"apparent_power_{name}_va": lambda s: s.apparent_va(phase),
        f"power_factor_{name}": lambda s: s.power_factor(phase),
        f"phase_angle_{name}_deg": lambda s: s.angle_deg(phase),
        f"thd_voltage_{name}_pct": lambda s: s.thd_voltage_pct[phase],
        f"thd_current_{name}_pct": lambda s: s.thd_current_pct[phase],
    }


GAUGES: Mapping[str, Gauge] = {
    **_of_phase(0),
    **_of_phase(1),
    **_of_phase(2),
    "active_power_w": lambda s: s.total_active_w(),
    "reactive_power_var": lambda s: s.total_reactive_var(),
    "apparent_power_va": lambda s: s.total_apparent_va(),
    "power_factor": lambda s: s.total_power_factor(),
    "phase_angle_deg": lambda s: np.degrees(np.arctan2(s.total_reactive_var(), s.total_active_w())),
    "frequency_hz": lambda s: s.frequency_hz,
    "current_sum_a": lambda s: _sum(_currents(s)),
    "current_mean_a": lambda s: _mean(_currents(s)),
    "current_n_a": lambda s: s.neutral_a(),
    "voltage_ln_mean_v": lambda s: _mean(s.voltage_v),
    "voltage_l1_l2_v": lambda s: s.voltage_between_v(0, 1),
    "voltage_l2_l3_v": lambda s: s.voltage_between_v(1, 2),
    "voltage_l3_l1_v": lambda s: s.voltage_between_v(2, 0),
    "voltage_ll_mean_v": lambda s: _mean(_between(s)),
    "thd_voltage_mean_pct": lambda s: _mean(s.thd_voltage_pct),
    "thd_current_mean_pct": lambda s: _mean(s.thd_current_pct),
}
