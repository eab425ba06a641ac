"""What happens to counters, by hand-computed tables, and how it shows in the registers of a device."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from merilo.instants import DAY_MS, HOUR_MS
from merilo_simulators.counters import (
    Counter,
    CounterFault,
    Outage,
    Reset,
    Rollover,
    Spike,
    Stuck,
    Swap,
    Unavailable,
    ZeroBurst,
    with_faults,
)
from merilo_simulators.modbus import Request, answer
from merilo_simulators.noise import Ints
from merilo_simulators.physics import ORIGIN_MS
from merilo_simulators.site import example_site

SEED = 7
NOW = ORIGIN_MS + 70 * DAY_MS + 9 * HOUR_MS


def steady(t: Ints) -> Ints:
    """1 Wh each millisecond from 500 Wh on."""
    return 500_000 + 1000 * t


def shown(counter: Counter, *at_ms: int) -> list[float]:
    return [value / 1000 for value in counter(np.array(at_ms, dtype=np.int64)).tolist()]


@pytest.mark.parametrize(
    ("fault", "expected_wh"),
    [
        # at                                      0    99   100   150   200   300 ms
        (Reset(at_ms=100), [500, 599, 0, 50, 100, 200]),
        (Swap(at_ms=100, serial=2, start_wh=7), [500, 599, 7, 57, 107, 207]),
        (Rollover(at_ms=100, modulus_wh=1000), [900, 999, 0, 50, 100, 200]),
        (ZeroBurst(from_ms=100, until_ms=200), [500, 599, 0, 0, 700, 800]),
        (Spike(from_ms=100, until_ms=200, wh=9000), [500, 599, 9600, 9650, 700, 800]),
        (Stuck(from_ms=100, until_ms=200), [500, 599, 600, 600, 700, 800]),
        (Outage(from_ms=100, until_ms=200), [500, 599, 600, 600, 600, 700]),
        (Unavailable(from_ms=100, until_ms=200), [500, 599, 600, 650, 700, 800]),
    ],
)
def test_a_fault_changes_the_counter_as_its_table_says(fault: CounterFault, expected_wh: list[float]) -> None:
    assert shown(with_faults(steady, [fault]), 0, 99, 100, 150, 200, 300) == expected_wh


def test_faults_compose_in_their_order() -> None:
    # Off supply for 100 ms, then reset: the reset counter starts at what the device had kept.
    both = with_faults(steady, [Outage(from_ms=100, until_ms=200), Reset(at_ms=250)])

    assert shown(both, 249, 250, 300) == [649, 0, 50]


def test_a_rollover_beyond_four_gigawatt_hours_fits() -> None:
    modulus = 2**32

    assert shown(with_faults(steady, [Rollover(at_ms=100, modulus_wh=modulus)]), 99, 101) == [modulus - 1, 1]


def energy_wh(device_id: str, at_ms: int, *faults: CounterFault) -> int:
    meter = example_site(SEED).meter(device_id)
    meter.faults.add(*faults)
    return int(struct.unpack(">q", struct.pack(">4H", *meter.read(3, 3203, 4, at_ms)))[0])


def test_a_reset_device_counts_on_from_zero() -> None:
    before = energy_wh("ups", NOW)
    after = energy_wh("ups", NOW, Reset(at_ms=NOW - HOUR_MS))

    assert after == pytest.approx(before - energy_wh("ups", NOW - HOUR_MS), abs=1)
    assert 1000 < after < 3000


def test_a_swapped_device_has_another_serial_and_start_value() -> None:
    meter = example_site(SEED).meter("ups")
    meter.faults.add(Swap(at_ms=NOW, serial=77_000_001, start_wh=1234))

    serials = [struct.unpack(">I", struct.pack(">2H", *meter.read(3, 129, 2, t)))[0] for t in (NOW - 1, NOW)]

    assert serials == [meter.serial, 77_000_001]
    assert meter.read(3, 3203, 4, NOW) == (0, 0, 0, 1234)


def test_a_zero_burst_zeroes_powers_too_but_not_voltages() -> None:
    meter = example_site(SEED).meter("main")
    meter.faults.add(ZeroBurst(from_ms=NOW, until_ms=NOW + 1))

    assert meter.read(4, 52, 2, NOW) == meter.read(4, 72, 2, NOW) == (0, 0)
    assert meter.read(4, 0, 2, NOW) != (0, 0)
    assert meter.read(4, 52, 2, NOW + 1) != (0, 0)


def test_unavailable_registers_carry_the_pattern_of_their_form() -> None:
    site = example_site(SEED)
    for device_id in ("main", "cooling", "ups"):
        site.meter(device_id).faults.add(Unavailable(from_ms=NOW, until_ms=NOW + 1))

    assert site.meter("main").read(4, 52, 2, NOW) == (0x7FC0, 0x0000)
    assert site.meter("cooling").read(4, 52, 2, NOW) == (0xFFFF, 0x7FFF)
    assert site.meter("ups").read(3, 3203, 4, NOW) == (0x8000, 0, 0, 0)


def test_injections_are_counted_once_for_what_happens_once_and_per_answer_for_what_lasts() -> None:
    meter = example_site(SEED).meter("main")
    meter.faults.add(Reset(at_ms=NOW), Spike(from_ms=NOW, until_ms=NOW + 10, wh=5))
    ask = Request(1, bytes.fromhex("0400340002"))

    for at_ms in (NOW - 1, NOW, NOW + 1, NOW + 10):
        answer(meter, ask, at_ms, "rtu")

    assert meter.faults.injected == {"reset": 1, "spike": 2}
