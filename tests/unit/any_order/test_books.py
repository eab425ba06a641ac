"""What random lives of a site found in the books, each in its smallest form."""

from __future__ import annotations

import pytest

from merilo.decisions import Decision
from merilo.frame import Frame
from merilo.ids import DeviceKey, MeterKey, RegisterKey
from merilo.ledger import RegisterFacts
from merilo_collector.books import Span, Steps
from unit.any_order.office import (
    IMPORT,
    KILOWATT_ROW_WH,
    MAIN,
    MAIN_IMPORT,
    POWER,
    SUB,
    Office,
    after,
    at,
    meter,
    polls,
    rows,
)
from unit.any_order.ports import CrashError, MemoryRaw
from unit.any_order.world import COMPANY, SITE, books_of

MAIN_METER = meter("main", "main", device=MAIN)
SUB_METER = meter("sub", "it", device=SUB)
BOTH = meter("both", "other", expression="main + sub")


def test_a_device_that_comes_later_leaves_the_rows_of_sums_before_it() -> None:
    office = Office(MAIN_METER, SUB_METER, BOTH)
    office.book(at(30), office.take(MAIN, polls(0, 30)))

    office.book(at(50), office.take(MAIN, after(30, polls(0, 50))), office.take(SUB, polls(40, 50)))

    low = office.column("energy_15m", "energy_low_wh", meter="both")
    assert {low[t] for t in rows(0, 40)} == {KILOWATT_ROW_WH}
    assert {office.energy("both")[t] for t in rows(40, 49)} == {2 * KILOWATT_ROW_WH}


def test_a_bill_for_one_meter_leaves_the_rows_of_the_others() -> None:
    office = Office(MAIN_METER, SUB_METER, BOTH)
    office.book(at(30), office.take(MAIN, polls(0, 30)), office.take(SUB, polls(0, 30)))
    bill = {"kind": "set_energy", "target": MeterKey(COMPANY, SITE, "sub"), "parameters": {"energy_wh": 240.0}}
    office.decide(Decision(id=1, from_ms=at(2), to_ms=at(26), **bill))  # type: ignore[arg-type]
    office.book(at(30), Span(SUB, at(2), at(26), walk=False))

    office.book(at(40), office.take(SUB, polls(30, 40, 30_000)))
    office.book(at(40), Span(SUB, at(25), at(25), walk=False))

    assert {office.energy("main")[t] for t in rows(0, 30)} == {KILOWATT_ROW_WH}
    assert {office.energy("sub")[t] for t in rows(2, 26)} == {2.5}
    assert {office.energy("both")[t] for t in rows(2, 26)} == {KILOWATT_ROW_WH + 2.5}


def test_a_meter_that_is_defined_anew_since_ever_keeps_its_rows() -> None:
    office = Office(MAIN_METER)
    office.book(at(10), office.take(MAIN, polls(0, 10)))

    office.book(at(10), Span(MAIN, 0, at(10), walk=False))

    assert {office.energy("main")[t] for t in rows(0, 9)} == {KILOWATT_ROW_WH}


def test_rows_up_to_midnight_are_written_when_the_newest_state_lies_behind_them() -> None:
    office = Office(MAIN_METER)
    # Work that waited is done at 00:04, when the rows end at 23:45 but a reading of the new day is there.
    office.book(at(23), office.take(MAIN, polls(0, 23)))
    office.book(at(24) + 240_000, office.take(MAIN, polls(23, 24, 23_000)))

    office.book(at(25), office.take(MAIN, after(24, polls(0, 25))))

    assert {office.energy("main")[t] for t in rows(0, 24.5)} == {KILOWATT_ROW_WH}


def test_late_readings_of_a_device_without_the_register_are_no_error() -> None:
    office = Office(MAIN_METER)
    office.book(at(200), office.take(MAIN, polls(140, 200)))

    late = {t: {"voltage_l1_n_v": 230.0} for t in rows(0, 1)}
    office.book(at(200), office.take(MAIN, late))

    assert {office.energy("main")[t] for t in rows(140, 199)} == {KILOWATT_ROW_WH}


