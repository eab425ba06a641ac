"""NETIO PowerPDU 4KS: its Modbus TCP registers (user manual 4PS, "Modbus/TCP") and its JSON over MQTT (MQTT-flex).

Modbus: islands at 0, 100, 200, 300, 400 and 500 of the input registers, the total first and then the outlets; the
printed number is the wire address + 1. The JSON is the vendor's default MQTT-flex message: currents in mA, energies in
Wh. On the device one of the two is on at a time.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from merilo_simulators.devices.image import HOLDING, INPUT, Cell, Form, Place, Span, put
from merilo_simulators.devices.meter import Meter, Model

OUTLET_COUNT = 4
MQTT_MODEL = "NETIO PowerPDU 4KS"
_TOTAL: tuple[tuple[int, str, Form, float], ...] = (
    (0, "frequency_hz", "u16", 0.01),
    (1, "voltage_l1_n_v", "u16", 0.1),
    (2, "power_factor", "u16", 0.001),
    (3, "current_sum_a", "u16", 0.001),
    (4, "active_power_w", "u16", 1.0),
    (5, "phase_angle_deg", "i16", 0.01),
    (100, "current_sum_a", "u16", 0.001),
    (200, "active_power_w", "u16", 1.0),
    (300, "active_energy_import_wh", "u32", 1.0),
)
_OUTLET: tuple[tuple[int, int, str, Form, float], ...] = (
    (100, 1, "current_l1_a", "u16", 0.001),
    (200, 1, "active_power_w", "u16", 1.0),
    (300, 2, "active_energy_import_wh", "u32", 1.0),
    (400, 1, "power_factor", "u16", 0.001),
    (500, 1, "phase_angle_deg", "i16", 0.01),
)
"""First address, step per outlet, quantity, form, scale."""


def _cells() -> tuple[Cell, ...]:
    found = [
        Cell(quantity=quantity, function=INPUT, address=address, form=form, scale=scale)
        for address, quantity, form, scale in _TOTAL
    ]
    for outlet in range(1, OUTLET_COUNT + 1):
        found += [
            Cell(
                quantity=quantity,
                function=INPUT,
                address=first + step * outlet,
                form=form,
                scale=scale,
                channel=outlet,
            )
            for first, step, quantity, form, scale in _OUTLET
        ]
    return tuple(found)


def _constants(meter: Meter, at_ms: int) -> dict[Place, int]:
    image: dict[Place, int] = {}
    put(image, HOLDING, 1, (OUTLET_COUNT, OUTLET_COUNT))
    return image


NETIO = Model(
    name="netio_powerpdu_modbus",
    vendor="NETIO",
    cells=_cells(),
    spans=(
        Span(HOLDING, 0, 3),
        Span(INPUT, 0, 6),
        Span(INPUT, 100, 101 + OUTLET_COUNT),
        Span(INPUT, 200, 201 + OUTLET_COUNT),
        Span(INPUT, 300, 302 + 2 * OUTLET_COUNT),
        Span(INPUT, 400, 401 + OUTLET_COUNT),
        Span(INPUT, 500, 501 + OUTLET_COUNT),
    ),
    step_wh=1,
    constants=_constants,
    response_ms=5,
)


def message(meter: Meter, at_ms: int) -> bytes:
    """The JSON message that the strip publishes at this instant."""
    now = np.array([at_ms], dtype=np.int64)
    said = {
        channel: {name: column[0] for name, column in zip(names, columns, strict=True)}
        for channel, names, columns in meter.readings(now)
    }
    total = said[0]
    names = {number: f"output_{number}" for number in range(1, OUTLET_COUNT + 1)}
    body: dict[str, Any] = {
        "Agent": {
            "Model": MQTT_MODEL,
            "DeviceName": meter.device_id,
            "JSONVer": "2.1",
            "SerialNumber": f"24A42C{meter.serial_at(at_ms) & 0xFFFFFF:06X}",
            "NumOutputs": OUTLET_COUNT,
        },
        "GlobalMeasure": {
            "Voltage": round(total["voltage_l1_n_v"], 1),
            "Frequency": round(total["frequency_hz"], 2),
            "TotalCurrent": round(total["current_sum_a"] * 1000),
            "OverallPowerFactor": round(total["power_factor"], 3),
            "TotalLoad": round(total["active_power_w"]),
            "TotalEnergy": round(total["active_energy_import_wh"]),
        },
        "Outputs": [
            {
                "ID": number,
                "Name": names[number],
                "State": 1,
                "Load": round(said[number]["active_power_w"]),
                "Current": round(said[number]["current_l1_a"] * 1000),
                "PowerFactor": round(said[number]["power_factor"], 3),
                "Energy": round(said[number]["active_energy_import_wh"]),
            }
            for number in names
        ],
    }
    return json.dumps(body).encode()
