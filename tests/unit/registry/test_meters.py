"""Meters with dates: what is changed from when, what is refused, and which work follows."""

from __future__ import annotations

import pytest

from merilo.errors import ConflictError, NotFoundError, RegistryError
from merilo.ids import DeviceKey, MeterKey, RegisterKey
from merilo.instants import DAY_MS, QUARTER_MS
from merilo.site import MeterVersion
from merilo_adapters.registry import FORM, Registry, Work
from merilo_adapters.registry.meters import revised
from registry_parts import GATEWAY, IMPORT, MAIN, NOW, birth, counter

KEY = MeterKey("acme", "hq", "main")
SUB = DeviceKey(*GATEWAY, "sub")


@pytest.fixture
def metered(registry: Registry) -> Registry:
    """Two devices with their default meters ``main`` and ``sub``."""
    registry.see_devices([MAIN, SUB], NOW)
    return registry


def versions(registry: Registry, meter: str) -> list[tuple[int, int | None, str]]:
    found = [v for v in registry.meters("acme", "hq") if v.meter == meter]
    return [(v.valid_from_ms, v.valid_to_ms, v.role) for v in found]


def spans(work: Work) -> dict[RegisterKey, tuple[int, int]]:
    return {found.key: (found.first_ms, found.last_ms) for found in work.pending(100)}


def test_a_role_changed_from_a_date_keeps_the_time_before(metered: Registry, work: Work) -> None:
    again_ms = metered.set_meter(KEY, from_ms=NOW - DAY_MS, at_ms=NOW, role="it")

    assert again_ms == NOW - DAY_MS
    assert versions(metered, "main") == [(0, NOW - DAY_MS, "unassigned"), (NOW - DAY_MS, None, "it")]
    assert spans(work) == {RegisterKey(*MAIN, FORM): (NOW - DAY_MS, NOW)}


def test_a_role_for_a_stretch_returns_to_what_it_was(metered: Registry, work: Work) -> None:
    metered.set_meter(KEY, from_ms=DAY_MS, to_ms=2 * DAY_MS, at_ms=NOW, role="pv", confirmed=False)

    assert versions(metered, "main") == [
        (0, DAY_MS, "unassigned"),
        (DAY_MS, 2 * DAY_MS, "pv"),
        (2 * DAY_MS, None, "unassigned"),
    ]
    assert spans(work) == {RegisterKey(*MAIN, FORM): (DAY_MS, 2 * DAY_MS)}


def test_an_earlier_role_reaches_over_a_later_change_of_the_source(metered: Registry) -> None:
    metered.set_meter(KEY, from_ms=5 * DAY_MS, at_ms=NOW, device=SUB)

    metered.set_meter(KEY, from_ms=2 * DAY_MS, at_ms=NOW, role="it")

    found = [(v.valid_from_ms, v.role, v.device) for v in metered.meters("acme", "hq") if v.meter == "main"]
    assert found == [(0, "unassigned", MAIN), (2 * DAY_MS, "it", MAIN), (5 * DAY_MS, "it", SUB)]


def test_a_new_source_marks_the_old_and_the_new_device(metered: Registry, work: Work) -> None:
    metered.set_meter(KEY, from_ms=DAY_MS, at_ms=NOW, device=SUB)

    assert spans(work) == {RegisterKey(*device, FORM): (DAY_MS, NOW) for device in (MAIN, SUB)}


def test_an_expression_marks_the_devices_behind_it(metered: Registry, work: Work) -> None:
    metered.set_meter(MeterKey("acme", "hq", "rest"), from_ms=0, at_ms=NOW, expression="main - sub", role="office")

    assert spans(work) == {RegisterKey(*device, FORM): (0, NOW) for device in (MAIN, SUB)}
    [rest] = [v for v in metered.meters("acme") if v.meter == "rest"]
    assert (rest.expression, rest.device, rest.role, rest.confirmed) == ("main - sub", None, "office", True)


def test_the_same_change_again_leaves_the_same_versions(metered: Registry) -> None:
    for _ in range(2):
        metered.set_meter(KEY, from_ms=DAY_MS, at_ms=NOW, role="it")

    assert versions(metered, "main") == [(0, DAY_MS, "unassigned"), (DAY_MS, None, "it")]


def test_what_makes_no_sense_on_a_site_is_refused_and_changes_nothing(metered: Registry, work: Work) -> None:
    before = (metered.version(), metered.meters("acme"))
    cases: list[tuple[str, dict[str, object]]] = [
        ("is formed of itself", {"expression": "main + sub"}),
        ("no meter 'ghost'", {"expression": "ghost"}),
        ("no meter 'ghost'", {"parent": "ghost"}),
        ("is its own parent", {"parent": "main"}),
        ("role 'kitchen'", {"role": "kitchen"}),
        ("15-minute grid", {"role": "it", "from_ms": 1}),
        ("is not after", {"role": "it", "from_ms": DAY_MS, "to_ms": DAY_MS}),
        ("either a device or an expression", {"device": SUB, "expression": "sub"}),
        ("device beta/hq/gw1/main: the registry has none", {"device": DeviceKey("beta", "hq", "gw1", "main")}),
    ]
    for message, given in cases:
        with pytest.raises((RegistryError, ValueError), match=message):
            metered.set_meter(KEY, **{"from_ms": 0, "at_ms": NOW, **given})  # type: ignore[arg-type]  # a table
    assert (metered.version(), metered.meters("acme")) == before
    assert spans(work) == {}