def test_two_marks_of_one_register_are_walked_as_one() -> None:
    office = Office(MAIN_METER)
    office.book(at(60), office.take(MAIN, polls(1, 60, 1_000)))
    late = office.take(MAIN, polls(0, 1))

    office.book(at(60), late, Span(MAIN, at(50), at(60), frozenset({IMPORT})))

    head = office.ports.checkpoints.heads[MAIN_IMPORT].anchor
    assert head is not None
    assert head.segment_ms == at(0)


def test_late_readings_do_not_make_the_head_certain_before_its_time() -> None:
    office = Office(MAIN_METER)
    swapped = polls(0, 23) | polls(23, 30, 7_000_000)
    office.book(at(30), office.take(MAIN, {t: one for t, one in swapped.items() if t != at(5)}))

    office.book(at(30), office.take(MAIN, {at(5): swapped[at(5)]}))

    head = office.ports.checkpoints.heads[MAIN_IMPORT].anchor
    assert head is not None
    assert head.v_ms <= at(30)


def test_every_day_keeps_its_state_though_the_head_lies_before_it() -> None:
    office = Office(MAIN_METER)
    swapped = {at(0): {IMPORT: 500.0}} | polls(1, 24.5, 7_000_000)

    office.book(at(25), office.take(MAIN, swapped))

    days = office.ports.checkpoints.days(MAIN_IMPORT, -1, 2**62)
    assert sorted(days) == [at(0), at(24)]


def test_a_counter_that_comes_after_power_takes_its_place() -> None:
    office = Office(MAIN_METER)
    power = {t: {POWER: 1000.0} for t in rows(0, 4)}
    office.book(at(4), office.take(MAIN, power))
    assert office.column("register_15m", "state", register=POWER)

    office.book(at(10), office.take(MAIN, polls(4, 10)))

    assert office.column("register_15m", "state", register=POWER) == {}
    assert sorted(office.energy("main")) == list(rows(4, 9.75))
    assert set(office.ports.checkpoints.heads) == {MAIN_IMPORT}


def test_a_counter_that_comes_after_a_crash_takes_the_place_of_power() -> None:
    office = Office(MAIN_METER)
    first = office.take(MAIN, {t: {POWER: 1000.0} for t in rows(0, 4)})

    class Crash(Steps):
        def reached(self, step: str) -> None:
            raise CrashError

    books = books_of(office.ports, Crash())
    with pytest.raises(CrashError):
        books.correct([first], at(4))
    assert office.column("register_15m", "state", register=POWER)

    office.take(MAIN, polls(4, 10))
    office.book(at(10), Span(MAIN, at(0), at(10)))

    assert office.column("register_15m", "state", register=POWER) == {}


def test_facts_of_a_counter_that_never_speaks_leave_power_in_charge() -> None:
    office = Office(MAIN_METER)
    office.book(at(4), office.take(MAIN, {t: {POWER: 1000.0} for t in rows(0, 4.1)}))
    office.book(at(4), Span(MAIN, at(2), at(4), frozenset({IMPORT})))

    office.book(at(8), office.take(MAIN, {t: {POWER: 1000.0} for t in rows(4, 8.1)}))

    assert {office.energy("main")[t] for t in rows(0, 7.5)} == {KILOWATT_ROW_WH}


def test_a_device_that_fell_silent_after_a_disturbance_outlives_its_readings() -> None:
    office = Office(MAIN_METER)
    swapped = polls(0, 23) | polls(23, 30, 7_000_000)
    office.book(at(30), office.take(MAIN, swapped))
    office.book(at(80))
    before = office.energy("main"), office.ports.facts.events(MAIN_IMPORT, -1, 2**62)

    office.ports.raw.expire(MAIN, at(80))
    office.book(at(90))

    after = office.energy("main"), office.ports.facts.events(MAIN_IMPORT, -1, 2**62)
    assert {t: after[0][t] for t in before[0]} == before[0]
    assert after[1] == before[1]


def test_the_day_in_which_a_role_begins_stays_when_late_readings_come_before_it() -> None:
    office = Office(
        meter("main", "main", device=MAIN, valid_to_ms=at(30)),
        meter("main", "pdu", device=MAIN, valid_from_ms=at(30)),
    )
    readings = polls(0, 80)
    office.ports.facts.identities[MAIN] = (at(12),)  # what comes after it does not depend on what comes before
    office.book(at(80), office.take(MAIN, after(0, readings)))
    before = office.column("energy_1d", "energy_wh", meter="main", role="pdu")

    office.book(at(80), office.take(MAIN, {at(0): readings[at(0)]}))

    assert office.column("energy_1d", "energy_wh", meter="main", role="pdu") == before
    assert len(before) == 3


