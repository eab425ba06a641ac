"""Ingest over a real registry and a real SQLite store; the broker is the list of deliveries."""

from __future__ import annotations

from pathlib import Path

import pytest

from merilo import topics, wire
from merilo.errors import StoreUnavailableError
from merilo.ids import DeviceKey, GatewayKey
from merilo.reading import Reading
from merilo.site import Company, Site
from merilo_adapters.registry import Registry
from merilo_adapters.sqlite_store import SqliteStore
from merilo_collector.checksum import frame_sum
from merilo_collector.ingest import Ingest, Outcome, Steps
from merilo_collector.intake import Delivery

NOW = 1_795_000_000_000
GATEWAY = GatewayKey("acme", "hq", "gw1")
EPOCH = "00112233445566aa"


class Place:
    """One installation in a folder."""

    def __init__(self, folder: Path, raw_days: int | None = 90) -> None:
        self.registry = Registry.open(f"sqlite:///{folder}/registry.db")
        self.registry.add_company(Company(id="acme", name="Acme", raw_days=raw_days))
        self.registry.add_site(Site(company="acme", id="hq", name="HQ", zone="Europe/Sofia"))
        self.registry.add_gateway(GATEWAY, NOW)
        self.work = self.registry.work()
        self.store = SqliteStore(folder / "store", now_ms=lambda: NOW)
        self.store.init("acme", raw_days)
        self.steps: list[str] = []
        self.down = False
        self.ingest = self.fresh()

    def fresh(self) -> Ingest:
        """Ingest as after a restart."""
        return Ingest(self.registry, self.work, self._store_of, steps=_Noted(self.steps))

    def _store_of(self, company: str) -> SqliteStore:
        if self.down:
            raise StoreUnavailableError(f"store of {company} is away")
        return self.store

    def take(self, *deliveries: Delivery) -> Outcome:
        return self.ingest.handle(deliveries, NOW)

    def stored(self) -> dict[str, list[int]]:
        found = self.store.read("acme", "readings", {"company": "acme"}, 0, NOW * 2)
        return {one.tags["device"]: one.frame.at_ms.tolist() for one in found}


class _Noted(Steps):
    def __init__(self, steps: list[str]) -> None:
        self._steps = steps

    def reached(self, step: str) -> None:
        self._steps.append(step)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def readings(first: int, *at_ms: int, device: str = "main", power: float = 100.0) -> Delivery:
    found = [Reading(device=device, at_ms=at, values={"active_power_w": power}) for at in at_ms]
    return Delivery(topics.build(GATEWAY, "readings"), wire.readings_payload(EPOCH, first, found), first)


def acks(outcome: Outcome) -> list[wire.Ack]:
    return [wire.from_payload(payload, wire.Ack) for _, payload in outcome.acks]


def test_an_ack_covers_exactly_what_was_written_and_goes_to_the_gateway_that_sent_it(place: Place) -> None:
    outcome = place.take(readings(7, NOW - 20_000, NOW - 10_000))

    assert [topic for topic, _ in outcome.acks] == ["merilo/v1/acme/hq/gw1/ack"]
    assert acks(outcome) == [wire.Ack(EPOCH, 7, 8)]
    assert place.stored() == {"main": [NOW - 20_000, NOW - 10_000]}


def test_raw_write_comes_before_the_work_table_and_the_work_table_before_the_ack(place: Place) -> None:
    place.take(readings(0, NOW))

    assert place.steps == ["raw_written", "work_committed"]
    touched = place.work.pending(10)
    assert [(t.key.device, t.first_ms, t.last_ms) for t in touched] == [("main", NOW, NOW)]


def test_a_repeated_message_is_acknowledged_again_and_counts_once(place: Place) -> None:
    message = readings(0, NOW - 10_000, NOW)
    place.take(message)
    restarted = place.fresh()

    outcome = restarted.handle([message], NOW)

    assert acks(outcome) == [wire.Ack(EPOCH, 0, 1)]
    assert place.stored() == {"main": [NOW - 10_000, NOW]}
    sums = place.work.day_sums("acme", 0, NOW * 2)
    assert [(s.device, s.count) for s in sums] == [(DeviceKey("acme", "hq", "gw1", "main"), 2)]


