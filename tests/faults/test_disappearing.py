"""A number that should disappear does, on a real InfluxDB, for everybody who asks; and comes back exactly."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from faults.harness import COMPANY, KEY, SITE, ZONE, Plant, settled
from faults.nursery import Nursery
from merilo.calendar import boundaries
from merilo.ids import RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, to_text
from merilo_adapters.registry.decisions import DecisionRecord
from merilo_simulators.counters import Reset
from merilo_simulators.site import Site
from real import InfluxServer, influx1, influx2

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

METER = "cooling"
REGISTER = RegisterKey(*KEY, METER, "active_energy_import_wh")
MEASUREMENTS = ("energy_15m", "energy_1h", "energy_1d", "energy_1mo")
ENERGIES = ("energy_wh", "energy_metered_wh", "energy_bridged_wh", "energy_estimated_wh", "power_mean_w")
Rows = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    yield found
    found.close()


def restarted_counter(site: Site, middle_ms: int) -> None:
    """The counter begins again from zero in the morning: a register difference over the day is no energy."""
    site.meter(METER).faults.add(Reset(at_ms=middle_ms + 7 * HOUR_MS))


def asked(server: InfluxServer, text: str) -> list[dict[str, Any]]:
    """What a board gets: raw InfluxQL, one object a row."""
    query = urllib.parse.urlencode({"db": f"merilo-{COMPANY}", "q": text, "epoch": "ms"})
    headers = {"Authorization": f"Token {server.token}"} if server.token else {}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/query?{query}", headers=headers)) as answer:
        result = json.load(answer)["results"][0]
    assert "error" not in result, result
    return [
        dict(zip(series["columns"], values, strict=True))
        for series in result.get("series", [])
        for values in series["values"]
    ]


def rows_of(server: InfluxServer, measurement: str) -> Rows:
    """Every row of the meter with the fields it has."""
    found = asked(server, f"SELECT * FROM {measurement} WHERE meter = '{METER}'")
    return {row["time"]: {name: value for name, value in row.items() if value is not None} for row in found}


def api_rows(plant: Plant, resolution: str, day: tuple[int, int]) -> list[Any]:
    """What the API gives of the day."""
    path = f"/v1/companies/{COMPANY}/sites/{SITE}/energy?meter={METER}&resolution={resolution}"
    found = plant.get(f"{path}&from={to_text(day[0])}&to={to_text(day[1])}")
    assert found is not None, plant.log("api")[-2000:]
    return [value for series in found["series"] for value in series["value"]]


@pytest.mark.parametrize("kind", [influx1, influx2])
def test_an_excluded_day_has_no_energy_in_any_query_and_every_field_again_when_the_decision_is_revoked(
    tmp_path: Path, nursery: Nursery, kind: Callable[[], AbstractContextManager[InfluxServer]]
) -> None:
    with (
        kind() as server,
        Plant(
            tmp_path,
            nursery,
            store=server.url,
            token=server.token or "",
            days=4,
            rate=1.0,
            disturb=restarted_counter,
            live=False,
        ) as plant,
    ):
        plant.start_all()
        plant.start_api()
        settled(plant)
        edges = boundaries("day", ZONE, plant.first_ms + DAY_MS + 7 * HOUR_MS, plant.first_ms + DAY_MS + 8 * HOUR_MS)
        day = (int(edges.edges_ms[0]), int(edges.edges_ms[1]))
        before = {name: rows_of(server, name) for name in MEASUREMENTS}
        api_before = {name: api_rows(plant, name, day) for name in ("15m", "1h", "1d")}
        registry = plant.registry()
        decision = registry.add_decision(
            DecisionRecord(
                kind="exclude",
                register=REGISTER,
                from_ms=day[0],
                to_ms=day[1],
                reason="the meter was opened",
                author="test",
                created_ms=plant.now_ms(),
            )
        )
        settled(plant)
        without = {name: rows_of(server, name) for name in MEASUREMENTS}
        sums = [
            asked(
                server,
                f"SELECT {query} FROM {name} WHERE meter = '{METER}' AND time >= {day[0]}ms AND time < {day[1]}ms",
            )
            for name in MEASUREMENTS[:3]
            for query in ("sum(energy_wh)", "last(energy_wh)", "mean(power_mean_w)", "max(power_max_w)")
        ]
        api_without = {name: api_rows(plant, name, day) for name in ("15m", "1h", "1d")}
        registry.revoke_decision(decision.number, plant.now_ms(), "test")
        settled(plant)
        again = {name: rows_of(server, name) for name in MEASUREMENTS}
        api_again = {name: api_rows(plant, name, day) for name in ("15m", "1h", "1d")}
        registry.close()

    quarters = {at: row for at, row in without["energy_15m"].items() if day[0] <= at < day[1]}
    day_wh = before["energy_1d"][day[0]]["energy_wh"]
    assert day_wh > 0
    assert len(quarters) == (day[1] - day[0]) // 900_000
    assert {row["state"] for row in quarters.values()} == {0}
    for name in MEASUREMENTS[:3]:
        assert sum(day[0] <= at < day[1] for at in before[name]) == sum(day[0] <= at < day[1] for at in without[name])
        for at, row in without[name].items():
            if day[0] <= at < day[1]:
                assert not row.keys() & set(ENERGIES), (name, at, row)
                assert row["coverage"] == 0.0
    assert sums == [[]] * len(sums)
    # The row before the day goes too: its register at the end lies in the day that is not believed.
    left_wh = sum(row.get("energy_wh", 0.0) for row in without["energy_15m"].values())
    months_wh = [sum(row["energy_wh"] for row in found["energy_1mo"].values()) for found in (before, without)]
    assert months_wh[1] == pytest.approx(left_wh, abs=0.001)
    assert months_wh[0] - months_wh[1] >= day_wh
    assert all(value is None for values in api_without.values() for value in values)
    assert all(value is not None for values in api_before.values() for value in values)
    assert api_again == api_before
    assert again == before
