"""The page in a real browser: both languages, light and dark, telephone and desk, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize, expect

from e2e.conftest import Visit, installation
from e2e.serving import served
from merilo.errors import StoreUnavailableError
from merilo.ids import DeviceKey
from merilo.instants import MINUTE_MS
from unit.api.scene import ACME, NOW, Scene, furnished, write_life

pytestmark = pytest.mark.real

Visiting = Callable[..., Visit]
SITE = "/v1/companies/acme/sites/hq"
DESK: ViewportSize = {"width": 1366, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}
NARROWEST: ViewportSize = {"width": 320, "height": 640}


def plain(text: str) -> float:
    """A number as a person of either language reads it."""
    return float(re.sub(r"[^\d,.−]", "", text).replace("−", "-").replace(",", ".") or "nan")


def told(page: Page, name: str) -> float:
    return plain(page.locator(f"[data-test={name}]").inner_text())


def nothing_found(page: Page) -> None:
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    assert found.violations_count == 0, found.generate_report()


def no_sideways_scroll(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def asked(page: Page, path: str) -> Any:
    return page.evaluate("async (path) => (await fetch(path)).json()", path)


@pytest.mark.parametrize("language", ["en", "bg"])
def test_numbers_on_the_page_are_those_of_the_api(visit: Visiting, acme: str, language: str) -> None:
    page = visit(viewport=DESK).open(f"{acme}/?lang={language}")
    now, energy = asked(page, f"{SITE}/now"), asked(page, f"{SITE}/energy?period=2026-11&resolution=1d")
    total = now["total"]

    assert told(page, "power-now") == pytest.approx(total["power_w"] / 1000, abs=0.005)
    assert told(page, "energy-today") == pytest.approx(total["today"]["value"] / 1000, abs=0.05)
    month = page.locator("[data-test=energy-month]").inner_text()
    assert int(re.sub(r"\D", "", month)) == round(total["month"]["value"] / 1000)
    for meter in now["meters"]:
        row = page.locator(f"tr[data-meter={meter['id']}]")
        today = row.locator("[data-test=today]").inner_text()
        assert plain(today) == pytest.approx(meter["today"]["value"] / 1000, abs=0.005)
    main = next(one for one in energy["series"] if one["id"] == "main")
    days = page.locator("#days tbody tr").all()
    shown = [plain(row.locator("td").first.text_content() or "") for row in reversed(days[:25])]
    assert shown == pytest.approx([value / 1000 for value in main["value"]], abs=0.005)


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("bg", "dark")])
def test_a_desk_and_a_telephone_find_nothing_in_the_way(visit: Visiting, acme: str, language: str, scheme: str) -> None:
    page = visit(viewport=DESK, color_scheme=scheme).open(f"{acme}/?lang={language}")
    for details in page.locator("summary").all():
        details.click()
    nothing_found(page)

    for size in (PHONE, NARROWEST):
        page.set_viewport_size(size)
        no_sideways_scroll(page)
    nothing_found(page)


def test_charts_are_drawn_with_the_numbers_of_the_page(visit: Visiting, acme: str) -> None:
    page = visit(viewport=DESK).open(f"{acme}/")

    for name in ("chart-live", "chart-days", "chart-strip"):
        chart = page.locator(f"#{name}")
        expect(chart.locator("canvas").first).to_be_visible()
        expect(chart).to_have_attribute("role", "img")
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 900
        assert box["height"] > 200
    options = page.evaluate(
        "['chart-live', 'chart-days', 'chart-strip'].map((id) => {"
        " const o = echarts.getInstanceByDom(document.getElementById(id)).getOption();"
        " return o.series.map((s) => ({name: s.name, n: s.data.length,"
        " decal: s.itemStyle && s.itemStyle.decal && s.itemStyle.decal.symbol,"
        " missing: s.data.filter((d) => Array.isArray(d) && d[1] === null).length})); })"
    )
    live, days, strip = options
    assert [one["name"] for one in live] == ["main", "main booked"]
    assert live[0]["missing"] == 1  # the hour without a minute is a gap in the line
    assert [one["name"] for one in days] == ["metered", "bridged", "estimated", "missing"]
    assert [one["decal"] for one in days] == ["none", "circle", "rect", "rect"]
    assert strip[0]["n"] == 29 * 96 + 44  # until 11:00 of today


def test_without_scripts_every_number_is_there(visit: Visiting, acme: str) -> None:
    page = visit(viewport=PHONE, java_script_enabled=False).open(f"{acme}/", charts=False)

    assert told(page, "power-now") == 6.0
    expect(page.locator("#days tbody tr")).to_have_count(30)
    expect(page.locator("#live-table tbody tr")).to_have_count(23)
    expect(page.locator("#chart-live")).to_be_hidden()
    no_way = page.locator("details summary").first
    no_way.click()
    expect(page.locator("#live-table")).to_be_visible()


def test_the_keyboard_reaches_everything_in_reading_order(visit: Visiting, acme: str) -> None:
    page = visit(viewport=DESK).open(f"{acme}/")
    found = []
    for _ in range(60):
        page.keyboard.press("Tab")
        found.append(
            page.evaluate("(document.activeElement.innerText || document.activeElement.id || '').trim().slice(0, 40)")
        )
        if found[-1].startswith("For programs"):
            break

    assert found[:4] == ["Skip to the numbers", "Merilo", "English", "Български"]
    order = [found.index(text) for text in ("Show as table", "main", "servers", "office", "For programs: the API")]
    assert order == sorted(order)
    tops = page.evaluate("[...document.querySelectorAll('a, summary, [tabindex=\"0\"]')].map((e) => e.tabIndex)")
    assert set(tops) == {0}


def test_the_skip_link_leads_to_the_numbers(visit: Visiting, acme: str) -> None:
    page = visit(viewport=DESK).open(f"{acme}/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "main"


def test_the_chosen_language_is_kept(visit: Visiting, acme: str) -> None:
    page = visit(viewport=PHONE).open(f"{acme}/?meter=servers")
    page.get_by_text("Български").click()
    page.wait_for_url("**/?meter=servers&lang=bg")
    expect(page.locator("h1")).to_be_visible()
    page.goto(f"{acme}/")

    expect(page.locator("html")).to_have_attribute("lang", "bg")
    expect(page.get_by_role("heading", name="Последните 30 дни")).to_be_visible()


def test_a_meter_shows_its_own_charts(visit: Visiting, acme: str) -> None:
    page = visit(viewport=DESK).open(f"{acme}/")
    page.get_by_role("link", name="servers").click()
    page.wait_for_url("**meter=servers**")

    expect(page.locator("#days-title")).to_contain_text("servers")
    assert plain(page.locator("#days tbody tr").nth(1).locator("td").first.text_content() or "") == 36.0


def test_the_page_reads_itself_again_and_says_when_it_cannot(visit: Visiting, servers: ExitStack) -> None:
    scene = installation(servers, lambda folder: furnished(folder, other=False))
    window = visit(viewport=DESK)
    with ExitStack() as running:
        address = running.enter_context(served(scene.app()))
        window.page.clock.install()
        page = window.open(f"{address}/")
        expect(page.locator("#stale")).to_be_hidden()
        scene.now_ms += 5 * MINUTE_MS
        page.clock.run_for(16_000)
        expect(page.locator("[data-test=power-now]")).to_have_text("–")
    page.clock.run_for(16_000)
    expect(page.locator("#stale")).to_contain_text("these numbers are from 11:12")
    window.seen.complaints.clear()  # the server is gone: that is what was tried


def test_the_description_of_the_api_opens_without_the_world(visit: Visiting, acme: str) -> None:
    page = visit(viewport=DESK).open(f"{acme}/docs", charts=False)

    expect(page.locator(".opblock")).to_have_count(10)
    page.locator("#operations-numbers-get_energy .opblock-summary-control").click()
    expect(page.locator("#operations-numbers-get_energy .opblock-body")).to_be_visible()


def test_a_key_opens_its_own_company_and_leaving_closes_it(visit: Visiting, both: tuple[str, Scene]) -> None:
    address, scene = both
    window = visit(viewport=PHONE)
    page = window.open(f"{address}/", charts=False)
    nothing_found(page)
    no_sideways_scroll(page)
    page.get_by_label("API key").fill("merilo_live_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("unknown, revoked")
    nothing_found(page)
    page.get_by_label("API key").fill(scene.keys["acme"])
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Acme Ltd")
    cookie = next(one for one in window.context.cookies() if one.get("name") == "merilo_key")
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    assert asked(page, "/v1/companies/beta/sites/hq/now")["status"] == 404
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_label("API key")).to_be_visible()


def test_who_runs_the_installation_chooses_among_places(visit: Visiting, both: tuple[str, Scene]) -> None:
    address, scene = both
    window = visit(viewport=NARROWEST)
    window.context.add_cookies([{"name": "merilo_key", "value": scene.keys["installation"], "url": address}])
    page = window.open(f"{address}/")
    no_sideways_scroll(page)
    page.get_by_label("Site").select_option("beta/hq")
    page.get_by_role("button", name="Show").click()

    expect(page.locator("h1")).to_contain_text("Beta AD")
    nothing_found(page)


# Empty and broken states ----------------------------------------------------------------------------------------------


class Away:
    """A store that does not answer."""

    def of(self, company: str) -> Any:
        raise StoreUnavailableError("nobody there")


def no_company(scene: Scene) -> Any:
    return scene.app()


def no_gateway(scene: Scene) -> Any:
    scene.add_company(ACME, "Acme Ltd")
    return scene.app()


def not_confirmed(scene: Scene) -> Any:
    scene.add_company(ACME, "Acme Ltd")
    scene.add_devices(ACME, {"main": "main"})
    scene.registry.see_devices([DeviceKey(*ACME, "pdu1")], NOW)
    write_life(scene.store, ACME, ["main", "pdu1"])
    return scene.app()


def gateway_silent(scene: Scene) -> Any:
    scene.add_company(ACME, "Acme Ltd")
    scene.add_devices(ACME, {"main": "main"})
    scene.add_rows(ACME)
    write_life(scene.store, ACME, ["main"], up=0.0, age_s=900.0)
    return scene.app()


def store_away(scene: Scene) -> Any:
    scene.add_company(ACME, "Acme Ltd")
    app = scene.app()
    app.state.stores = Away()
    return app


STATES = {
    "no_company": (no_company, "There is no company yet.", "merilo company add"),
    "no_gateway": (no_gateway, "No gateway yet.", "merilo gateway add acme/hq/gw1"),
    "not_confirmed": (not_confirmed, "Device pdu1 is new", "merilo meter confirm acme/hq"),
    "gateway_silent": (gateway_silent, "Gateway gw1 is silent.", "merilo gateway check"),
    "store_away": (store_away, "The store of the numbers does not answer.", "Start the store"),
}


@pytest.mark.parametrize("state", STATES)
def test_every_poor_state_says_the_next_step(visit: Visiting, servers: ExitStack, state: str) -> None:
    prepare, sentence, step = STATES[state]
    scene = installation(servers, Scene.open)
    address = servers.enter_context(served(prepare(scene)))
    window = visit(viewport=NARROWEST, color_scheme="dark")
    page = window.open(f"{address}/", charts=False)

    expect(page.locator("main")).to_contain_text(sentence)
    expect(page.locator("main")).to_contain_text(step)
    no_sideways_scroll(page)
    nothing_found(page)
    page.goto(f"{address}/?lang=bg")
    no_sideways_scroll(page)
    assert sentence not in page.locator("main").inner_text()
    if step.startswith("merilo"):
        expect(page.locator("main")).to_contain_text(step)
