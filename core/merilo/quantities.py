"""The closed list of quantities a reading can carry: name, unit, kind and physical range.

A name is ``<quantity>[_<phase>]_<unit>``: the same in profiles, payloads, store and API.
Energies are in Wh, powers in W. A value without a phase is the total of the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["gauge", "counter", "net_counter"]
"""A counter only rises (but for faults); a net counter may fall legitimately and is never walked by the ledger."""

PHASES = ("l1", "l2", "l3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One quantity of the vocabulary."""

    name: str
    unit: str
    """Canonical unit: W, var, VA, Wh, varh, V, A, Hz, c, pct, s, or empty for a ratio."""
    kind: Kind
    low: float
    """Smallest value that can be true, in the unit; below it the value is garbage."""
    high: float
    """Largest value that can be true, in the unit."""


_POWER = 1e9
_ENERGY = 9e12
"""9 TWh: up to here a float keeps every milliwatt-hour."""


def _build() -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}

    def add(name: str, unit: str, kind: Kind, low: float, high: float) -> None:
        found[name] = Quantity(name=name, unit=unit, kind=kind, low=low, high=high)

    for phase in ("", *(f"_{p}" for p in PHASES)):
        add(f"active_power{phase}_w", "W", "gauge", -_POWER, _POWER)
        add(f"reactive_power{phase}_var", "var", "gauge", -_POWER, _POWER)
        add(f"apparent_power{phase}_va", "VA", "gauge", -_POWER, _POWER)
        add(f"power_factor{phase}", "", "gauge", -1.0, 1.0)
        for tariff in ("", "_t1", "_t2"):
            add(f"active_energy_import{tariff}{phase}_wh", "Wh", "counter", 0.0, _ENERGY)
            add(f"active_energy_export{tariff}{phase}_wh", "Wh", "counter", 0.0, _ENERGY)
        add(f"active_energy{phase}_wh", "Wh", "counter", 0.0, _ENERGY)
        add(f"active_energy_net{phase}_wh", "Wh", "net_counter", -_ENERGY, _ENERGY)
        add(f"reactive_energy_import{phase}_varh", "varh", "counter", 0.0, _ENERGY)
        add(f"reactive_energy_export{phase}_varh", "varh", "counter", 0.0, _ENERGY)
        add(f"reactive_energy{phase}_varh", "varh", "counter", 0.0, _ENERGY)
        add(f"load{phase}_pct", "pct", "gauge", 0.0, 1000.0)
    for phase in (*PHASES, "mean"):
        add(f"thd_voltage_{phase}_pct", "pct", "gauge", 0.0, 1000.0)
        add(f"thd_current_{phase}_pct", "pct", "gauge", 0.0, 1000.0)
    for pair in ("l1_n", "l2_n", "l3_n", "l1_l2", "l2_l3", "l3_l1", "ln_mean", "ll_mean"):
        add(f"voltage_{pair}_v", "V", "gauge", 0.0, 1e6)
    for where in (*PHASES, "n", "sum", "mean"):
        add(f"current_{where}_a", "A", "gauge", -1e6, 1e6)
    add("residual_current_a", "A", "gauge", 0.0, 1e6)
    add("frequency_hz", "Hz", "gauge", 0.0, 1000.0)
    add("temperature_c", "c", "gauge", -100.0, 300.0)
    add("battery_temperature_c", "c", "gauge", -100.0, 300.0)
    add("humidity_pct", "pct", "gauge", 0.0, 100.0)
    add("battery_charge_pct", "pct", "gauge", 0.0, 100.0)
    add("efficiency_pct", "pct", "gauge", 0.0, 110.0)
    add("current_unbalance_pct", "pct", "gauge", 0.0, 1000.0)
    add("battery_voltage_v", "V", "gauge", 0.0, 1e5)
    add("battery_runtime_s", "s", "gauge", 0.0, 1e8)
    return found


QUANTITIES: MappingProxyType[str, Quantity] = MappingProxyType(_build())


def is_register(name: str) -> bool:
    """Whether the ledger walks this quantity: a counter that may only rise."""
    found = QUANTITIES.get(name)
    return found is not None and found.kind == "counter"


def is_export(register: str) -> bool:
    """Whether the register counts energy that leaves towards the grid."""
    return "_export" in register


def is_tariff(register: str) -> bool:
    """Whether the register counts one tariff only and may rest for as long as another one counts."""
    return "_t1_" in register or "_t2_" in register


def power_of(register: str) -> str:
    """The power quantity that shapes this register: same phase, active for Wh, reactive for varh.

    Raises:
        ValueError: Not a register.
    """
    if not is_register(register):
        raise ValueError(f"{register!r} is not a register")
    phase = next((p for p in PHASES if f"_{p}_" in register), "")
    kind, unit = ("reactive", "var") if register.endswith("varh") else ("active", "w")
    return f"{kind}_power_{phase}_{unit}" if phase else f"{kind}_power_{unit}"
