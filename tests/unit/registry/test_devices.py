"""Devices, births and facts: a gateway proposes, the registry decides, and work is marked from the right instant."""

from __future__ import annotations

import msgspec
import pytest

from merilo import wire
from merilo.errors import NotFoundError, RegistryError
from merilo.ids import DeviceKey, GatewayKey, MeterKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS, to_text
from merilo_adapters.registry import ALL, FORM, Registry, Work
from registry_parts import GATEWAY, IMPORT, MAIN, MAIN_IMPORT, NOW, birth, counter

DEVICE = wire.BirthDevice(model="EM24", serial="A1", profile="gavazzi_em24", profile_version="3", quantities=counter())


def spans(work: Work) -> dict[RegisterKey, tuple[int, int]]:
    return {found.key: (found.first_ms, found.last_ms) for found in work.pending(100)}


def test_a_device_seen_for_the_first_time_waits_for_confirmation_with_a_meter_of_its_own_id(registry: Registry) -> None:
    assert registry.see_devices([MAIN, MAIN], NOW) == []

    [device] = registry.devices("acme")
    [meter] = registry.meters("acme")
    assert (device.key, device.confirmed, device.first_seen_ms) == (MAIN, False, NOW)
    assert (meter.meter, meter.role, meter.device, meter.confirmed) == ("main", "unassigned", MAIN, False)
    assert (meter.valid_from_ms, meter.valid_to_ms) == (0, None)


def test_seeing_a_known_device_again_changes_nothing(registry: Registry) -> None:
    registry.see_devices([MAIN], NOW)
    before = registry.version()

    registry.see_devices([MAIN], NOW + 1)

    assert registry.version() == before
    assert len(registry.meters("acme")) == 1


def test_the_same_device_id_behind_two_gateways_gives_two_meter_ids(registry: Registry) -> None:
    registry.add_gateway(GatewayKey("acme", "hq", "gw2"), NOW)
    second = DeviceKey("acme", "hq", "gw2", "main")
    registry.see_devices([MAIN], NOW)
    registry.see_devices([second], NOW)

    assert {v.meter: v.device for v in registry.meters("acme")} == {"main": MAIN, "gw2-main": second}


def test_a_long_second_meter_id_is_cut_to_32_with_a_hash(registry: Registry) -> None:
    gateway = GatewayKey("acme", "hq", "gateway-in-the-basement")
    registry.add_gateway(gateway, NOW)
    long = "rack-a-outlet-17"
    registry.see_devices([DeviceKey(*GATEWAY, long)], NOW)
    registry.see_devices([DeviceKey(*gateway, long)], NOW)

    # printf gateway-in-the-basement-rack-a-outlet-17 | sha256sum
    assert [v.meter for v in registry.meters("acme")] == ["gateway-in-the-basement-ffa7d17c", long]


def test_a_gateway_may_bring_200_unconfirmed_devices_and_not_one_more(registry: Registry) -> None:
    keys = [DeviceKey(*GATEWAY, f"d{number:03}") for number in range(202)]

    assert registry.see_devices(keys[:200], NOW) == []
    assert registry.see_devices(keys, NOW) == keys[200:]

    registry.confirm_meter(MeterKey("acme", "hq", "d000"), NOW)
    assert registry.see_devices(keys, NOW) == keys[201:]


def test_devices_of_an_unknown_gateway_are_refused(registry: Registry) -> None:
    foreign = DeviceKey("acme", "hq", "ghost", "main")

    assert registry.see_devices([foreign, MAIN], NOW) == [foreign]


def test_a_birth_enters_devices_facts_and_meters_and_the_same_birth_changes_nothing(registry: Registry) -> None:
    told = birth({"main": msgspec.structs.replace(DEVICE, role="main", interval_s=60.0)})

    changes = registry.apply_birth(GATEWAY, told, NOW + 5)
    before = registry.version()

    assert changes.new_devices == (MAIN,)
    assert changes.facts == {MAIN_IMPORT: 0}
    assert not registry.apply_birth(GATEWAY, told, NOW + HOUR_MS)
    assert registry.version() == before
    [device] = registry.devices("acme")
    assert (device.model, device.serial, device.interval_s, device.proposed_role) == ("EM24", "A1", 60.0, "main")
    [meter] = registry.meters("acme")
    assert (meter.role, meter.confirmed) == ("main", False)