def test_the_running_month_counts_on_for_a_role_that_has_ended() -> None:
    office = Office(
        meter("main", "main", device=MAIN, valid_to_ms=at(10)),
        meter("main", "pdu", device=MAIN, valid_from_ms=at(10)),
    )
    office.book(at(20), office.take(MAIN, polls(0, 19.5)))

    office.book(at(40))

    # 40 rows of the role from the first instant of the month in Sofia, two hours before the readings, to 39:45.
    [coverage] = office.column("energy_1mo", "coverage", meter="main", role="main").values()
    assert coverage == 40 / (4 * 41.75)


def test_a_replacement_in_an_outage_of_days_is_decided_in_the_middle_of_it() -> None:
    office = Office(MAIN_METER)
    office.book(at(160), office.take(MAIN, polls(0, 10) | polls(130, 160, 500)))
    swap = {"kind": "swap", "target": MAIN_IMPORT, "parameters": {"final_wh": 70_000.0, "first_wh": 0.0}}
    office.decide(Decision(id=1, from_ms=at(40), to_ms=at(40), **swap))  # type: ignore[arg-type]

    office.book(at(160), Span(MAIN, at(40), at(40), walk=False))

    # 10 kWh at 10:00, 70 kWh when it was replaced, 0.5 kWh of the new one at 130:00: 60.5 kWh in 480 rows.
    energies = [office.energy("main")[t] for t in rows(10, 130)]
    assert sum(float(energy or 0) for energy in energies) == pytest.approx(60_500.0)


def test_a_fact_that_is_learned_for_a_register_without_readings_costs_nothing() -> None:
    office = Office(MAIN_METER)
    office.book(at(4), office.take(MAIN, polls(0, 4)))
    tariff = RegisterKey(*MAIN, "active_energy_import_t1_wh")
    office.ports.facts.known[tariff] = [RegisterFacts(step_mwh=1, max_power_mw=1, poll_interval_ms=1)]

    office.book(at(4), Span(MAIN, at(1), at(4), frozenset({tariff.register})))

    assert set(office.ports.checkpoints.heads) == {MAIN_IMPORT}


def test_the_quality_of_a_day_is_that_of_the_registers_which_were_there() -> None:
    office = Office(MAIN_METER)
    phase = RegisterKey(*MAIN, "active_energy_import_l1_wh")
    office.ports.facts.known[phase] = office.ports.facts.known[MAIN_IMPORT]
    first = {t: {phase.register: one[IMPORT]} for t, one in polls(0, 60).items()}
    readings = {t: one | polls(50, 60).get(t, {}) for t, one in first.items()}

    office.book(at(60), office.take(MAIN, readings))

    # Days of Sofia begin at 22:00 UTC: 88 of 96 quarters of the first one, which began before the readings.
    coverage = office.column("quality_1d", "coverage", device="main")
    assert list(coverage.values())[:2] == [88 / 96, 1.0]


def test_a_day_without_rows_any_more_has_no_quality() -> None:
    office = Office(MAIN_METER)
    office.book(at(4), office.take(MAIN, {t: {POWER: 1000.0} for t in rows(0, 4)}))

    office.book(at(40), office.take(MAIN, polls(30, 40)))

    assert len(office.column("quality_1d", "coverage", device="main")) == 1


def test_a_quarter_of_an_hour_is_walked_once_and_from_the_newest_state() -> None:
    class Watched(MemoryRaw):
        def frame(self, key: DeviceKey, start_ms: int, end_ms: int) -> Frame:
            asked.append(start_ms)
            return super().frame(key, start_ms, end_ms)

    asked: list[int] = []
    office = Office(MAIN_METER)
    office.ports.raw = Watched(office.ports.fuse)
    office.book(at(30) + 900_000, office.take(MAIN, polls(0, 30)))
    asked.clear()

    office.book(at(30.5) + 900_000, office.take(MAIN, after(30, polls(0, 30.5))))

    assert min(asked) == at(30)
    assert {office.energy("main")[t] for t in rows(0, 30.5)} == {KILOWATT_ROW_WH}
