"""Dead letters are taken again once the reason is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from merilo import topics, wire
from merilo.ids import GatewayKey
from merilo.reading import Reading
from merilo_collector.dead import Replayed, replay
from merilo_collector.intake import Delivery
from unit.collector.test_ingest import EPOCH, NOW, Place

STRANGER = GatewayKey("acme", "hq", "gw9")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def send(place: Place) -> None:
    reading = Reading(device="main", at_ms=NOW, values={"active_power_w": 1.0})
    place.take(Delivery(topics.build(STRANGER, "readings"), wire.readings_payload(EPOCH, 0, [reading]), 0))


def test_a_letter_of_a_gateway_that_is_registered_now_is_stored_and_gone(place: Place) -> None:
    send(place)
    place.registry.add_gateway(STRANGER, NOW)

    found = replay(place.ingest, place.work, place.work.dead_letters(), NOW)

    assert found == Replayed(taken=1, refused=0, waiting=0)
    assert place.stored() == {"main": [NOW]}
    assert place.work.dead_letters() == []


def test_a_letter_whose_reason_still_holds_stays_a_letter(place: Place) -> None:
    send(place)

    found = replay(place.ingest, place.work, place.work.dead_letters(), NOW)

    assert found == Replayed(taken=0, refused=1, waiting=0)
    assert [letter.reason for letter in place.work.dead_letters()] == ["unknown_gateway"]


def test_a_letter_waits_while_the_store_is_away(place: Place) -> None:
    send(place)
    place.registry.add_gateway(STRANGER, NOW)
    place.down = True

    found = replay(place.ingest, place.work, place.work.dead_letters(), NOW)

    assert found == Replayed(taken=0, refused=0, waiting=1)
    assert len(place.work.dead_letters()) == 1