def test_facts_are_what_profile_and_device_say(registry: Registry) -> None:
    told = msgspec.structs.replace(DEVICE, max_power_w=23_000.0, interval_s=60.0, quantities=counter(100.0, 1e9))
    registry.apply_birth(GATEWAY, birth({"main": told}), NOW)

    [facts] = registry.facts(MAIN)[IMPORT]

    assert set(registry.facts(MAIN)) == {IMPORT}
    assert (facts.step_mwh, facts.rollover_mwh, facts.max_power_mw) == (100_000, 10**12, 23_000_000)
    assert (facts.poll_interval_ms, facts.zero_is_valid, facts.valid_from_ms) == (60_000, True, 0)
    assert registry.assumptions(MAIN) == {IMPORT: frozenset()}


def test_a_power_that_nobody_stated_is_assumed_from_a_63_a_fuse_and_flagged(registry: Registry) -> None:
    registry.apply_birth(GATEWAY, birth({"main": msgspec.structs.replace(DEVICE, quantities=counter(None))}), NOW)

    [facts] = registry.facts(MAIN)[IMPORT]

    assert facts.max_power_mw == 54_337_500  # 1.25 x 3 x 230 V x 63 A = 54 337.5 W
    assert facts.step_mwh == 10_000
    assert registry.assumptions(MAIN) == {IMPORT: frozenset({"max_power_mw", "step_mwh"})}
    assert registry.assumed_facts(MAIN) == facts


def test_a_stated_power_corrects_an_assumed_one_from_the_beginning_as_far_as_raw_readings_reach(
    registry: Registry, work: Work
) -> None:
    registry.apply_birth(GATEWAY, birth({"main": DEVICE}), NOW)
    told = msgspec.structs.replace(DEVICE, max_power_w=10_000.0)

    changes = registry.apply_birth(GATEWAY, birth({"main": told}, NOW + HOUR_MS), NOW + HOUR_MS)

    assert changes.facts == {MAIN_IMPORT: 0}
    assert [f.max_power_mw for f in registry.facts(MAIN)[IMPORT]] == [10_000_000]
    assert registry.assumptions(MAIN) == {IMPORT: frozenset()}
    # Raw readings are kept 90 days; the last day of them is left alone.
    assert spans(work) == {MAIN_IMPORT: (NOW + HOUR_MS - 89 * DAY_MS, NOW + HOUR_MS)}


def test_a_changed_step_counts_from_the_grid_instant_of_its_birth(registry: Registry, work: Work) -> None:
    told = msgspec.structs.replace(DEVICE, max_power_w=10_000.0)
    registry.apply_birth(GATEWAY, birth({"main": told}), NOW)
    at_ms = NOW + HOUR_MS + 123_456

    finer = msgspec.structs.replace(told, quantities=counter(1.0))
    changes = registry.apply_birth(GATEWAY, birth({"main": finer}, at_ms), at_ms + 2_000)

    assert changes.facts == {MAIN_IMPORT: NOW + HOUR_MS}
    dated = registry.facts(MAIN)[IMPORT]
    assert [(f.valid_from_ms, f.step_mwh) for f in dated] == [(0, 10_000), (NOW + HOUR_MS, 1_000)]
    assert spans(work) == {MAIN_IMPORT: (NOW + HOUR_MS, at_ms + 2_000)}


def test_a_device_first_known_by_its_readings_is_walked_again_once_its_facts_are_known(
    registry: Registry, work: Work
) -> None:
    registry.see_devices([MAIN], NOW)

    registry.apply_birth(GATEWAY, birth({"main": DEVICE}), NOW + 5)

    assert spans(work)[MAIN_IMPORT] == (NOW - 89 * DAY_MS, NOW + 5)


