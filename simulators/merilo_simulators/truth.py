"""What really flowed: exact energies of every circuit, and which meter of the example site measures which circuit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merilo_simulators.physics import MWMS_PER_MWH, OUTLET_CIRCUITS, company


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """One meter and the circuit behind it."""

    meter: str
    """Suggested meter id: the device's own, or one made from device and phase."""
    device: str
    register: str
    """Counter of that device which counts the circuit."""
    circuit: str
    phase: str | None = None
    """l1, l2 or l3 where the meter is one phase of the device."""


def truth(seed: int, circuit: str, start_ms: int, end_ms: int) -> int:
    """Energy of the circuit in [start, end) [mWh]; exact between whole minutes, else rounded down.

    Raises:
        ValueError: An unknown circuit, an instant before the company's origin, or an end before the start.
    """
    if end_ms < start_ms:
        raise ValueError(f"end {end_ms} is before start {start_ms}")
    first, last = company(seed).energy_mwms(circuit, np.array([start_ms, end_ms], dtype=np.int64))
    return int(last - first) // MWMS_PER_MWH


def example_measures() -> tuple[Measures, ...]:
    """Every meter of the example site: totals, the three office phases, the eight outlets."""
    total = "active_energy_import_wh"
    whole = {"main": "main", "office": "office", "ups": "ups_in", "cooling": "cooling"}
    strips = {"pdu1": "rack_a", "pdu2": "rack_b"}
    found = [
        Measures(meter=device, device=device, register=total, circuit=circuit)
        for device, circuit in (whole | strips).items()
    ]
    found += [
        Measures(
            meter=f"office-{circuit}",
            device="office",
            register=f"active_energy_import_{phase}_wh",
            circuit=circuit,
            phase=phase,
        )
        for phase, circuit in (("l1", "lighting"), ("l2", "sockets"), ("l3", "hvac"))
    ]
    for circuit in OUTLET_CIRCUITS:
        device = circuit.replace("_", "-")
        found.append(Measures(meter=device, device=device, register=total, circuit=circuit))
    return tuple(found)
