"""A store that forgets, over a real registry and a real SQLite store whose rows are taken away by hand."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from merilo import topics, wire
from merilo.frame import Frame
from merilo.ids import DeviceKey, GatewayKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, floor_ms
from merilo.ports import Point
from merilo.reading import Reading
from merilo.site import Company, Site
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.registry import Registry
from merilo_adapters.registry.bookkeeping import Bookkeeping
from merilo_adapters.sqlite_store import SqliteStore
from merilo_collector.book_store import CompanyBookStore
from merilo_collector.ingest import Ingest
from merilo_collector.intake import Delivery
from merilo_collector.reconcile import Reconciler

NOW = floor_ms(1_795_000_000_000, DAY_MS) + 12 * HOUR_MS
GATEWAY = GatewayKey("acme", "hq", "gw1")
MAIN = DeviceKey(*GATEWAY, "main")


class Forgetful(SqliteStore):
    """A store that has a start, as a server has."""

    started = NOW - DAY_MS

    def started_ms(self) -> int | None:
        return self.started

    def forget(self, from_ms: int, to_ms: int) -> None:
        """Loses raw readings."""
        self.replace("acme", "readings", MAIN._asdict(), from_ms, to_ms, Frame.empty())


class Place:
    """One installation in a folder."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry.open(f"sqlite:///{folder}/registry.db")
        self.registry.add_company(Company(id="acme", name="Acme", raw_days=90))
        self.registry.add_site(Site(company="acme", id="hq", name="HQ", zone="Europe/Sofia"))
        self.registry.add_gateway(GATEWAY, NOW)
        self.work = self.registry.work()
        self.store = Forgetful(folder / "store", now_ms=lambda: NOW)
        self.store.init("acme", 90)
        self.ingest = Ingest(self.registry, self.work, lambda company: self.store)
        self.asked: list[wire.Resync] = []
        self.number = 0
        self.reconciler = self.fresh()

    def of(self, company: str) -> Forgetful:
        """Stands for the stores of the companies."""
        return self.store

    def fresh(self) -> Reconciler:
        """As after a restart of ingest."""
        return Reconciler(self.registry, self.work, cast(CompanyStores, self), self._publish)

    def _publish(self, topic: str, payload: bytes) -> None:
        assert topic == topics.build(GATEWAY, "cmd", "resync")
        self.asked.append(wire.from_payload(payload, wire.Resync))

    def take(self, *at_ms: int, again_from: int | None = None, now_ms: int = NOW) -> None:
        """Readings arrive; again under the numbers they had before."""
        first = self.number if again_from is None else again_from
        found = [Reading(device="main", at_ms=at, values={"active_power_w": float(at % 1000)}) for at in at_ms]
        delivery = Delivery(
            topics.build(GATEWAY, "readings"), wire.readings_payload("00112233445566aa", first, found), 0
        )
        self.ingest.handle([delivery], now_ms)
        self.number = max(self.number, first + len(found))

    def minute(self, now_ms: int) -> None:
        """One minute's work of the reconciler."""
        self.reconciler.minute("acme", now_ms)
        while self.reconciler.busy:
            self.reconciler.step()

    def restart(self, at_ms: int) -> None:
        """The store starts again."""
        self.store.started = at_ms

    def notice(self) -> int:
        """What the page says."""
        return self.work.counters("store/acme").get(("store/acme", "forgotten_days"), 0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.take(*range(NOW - 10 * MINUTE_MS, NOW - 5 * MINUTE_MS, MINUTE_MS))
    found.minute(NOW)  # the first start is noted
    return found


def minutes(place: Place, first_ms: int, number: int) -> int:
    """Lets minutes pass; gives the last."""
    for minute in range(number):
        place.minute(first_ms + minute * MINUTE_MS)
    return first_ms + (number - 1) * MINUTE_MS


def test_two_restarts_within_two_seconds_are_two(place: Place) -> None:
    place.restart(NOW)
    place.minute(NOW)
    assert not place.asked

    place.store.forget(NOW - HOUR_MS, NOW - 8 * MINUTE_MS)
    place.restart(NOW + 2_000)
    place.minute(NOW + MINUTE_MS)

    assert len(place.asked) == 1
    assert place.notice() == 1


def test_a_check_that_a_crash_of_ingest_cut_off_is_done_at_its_next_start(place: Place) -> None:
    place.store.forget(NOW - HOUR_MS, NOW)
    place.restart(NOW)
    place.reconciler._restarted("acme")  # here ingest is killed

    place.reconciler = place.fresh()
    place.minute(NOW + MINUTE_MS)

    assert len(place.asked) == 1


def test_while_readings_come_back_the_gateway_is_not_asked_to_begin_anew(place: Place) -> None:
    place.store.forget(NOW - HOUR_MS, NOW)
    place.restart(NOW)
    place.minute(NOW)

    for number in range(5):
        place.take(NOW - (10 - number) * MINUTE_MS, again_from=number)
        minutes(place, NOW + (1 + 2 * number) * MINUTE_MS, 2)

    assert len(place.asked) == 1
    assert place.notice() == 0
    assert len(place.store.read("acme", "readings", MAIN._asdict(), 0, NOW)[0].frame) == 5


def test_a_check_takes_small_steps_and_begins_anew_when_the_store_restarts_meanwhile(place: Place) -> None:
    place.take(*range(NOW - 5 * DAY_MS, NOW, DAY_MS))
    place.restart(NOW)
    place.reconciler.minute("acme", NOW)
    for _ in range(3):
        place.reconciler.step()
    assert place.reconciler.busy

    place.store.forget(NOW - 5 * DAY_MS, NOW - 4 * DAY_MS)
    place.restart(NOW + 30_000)
    place.minute(NOW + MINUTE_MS)

    assert len(place.asked) == 1


def test_a_gateway_that_is_away_is_asked_again_for_days_and_then_an_event_says_that_readings_are_lost(
    place: Place,
) -> None:
    place.store.forget(NOW - HOUR_MS, NOW - 8 * MINUTE_MS)
    place.restart(NOW)

    at_ms = minutes(place, NOW, 90)
    assert 4 <= len(place.asked) <= 7  # after 2, 4, 8, 16, 32, 60 minutes
    assert place.notice() == 1
    for day in range(1, 10):
        place.minute(at_ms + day * DAY_MS)

    assert place.notice() == 0
    found = place.registry.events("acme", 0, NOW + 30 * DAY_MS, kinds=["quality"])
    assert [event.code for event in found] == ["readings_lost"]
    asked = len(place.asked)
    place.minute(at_ms + 30 * DAY_MS)
    assert len(place.asked) == asked


def test_an_old_day_that_was_written_lately_is_compared_too(place: Place) -> None:
    old_ms = NOW - 40 * DAY_MS
    place.take(old_ms, old_ms + MINUTE_MS)
    place.store.forget(old_ms, old_ms + 1)
    place.restart(NOW)

    place.minute(NOW)

    assert [command.since[:10] for command in place.asked] == ["2026-10-09"]
    assert place.work.counters("written/acme/") != {}


def test_old_days_are_forgotten_when_their_writing_is_old_and_everything_is_there(place: Place) -> None:
    place.take(NOW - 40 * DAY_MS)
    place.restart(NOW)
    place.minute(NOW)
    assert len(place.work.counters("written/acme/")) == 1

    place.minute(NOW + 9 * DAY_MS)

    assert place.work.counters("written/acme/") == {}


def test_old_rows_of_the_books_that_were_stored_lately_are_compared_too(place: Place) -> None:
    day_ms = floor_ms(NOW - 100 * DAY_MS, DAY_MS)
    key = RegisterKey(*MAIN, "active_energy_import_wh")
    frame = Frame(np.array([day_ms]), {"state": np.array([3.0])})
    store = CompanyBookStore("acme", place.store, Bookkeeping(place.work), NOW)
    store.replace("register_15m", key._asdict(), day_ms, day_ms + DAY_MS, frame)
    place.store.replace("acme", "register_15m", key._asdict(), day_ms, day_ms + DAY_MS, Frame.empty())
    place.restart(NOW)

    place.minute(NOW)

    assert [(work.key, work.first_ms) for work in place.work.pending(10)] == [(RegisterKey(*MAIN, "*"), day_ms)]
    assert place.notice() == 1


def test_readings_that_a_crash_left_unnoted_are_not_forgotten_ones(place: Place) -> None:
    place.store.write("acme", "readings", [Point(tuple(MAIN), NOW - 3 * DAY_MS, {"active_power_w": 1.0})])
    place.take(NOW - 3 * DAY_MS + MINUTE_MS)
    place.restart(NOW)

    place.minute(NOW)

    assert place.asked == []