def test_a_new_device_marks_no_work(registry: Registry, work: Work) -> None:
    registry.apply_birth(GATEWAY, birth({"main": msgspec.structs.replace(DEVICE, role="main")}), NOW)

    assert spans(work) == {}


def test_a_changed_serial_is_an_identity_instant_and_walks_the_device_again(registry: Registry, work: Work) -> None:
    registry.apply_birth(GATEWAY, birth({"main": DEVICE}), NOW)
    other = msgspec.structs.replace(DEVICE, serial="B2")
    at_ms = NOW + 3 * HOUR_MS + 7

    changes = registry.apply_birth(GATEWAY, birth({"main": other}, at_ms), at_ms + 500)

    assert changes.identities == {MAIN: at_ms}
    assert registry.identity_instants(MAIN) == (at_ms,)
    assert spans(work) == {RegisterKey(*MAIN, ALL): (at_ms, at_ms + 500)}
    assert not registry.apply_birth(GATEWAY, birth({"main": other}, at_ms), at_ms + 900)


def test_another_device_teaches_nothing_about_the_time_before_it(registry: Registry) -> None:
    registry.apply_birth(GATEWAY, birth({"main": DEVICE}), NOW)
    other = msgspec.structs.replace(DEVICE, serial="B2", max_power_w=1_000.0)

    registry.apply_birth(GATEWAY, birth({"main": other}, NOW + HOUR_MS), NOW + HOUR_MS)

    dated = [(f.valid_from_ms, f.max_power_mw) for f in registry.facts(MAIN)[IMPORT]]
    assert dated == [(0, 54_337_500), (NOW + HOUR_MS, 1_000_000)]


def test_a_device_that_does_not_say_its_serial_keeps_its_identity(registry: Registry) -> None:
    registry.apply_birth(GATEWAY, birth({"main": DEVICE}), NOW)

    silent = msgspec.structs.replace(DEVICE, serial="")
    changes = registry.apply_birth(GATEWAY, birth({"main": silent}, NOW + 1), NOW + 1)

    assert changes.identities == {}


def test_a_birth_from_the_future_counts_from_its_arrival(registry: Registry) -> None:
    registry.apply_birth(GATEWAY, birth({"main": DEVICE}), NOW)
    other = msgspec.structs.replace(DEVICE, serial="B2")

    registry.apply_birth(GATEWAY, birth({"main": other}, NOW + 400 * DAY_MS), NOW + 10)

    assert registry.identity_instants(MAIN) == (NOW + 10,)


def test_a_changed_identity_that_a_gateway_reports_is_recorded_once(registry: Registry, work: Work) -> None:
    registry.apply_birth(GATEWAY, birth({"main": DEVICE}), NOW)
    at_ms = NOW + HOUR_MS
    event = wire.GatewayEvent(to_text(at_ms), "identity_changed", "main", {"serial": "B2", "before": "A1"})

    registry.add_gateway_event(GATEWAY, event, at_ms + 10)
    registry.add_gateway_event(GATEWAY, event, at_ms + 20)
    other = msgspec.structs.replace(DEVICE, serial="B2")
    changes = registry.apply_birth(GATEWAY, birth({"main": other}, at_ms + 700), at_ms + 800)

    assert changes.identities == {}
    assert registry.identity_instants(MAIN) == (at_ms,)
    assert spans(work) == {RegisterKey(*MAIN, ALL): (at_ms, at_ms + 10)}


def test_a_device_on_three_circuits_gives_three_meters_instead_of_its_own(registry: Registry, work: Work) -> None:
    registry.see_devices([MAIN], NOW)
    parts = (
        wire.BirthMeter("ac", "cooling", "l1"),
        wire.BirthMeter("ups", "ups_in", "l2"),
        wire.BirthMeter("lights", "lighting", "l3"),
    )

    changes = registry.apply_birth(GATEWAY, birth({"main": msgspec.structs.replace(DEVICE, meters=parts)}), NOW + 1)

    assert {(v.meter, v.role, v.phase, v.device) for v in registry.meters("acme")} == {
        ("ac", "cooling", "l1", MAIN),
        ("ups", "ups_in", "l2", MAIN),
        ("lights", "lighting", "l3", MAIN),
    }
    assert changes.meters == {MeterKey("acme", "hq", name): 0 for name in ("ac", "ups", "lights", "main")}
    assert spans(work)[RegisterKey(*MAIN, FORM)] == (0, NOW + 1)


