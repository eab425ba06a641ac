"""Live power, readings, quality, events, and what the page shows now."""

from __future__ import annotations

import pytest

from merilo.ids import DeviceKey, MeterKey
from merilo.instants import MINUTE_MS
from merilo.ports import Point
from unit.api.asking import SITE, Client
from unit.api.scene import ACME, NOW, Scene, at


def test_minutes_of_power_come_with_their_unit_and_without_the_gap(single: Client) -> None:
    body = single.get(f"{SITE}/series?from=2026-11-25T00:59:00Z&to=2026-11-25T02:01:00Z&meter=main")
    row = body["series"][0]

    assert (row["quantity"], row["unit"], row["role"]) == ("active_power_w", "W", "main")
    assert row["start"] == ["2026-11-25T00:59:00Z", "2026-11-25T02:00:00Z"]  # 03:00 to 04:00 local is not there
    assert row["value"] == [2_000.0, 2_000.0]


def test_power_of_every_meter_is_given_where_none_is_named(single: Client) -> None:
    body = single.get(f"{SITE}/series?last=1h")

    assert [one["id"] for one in body["series"]] == ["main", "office", "servers"]


def test_too_many_minutes_are_refused_with_another_way(single: Client) -> None:
    answer = single.ask(f"{SITE}/series?last=70d")

    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_points")
    assert "/energy" in answer.json()["detail"]


def test_readings_of_a_device_are_given_as_read(scene: Scene) -> None:
    start = at(25, 10)
    points = [
        Point((*ACME, "main"), start + 503, {"voltage_l1_n_v": 231.2, "frequency_hz": 1.0}),
        Point((*ACME, "main"), start + 10_503, {"active_power_w": 1.0, "frequency_hz": 2.0}),
        Point((*ACME, "main"), start + 20_000, {"voltage_l1_n_v": -0.0001, "frequency_hz": 3.0}),
    ]
    scene.store.write("acme", "readings", points)

    row = Client(scene).get(f"{SITE}/series?last=2h&device=gw1/main&quantity=voltage_l1_n_v")["series"][0]

    assert (row["id"], row["unit"]) == ("gw1/main", "V")
    assert row["start"] == ["2026-11-25T08:00:00.503000Z", "2026-11-25T08:00:20Z"]
    assert row["value"] == [231.2, 0.0]


@pytest.mark.parametrize(
    ("query", "what", "hint"),
    [
        ("energy?last=2d&meter=server", "meter", "expected one of main, office, servers; found 'server'"),
        ("series?last=2h&meter=server", "meter", "did you mean 'servers'?"),
        ("series?last=2h&device=gw1/mian&quantity=voltage_l1_n_v", "device", "did you mean 'gw1/main'?"),
        ("series?last=2h&device=gw9/nobody", "device", "expected one of gw1/main, gw1/office, gw1/servers"),
    ],
)
def test_a_name_that_the_site_does_not_have_is_refused_with_those_it_has(
    single: Client, query: str, what: str, hint: str
) -> None:
    answer = single.ask(f"{SITE}/{query}")
    body = answer.json()

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (body["code"], body["errors"][0]["pointer"]) == (f"unknown_{what}", f"query/{what}")
    assert hint in body["detail"]


def test_days_of_quality_come_per_device(single: Client) -> None:
    body = single.get(f"{SITE}/quality?period=2026-11-05")

    assert [one["id"] for one in body["series"]] == ["gw1/main", "gw1/office", "gw1/servers"]
    assert body["series"][0]["coverage"] == [0.97]
    assert (body["series"][0]["expected"], body["series"][0]["received"]) == ([8_640.0], [8_600.0])


def test_events_carry_words_in_the_language_asked_for(single: Client) -> None:
    row = single.get(f"{SITE}/events?period=2026-11&lang=bg")["events"][0]

    assert (row["kind"], row["code"], row["device"], row["meter"]) == ("device", "device_silent", "office", None)
    assert (row["at"], row["text"]) == ("2026-11-23T12:00:00.000Z", "устройството спря да отговаря")
    assert single.get(f"{SITE}/events?period=2026-11")["events"][0]["text"] == "device stopped answering"


def test_events_are_given_page_by_page_to_the_last(scene: Scene) -> None:
    for minute in range(7):
        scene.registry.add_event("device", DeviceKey(*ACME, "main"), at(24, 1, minute), code="device_back")
    client = Client(scene)
    path: str | None = f"{SITE}/events?period=2026-11&limit=3"
    seen: list[str] = []
    while path:
        body = client.get(path)
        seen += [row["at"] for row in body["events"]]
        path = body["next"]
        assert len(seen) <= 8

    assert len(seen) == len(set(seen)) == 8
    assert seen == sorted(seen)