def test_a_new_meter_needs_a_source_and_its_device_must_be_there(metered: Registry) -> None:
    new = MeterKey("acme", "hq", "new")

    with pytest.raises(NotFoundError, match="Give a device or an expression"):
        metered.set_meter(new, from_ms=0, at_ms=NOW, role="it")
    with pytest.raises(NotFoundError, match="device acme/hq/gw1/ghost"):
        metered.set_meter(new, from_ms=0, at_ms=NOW, device=DeviceKey(*GATEWAY, "ghost"))
    with pytest.raises(NotFoundError, match="site acme/ghost"):
        metered.set_meter(MeterKey("acme", "ghost", "new"), from_ms=0, at_ms=NOW, expression="main")


def test_shares_above_one_are_refused(metered: Registry) -> None:
    metered.set_meter(MeterKey("acme", "hq", "a"), from_ms=0, at_ms=NOW, expression="0.7*main")

    with pytest.raises(RegistryError, match="add up to 1\\.1"):
        metered.set_meter(MeterKey("acme", "hq", "b"), from_ms=0, at_ms=NOW, expression="0.4*main")


def test_a_meter_that_has_ended_keeps_its_past_and_its_id(metered: Registry, work: Work) -> None:
    assert metered.end_meter(KEY, DAY_MS, NOW) == DAY_MS

    assert versions(metered, "main") == [(0, DAY_MS, "unassigned")]
    assert spans(work) == {RegisterKey(*MAIN, FORM): (DAY_MS, NOW)}
    metered.set_meter(KEY, from_ms=3 * DAY_MS, at_ms=NOW, device=SUB, role="it")
    assert versions(metered, "main") == [(0, DAY_MS, "unassigned"), (3 * DAY_MS, None, "it")]


def test_a_meter_that_others_are_formed_of_cannot_end(metered: Registry) -> None:
    metered.set_meter(MeterKey("acme", "hq", "rest"), from_ms=0, at_ms=NOW, expression="main - sub")

    with pytest.raises(ConflictError, match="rest would be formed"):
        metered.end_meter(KEY, DAY_MS, NOW)


def test_a_role_of_main_changes_what_zero_means_and_walks_the_registers_again(registry: Registry, work: Work) -> None:
    from merilo import wire

    registry.apply_birth(GATEWAY, birth({"main": wire.BirthDevice(quantities=counter(), max_power_w=1e4)}), NOW)

    registry.set_meter(KEY, from_ms=NOW - DAY_MS, at_ms=NOW, role="main")

    dated = [(f.valid_from_ms, f.zero_is_valid) for f in registry.facts(MAIN)[IMPORT]]
    assert dated == [(0, True), (NOW - DAY_MS, False)]
    assert spans(work)[RegisterKey(*MAIN, IMPORT)] == (NOW - DAY_MS, NOW)


def test_confirming_a_meter_confirms_the_device_behind_it(metered: Registry) -> None:
    metered.confirm_meter(KEY, NOW)

    assert {v.meter: v.confirmed for v in metered.meters("acme")} == {"main": True, "sub": False}
    assert {d.key.device: d.confirmed for d in metered.devices("acme", "hq")} == {"main": True, "sub": False}
    with pytest.raises(NotFoundError, match="meter acme/hq/ghost"):
        metered.confirm_meter(MeterKey("acme", "hq", "ghost"), NOW)


def version(from_ms: int, to_ms: int | None, role: str) -> MeterVersion:
    return MeterVersion(
        **KEY._asdict(),
        valid_from_ms=from_ms * QUARTER_MS,
        valid_to_ms=to_ms and to_ms * QUARTER_MS,
        role=role,
        device=MAIN,
    )


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "wanted"),
    [
        (0, 10, [(0, 10, "pv"), (10, 20, "it"), (30, None, "main")]),
        (5, 35, [(0, 5, "it"), (5, 20, "pv"), (30, 35, "pv"), (35, None, "main")]),
        (20, 30, [(0, 20, "it"), (30, None, "main")]),
        (40, None, [(0, 20, "it"), (30, 40, "main"), (40, None, "pv")]),
        (0, None, [(0, 20, "pv"), (30, None, "pv")]),
    ],
)
def test_a_change_touches_its_stretch_and_leaves_holes_open(
    from_ms: int, to_ms: int | None, wanted: list[tuple[int, int | None, str]]
) -> None:
    own = [version(0, 20, "it"), version(30, None, "main")]

    found = revised(own, KEY, from_ms * QUARTER_MS, to_ms and to_ms * QUARTER_MS, {"role": "pv"})

    assert found == [version(*one) for one in wanted]


def test_a_source_also_fills_the_holes() -> None:
    own = [version(0, 20, "it"), version(30, 40, "main")]

    found = revised(own, KEY, 10 * QUARTER_MS, None, {"device": SUB, "phase": "", "expression": None})

    assert [(v.valid_from_ms // QUARTER_MS, v.role, v.device) for v in found] == [
        (0, "it", MAIN),
        (10, "it", SUB),
        (20, "unassigned", SUB),
        (30, "main", SUB),
        (40, "unassigned", SUB),
    ]