def test_a_confirmed_meter_is_not_changed_by_a_proposal(registry: Registry) -> None:
    registry.apply_birth(GATEWAY, birth({"main": msgspec.structs.replace(DEVICE, role="main")}), NOW)
    registry.confirm_meter(MeterKey("acme", "hq", "main"), NOW)

    changes = registry.apply_birth(GATEWAY, birth({"main": msgspec.structs.replace(DEVICE, role="it")}), NOW + 1)

    assert changes.meters == {}
    [meter] = registry.meters("acme")
    assert meter.role == "main"
    assert registry.devices("acme")[0].proposed_role == "it"
    assert registry.devices("acme")[0].confirmed


def test_an_unconfirmed_meter_follows_the_proposed_role_for_all_time(registry: Registry, work: Work) -> None:
    registry.see_devices([MAIN], NOW)

    registry.apply_birth(GATEWAY, birth({"main": msgspec.structs.replace(DEVICE, role="it")}), NOW + 1)

    [meter] = registry.meters("acme")
    assert (meter.meter, meter.role, meter.valid_from_ms) == ("main", "it", 0)
    assert spans(work)[RegisterKey(*MAIN, FORM)] == (0, NOW + 1)


def test_a_role_that_is_none_is_booked_as_unassigned(registry: Registry) -> None:
    registry.apply_birth(GATEWAY, birth({"main": msgspec.structs.replace(DEVICE, role="kitchen")}), NOW)

    assert [v.role for v in registry.meters("acme")] == ["unassigned"]
    assert registry.devices("acme")[0].proposed_role == "kitchen"


def test_a_proposed_parent_is_taken_where_it_makes_no_circle(registry: Registry) -> None:
    sub = msgspec.structs.replace(DEVICE, parent="main")
    top = msgspec.structs.replace(DEVICE, parent="sub")

    registry.apply_birth(GATEWAY, birth({"sub": sub, "main": top}), NOW)
    registry.apply_birth(GATEWAY, birth({"sub": sub, "main": top}), NOW)

    assert {v.meter: v.parent for v in registry.meters("acme")} == {"sub": "main", "main": None}


def test_zero_is_a_fault_on_a_main_meter_unless_stated_otherwise(registry: Registry) -> None:
    told = {
        "main": msgspec.structs.replace(DEVICE, role="main"),
        "sub": DEVICE,
        "gen": msgspec.structs.replace(DEVICE, role="main", zero_is_valid=True),
    }
    registry.apply_birth(GATEWAY, birth(told), NOW)

    zero = {name: registry.facts(DeviceKey(*GATEWAY, name))[IMPORT][0].zero_is_valid for name in told}
    assert zero == {"main": False, "sub": True, "gen": True}


def test_a_birth_that_is_nonsense_leaves_out_what_cannot_be(registry: Registry) -> None:
    odd = wire.BirthDevice(
        model="x" * 500 + "\n",
        interval_s=float("nan"),
        max_power_w=-5.0,
        quantities={
            IMPORT: wire.BirthQuantity("Wh", "counter", step_wh=float("inf"), rollover_wh=-1.0),
            "made_up_wh": wire.BirthQuantity("Wh", "counter", step_wh=1.0),
        },
        meters=(wire.BirthMeter("Not An Id"),),
    )

    changes = registry.apply_birth(GATEWAY, birth({"main": odd, "Not An Id": DEVICE}), NOW)

    assert changes.refused == (DeviceKey(*GATEWAY, "Not An Id"),)
    [device] = registry.devices("acme")
    assert (len(device.model), device.interval_s, device.max_power_w) == (120, 10.0, None)
    [facts] = registry.facts(MAIN)[IMPORT]
    assert (facts.step_mwh, facts.rollover_mwh) == (10_000, None)
    assert set(registry.facts(MAIN)) == {IMPORT}


