"""Carlo Gavazzi EM340, from "EM341 serial communication protocol" (EM330/EM340/ET330/ET340 share its tables).

Functions 3 and 4 give the same registers. Values are 32-bit integers, least significant word first; counters move in
steps of 0.1 kWh. Register 0x000B is the model only when it is read alone; inside a longer read it is the high word of
the voltage between L3 and L1. At most 50 words a read; addresses outside the tables are refused.
"""

from __future__ import annotations

from merilo_simulators.devices.image import HOLDING, INPUT, Cell, Form, Place, Span, put, text_words
from merilo_simulators.devices.meter import Meter, Model

MODEL_CODE = 341
"""Register 0x000B of an EM340."""
_ALONE = {0x000B: MODEL_CODE, 0x0302: 1, 0x0303: 0}
"""Registers that mean this when read alone: model, version, revision."""
_WORDS_MAX = 50

_PER_PHASE: tuple[tuple[int, str, float], ...] = (
    (0, "voltage_{}_n_v", 0.1),
    (12, "current_{}_a", 0.001),
    (18, "active_power_{}_w", 0.1),
    (24, "apparent_power_{}_va", 0.1),
    (30, "reactive_power_{}_var", 0.1),
    (64, "active_energy_import_{}_wh", 100.0),
)
_PLAIN: tuple[tuple[int, str, Form, float], ...] = (
    (6, "voltage_l1_l2_v", "i32", 0.1),
    (8, "voltage_l2_l3_v", "i32", 0.1),
    (10, "voltage_l3_l1_v", "i32", 0.1),
    (36, "voltage_ln_mean_v", "i32", 0.1),
    (38, "voltage_ll_mean_v", "i32", 0.1),
    (40, "active_power_w", "i32", 0.1),
    (42, "apparent_power_va", "i32", 0.1),
    (44, "reactive_power_var", "i32", 0.1),
    (46, "power_factor_l1", "i16", 0.001),
    (47, "power_factor_l2", "i16", 0.001),
    (48, "power_factor_l3", "i16", 0.001),
    (49, "power_factor", "i16", 0.001),
    (51, "frequency_hz", "i16", 0.1),
    (52, "active_energy_import_wh", "i32", 100.0),
    (54, "reactive_energy_import_varh", "i32", 100.0),
    (56, "active_power_demand_w", "i32", 0.1),
    (58, "active_power_demand_max_w", "i32", 0.1),
    (70, "active_energy_import_t1_wh", "i32", 100.0),
    (72, "active_energy_import_t2_wh", "i32", 100.0),
    (78, "active_energy_export_wh", "i32", 100.0),
    (80, "reactive_energy_export_varh", "i32", 100.0),
)


def _cells(function: int) -> list[Cell]:
    def cell(address: int, quantity: str, form: Form, scale: float) -> Cell:
        return Cell(
            quantity=quantity, function=function, address=address, form=form, scale=scale, low_first=form == "i32"
        )

    found = [cell(address, quantity, form, scale) for address, quantity, form, scale in _PLAIN]
    for place, phase in enumerate(("l1", "l2", "l3")):
        found += [cell(start + 2 * place, name.format(phase), "i32", scale) for start, name, scale in _PER_PHASE]
    return sorted(found, key=lambda each: each.address)


def _constants(meter: Meter, at_ms: int) -> dict[Place, int]:
    image: dict[Place, int] = {}
    settings = {
        0x1103: 1,  # measurement mode B: both directions
        0x1105: 0,  # no wiring fault
        0x2000: meter.unit,
        0x2001: 1,  # 9600 baud
        0x2002: 1,  # no parity
        0x2004: _WORDS_MAX,
        0x2005: meter.model.response_ms,
    }
    for function in (HOLDING, INPUT):
        for address, value in settings.items():
            put(image, function, address, (value,))
        put(image, function, 0x5000, text_words(f"KY{meter.serial_at(at_ms):010d}X", 7))
    return image


def _single(function: int, address: int) -> int | None:
    return _ALONE.get(address)


EM340 = Model(
    name="carlo_gavazzi_em330_em340_et330_et340",
    vendor="Carlo Gavazzi",
    cells=(*_cells(INPUT), *_cells(HOLDING)),
    spans=tuple(
        Span(function, start, end)
        for function in (HOLDING, INPUT)
        for start, end in ((0, 112), (0x1100, 0x1108), (0x2000, 0x2006), (0x5000, 0x5007))
    ),
    step_wh=100,
    words_max=_WORDS_MAX,
    single=_single,
    constants=_constants,
)
