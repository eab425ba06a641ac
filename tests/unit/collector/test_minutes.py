"""The minute's work over a real registry and real SQLite stores."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from merilo.errors import StoreUnavailableError
from merilo.ids import DeviceKey, GatewayKey, MeterKey
from merilo.instants import HOUR_MS, MINUTE_MS, floor_ms
from merilo.reading import Reading
from merilo.site import Company, Site
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.registry import Registry
from merilo_adapters.sqlite_store import SqliteStore
from merilo_collector import minutes
from merilo_collector.minutes import Minutes
from merilo_collector.reconcile import Reconciler

NOW = floor_ms(1_795_000_000_000, HOUR_MS)
COMPANIES = ("acme", "beta", "gamma")


class Place:
    """Three companies with a meter each, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry.open(f"sqlite:///{folder}/registry.db")
        self.store = SqliteStore(folder / "store", now_ms=lambda: NOW)
        for company in COMPANIES:
            self.registry.add_company(Company(id=company, name=company.title(), raw_days=90))
            self.registry.add_site(Site(company=company, id="hq", name="HQ", zone="Europe/Sofia"))
            gateway = GatewayKey(company, "hq", "gw1")
            self.registry.add_gateway(gateway, NOW)
            self.registry.see_devices([DeviceKey(*gateway, "m1")], NOW, 10)
            self.registry.set_meter(
                MeterKey(company, "hq", "m1"),
                from_ms=NOW,
                at_ms=NOW,
                role="main",
                device=DeviceKey(*gateway, "m1"),
            )
            self.store.init(company, 90)
        self.away: set[str] = set()
        work, stores = self.registry.work(), cast(CompanyStores, self)
        reconciler = Reconciler(self.registry, work, stores, lambda topic, payload: None)
        self.minutes = Minutes(self.registry, work, stores, reconciler, NOW)

    def of(self, company: str) -> SqliteStore:
        """Stands for the stores of the companies."""
        if company in self.away:
            raise StoreUnavailableError(f"store of {company} is away")
        return self.store

    def read(self, at_ms: int, power_w: float) -> None:
        """Every company's meter says its power."""
        for company in COMPANIES:
            reading = Reading(device="m1", at_ms=at_ms, values={"active_power_w": power_w})
            self.minutes.read(GatewayKey(company, "hq", "gw1"), [reading], at_ms)

    def whole(self, now_ms: int) -> None:
        """Turns until every company had its minute."""
        self.minutes.turn(now_ms)
        while self.minutes.busy:
            self.minutes.turn(now_ms)

    def written(self) -> dict[str, list[tuple[int, float]]]:
        """Instants and mean powers of each company."""
        found: dict[str, list[tuple[int, float]]] = {}
        for company in COMPANIES:
            for series in self.store.read(company, "power_1m", {"company": company}, 0, 2 * NOW):
                means = series.frame.numbers["power_mean_w"].tolist()
                found[company] = list(zip(series.frame.at_ms.tolist(), means, strict=True))
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_minute_is_written_when_it_is_over_and_its_mean_is_that_of_its_samples(place: Place) -> None:
    place.read(NOW + 10_000, 100.0)
    place.read(NOW + 40_000, 300.0)

    place.minutes.turn(NOW + 59_999)
    assert place.written() == {}

    place.whole(NOW + MINUTE_MS)
    assert place.written() == {key: [(NOW, 200.0)] for key in COMPANIES}


def test_a_turn_ends_after_its_time_and_the_next_one_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minutes, "TURN_S", 0.0)
    place.read(NOW, 100.0)

    done = []
    for _ in COMPANIES:
        place.minutes.turn(NOW + MINUTE_MS)
        done.append((len(place.written()), place.minutes.busy))

    assert done == [(1, True), (2, True), (3, False)]


def test_a_company_whose_store_is_away_stops_no_other(place: Place) -> None:
    place.read(NOW, 100.0)
    place.away.add("acme")

    place.whole(NOW + MINUTE_MS)

    assert place.written() == {key: [(NOW, 100.0)] for key in ("beta", "gamma")}


def test_a_turn_that_takes_longer_than_a_minute_leaves_nobody_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minutes, "TURN_S", 0.0)
    place.read(NOW, 100.0)
    place.minutes.turn(NOW + MINUTE_MS)
    place.read(NOW + MINUTE_MS, 200.0)

    for _ in range(2 * len(COMPANIES)):
        place.minutes.turn(NOW + 2 * MINUTE_MS)

    assert place.written() == {key: [(NOW, 100.0), (NOW + MINUTE_MS, 200.0)] for key in COMPANIES}