def test_a_birth_brings_no_more_devices_than_readings_may(registry: Registry) -> None:
    told = birth({f"d{number:03}": DEVICE for number in range(205)})

    changes = registry.apply_birth(GATEWAY, told, NOW)

    assert len(changes.new_devices) == 200
    assert len(changes.refused) == 5


def test_a_birth_of_an_unknown_gateway_is_refused(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="gateway acme/hq/ghost"):
        registry.apply_birth(GatewayKey("acme", "hq", "ghost"), birth({}), NOW)


def test_a_decided_power_counts_from_its_date_and_withstands_births(registry: Registry, work: Work) -> None:
    told = msgspec.structs.replace(DEVICE, max_power_w=10_000.0)
    registry.apply_birth(GATEWAY, birth({"main": told}), NOW)

    changed = registry.set_device(MAIN, NOW + DAY_MS, from_ms=NOW - DAY_MS, max_power_w=20_000.0)
    registry.apply_birth(GATEWAY, birth({"main": msgspec.structs.replace(told, max_power_w=11_000.0)}), NOW + DAY_MS)

    assert changed == {MAIN_IMPORT: NOW - DAY_MS}
    dated = [(f.valid_from_ms, f.max_power_mw) for f in registry.facts(MAIN)[IMPORT]]
    assert dated == [(0, 10_000_000), (NOW - DAY_MS, 20_000_000)]
    assert spans(work) == {MAIN_IMPORT: (NOW - DAY_MS, NOW + DAY_MS)}


def test_a_fact_is_never_changed_before_the_raw_readings_begin(registry: Registry, work: Work) -> None:
    told = msgspec.structs.replace(DEVICE, max_power_w=10_000.0)
    registry.apply_birth(GATEWAY, birth({"main": told}), NOW)

    changed = registry.set_device(MAIN, NOW, from_ms=0, max_power_w=20_000.0)

    assert changed == {MAIN_IMPORT: NOW - 89 * DAY_MS}
    assert spans(work) == {MAIN_IMPORT: (NOW - 89 * DAY_MS, NOW)}


def test_facts_decided_off_the_grid_or_beyond_reason_are_refused(registry: Registry) -> None:
    registry.apply_birth(GATEWAY, birth({"main": DEVICE}), NOW)

    with pytest.raises(RegistryError, match="15-minute grid"):
        registry.set_device(MAIN, NOW, from_ms=NOW + 1, max_power_w=1.0)
    with pytest.raises(RegistryError, match="max_power_w = 0"):
        registry.set_device(MAIN, NOW, from_ms=NOW, max_power_w=0)
    with pytest.raises(NotFoundError, match="device acme/hq/gw1/ghost"):
        registry.set_device(DeviceKey(*GATEWAY, "ghost"), NOW, from_ms=NOW, max_power_w=1.0)


def test_a_date_before_a_later_change_reaches_over_it(registry: Registry) -> None:
    told = msgspec.structs.replace(DEVICE, max_power_w=10_000.0)
    registry.apply_birth(GATEWAY, birth({"main": told}), NOW)
    finer = msgspec.structs.replace(told, quantities=counter(1.0))
    registry.apply_birth(GATEWAY, birth({"main": finer}, NOW + HOUR_MS), NOW + HOUR_MS)

    registry.set_device(MAIN, NOW + DAY_MS, from_ms=NOW - QUARTER_MS, max_power_w=20_000.0)

    dated = [(f.valid_from_ms, f.step_mwh, f.max_power_mw) for f in registry.facts(MAIN)[IMPORT]]
    assert dated == [
        (0, 10_000, 10_000_000),
        (NOW - QUARTER_MS, 10_000, 20_000_000),
        (NOW + HOUR_MS, 1_000, 20_000_000),
    ]
