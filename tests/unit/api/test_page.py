"""The page as HTML: its numbers, and its empty and broken states with the next step."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import numpy as np
import orjson
import pytest

from merilo import wire
from merilo.errors import StoreUnavailableError
from merilo.ids import DeviceKey, MeterKey
from merilo.instants import MINUTE_MS
from merilo.ledger import METERED, MISSING
from merilo.ports import Point
from merilo_adapters.stores import Store
from registry_parts import birth
from unit.api.asking import ELSEWHERE, Client
from unit.api.scene import ACME, BOOKED, NOW, Scene, at, rows, states, write_life, write_meter, write_quality

NBSP = "\u00a0"


def tile(html: str, name: str) -> str:
    found = re.search(rf'data-test="{name}">([^<]*)<', html)
    assert found is not None, name
    return unescape(found[1])


def codes(html: str) -> list[str]:
    return re.findall(r'data-code="([^"]*)"', html)


def data(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return orjson.loads(found[1])


def page(scene: Scene, path: str = "/", **more: Any) -> str:
    answer = Client(scene).ask(path, **more)
    assert answer.status_code == 200
    return answer.text


def test_the_page_begins_with_one_sentence_and_its_completeness(single: Client) -> None:
    html = single.ask("/").text

    assert f"November 2026: 2,111{NBSP}kWh so far." in html
    assert "98.3% measured" in html
    assert tile(html, "power-now") == f"6.00{NBSP}kW"
    assert tile(html, "energy-today") == f"34.6{NBSP}kWh"
    assert tile(html, "energy-yesterday") == f"88.0{NBSP}kWh"
    assert tile(html, "energy-month") == f"2,111{NBSP}kWh"
    assert codes(html) == []


def test_the_same_page_in_bulgarian(single: Client) -> None:
    answer = single.ask("/?lang=bg")

    assert '<html lang="bg">' in answer.text
    assert f"Ноември 2026: 2{NBSP}111{NBSP}kWh досега." in answer.text
    assert answer.headers["content-language"] == "bg"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("merilo_lang=bg;")
    assert "SameSite=strict" in cookie
    assert '<html lang="bg">' in single.ask("/", headers={"Cookie": "merilo_lang=bg"}).text
    assert '<html lang="bg">' in single.ask("/", headers={"Accept-Language": "bg"}).text


def test_charts_have_the_states_and_the_gaps(single: Client) -> None:
    found = data(single.ask("/").text)
    days, strip = found["days"], found["strip"]

    assert (len(days["labels"]), len(strip), {len(row) for row in strip}) == (30, 30, {96})
    assert days["labels"][-4] == "22 Nov"
    assert (days["metered"][-4], days["bridged"][-4]) == (0.0, 88.0)
    assert days["estimated"][-6] == 24.0
    assert days["missing"][-5] == 6.0
    assert strip[-5][36:60] == [0] * 24  # 09:00 to 15:00 on the 21st
    assert strip[-1][43:46] == [3, -1, -1]  # booked until 11:00
    power = found["live"]["series"][0]["power"]
    assert len(power) == 1_440
    assert power.count(None) >= 60


def test_a_meter_can_be_looked_at_by_itself(single: Client) -> None:
    html = single.ask("/?meter=servers").text

    assert data(html)["live"]["series"][0]["name"] == "servers"
    assert data(html)["days"]["metered"][-2] == 36.0
    assert tile(html, "energy-today") == f"34.6{NBSP}kWh"
    assert single.ask("/?meter=%3Cscript%3E").status_code == 200


def test_names_cannot_break_out_of_the_page(scene: Scene) -> None:
    from merilo.site import Site

    scene.registry.add_site(Site(company="acme", id="x", name='</script><b>"&', zone="UTC"), NOW)
    html = page(scene, "/?place=acme/x")

    assert "<b>" not in html
    assert html.count("</script>") == html.count("<script")


def test_no_style_and_no_script_stand_in_the_page(single: Client) -> None:
    for path in ("/", "/docs", "/?lang=bg"):
        html = single.ask(path).text
        assert " style=" not in html
        assert " onclick=" not in html
        assert not re.search(r"<script(?![^>]*(src=|application/json))", html)


def test_two_sites_can_be_chosen(two: Scene) -> None:
    html = page(two, "/?place=beta/hq", key="installation", host=ELSEWHERE)

    assert "<h1>Beta AD" in html
    assert '<option value="acme/hq">' in html
    assert page(two, "/", key="acme", host=ELSEWHERE).count("<option") == 0


@pytest.mark.parametrize("query", ["place=beta/hq", "company=beta", "place=nobody/hq", "site=elsewhere"])
def test_a_place_that_is_not_yours_looks_like_one_that_is_not_there(two: Scene, query: str) -> None:
    answer = Client(two).ask(f"/?{query}", key="acme", host=ELSEWHERE)

    assert answer.status_code == 404
    assert "or this key may not see it" in answer.text
    assert "Beta" not in answer.text


# Empty and broken states ----------------------------------------------------------------------------------------------


def test_without_a_company_the_page_says_how_to_begin(empty: Scene) -> None:
    html = page(empty)

    assert "There is no company yet." in html
    assert "merilo company add acme" in html
    assert "merilo demo" in html


def test_without_a_site_the_page_says_how_to_add_one(empty: Scene) -> None:
    from merilo.site import Company

    empty.registry.add_company(Company(id="acme", name="Acme Ltd"))

    assert "merilo site add acme/hq --zone Europe/Sofia" in page(empty)


def test_without_a_gateway_the_page_says_how_to_add_one(empty: Scene) -> None:
    empty.add_company(ACME, "Acme Ltd")
    html = page(empty)

    assert codes(html) == ["no_gateway"]
    assert "merilo gateway add acme/hq/gw1" in html
    assert "Nothing has been measured yet." in html


def test_devices_to_confirm_are_told_and_marked(scene: Scene) -> None:
    scene.registry.see_devices([DeviceKey(*ACME, "pdu1")], NOW)
    html = page(scene)

    assert codes(html) == ["devices_unconfirmed"]
    assert "merilo meter confirm acme/hq" in html
    assert html.count('class="mark"') == 1


def test_a_silent_gateway_is_the_first_thing_said(scene: Scene) -> None:
    scene.registry.see_devices([DeviceKey(*ACME, "pdu1")], NOW)
    write_life(scene.store, ACME, ["main"], up=0.0, age_s=900.0)
    html = page(scene)

    assert codes(html) == ["gateway_silent", "devices_unconfirmed"]
    assert "Check power and network there" in html
    assert "15 mins ago" in html


def test_a_store_that_is_away_leaves_a_page_with_the_step(scene: Scene) -> None:
    class Stores:
        def of(self, company: str) -> Store:
            raise StoreUnavailableError("http://10.1.2.3:8086")

    app = scene.app()
    app.state.stores = Stores()
    answer = Client(scene, app=app).ask("/")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert codes(answer.text) == ["store_away"]
    assert "The numbers cannot be read now." in answer.text
    assert "No reading is lost" in answer.text
    assert "10.1.2.3" not in answer.text


def test_a_store_that_forgot_is_said_on_the_page(scene: Scene) -> None:
    scene.registry.work().set_counter("store/acme", "forgotten_days", 1)

    assert codes(page(scene)) == ["store_forgot"]


def test_before_the_first_quarter_of_an_hour_the_page_waits_for_it(empty: Scene) -> None:
    empty.add_company(ACME, "Acme Ltd")
    empty.add_devices(ACME, {"main": "main"})
    write_life(empty.store, ACME, ["main"])
    html = page(empty)

    assert "the first quarter of an hour has to pass" in html
    assert tile(html, "power-now") == "–"


def test_without_a_main_meter_the_first_meter_is_shown(scene: Scene) -> None:
    scene.registry.set_meter(MeterKey("acme", "hq", "main"), from_ms=0, at_ms=NOW, role="other")
    html = page(scene)

    assert codes(html) == ["no_main"]
    assert "merilo meter set acme/hq/" in html
    assert "the whole site is not yet" in html


def test_an_old_power_is_not_shown_as_now(scene: Scene) -> None:
    scene.now_ms += 5 * MINUTE_MS
    html = page(scene)

    assert tile(html, "power-now") == "–"
    assert "no reading in the last 5 minutes" in html


def test_many_notices_are_cut_and_the_rest_is_counted(scene: Scene) -> None:
    names = [f"d{i}" for i in range(9)]
    scene.registry.see_devices([DeviceKey(*ACME, name) for name in names], NOW)
    start = NOW // MINUTE_MS * MINUTE_MS
    scene.store.write("acme", "device_health", [Point((*ACME, name), start, {"up": 0.0}) for name in names])
    html = page(scene)

    assert codes(html) == ["device_silent"] * 6
    assert "4 more" in html


def test_a_dead_strip_is_told_once_and_not_for_each_of_its_outlets(scene: Scene) -> None:
    outlets = [f"strip-outlet-{n}" for n in range(1, 5)]
    known = {"strip": wire.BirthDevice()} | {name: wire.BirthDevice(channel_of="strip") for name in outlets}
    scene.registry.apply_birth(ACME, birth(known), NOW)
    start = NOW // MINUTE_MS * MINUTE_MS
    points = [Point((*ACME, name), start, {"up": 0.0}) for name in known]

    scene.store.write("acme", "device_health", points[1:])
    alone = codes(page(scene)).count("device_silent")
    scene.store.write("acme", "device_health", points)

    assert (alone, codes(page(scene)).count("device_silent")) == (4, 1)


def test_the_form_for_a_key_says_who_makes_one(pair: Client) -> None:
    answer = pair.ask("/", host=ELSEWHERE)

    assert answer.status_code == 401
    assert "merilo key add" in answer.text
    assert 'type="password"' in answer.text


def test_a_strip_is_above_its_outlets(scene: Scene) -> None:
    from merilo_api.page.view import nested

    def device(name: str, of: str = "") -> Any:
        from merilo.site import Device

        return Device(key=DeviceKey(*ACME, name), channel_of=of)

    scene.registry.see_devices([DeviceKey(*ACME, n) for n in ("pdu1", "pdu1-outlet-1", "pdu1-outlet-2")], NOW)
    meters = scene.registry.meters("acme", "hq")
    devices = [device("pdu1"), device("pdu1-outlet-1", "pdu1"), device("pdu1-outlet-2", "pdu1")]

    found = [(version.meter, depth) for version, depth in nested(meters, devices)]

    assert found[0] == ("main", 0)
    assert found[-3:] == [("pdu1", 0), ("pdu1-outlet-1", 1), ("pdu1-outlet-2", 1)]


def test_parents_of_the_registry_nest_their_parts(scene: Scene) -> None:
    from merilo_api.page.view import nested

    for part, above in (("office", "main"), ("servers", "office")):
        scene.registry.set_meter(MeterKey("acme", "hq", part), from_ms=0, at_ms=NOW, parent=above)

    found = [(v.meter, depth) for v, depth in nested(scene.registry.meters("acme", "hq"), [])]

    assert found == [("main", 0), ("office", 1), ("servers", 2)]


def test_a_meter_of_today_has_nothing_missing_before_it_was_there(empty: Scene) -> None:
    empty.add_company(ACME, "Acme Ltd")
    empty.registry.add_gateway(ACME, NOW)
    empty.registry.see_devices([DeviceKey(*ACME, "main")], at(25, 9, 35))
    empty.registry.set_meter(MeterKey(*ACME[:2], "main"), from_ms=0, at_ms=NOW, role="main")
    soon, later = at(25, 9, 47), at(25, 11, 7)

    empty.now_ms = soon  # no row yet, and none is late
    unbooked = page(empty)
    starts, _ = states()
    four = rows(lambda hour: 4_000, np.full(len(starts), METERED)).between(at(25, 9, 30), BOOKED)
    write_meter(empty.store, "acme", "hq", "main", "main", four)
    empty.now_ms = later
    html = page(empty)

    assert "missing." not in unbooked
    assert "0% measured" not in unbooked
    assert data(unbooked)["days"]["missing"] == [0] * 30
    assert "100% measured since 25 Nov" in html
    assert "Every quarter of an hour was metered." in html
    assert data(html)["days"]["missing"] == [0] * 30
    assert data(html)["days"]["notyet"] == [True] * 29 + [False]
    assert html.count('<td colspan="6">not yet there</td>') == 29
    assert "още го няма" in page(empty, "/?lang=bg")


def test_a_meter_of_the_last_minutes_has_its_power_in_words_and_is_not_judged(empty: Scene) -> None:
    empty.add_company(ACME, "Acme Ltd")
    empty.registry.add_gateway(ACME, NOW)
    empty.registry.see_devices([DeviceKey(*ACME, "main")], at(25, 10, 32))
    empty.registry.set_meter(MeterKey(*ACME[:2], "main"), from_ms=0, at_ms=NOW, role="main")
    starts, _ = states()
    lacking = rows(lambda hour: 4_000, np.full(len(starts), MISSING)).between(at(25, 10, 30), at(25, 10, 45))
    write_meter(empty.store, "acme", "hq", "main", "main", lacking)
    minutes = range(at(25, 10, 33), at(25, 10, 47), MINUTE_MS)
    empty.store.write(
        "acme", "power_1m", [Point((*ACME[:2], "main", "main"), m, {"power_mean_w": 4e3}) for m in minutes]
    )
    write_quality(empty.store, ACME, "main", 0.0)
    empty.now_ms = at(25, 10, 47)

    html = page(empty)

    assert f"lowest 4.00{NBSP}kW at 10:33" in html
    assert "0% measured" not in html
    assert "missing." not in html
    assert ">0%<" not in html
