"""Events as boards read them."""

from __future__ import annotations

from merilo.site import Event, Place
from merilo_collector.event_rows import reported_point


def event(number: int, at_ms: int) -> Event:
    place = Place("acme", "hq", "gw1", "main", "", "")
    return Event(
        number=number, place=place, kind="device", code="device_silent", at_ms=at_ms, parameters={"reason": "x"}
    )


def test_two_events_of_one_instant_stay_two_rows_and_one_event_stays_one() -> None:
    first, second = reported_point(event(7, 5_000_123)), reported_point(event(8, 5_000_123))

    assert first.tags == second.tags == ("acme", "hq", "device", "-", "gw1", "main", "-")
    assert (first.at_ms, second.at_ms) == (5_000_007, 5_000_008)
    assert reported_point(event(7, 5_000_123)) == first


def test_a_code_has_words_in_both_languages() -> None:
    fields = reported_point(event(1, 0)).fields

    assert (fields["title_en"], fields["title_bg"]) == ("Device silent", "Устройството мълчи")
    assert fields["parameters"] == '{"reason":"x"}'
