"""Events: stable numbers, exact stretches, and gateways that report too much."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from merilo import wire
from merilo.errors import NotFoundError, RegistryError
from merilo.ids import GatewayKey, MeterKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, to_text
from merilo.ledger import LedgerEvent
from merilo.site import Place
from merilo_adapters.registry import Registry, tables
from merilo_adapters.registry.events import REPORTS_PER_DAY_MAX
from registry_parts import GATEWAY, MAIN, MAIN_IMPORT, NOW

FOREVER = 2**60


def event(at_ms: int, kind: str = "reset", **given: object) -> LedgerEvent:
    plain: dict[str, object] = {
        "kind": kind,
        "detail": "",
        "at_ms": at_ms,
        "t0_ms": at_ms - 60_000,
        "t1_ms": at_ms,
        "r0_mwh": 2**53 + 1,
        "r1_mwh": 0,
        "low_mwh": 0,
        "high_mwh": None,
        "estimated_mwh": None,
        "set_aside": 0,
        "settles_at_ms": at_ms + DAY_MS,
    }
    return LedgerEvent(**{**plain, **given})  # type: ignore[arg-type]  # a table of attributes


def ledger(registry: Registry) -> list[tuple[int, LedgerEvent]]:
    return registry.ledger_events(MAIN_IMPORT, -1, FOREVER)


def test_ledger_events_come_back_exactly(registry: Registry) -> None:
    found = [event(NOW), event(NOW + 1, "stuck", detail="open", k=-3)]

    numbers = registry.replace_events(MAIN_IMPORT, NOW - 1, NOW + 1, found)

    assert ledger(registry) == list(zip(numbers, found, strict=True))
    [first, _] = registry.events("acme", 0, FOREVER, kinds=["ledger"], device="main")
    assert (first.number, first.code, first.at_ms, first.parameters["r0_mwh"]) == (numbers[0], "reset", NOW, 2**53 + 1)


def test_an_event_keeps_its_number_when_its_type_is_revised(registry: Registry) -> None:
    [number] = registry.replace_events(MAIN_IMPORT, 0, NOW, [event(NOW, "reset")])

    assert registry.replace_events(MAIN_IMPORT, 0, NOW, [event(NOW, "spike")]) == [number]
    assert [(n, e.kind) for n, e in ledger(registry)] == [(number, "spike")]


def test_an_event_that_goes_and_comes_again_has_its_old_number(registry: Registry) -> None:
    [number] = registry.replace_events(MAIN_IMPORT, 0, NOW, [event(NOW)])
    registry.replace_events(MAIN_IMPORT, 0, NOW, [])
    assert ledger(registry) == []
    assert registry.events("acme", 0, FOREVER) == []

    other = [event(NOW - 5)]
    [later] = registry.replace_events(MAIN_IMPORT, 0, NOW - 1, other)
    assert registry.replace_events(MAIN_IMPORT, NOW - 1, NOW, [event(NOW)]) == [number]
    assert later > number


def test_two_events_of_one_instant_keep_apart(registry: Registry) -> None:
    both = [event(NOW, "overbooked"), event(NOW, "stuck")]
    numbers = registry.replace_events(MAIN_IMPORT, 0, NOW, both)

    again = registry.replace_events(MAIN_IMPORT, 0, NOW, list(reversed(both)))

    assert again == list(reversed(numbers))


def test_events_outside_the_stretch_and_of_other_registers_stay(registry: Registry) -> None:
    other = RegisterKey(*MAIN, "active_energy_export_wh")
    registry.replace_events(MAIN_IMPORT, 0, NOW + 9, [event(NOW), event(NOW + 5), event(NOW + 9)])
    registry.replace_events(other, 0, NOW + 9, [event(NOW + 5)])

    registry.replace_events(MAIN_IMPORT, NOW, NOW + 8, [])

    assert [e.at_ms for _, e in ledger(registry)] == [NOW, NOW + 9]
    assert [e.at_ms for _, e in registry.ledger_events(other, -1, FOREVER)] == [NOW + 5]


def test_an_event_outside_the_stretch_it_replaces_is_refused(registry: Registry) -> None:
    for at_ms in (NOW, NOW + 11):
        with pytest.raises(RegistryError, match="expected an instant in"):
            registry.replace_events(MAIN_IMPORT, NOW, NOW + 10, [event(at_ms)])


def test_events_do_not_raise_the_version_that_callers_cache_on(registry: Registry) -> None:
    before = registry.version()

    registry.replace_events(MAIN_IMPORT, 0, NOW, [event(NOW)])
    registry.add_event("outage", GATEWAY, NOW, {"reason": "fibre cut"})

    assert registry.version() == before


def test_an_event_entered_twice_is_one(registry: Registry) -> None:
    first = registry.add_event("security", GATEWAY, NOW, {"topic": "x"}, code="foreign_topic")

    assert registry.add_event("security", GATEWAY, NOW, {"topic": "x"}, code="foreign_topic") == first
    assert registry.add_event("security", GATEWAY, NOW + 1, {}, code="foreign_topic") != first


def test_events_are_found_by_place_kind_and_the_stretch_they_meet(registry: Registry) -> None:
    outage = registry.add_event("outage", Place("acme", "hq"), NOW, {}, end_ms=NOW + HOUR_MS)
    registry.add_event("quality", MeterKey("acme", "hq", "main"), NOW + 2 * HOUR_MS, {"share": 0.5})

    assert [e.number for e in registry.events("acme", NOW + 1, NOW + 2)] == [outage]
    assert registry.events("acme", NOW + HOUR_MS, NOW + HOUR_MS + 1) == []
    assert [e.parameters for e in registry.events("acme", 0, FOREVER, meter="main")] == [{"share": 0.5}]
    assert [e.kind for e in registry.events("acme", 0, FOREVER, kinds=["quality"])] == ["quality"]
    assert registry.events("beta", 0, FOREVER) == []
    assert len(registry.events("acme", 0, FOREVER, limit=1)) == 1
    with pytest.raises(RegistryError, match="unknown filter colour"):
        registry.events("acme", 0, FOREVER, colour="red")


def test_an_outage_ends_when_it_is_said_to(registry: Registry) -> None:
    number = registry.add_event("outage", GATEWAY, NOW, {})

    registry.end_event(number, NOW + 5)

    assert registry.events("acme", 0, FOREVER)[0].end_ms == NOW + 5
    with pytest.raises(NotFoundError, match="event 99"):
        registry.end_event(99, NOW)


def test_unknown_kinds_ledger_events_and_long_parameters_are_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="event kind 'party'"):
        registry.add_event("party", GATEWAY, NOW, {})  # type: ignore[arg-type]  # what is refused
    with pytest.raises(RegistryError, match="event kind 'ledger'"):
        registry.add_event("ledger", GATEWAY, NOW, {})
    with pytest.raises(RegistryError, match="at most 8192"):
        registry.add_event("gateway", GATEWAY, NOW, {"text": "x" * 9000})


@pytest.mark.parametrize(
    ("kind", "device", "wanted"),
    [
        ("device_silent", "main", ("device", "device_silent", "main")),
        ("rows_dropped", "", ("gateway", "rows_dropped", "")),
        ("config_changed", "", ("configuration", "config_changed", "")),
        ("<script>" + "x" * 200, "../main", ("gateway", "script" + "x" * 58, "")),
    ],
)
def test_what_a_gateway_reports_is_sorted_and_cut(
    registry: Registry, kind: str, device: str, wanted: tuple[str, str, str]
) -> None:
    registry.add_gateway_event(GATEWAY, wire.GatewayEvent(to_text(NOW), kind, device, {"rows": 3}), NOW + 5)

    [found] = registry.events("acme", 0, FOREVER)
    assert (found.kind, found.code, found.place.device) == wanted
    assert (found.at_ms, found.parameters) == (NOW, {"rows": 3})


@pytest.mark.parametrize("at", ["", "yesterday", "2999-01-01T00:00:00Z", "2025-11-25T00:00:00"])
def test_a_report_without_a_believable_instant_gets_that_of_its_arrival(registry: Registry, at: str) -> None:
    registry.add_gateway_event(GATEWAY, wire.GatewayEvent(at, "clock_step"), NOW + 5)

    assert registry.events("acme", 0, FOREVER)[0].at_ms == NOW + 5


def test_a_flood_of_reports_stops_at_2000_a_day_and_other_gateways_go_on(registry: Registry) -> None:
    row = {**GATEWAY._asdict(), "kind": "gateway", "code": "flap", "parameters": "{}", "gone": False}
    rows = [{**row, "at_ms": NOW + number} for number in range(REPORTS_PER_DAY_MAX)]
    with registry._database.write() as connection:
        connection.execute(sa.insert(tables.events), rows)

    late = wire.GatewayEvent(to_text(NOW + 5000), "flap")
    assert registry.add_gateway_event(GATEWAY, late, NOW + DAY_MS) is None
    assert registry.add_gateway_event(GatewayKey("acme", "hq", "gw2"), late, NOW + DAY_MS) is not None
    assert registry.add_gateway_event(GATEWAY, wire.GatewayEvent(to_text(NOW + DAY_MS), "flap"), NOW + DAY_MS)
