"""The past that is backfilled equals what the registers show at the same instants, decoded here by hand."""

from __future__ import annotations

import json
import struct

import pytest

from merilo.instants import DAY_MS, MINUTE_MS
from merilo.quantities import QUANTITIES
from merilo.reading import Reading
from merilo_simulators.counters import Outage, Reset, Unavailable
from merilo_simulators.devices.netio import message
from merilo_simulators.history import history, site_history, weather
from merilo_simulators.physics import ORIGIN_MS
from merilo_simulators.site import Site, example_site
from merilo_simulators.truth import Measures, example_measures, truth

SEED = 7
START = ORIGIN_MS + 33 * DAY_MS + 7_123
INTERVAL = 10_000


def decoded(site: Site, device: str, function: int, address: int, form: str, scale: float, at_ms: int) -> float:
    count = struct.calcsize(form) // 2
    found = site.meter(device).read(function, address, count, at_ms)
    if form.startswith("<"):  # low word first, bytes of a word high first
        found, form = found[::-1], form.replace("<", ">")
    return float(struct.unpack(form, struct.pack(f">{count}H", *found))[0]) * scale


@pytest.mark.parametrize(
    ("device", "function", "address", "form", "scale", "said_by", "quantity"),
    [
        ("main", 4, 72, ">f", 1000, "main", "active_energy_import_wh"),
        ("main", 4, 350, ">f", 1000, "main", "active_energy_import_l3_wh"),
        ("main", 4, 52, ">f", 1, "main", "active_power_w"),
        ("main", 4, 62, ">f", 1, "main", "power_factor"),
        ("main", 4, 0, ">f", 1, "main", "voltage_l1_n_v"),
        ("office", 4, 346, ">f", 1000, "office", "active_energy_import_l1_wh"),
        ("office", 4, 16, ">f", 1, "office", "active_power_l3_w"),
        ("ups", 3, 3203, ">q", 1, "ups", "active_energy_import_wh"),
        ("ups", 3, 3219, ">q", 1, "ups", "reactive_energy_import_varh"),
        ("ups", 3, 3059, ">f", 1000, "ups", "active_power_w"),
        ("cooling", 4, 52, "<i", 100, "cooling", "active_energy_import_wh"),
        ("cooling", 4, 40, "<i", 0.1, "cooling", "active_power_w"),
        ("cooling", 4, 51, ">h", 0.1, "cooling", "frequency_hz"),
        ("pdu2", 4, 300, ">I", 1, "pdu2", "active_energy_import_wh"),
        ("pdu2", 4, 306, ">I", 1, "pdu2-outlet-3", "active_energy_import_wh"),
        ("pdu2", 4, 203, ">H", 1, "pdu2-outlet-3", "active_power_w"),
        ("pdu2", 4, 103, ">H", 0.001, "pdu2-outlet-3", "current_l1_a"),
    ],
)
def test_history_says_what_the_registers_show(
    device: str, function: int, address: int, form: str, scale: float, said_by: str, quantity: str
) -> None:
    site = example_site(SEED)
    said = {at: values for name, at, values in history(SEED, START, START + 5 * INTERVAL, INTERVAL) if name == said_by}

    assert len(said) == 5
    for at_ms, values in said.items():
        assert values[quantity] == decoded(site, device, function, address, form, scale, at_ms)


def test_history_of_the_strip_on_the_broker_says_what_its_messages_say() -> None:
    site = example_site(SEED)
    said = {name: values for name, _, values in history(SEED, START, START + 1, INTERVAL)}

    told = json.loads(message(site.meter("pdu1"), START))

    assert said["pdu1"]["active_energy_import_wh"] == told["GlobalMeasure"]["TotalEnergy"]
    for outlet in told["Outputs"]:
        assert said[f"pdu1-outlet-{outlet['ID']}"]["active_energy_import_wh"] == outlet["Energy"]
        assert said[f"pdu1-outlet-{outlet['ID']}"]["active_power_w"] == outlet["Load"]


def test_history_is_in_order_and_every_row_is_a_reading() -> None:
    rows = list(history(SEED, START, START + 3 * INTERVAL, INTERVAL))

    assert [at for _, at, _ in rows] == sorted(at for _, at, _ in rows)
    assert len(rows) == 3 * (6 + 8)
    for device, at_ms, values in rows:
        assert Reading(device=device, at_ms=at_ms, values=values).values
        assert set(values) <= set(QUANTITIES)


def test_history_crosses_its_own_blocks_without_a_seam() -> None:
    instants = [at for name, at, _ in history(SEED, START, START + 2100 * 1000, 1000) if name == "pdu2-outlet-4"]

    assert instants == list(range(START, START + 2100 * 1000, 1000))


@pytest.mark.parametrize("measure", example_measures(), ids=lambda measure: measure.meter)
def test_the_registers_move_by_the_true_energy_within_one_step(measure: Measures) -> None:
    end = START + 6 * 3_600_000
    # Step of the register; a float32 one in kWh adds half of its own step, at most 4 Wh each below 131,072 kWh.
    steps = {"main": 10 + 8, "office": 10 + 8, "cooling": 100}
    first, last = (
        next(values for name, _, values in history(SEED, at, at + 1, 1) if name == measure.device)[measure.register]
        for at in (START, end)
    )

    true_wh = truth(SEED, measure.circuit, START, end) / 1000

    assert abs(last - first - true_wh) < steps.get(measure.device, 1)


def test_a_device_without_supply_or_values_has_a_gap_and_faults_show_in_the_past() -> None:
    site = example_site(SEED)
    site.meter("ups").faults.add(Outage(from_ms=START + 1, until_ms=START + 2 * INTERVAL))
    site.meter("main").faults.add(Unavailable(from_ms=START, until_ms=START + 1))
    site.meter("cooling").faults.add(Reset(at_ms=START + INTERVAL))

    rows = list(site_history(site, START, START + 3 * INTERVAL, INTERVAL))

    def at(device: str) -> list[int]:
        return [(instant - START) // INTERVAL for name, instant, _ in rows if name == device]

    assert at("ups") == [0, 2]
    assert at("main") == [1, 2]
    assert [v["active_energy_import_wh"] for name, _, v in rows if name == "cooling"][1:] == [0, 0]


def test_an_interval_below_a_millisecond_is_refused() -> None:
    with pytest.raises(ValueError, match="interval_ms = 0"):
        next(history(SEED, START, START + 1, 0))


def test_weather_is_hourly_and_the_one_that_drives_the_loads() -> None:
    found = dict(weather(SEED, ORIGIN_MS, ORIGIN_MS + DAY_MS))

    assert list(found) == [ORIGIN_MS + hour * 60 * MINUTE_MS for hour in range(24)]
    assert all(-20 < value < 20 for value in found.values())