def test_events_of_another_company_are_not_among_them(two: Scene) -> None:
    two.registry.add_event("device", DeviceKey("beta", "hq", "gw1", "main"), at(24), code="device_back")

    found = Client(two).get(f"{SITE}/events?period=2026-11", "acme")["events"]

    assert [row["code"] for row in found] == ["device_silent"]


def test_a_code_without_words_is_shown_as_it_is(scene: Scene) -> None:
    scene.registry.add_event("gateway", ACME, at(24), code="quite_new_code")

    assert Client(scene).get(f"{SITE}/events?period=2026-11")["events"][-1]["text"] == "quite new code"


# Now ------------------------------------------------------------------------------------------------------------------


def test_now_tells_what_is_booked_from_what_is_provisional(single: Client) -> None:
    body = single.get(f"{SITE}/now")
    total = body["total"]

    assert (total["power_w"], total["power_at"]) == (6_000.0, "2026-11-25T09:05:00.000Z")
    # 8 h at 2 kW and 3 h at 6 kW are booked; the six minutes from 11:00 to 11:05 are not.
    assert total["today"]["booked_wh"] == 34_000.0
    assert total["today"]["provisional_wh"] == 600.0
    assert total["today"]["value"] == 34_600.0
    assert total["today"]["booked_until"] == "2026-11-25T09:00:00.000Z"
    assert total["month"]["value"] == 24 * 88_000.0 - 36_000.0 + 34_600.0


def test_now_agrees_with_the_sums_of_energy(single: Client) -> None:
    rows = {one["id"]: one for one in single.get(f"{SITE}/now")["meters"]}
    sums = {one["meter"]: one for one in single.get(f"{SITE}/energy?period=2026-11")["sums"]}

    assert set(rows) == {"main", "servers", "office"}
    for meter, row in rows.items():
        assert row["month"]["booked_wh"] == sums[meter]["value"]
        assert row["month"]["coverage"] == pytest.approx(sums[meter]["coverage"], abs=1e-4)


def test_an_old_power_is_not_now(scene: Scene) -> None:
    scene.now_ms += 5 * MINUTE_MS
    total = Client(scene).get(f"{SITE}/now")["total"]

    assert (total["power_w"], total["power_at"]) == (None, None)


def test_export_is_no_negative_consumption(scene: Scene) -> None:
    start = NOW // MINUTE_MS * MINUTE_MS - MINUTE_MS
    scene.store.write("acme", "power_1m", [Point(("acme", "hq", "main", "main"), start, {"power_mean_w": -900.0})])
    total = Client(scene).get(f"{SITE}/now")["total"]

    assert (total["power_w"], total["today"]["provisional_wh"]) == (-900.0, 600.0)


def test_without_a_main_meter_there_is_no_total_and_the_step_is_named(scene: Scene) -> None:
    scene.registry.set_meter(MeterKey("acme", "hq", "main"), from_ms=0, at_ms=NOW, role="other")
    body = Client(scene).get(f"{SITE}/now")

    assert body["total"] is None
    assert body["notices"][0]["code"] == "no_main"
    assert body["notices"][0]["command"].startswith("merilo meter set acme/hq/")


def test_a_total_of_two_mains_lacks_power_when_one_is_silent(scene: Scene) -> None:
    scene.registry.set_meter(MeterKey("acme", "hq", "office"), from_ms=0, at_ms=NOW, role="main")
    scene.now_ms = NOW + MINUTE_MS
    late = [Point(("acme", "hq", "main", "main"), NOW // MINUTE_MS * MINUTE_MS, {"power_mean_w": 6_000.0})]
    scene.store.write("acme", "power_1m", late)
    scene.now_ms = NOW + 4 * MINUTE_MS
    body = Client(scene).get(f"{SITE}/now")

    assert body["total"]["id"] == "main + office"
    assert body["total"]["power_w"] is None
    assert {one["id"]: one["power_w"] for one in body["meters"]}["main"] == 6_000.0


def test_meters_tell_all_their_definitions_also_those_that_ended(scene: Scene) -> None:
    scene.registry.set_meter(MeterKey("acme", "hq", "office"), from_ms=at(10), at_ms=NOW, role="other")
    scene.registry.end_meter(MeterKey("acme", "hq", "servers"), at(20), NOW)
    rows = {one["id"]: one for one in Client(scene).get(f"{SITE}/meters")["meters"]}

    assert rows["office"]["role"] == "other"
    assert [one["role"] for one in rows["office"]["versions"]] == ["office", "other"]
    assert rows["servers"]["valid_to"] == "2026-11-19T22:00:00.000Z"