def test_a_store_that_is_away_leaves_the_message_unacknowledged_and_untouched(place: Place) -> None:
    place.down = True
    message = readings(0, NOW)

    outcome = place.take(message)

    assert outcome.acks == []
    assert outcome.done == []
    assert list(outcome.failed) == ["acme"]
    assert place.work.pending(10) == []


def test_a_poison_message_becomes_a_dead_letter_and_its_neighbours_are_taken(place: Place) -> None:
    poison = Delivery(topics.build(GATEWAY, "readings"), b'{"v":1,', 1)

    outcome = place.take(readings(0, NOW - 10_000), poison, readings(1, NOW))

    assert [ack.first for ack in acks(outcome)] == [0, 1]
    assert poison in outcome.done
    assert [letter.reason for letter in place.work.dead_letters()] == ["not_json"]


def test_a_message_of_a_gateway_nobody_registered_is_a_dead_letter_and_not_stored(place: Place) -> None:
    stranger = GatewayKey("acme", "hq", "gw9")
    payload = wire.readings_payload(EPOCH, 0, [Reading(device="main", at_ms=NOW, values={"active_power_w": 1.0})])

    outcome = place.take(Delivery(topics.build(stranger, "readings"), payload, 0))

    assert outcome.acks == []
    assert place.stored() == {}
    assert [letter.reason for letter in place.work.dead_letters()] == ["unknown_gateway"]


@pytest.mark.parametrize(
    ("at_ms", "reason"),
    [
        (NOW + 300_000, None),
        (NOW + 300_001, "future"),
        (NOW - 60 * 86_400_000, None),
        (NOW - 60 * 86_400_000 - 1, "too_late"),
    ],
)
def test_a_reading_is_taken_up_to_300_s_ahead_and_30_days_before_raw_expires(
    place: Place, at_ms: int, reason: str | None
) -> None:
    outcome = place.take(readings(0, at_ms))

    (ack,) = acks(outcome)
    assert [r.reason for r in ack.rejected] == ([reason] if reason else [])
    assert place.stored() == ({} if reason else {"main": [at_ms]})


def test_one_bad_reading_is_rejected_by_number_and_the_others_of_its_message_are_stored(place: Place) -> None:
    body = (
        b'{"v":1,"epoch":"%s","seq":5,"readings":['
        b'{"device":"a","at":"2026-11-18T00:00:00Z","values":{"active_power_w":1}},'
        b'{"device":"b","at":"2026-11-18T00:00:00Z","values":{"voltage_l1_n_v":-1}},'
        b'{"device":"c","at":"2026-11-18T00:00:00Z","values":{"active_power_w":2}}]}' % EPOCH.encode()
    )

    outcome = place.take(Delivery(topics.build(GATEWAY, "readings"), body, 0))

    assert acks(outcome) == [wire.Ack(EPOCH, 5, 7, (wire.Rejection(6, "out_of_range"),))]
    assert sorted(place.stored()) == ["a", "c"]
    assert [letter.seq for letter in place.work.dead_letters()] == [6]


def test_the_two_hundred_and_first_new_device_of_a_gateway_is_refused(place: Place) -> None:
    place.take(*(readings(n, NOW, device=f"d{n}") for n in range(200)))

    outcome = place.take(readings(200, NOW, device="d200"), readings(201, NOW, device="d0"))

    assert [[r.reason for r in ack.rejected] for ack in acks(outcome)] == [["too_many_devices"], []]
    assert "d200" not in place.stored()


def test_two_different_readings_for_one_instant_are_a_conflict_and_the_last_one_stands(place: Place) -> None:
    place.take(readings(0, NOW, power=100.0), readings(1, NOW, power=250.0))

    found = place.store.read("acme", "readings", {"company": "acme"}, 0, NOW * 2)
    assert found[0].frame.numbers["active_power_w"].tolist() == [250.0]
    sums = place.work.day_sums("acme", 0, NOW * 2)
    assert (sums[0].count, sums[0].checksum) == frame_sum(found[0].frame)
    events = place.registry.events("acme", 0, NOW * 2)
    assert [(event.kind, event.code, event.at_ms) for event in events] == [("quality", "conflict", NOW)]
