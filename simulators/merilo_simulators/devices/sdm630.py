"""Eastron SDM630 (V2), from "SDM630 Modbus Protocol Implementation V2.0" and V1.8.

Input registers are 32-bit floats at even addresses, most significant word first unless holding register 40 says
otherwise. At most 40 values (80 registers) a read, from an even address, an even count. A read of one single register
gives the instrument type. Energies are floats in kWh, shown with two decimals.
A power factor is negative when inductive.
"""

from __future__ import annotations

from merilo_simulators.devices.image import HOLDING, INPUT, Cell, Place, Span, put, words
from merilo_simulators.devices.meter import ILLEGAL_ADDRESS, Meter, Model

METER_CODE = 0x0070
"""Holding register 0xFC02 of an SDM630."""
_PLAIN: dict[int, str] = {
    42: "voltage_ln_mean_v",
    46: "current_mean_a",
    48: "current_sum_a",
    52: "active_power_w",
    56: "apparent_power_va",
    60: "reactive_power_var",
    66: "phase_angle_deg",
    70: "frequency_hz",
    84: "active_power_demand_w",
    86: "active_power_demand_max_w",
    200: "voltage_l1_l2_v",
    202: "voltage_l2_l3_v",
    204: "voltage_l3_l1_v",
    206: "voltage_ll_mean_v",
    224: "current_n_a",
    248: "thd_voltage_mean_pct",
    250: "thd_current_mean_pct",
}
_PER_PHASE: dict[int, str] = {
    0: "voltage_{}_n_v",
    6: "current_{}_a",
    12: "active_power_{}_w",
    18: "apparent_power_{}_va",
    24: "reactive_power_{}_var",
    36: "phase_angle_{}_deg",
    234: "thd_voltage_{}_pct",
    240: "thd_current_{}_pct",
}
_ENERGY: dict[int, str] = {
    72: "active_energy_import_wh",
    74: "active_energy_export_wh",
    76: "reactive_energy_import_varh",
    78: "reactive_energy_export_varh",
    80: "apparent_energy_vah",
    342: "active_energy_wh",
    344: "reactive_energy_varh",
}
_ENERGY_PER_PHASE: dict[int, str] = {
    346: "active_energy_import_{}_wh",
    352: "active_energy_export_{}_wh",
    358: "active_energy_{}_wh",
}
_FIRST_SETTING, _LAST_SETTING = 2, 62


def _cells() -> tuple[Cell, ...]:
    def cell(address: int, quantity: str, scale: float = 1.0, opposite: bool = False) -> Cell:
        return Cell(quantity=quantity, function=INPUT, address=address, form="f32", scale=scale, opposite=opposite)

    found = [cell(address, name) for address, name in _PLAIN.items()]
    found += [cell(62, "power_factor", opposite=True)]
    for place, phase in enumerate(("l1", "l2", "l3")):
        found += [cell(address + 2 * place, name.format(phase)) for address, name in _PER_PHASE.items()]
        found += [cell(30 + 2 * place, f"power_factor_{phase}", opposite=True)]
        found += [cell(address + 2 * place, name.format(phase), 1000.0) for address, name in _ENERGY_PER_PHASE.items()]
    found += [cell(address, name, 1000.0) for address, name in _ENERGY.items()]
    return tuple(sorted(found, key=lambda each: each.address))


def _constants(meter: Meter, at_ms: int) -> dict[Place, int]:
    swapped = meter.word_order == "little"
    settings: dict[int, float] = {
        18: 0.0,  # 8N1
        20: float(meter.unit),
        28: 2.0,  # 9600 baud
        30: 1.0 if meter.energy_prefix == "M" else 0.0,
        40: 2141.0,  # the value that shows the word order
    }
    image: dict[Place, int] = {}
    for address, value in settings.items():
        put(image, HOLDING, address, words(value, "f32", swapped))
    put(image, HOLDING, 0xFC00, words(meter.serial_at(at_ms), "u32", swapped))
    put(image, HOLDING, 0xFC02, (METER_CODE,))
    return image


def _single(function: int, address: int) -> int | None:
    return METER_CODE if address % 2 == 0 else None


SDM630 = Model(
    name="eastron_sdm630",
    vendor="Eastron",
    cells=_cells(),
    spans=(
        Span(INPUT, 0, 88),
        Span(INPUT, 200, 252),
        Span(INPUT, 334, 384),
        Span(HOLDING, _FIRST_SETTING, _LAST_SETTING),
        Span(HOLDING, 0xFC00, 0xFC04),
    ),
    step_wh=10,
    words_max=80,
    too_long=ILLEGAL_ADDRESS,
    even=True,
    single=_single,
    constants=_constants,
)
