"""Register images against the vendors' tables, decoded here with struct and nothing of the simulator's encoder."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from merilo.instants import DAY_MS, HOUR_MS
from merilo_simulators.devices.image import text_words, words
from merilo_simulators.devices.meter import Channel, Meter, RefusedError
from merilo_simulators.devices.netio import message
from merilo_simulators.devices.sdm630 import SDM630
from merilo_simulators.electrical import Tap
from merilo_simulators.faults import FaultBook
from merilo_simulators.physics import ORIGIN_MS, company
from merilo_simulators.site import Site, example_site

SEED = 7
NOW = ORIGIN_MS + 70 * DAY_MS + 9 * HOUR_MS + 30_500
"""A Monday morning, half a minute into a grid cell."""
MWMS_PER_WH = 3_600_000_000


@pytest.fixture
def site() -> Site:
    return example_site(SEED)


def power_w(circuit: str) -> float:
    return int(company(SEED).power_mw(circuit, np.array([NOW]))[0]) / 1000


def energy_wh(circuit: str, step_wh: int, offset_wh: int) -> int:
    """What a counter with this step shows: whole steps of start value plus true energy."""
    total = int(company(SEED).energy_mwms(circuit, np.array([NOW]))[0]) + offset_wh * MWMS_PER_WH
    return total // (step_wh * MWMS_PER_WH) * step_wh


def as_bytes(meter: Meter, function: int, address: int, count: int) -> bytes:
    found = meter.read(function, address, count, NOW)
    assert len(found) == count
    return struct.pack(f">{count}H", *found)


def f32(meter: Meter, address: int, function: int = 4) -> float:
    return float(struct.unpack(">f", as_bytes(meter, function, address, 2))[0])


def as_f32(value: float) -> float:
    return float(np.float32(value))


def low_first_i32(meter: Meter, address: int) -> int:
    low, high = meter.read(4, address, 2, NOW)
    return int(struct.unpack(">i", struct.pack(">HH", high, low))[0])


# --- forms ---


def test_words_of_published_vectors() -> None:
    # 4366 3334 is 230.2 V in the Eastron manual's example answer; FFFF 7FFF is Carlo Gavazzi's overflow mark.
    assert words(230.2000122, "f32") == (0x4366, 0x3334)
    assert words(2147483647, "i32", low_first=True) == (0xFFFF, 0x7FFF)
    assert words(-2, "i16") == (0xFFFE,)
    assert words(1, "i64") == (0, 0, 0, 1)
    assert text_words("SunS", 3) == (0x5375, 0x6E53, 0)


# --- Eastron SDM630 ---


def test_sdm630_powers_and_totals_stand_where_the_manual_says(site: Site) -> None:
    meter = site.meter("main")

    assert [f32(meter, address) for address in (12, 14, 16)] == [
        as_f32(power_w(f"main_{phase}")) for phase in ("l1", "l2", "l3")
    ]
    assert f32(meter, 52) == as_f32(power_w("main"))
    assert f32(meter, 52) == pytest.approx(f32(meter, 12) + f32(meter, 14) + f32(meter, 16), rel=1e-6)


def test_sdm630_counters_are_floored_to_ten_watt_hours_then_float32_kilowatt_hours(site: Site) -> None:
    meter = site.meter("main")
    offset = meter.channels[0].offset_wh

    assert f32(meter, 72) == as_f32(energy_wh("main", 10, 3 * offset) / 1000)
    assert f32(meter, 342) == f32(meter, 72)
    assert f32(meter, 74) == 0
    for address, phase in ((346, "l1"), (348, "l2"), (350, "l3")):
        assert f32(meter, address) == as_f32(energy_wh(f"main_{phase}", 10, offset) / 1000)


def test_sdm630_of_the_office_has_one_circuit_per_phase(site: Site) -> None:
    meter = site.meter("office")
    offset = meter.channels[0].offset_wh

    for place, circuit in enumerate(("lighting", "sockets", "hvac")):
        assert f32(meter, 12 + 2 * place) == as_f32(power_w(circuit))
        assert f32(meter, 346 + 2 * place) == as_f32(energy_wh(circuit, 10, offset) / 1000)


def test_sdm630_electrical_values_agree_with_each_other(site: Site) -> None:
    meter = site.meter("main")
    columns = [[f32(meter, first + 2 * phase) for phase in range(3)] for first in (0, 6, 12, 18, 24, 30)]
    volts, amperes = columns[:2]

    for u, i, p, s, q, pf in zip(*columns, strict=True):
        assert 220 < u < 240
        assert u * i == pytest.approx(s, rel=1e-5)
        assert s * s == pytest.approx(p * p + q * q, rel=1e-5)
        assert -pf == pytest.approx(p / s, rel=1e-5)  # inductive is negative on this meter
    assert f32(meter, 42) == pytest.approx(sum(volts) / 3, rel=1e-6)
    assert f32(meter, 48) == pytest.approx(sum(amperes), rel=1e-6)
    assert f32(meter, 200) == pytest.approx((volts[0] ** 2 + volts[1] ** 2 + volts[0] * volts[1]) ** 0.5, rel=1e-6)
    assert 49.9 < f32(meter, 70) < 50.1
    assert f32(meter, 224) < max(amperes)


def test_sdm630_demand_is_the_mean_of_the_last_quarter(site: Site) -> None:
    edges = company(SEED).energy_mwms("main", np.array([NOW - 900_000, NOW]))

    assert f32(site.meter("main"), 84) == pytest.approx((edges[1] - edges[0]) / 900_000 / 1000, rel=1e-6)
    assert f32(site.meter("main"), 86) >= f32(site.meter("main"), 84)


def test_sdm630_names_itself_and_its_settings(site: Site) -> None:
    meter = site.meter("main")

    assert meter.read(3, 0xFC02, 1, NOW) == (0x0070,)
    assert struct.unpack(">I", as_bytes(meter, 3, 0xFC00, 2)) == (meter.serial,)
    assert [f32(meter, address, 3) for address in (20, 28, 30, 40)] == [1.0, 2.0, 0.0, 2141.0]


def test_sdm630_word_order_switches_every_value_in_mid_run(site: Site) -> None:
    meter = site.meter("main")
    before = meter.read(4, 52, 2, NOW)

    meter.word_order = "little"

    assert meter.read(4, 52, 2, NOW) == before[::-1]
    assert meter.read(3, 40, 2, NOW) == (0xD000, 0x4505)  # 2141.0, low word first


def test_sdm630_energy_prefix_turns_kilo_into_mega(site: Site) -> None:
    meter = site.meter("main")
    before, power = f32(meter, 72), f32(meter, 52)

    meter.energy_prefix = "M"

    assert f32(meter, 72) == pytest.approx(before / 1000, rel=1e-6)
    assert f32(meter, 30, 3) == 1.0
    assert f32(meter, 52) == power


@pytest.mark.parametrize(
    ("function", "address", "count", "code"),
    [
        (4, 1, 2, 2),  # odd start
        (4, 0, 3, 2),  # odd count
        (4, 0, 82, 2),  # more than 40 values
        (4, 0, 126, 3),  # more than any Modbus read
        (4, 0, 0, 3),
        (4, 86, 4, 2),  # into a hole
        (4, 1000, 2, 2),
        (3, 100, 2, 2),
    ],
)
def test_sdm630_refuses(site: Site, function: int, address: int, count: int, code: int) -> None:
    with pytest.raises(RefusedError) as refused:
        site.meter("main").read(function, address, count, NOW)

    assert refused.value.code == code


def test_sdm630_reads_eighty_registers_and_zeros_in_gaps(site: Site) -> None:
    found = site.meter("main").read(4, 0, 80, NOW)

    assert len(found) == 80
    assert found[44:46] == (0, 0)


def test_sdm630_gives_its_type_to_a_read_of_one_register(site: Site) -> None:
    assert site.meter("main").read(4, 52, 1, NOW) == (0x0070,)


# --- Schneider iEM3155 ---


def test_iem3155_counts_watt_hours_in_64_bits_and_shows_kilowatts(site: Site) -> None:
    meter = site.meter("ups")
    offset = meter.channels[0].offset_wh

    assert struct.unpack(">q", as_bytes(meter, 3, 3203, 4)) == (energy_wh("ups_in", 1, 3 * offset),)
    assert struct.unpack(">q", as_bytes(meter, 3, 3517, 4)) == (energy_wh("ups_in_l1", 1, offset),)
    assert f32(meter, 3059, 3) == as_f32(power_w("ups_in") / 1000)
    assert f32(meter, 3191, 3) == pytest.approx(1 / (1 + 0.14**2) ** 0.5, abs=1e-6)  # tan φ of the UPS is 0.14
    assert f32(meter, 3083, 3) == f32(meter, 3191, 3)  # lagging: the quadrant code leaves it


def test_iem3155_names_itself(site: Site) -> None:
    meter = site.meter("ups")

    assert as_bytes(meter, 3, 49, 10).rstrip(b"\0") == b"iEM3155"
    assert struct.unpack(">I", as_bytes(meter, 3, 129, 2)) == (meter.serial,)


def test_iem3155_reads_a_table_through_its_gaps_but_not_across_tables(site: Site) -> None:
    meter = site.meter("ups")

    assert len(meter.read(3, 2999, 112, NOW)) == 112
    for function, address, count, code in ((3, 3100, 100, 2), (3, 2999, 126, 3), (4, 2999, 2, 1)):
        with pytest.raises(RefusedError) as refused:
            meter.read(function, address, count, NOW)
        assert refused.value.code == code


# --- Carlo Gavazzi EM340 ---


def test_em340_integers_have_the_low_word_first(site: Site) -> None:
    meter = site.meter("cooling")
    offset = meter.channels[0].offset_wh

    assert low_first_i32(meter, 52) == energy_wh("cooling", 100, 3 * offset) // 100
    assert low_first_i32(meter, 64) == energy_wh("cooling_l1", 100, offset) // 100
    assert low_first_i32(meter, 40) == round(power_w("cooling") * 10)
    assert 2200 < low_first_i32(meter, 0) < 2400
    assert low_first_i32(meter, 78) == 0
    assert meter.read(4, 51, 1, NOW)[0] in (499, 500, 501)


def test_em340_register_11_is_the_model_only_when_read_alone(site: Site) -> None:
    meter = site.meter("cooling")
    pair = meter.read(4, 10, 2, NOW)

    assert meter.read(4, 11, 1, NOW) == meter.read(3, 11, 1, NOW) == (341,)
    assert pair[1] == 0  # high word of about 4000 tenths of a volt
    assert 3900 < pair[0] < 4100


def test_em340_answers_both_functions_alike(site: Site) -> None:
    meter = site.meter("cooling")

    assert meter.read(3, 0, 50, NOW) == meter.read(4, 0, 50, NOW)


@pytest.mark.parametrize(("address", "count", "code"), [(0, 51, 3), (200, 2, 2), (110, 4, 2), (0x0302, 2, 2)])
def test_em340_refuses(site: Site, address: int, count: int, code: int) -> None:
    with pytest.raises(RefusedError) as refused:
        site.meter("cooling").read(4, address, count, NOW)

    assert refused.value.code == code


def test_em340_shows_its_overflow_mark_when_a_counter_does_not_fit() -> None:
    huge = Meter(
        device_id="huge",
        model=example_site(SEED).meter("cooling").model,
        company=company(SEED),
        channels=(Channel(tap=Tap(phases=(("cooling_l1",), ("cooling_l2",), ("cooling_l3",))), offset_wh=10**11),),
        serial=1,
        unit=1,
        faults=FaultBook(0),
    )

    assert huge.read(4, 52, 2, NOW) == (0xFFFF, 0x7FFF)


# --- NETIO PowerPDU ---


def test_netio_registers_per_outlet(site: Site) -> None:
    meter = site.meter("pdu2")
    total, *outlets = struct.unpack(">5I", as_bytes(meter, 4, 300, 10))
    loads = meter.read(4, 200, 5, NOW)

    for n in range(1, 5):
        circuit = f"pdu2_outlet_{n}"
        assert outlets[n - 1] == energy_wh(circuit, 1, meter.channels[n].offset_wh)
        assert loads[n] == round(power_w(circuit))
        assert meter.read(4, 400 + n, 1, NOW)[0] == pytest.approx(970, abs=1)  # tan φ of a power supply is 0.25
    assert total == energy_wh("rack_b", 1, sum(meter.channels[n].offset_wh for n in range(1, 5)))
    assert loads[0] == round(power_w("rack_b"))
    assert 4990 < meter.read(4, 0, 1, NOW)[0] < 5010
    assert 2280 < meter.read(4, 1, 1, NOW)[0] < 2320
    assert meter.read(4, 3, 1, NOW) == meter.read(4, 100, 1, NOW)


def test_netio_counts_its_outlets_and_refuses_what_lies_between_its_islands(site: Site) -> None:
    meter = site.meter("pdu2")

    assert meter.read(3, 1, 2, NOW) == (4, 4)
    with pytest.raises(RefusedError) as refused:
        meter.read(4, 104, 2, NOW)
    assert refused.value.code == 2


def test_netio_message_has_the_vendors_fields_and_units(site: Site) -> None:
    meter = site.meter("pdu1")

    told = json.loads(message(meter, NOW))

    assert told["Agent"]["Model"].startswith("NETIO PowerPDU")
    assert told["GlobalMeasure"]["TotalLoad"] == round(power_w("rack_a"))
    assert told["GlobalMeasure"]["TotalEnergy"] == energy_wh("rack_a", 1, meter.channels[0].offset_wh)
    assert 228 < told["GlobalMeasure"]["Voltage"] < 232
    for n, outlet in enumerate(told["Outputs"], start=1):
        assert outlet["ID"] == n
        assert outlet["Load"] == round(power_w(f"pdu1_outlet_{n}"))
        assert outlet["Energy"] == energy_wh(f"pdu1_outlet_{n}", 1, meter.channels[n].offset_wh)
        assert outlet["Current"] == pytest.approx(outlet["Load"] / 0.97 / 230 * 1000, rel=0.02)  # mA


# --- all ---


def test_an_offset_between_two_counter_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of the counter's step, 10 Wh"):
        Meter(
            device_id="odd",
            model=SDM630,
            company=company(SEED),
            channels=(Channel(tap=Tap(phases=(("hvac",),)), offset_wh=15),),
            serial=1,
            unit=1,
            faults=FaultBook(0),
        )


def test_an_image_depends_on_seed_and_instant_only() -> None:
    for device_id in example_site(SEED).meters:
        assert example_site(SEED).meter(device_id).image(NOW) == example_site(SEED).meter(device_id).image(NOW)
    assert example_site(SEED).meter("main").image(NOW) != example_site(SEED + 1).meter("main").image(NOW)
