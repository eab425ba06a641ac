"""Every query of every board on real InfluxDB servers: it answers, and its numbers are the API's numbers."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pytest

import real
from merilo.calendar import boundaries
from merilo.frame import Frame
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, from_ms
from merilo.ledger import BRIDGED, ESTIMATED, METERED, MISSING
from merilo.meterrows import MeterRows
from merilo.schema import database
from merilo.site import Company, Site
from merilo_adapters.clock import Clock
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.installation import Installation
from merilo_adapters.registry import Registry
from merilo_adapters.stores import Store, open_store
from merilo_api.app import create_app
from merilo_dashboards.catalogue import boards
from merilo_dashboards.expand import ALL, Asked, expanded
from merilo_dashboards.texts import LANGUAGES
from unit.dashboards import filled

pytestmark = pytest.mark.real
TZ = ZoneInfo(filled.ZONE)
CLOSE = 1e-9
Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Filled:
    """A server with a company on it, asked as Grafana asks."""

    server: real.InfluxServer
    store: Store
    now_ms: int

    def ask(self, query: str, asked: Asked, company: str = filled.COMPANY) -> Table:
        """Rows of the answer as dictionaries of tags and columns."""
        form = {"db": database(company), "epoch": "ms", "q": expanded(query, asked)}
        request = urllib.request.Request(f"{self.server.url}/query", urllib.parse.urlencode(form).encode())
        if self.server.token:
            login = base64.b64encode(f"merilo:{self.server.token}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            (result,) = json.load(answer)["results"]
        assert "error" not in result, result["error"]
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], row, strict=True))}
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def rows(self, meter: filled.FilledMeter) -> MeterRows:
        """What was booked for this meter."""
        return filled.quarters(meter, self.now_ms, 40)


@pytest.fixture(scope="module", params=["influx1", "influx2"])
def here(request: pytest.FixtureRequest) -> Iterator[Filled]:
    with real.influx1() if request.param == "influx1" else real.influx2() as server:
        store = open_store(server.url, token=server.token, org=server.org)
        store.init(filled.COMPANY, 90)
        now_ms = time.time_ns() // 1_000_000
        filled.fill(store, now_ms)
        yield Filled(server, store, now_ms)
        store.close()


def asked(start_ms: int, end_ms: int, site: str = ALL, company: str = filled.COMPANY) -> Asked:
    variables = {"company": company, "site": site, "db": database(company), "tz": filled.ZONE}
    return Asked(variables=variables, start_ms=start_ms, end_ms=end_ms)


def board(language: str = "en") -> Any:
    (found,) = [one.json(language) for one in boards() if one.name == "merilo-company"]  # type: ignore[arg-type]  # one of two
    return found


def queries(title: str) -> list[str]:
    (panel,) = [one for one in board()["panels"] if one["title"] == title]
    return [target["query"] for target in panel["targets"]]


def local(now_ms: int, unit: str, back: int = 0) -> int:
    """Start of the local day or month, so many of them back."""
    at = from_ms(now_ms).astimezone(TZ).replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "month":
        months = at.year * 12 + at.month - 1 - back
        at = at.replace(year=months // 12, month=months % 12 + 1, day=1)
    return round(at.timestamp() * 1000)


def span_of(panel: Mapping[str, Any], now_ms: int) -> Asked:
    """The stretch that Grafana gives a panel of a board that shows this month."""
    start = {
        None: local(now_ms, "month"),
        "now/d": local(now_ms, "day"),
        "now/M": local(now_ms, "month"),
        "now-12M/M": local(now_ms, "month", 12),
        "7d": now_ms - 7 * DAY_MS,
        "24h": now_ms - DAY_MS,
    }[panel.get("timeFrom")]
    if panel.get("timeShift") == "1M":
        return asked(local(now_ms, "month", 1), now_ms - 31 * DAY_MS)
    return asked(start, now_ms)


def energy_wh(here: Filled, start_ms: int, end_ms: int, site: str = "", role: str = "main") -> float | None:
    """Energy of the booked quarters that begin in [start, end), added up here from what was booked."""
    parts = [
        here.rows(meter).between(start_ms, end_ms)
        for meter in filled.METERS
        if meter.role == role and site in ("", meter.site)
    ]
    if not any(bool(part.has_energy.any()) for part in parts):
        return None
    return sum(int(part.energy_mwh.sum()) for part in parts) / 1000


def value(table: Table, column: str) -> float | None:
    return None if not table else float(table[0][column])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_query_answers_with_the_columns_that_it_names(here: Filled, language: str) -> None:
    for panel in board(language)["panels"]:
        for target in panel.get("targets", []):
            found = here.ask(target["query"], span_of(panel, here.now_ms))

            picked = target["query"].partition(" FROM ")[0]
            named = re.findall(r'AS "(\w+)"|SELECT "(\w+)"|, "(\w+)"', picked)
            expected = {next(filter(None, one)) for one in named} - {"title_en", "title_bg"} or {"up"}
            first_quarter = energy_wh(here, local(here.now_ms, "day"), here.now_ms) is None
            assert found or first_quarter, f"{panel['title']}: no rows"
            assert not found or expected <= found[0].keys(), panel["title"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_variables_find_the_company_its_sites_and_its_database(here: Filled, language: str) -> None:
    given = asked(0, here.now_ms)
    found = {
        one["name"]: [row.get("value", row.get("name")) for row in here.ask(one["query"], given)]
        for one in board(language)["templating"]["list"]
        if one["type"] == "query"
    }

    assert found["company"] == ["acme"]
    assert found["site"] == ["depot", "hq"]
    assert "merilo-acme" in found["db"]


@pytest.mark.parametrize(("language", "title"), [("en", "Register began again from zero"), ("bg", "започнал отначало")])
def test_annotations_have_no_empty_column_because_grafana_drops_such_rows(
    here: Filled, language: str, title: str
) -> None:
    (annotation,) = board(language)["annotations"]["list"]

    found = here.ask(annotation["target"]["query"], asked(here.now_ms - 30 * DAY_MS, here.now_ms))

    assert len(found) == len(filled.ledger_events(here.now_ms))
    assert all(cell is not None for row in found for cell in row.values())
    assert any(title in row[f"title_{language}"] for row in found)
    assert {row["end_ms"] - row["time"] for row in found} == {0, 6 * HOUR_MS, 60 * HOUR_MS}


def test_power_now_is_the_sum_of_each_main_meters_newest_minute(here: Filled) -> None:
    last_ms = here.now_ms // MINUTE_MS * MINUTE_MS - MINUTE_MS
    newest = np.array([last_ms], np.int64)
    expected = sum(round(float(filled.power_w(m, newest)[0]), 1) for m in filled.METERS if m.role == "main")

    (query,) = queries("Power now")

    assert value(here.ask(query, asked(0, 0)), "newest") == pytest.approx(expected, rel=CLOSE)


def test_today_and_this_month_are_the_booked_quarters_since_local_midnight(here: Filled) -> None:
    for title, unit in (("Today", "day"), ("This month", "month")):
        start_ms = local(here.now_ms, unit)
        (query,) = queries(title)

        found = value(here.ask(query, asked(start_ms, here.now_ms)), "energy")

        expected = energy_wh(here, start_ms, here.now_ms)
        assert found == (expected if expected is None else pytest.approx(expected, rel=CLOSE))


def test_a_tile_called_today_is_empty_where_picked_dates_leave_today_out(here: Filled) -> None:
    (query,) = queries("Today")
    (month,) = queries("This month")
    picked = asked(here.now_ms - 10 * DAY_MS, here.now_ms - 9 * DAY_MS)

    assert here.ask(query, picked) == []
    if local(here.now_ms, "month") > here.now_ms - 9 * DAY_MS or local(here.now_ms, "month") < picked.start_ms:
        assert here.ask(month, picked) == []


def test_a_month_ago_is_last_months_same_days_in_whole_hours(here: Filled) -> None:
    (query,) = queries("A month ago")
    start_ms, end_ms = here.now_ms - 35 * DAY_MS, here.now_ms - 31 * DAY_MS

    found = value(here.ask(query, asked(start_ms, end_ms)), "energy")

    first_ms = -(-start_ms // HOUR_MS) * HOUR_MS
    expected = energy_wh(here, first_ms, end_ms // HOUR_MS * HOUR_MS + HOUR_MS)
    assert found == pytest.approx(expected, rel=CLOSE)


def test_completeness_is_the_mean_over_devices_and_local_days(here: Filled) -> None:
    start_ms = local(here.now_ms - 20 * DAY_MS, "day")
    days = boundaries("day", filled.ZONE, start_ms, here.now_ms)
    until_ms = here.now_ms // QUARTER_MS * QUARTER_MS
    expected = days.intervals(until_ms)
    shares = []
    for meter in filled.METERS:
        rows = here.rows(meter)
        covered = np.histogram(rows.start_ms[rows.state >= BRIDGED], days.edges_ms)[0]
        shares += [float(c) / float(e) for c, e in zip(covered, expected, strict=True) if e > 0]
    (query,) = queries("Complete")

    found = value(here.ask(query, asked(start_ms, here.now_ms)), "coverage")

    assert found == pytest.approx(sum(shares) / len(shares), rel=CLOSE)
    assert found is not None
    assert 0.9 < found < 1.0


def test_one_silent_device_is_seen_and_gateways_that_answer_too(here: Filled) -> None:
    gateways, devices = (here.ask(query, asked(0, 0)) for query in queries("Devices"))

    assert value(gateways, "newest") == 1
    assert value(devices, "newest") == 0


def test_power_by_quarter_tells_the_states_apart_and_leaves_gaps_open(here: Filled) -> None:
    start_ms = here.now_ms - 7 * DAY_MS
    rows = here.rows(filled.DISTURBED).between(start_ms, here.now_ms)

    _, *by_state = queries("Power by quarter of an hour")
    answers = [here.ask(query, asked(start_ms, here.now_ms, "hq")) for query in by_state]

    for code, answer in zip((METERED, BRIDGED, ESTIMATED), answers, strict=True):
        found = {row["time"]: row["power"] for row in answer if row["power"] is not None}
        chosen = rows.state == code
        booked = zip(rows.start_ms[chosen].tolist(), rows.energy_mwh[chosen].tolist(), strict=True)
        assert found == {at: pytest.approx(mwh / 250, rel=CLOSE) for at, mwh in booked}
        assert found
        assert answer[1]["time"] - answer[0]["time"] == QUARTER_MS
        assert any(row["power"] is None for row in answer)


def test_quarters_of_which_a_meter_is_missing_are_shaded(here: Filled) -> None:
    start_ms = here.now_ms - 7 * DAY_MS
    rows = here.rows(filled.DISTURBED).between(start_ms, here.now_ms)
    query = queries("Power by quarter of an hour")[0]

    found = here.ask(query, asked(start_ms, here.now_ms))

    assert {row["time"]: row["missing"] for row in found} == dict.fromkeys(
        rows.start_ms[rows.state == MISSING].tolist(), 1
    )
    assert here.ask(query, asked(start_ms, here.now_ms, "depot")) == []


def test_days_of_which_less_than_90_percent_is_known_are_shaded(here: Filled) -> None:
    start_ms = local(here.now_ms - 20 * DAY_MS, "day")
    days = boundaries("day", filled.ZONE, start_ms, here.now_ms)
    rows = here.rows(filled.DISTURBED)
    covered = np.histogram(rows.start_ms[rows.state >= BRIDGED], days.edges_ms)[0]
    expected = days.intervals(here.now_ms // QUARTER_MS * QUARTER_MS)

    found = here.ask(queries("Energy per day")[0], asked(start_ms, here.now_ms))

    low = [at for at, c, e in zip(days.edges_ms[:-1].tolist(), covered, expected, strict=True) if c < 0.9 * e]
    assert [row["time"] for row in found] == low
    assert len(low) >= 3


def test_energy_per_day_adds_up_the_main_meters_of_each_local_day_by_state(here: Filled) -> None:
    start_ms = local(here.now_ms - 20 * DAY_MS, "day")
    days = boundaries("day", filled.ZONE, start_ms, here.now_ms)
    _, query = queries("Energy per day")

    found = {row["time"]: row for row in here.ask(query, asked(start_ms, here.now_ms))}

    assert sum(row["bridged"] for row in found.values()) > 0
    for low, high in zip(days.edges_ms[:-1].tolist(), days.edges_ms[1:].tolist(), strict=True):
        expected = energy_wh(here, low, high)
        if expected is not None:
            row = found[low]
            assert row["metered"] + row["bridged"] + row["estimated"] == pytest.approx(expected, rel=CLOSE)


def test_a_day_that_is_not_known_at_all_has_no_bar(here: Filled) -> None:
    start_ms = local(here.now_ms - 20 * DAY_MS, "day")
    _, query = queries("Energy per day")

    found = {row["time"] for row in here.ask(query, asked(start_ms, here.now_ms, "hq"))}

    days = boundaries("day", filled.ZONE, start_ms, here.now_ms).edges_ms[:-1].tolist()
    assert len(set(days) - found) >= 1


@pytest.mark.parametrize("site", [ALL, "hq", "depot"])
def test_energy_per_month_is_the_sum_of_the_quarters_of_the_chosen_sites(here: Filled, site: str) -> None:
    (query,) = queries("Energy per month, 13 months")

    found = here.ask(query, asked(local(here.now_ms, "month", 12), here.now_ms, site))

    total = sum(row["metered"] + row["bridged"] + row["estimated"] for row in found)
    assert total == pytest.approx(energy_wh(here, 0, here.now_ms, "" if site == ALL else site), rel=CLOSE)
    assert len(found) == len({row["time"] for row in found}) >= 2


def test_the_table_of_meters_has_one_row_per_meter_with_its_month(here: Filled) -> None:
    start_ms = local(here.now_ms, "month")
    (query,) = queries("Meters, this month")

    found = {row["meter"]: row for row in here.ask(query, asked(start_ms, here.now_ms))}

    for meter in filled.METERS:
        part = here.rows(meter).between(start_ms, here.now_ms)
        if len(part):
            row = found[meter.meter]
            assert row["energy"] == pytest.approx(int(part.energy_mwh.sum()) / 1000, rel=CLOSE)
            assert row["role"] == meter.role
            assert 0 <= row["complete"] <= 1
            assert row["peak"] * 250 == pytest.approx(int(part.energy_mwh[part.state == METERED].max()), rel=CLOSE)


def test_a_silent_hour_is_shown_and_an_unwritten_hour_stays_open(here: Filled) -> None:
    gateways = here.ask(queries("Gateways and devices")[0], asked(here.now_ms - DAY_MS, here.now_ms))
    end_ms = here.now_ms // MINUTE_MS * MINUTE_MS

    found = {row["time"]: row["up"] for row in gateways if row["gateway"] == "gw2"}

    for ago_ms, expected in ((HOUR_MS, 1), (4 * HOUR_MS + 30 * MINUTE_MS, 0), (10 * HOUR_MS + 30 * MINUTE_MS, None)):
        assert found[end_ms - ago_ms] == expected


def test_events_are_listed_newest_first(here: Filled) -> None:
    found = here.ask(queries("Events")[0], asked(0, 0))

    assert [row["title"] for row in found] == [
        "Readings set aside: too high",
        "Register began again from zero",
        "Meter exchanged",
    ]
    assert found[1]["estimated_wh"] == 23_456


def test_local_days_of_23_and_25_hours_stay_whole_when_meters_are_added_up(here: Filled) -> None:
    company = "clock"
    here.store.init(company, 90)
    for meter, watts in (("main-a", 100), ("main-b", 1_000)):
        for day in ("2025-03-28", "2025-10-24"):
            start_ms = local(round(np.datetime64(day, "ms").astype(np.int64).item()) + 12 * HOUR_MS, "day")
            cut = boundaries("day", filled.ZONE, start_ms, start_ms + 4 * DAY_MS).edges_ms[:5]
            wh = np.diff(cut) / HOUR_MS * watts
            zero = np.zeros(len(wh))
            numbers = {"energy_metered_wh": wh, "energy_bridged_wh": zero, "energy_estimated_wh": zero}
            tags = {"company": company, "site": "hq", "meter": meter, "role": "main"}
            here.store.replace(company, "energy_1d", tags, int(cut[0]), int(cut[-1]), Frame(cut[:-1], numbers))
    _, query = queries("Energy per day")

    spring = here.ask(query, asked(1_743_112_800_000, 1_743_368_400_000, company=company), company)
    autumn = here.ask(query, asked(1_761_253_200_000, 1_761_516_000_000, company=company), company)

    assert [row["metered"] for row in spring] == [26_400, 26_400, 25_300, 26_400]
    assert [row["metered"] for row in autumn] == [26_400, 26_400, 27_500, 26_400]


def _api(here: Filled, folder: Path, registry: Registry) -> httpx.ASGITransport:
    """The API over the same store, asked from this machine itself."""
    registry.add_company(Company(id=filled.COMPANY, name="Acme"))
    for site in ("hq", "depot"):
        registry.add_site(Site(company=filled.COMPANY, id=site, name=site, zone=filled.ZONE))
    place = Installation(data=folder, store=here.server.url, store_token=here.server.token or "")  # type: ignore[arg-type]  # pydantic makes a secret of it
    app = create_app(registry, registry.work(), CompanyStores(place, registry), Clock(real_now_ms=lambda: here.now_ms))
    return httpx.ASGITransport(app, client=("127.0.0.1", 50_000))


async def _sums(api: httpx.ASGITransport, site: str, period: str) -> list[float]:
    path = f"/v1/companies/{filled.COMPANY}/sites/{site}/energy"
    async with httpx.AsyncClient(transport=api, base_url="http://127.0.0.1") as client:
        answer = await client.get(path, params={"period": period, "role": "main", "resolution": "1d"})
    assert answer.status_code == 200, answer.text
    return [one["value"] or 0.0 for one in answer.json()["sums"]]


def test_tiles_show_the_apis_numbers(here: Filled, tmp_path: Path) -> None:
    today = from_ms(here.now_ms).astimezone(TZ)
    for title, unit, period in (("Today", "day", f"{today:%Y-%m-%d}"), ("This month", "month", f"{today:%Y-%m}")):
        with closing(Registry.open(f"sqlite:///{tmp_path}/{unit}.db")) as registry:
            api = _api(here, tmp_path, registry)
            said = [asyncio.run(_sums(api, site, period)) for site in ("hq", "depot")]

        (query,) = queries(title)
        shown = value(here.ask(query, asked(local(here.now_ms, unit), here.now_ms)), "energy")
        assert (shown or 0.0) == pytest.approx(sum(map(sum, said)), rel=CLOSE)
