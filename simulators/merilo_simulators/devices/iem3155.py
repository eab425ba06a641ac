"""Schneider Electric iEM3155, from the register list of the iEM3000 series user manual.

Holding registers only; the printed number is the wire address + 1. Powers are floats in kW, energies 64-bit integers in
Wh. Register 3083 codes the quadrant into the power factor; a lagging one of an importing load stays as it is.
"""

from __future__ import annotations

from merilo_simulators.devices.image import HOLDING, UNAVAILABLE, Cell, Form, Place, Span, put, text_words, words
from merilo_simulators.devices.meter import Meter, Model

_FLOATS: tuple[tuple[int, str, float], ...] = (
    (2999, "current_l1_a", 1.0),
    (3001, "current_l2_a", 1.0),
    (3003, "current_l3_a", 1.0),
    (3009, "current_mean_a", 1.0),
    (3019, "voltage_l1_l2_v", 1.0),
    (3021, "voltage_l2_l3_v", 1.0),
    (3023, "voltage_l3_l1_v", 1.0),
    (3025, "voltage_ll_mean_v", 1.0),
    (3027, "voltage_l1_n_v", 1.0),
    (3029, "voltage_l2_n_v", 1.0),
    (3031, "voltage_l3_n_v", 1.0),
    (3035, "voltage_ln_mean_v", 1.0),
    (3053, "active_power_l1_w", 1000.0),
    (3055, "active_power_l2_w", 1000.0),
    (3057, "active_power_l3_w", 1000.0),
    (3059, "active_power_w", 1000.0),
    (3067, "reactive_power_var", 1000.0),
    (3075, "apparent_power_va", 1000.0),
    (3083, "power_factor_4q", 1.0),
    (3109, "frequency_hz", 1.0),
    (3191, "power_factor", 1.0),
)
_INTEGERS: tuple[tuple[int, str], ...] = (
    (3203, "active_energy_import_wh"),
    (3207, "active_energy_export_wh"),
    (3219, "reactive_energy_import_varh"),
    (3223, "reactive_energy_export_varh"),
    (3517, "active_energy_import_l1_wh"),
    (3521, "active_energy_import_l2_wh"),
    (3525, "active_energy_import_l3_wh"),
)


def _cell(address: int, quantity: str, form: Form, scale: float) -> Cell:
    return Cell(quantity=quantity, function=HOLDING, address=address, form=form, scale=scale)


def _constants(meter: Meter, at_ms: int) -> dict[Place, int]:
    image: dict[Place, int] = {}
    put(image, HOLDING, 29, text_words(meter.device_id, 20))
    put(image, HOLDING, 49, text_words("iEM3155", 10))
    put(image, HOLDING, 69, text_words("Schneider Electric", 20))
    put(image, HOLDING, 129, words(meter.serial_at(at_ms), "u32"))
    put(image, HOLDING, 1636, (0x0105,))
    # The unit of this float copy of the total is not published: it is shown as not available.
    put(image, HOLDING, 45099, UNAVAILABLE["f32"])
    return image


IEM3155 = Model(
    name="schneider_iem3155_iem3255",
    vendor="Schneider Electric",
    cells=(
        *(_cell(address, quantity, "f32", scale) for address, quantity, scale in _FLOATS),
        *(_cell(address, quantity, "i64", 1.0) for address, quantity in _INTEGERS),
    ),
    spans=(
        Span(HOLDING, 29, 89),
        Span(HOLDING, 129, 131),
        Span(HOLDING, 1636, 1637),
        Span(HOLDING, 2999, 3111),
        Span(HOLDING, 3191, 3227),
        Span(HOLDING, 3517, 3529),
        Span(HOLDING, 45099, 45101),
    ),
    step_wh=1,
    constants=_constants,
)
