"""Bad inputs of the API: each is refused with what was expected, what was found, and where."""

from __future__ import annotations

import pytest

from unit.api.asking import SITE, Client

ENERGY = f"{SITE}/energy"
DAY = "from=2026-11-20T00:00:00%2B02:00&to=2026-11-21T00:00:00%2B02:00"

REFUSED = {
    "events?limit=nan": "query/limit",
    "events?limit=inf": "query/limit",
    "events?limit=1_000": "query/limit",
    "events?limit=%201": "query/limit",
    "events?limit=1.0": "query/limit",
    "events?limit=%D9%A1": "query/limit",  # a digit of another alphabet
    "events?limit=1000000000": "query/limit",
    "events?limit=-1": "query/limit",
    "events?limit=0": "query/limit",
    "events?limit=1001": "query/limit",
    "events?limit=1&limit=2": "query/limit",
    "energy?from=2026-11-20T00:00:00&to=2026-11-21T00:00:00Z": "query/from",
    "energy?from=2026-11-20T00:00:00&to=2026-11-21T00:00:00": "query/from",
    "energy?from=2026-11-20&to=2026-11-21": "query/from",
    "energy?from=1700000000&to=1700000000000": "query/from",
    "energy?from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z": "query/from",
    "energy?from=2026-11-21T00:00:00Z&to=2026-11-21T00:00:00Z": "query/from",
    "energy?from=2024-02-30T00:00:00Z": "query/from",
    "energy?from=2026-11-20T23:59:60Z": "query/from",
    "energy?from=0": "query/from",
    "energy?from=2026-W47-1T00:00:00Z": "query/from",
    "energy?from=20261120T000000Z": "query/from",
    "energy?from=2026-11-20T00:00:00%2B25:00": "query/from",
    "energy?from=0001-01-01T00:00:00Z": "query/from",
    "energy?from=9999-01-01T00:00:00Z": "query/from",
    "energy?from=": "query/from",
    "energy?to=2026-11-20T00:00:00Z": "query/from",
    f"energy?{DAY}&last=7d": "query",
    "energy?period=2026-11&last=7d": "query",
    "energy?period=2026-13": "query/period",
    "energy?period=2026-11-31": "query/period",
    "energy?period=0000": "query/period",
    "energy?period=2026-1": "query/period",
    "energy?last=0d": "query/last",
    "energy?last=7": "query/last",
    "energy?last=7w": "query/last",
    "energy?last=99999y": "query/last",
    "energy?last=999999d": "query/last",
    "energy?tz=Europe/Sofa": "query/tz",
    "energy?tz=../../etc/passwd": "query/tz",
    "energy?tz=UTC%00": "query/tz",
    "energy?resolution=1w": "query/resolution",
    "energy?resolution=15M": "query/resolution",
    "energy?period=2026-11&meters=main": "query/meters",
    "energy?period=2026-11&perod=2026": "query/perod",
    "energy?role=maine": "query/role",
    "energy?format=xml": "query/format",
    "energy?locale=de": "query/locale",
    "series?quantity=active_power_kw&device=gw1/main": "query/quantity",
    "series?quantity=voltage_l1_n_v": "query/quantity",
    "series?device=main": "query/device",
    "series?device=gw1/": "query/device",
    "series?device=gw1/main&meter=main": "query/meter",
}


@pytest.mark.parametrize("address", REFUSED)
def test_a_bad_parameter_is_refused_with_its_place(single: Client, address: str) -> None:
    status, _, pointer = single.refused(f"{SITE}/{address}")

    assert (status, pointer) == (422, REFUSED[address])


def detail(client: Client, query: str) -> str:
    answer = client.ask(f"{ENERGY}?{query}")
    assert answer.status_code == 422, answer.text
    return str(answer.json()["detail"])


def test_an_instant_that_comes_twice_names_both(single: Client) -> None:
    found = detail(single, "from=2026-10-25T03:30:00&tz=Europe/Sofia")

    assert "2026-10-25T03:30:00+03:00 or 2026-10-25T03:30:00+02:00" in found


def test_an_instant_that_the_clock_skips_names_what_could_be_meant(single: Client) -> None:
    found = detail(single, "from=2026-03-29T03:30:00&tz=Europe/Sofia")

    assert "not one instant in Europe/Sofia" in found


def test_a_named_zone_stands_for_the_offset(single: Client) -> None:
    body = single.get(f"{ENERGY}?from=2026-11-20T00:00:00&to=2026-11-21&tz=Europe/Sofia")

    assert body["meta"]["period"] == {
        "start": "2026-11-19T22:00:00.000Z",
        "end": "2026-11-20T22:00:00.000Z",
        "tz": "Europe/Sofia",
    }


def test_a_plus_that_was_lost_on_the_way_is_understood(single: Client) -> None:
    body = single.get(f"{ENERGY}?from=2026-11-20T00:00:00+02:00&to=2026-11-21T00:00:00.5z")

    assert body["meta"]["period"]["start"] == "2026-11-19T22:00:00.000Z"
    assert body["meta"]["period"]["end"] == "2026-11-21T00:00:00.500Z"


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("tz=Europe/Sofa", "did you mean 'Europe/Sofia'?"),
        ("role=maine", "did you mean 'main'?"),
        ("perod=2026-11", "did you mean 'period'?"),
        ("resolution=1D", "did you mean '1d'?"),
    ],
)
def test_a_typing_error_gets_a_hint(single: Client, query: str, hint: str) -> None:
    assert hint in detail(single, query)


def test_a_hundred_years_of_seconds_are_refused_with_what_is_possible(single: Client) -> None:
    span = "from=1990-01-01T00:00:00Z&to=2090-01-01T00:00:00Z"
    raw = single.ask(f"{SITE}/series?{span}&device=gw1/main")

    assert raw.status_code == 422
    assert raw.json()["detail"].endswith("ask for at most 1 days")
    assert detail(single, f"{span}&resolution=15m").endswith("the finest for this range is 1d")


def test_a_range_at_the_limit_is_taken_and_one_row_more_is_not(single: Client) -> None:
    # 100,000 rows of 15 minutes are 1,041 days and 16 hours.
    start = "from=2024-01-01T00:00:00Z"

    assert single.get(f"{ENERGY}?{start}&to=2026-11-07T16:00:00Z&resolution=15m")["meta"]["resolution"] == "15m"
    assert "more than 100000 rows" in detail(single, f"{start}&to=2026-11-07T16:15:00Z&resolution=15m")


@pytest.mark.parametrize(
    ("last", "start"),
    [
        ("24h", "2026-11-24T09:07:30.000Z"),
        ("1d", "2026-11-24T22:00:00.000Z"),
        ("30d", "2026-10-26T22:00:00.000Z"),
        ("1mo", "2026-10-31T22:00:00.000Z"),
        ("12mo", "2025-11-30T22:00:00.000Z"),
        ("1y", "2025-11-30T22:00:00.000Z"),
    ],
)
def test_the_last_days_begin_at_local_midnight(single: Client, last: str, start: str) -> None:
    period = single.get(f"{ENERGY}?last={last}")["meta"]["period"]

    assert (period["start"], period["end"]) == (start, "2026-11-25T09:07:30.000Z")


@pytest.mark.parametrize(
    ("period", "hours"), [("2026-10-25", 25), ("2026-03-29", 23), ("2026-10", 745), ("2026", 8_760)]
)
def test_a_period_has_as_many_hours_as_its_calendar(single: Client, period: str, hours: int) -> None:
    found = single.get(f"{ENERGY}?period={period}&resolution=1mo")["meta"]["period"]
    from datetime import datetime

    start, end = (datetime.fromisoformat(found[name]) for name in ("start", "end"))
    assert (end - start).total_seconds() == hours * 3600


HOSTILE = ["x'; DROP MEASUREMENT readings --", '"; DROP SERIES', "../beta", "a\x00b", "a\r\nb", "é" * 40, "=1+1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_filter_is_a_name_that_is_not_there_like_any_other(single: Client, text: str) -> None:
    answer = single.ask(ENERGY, params={"meter": text, "last": "1d"})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_meter")
    assert single.get(f"{ENERGY}?last=1d&meter=main")["series"]


@pytest.mark.parametrize("text", ["%00", "a%0d%0ab", "a/../b", "%2e%2e", "A", "-a", "a" * 33, "a%20b", "%D0%B0"])
@pytest.mark.parametrize("place", ["/v1/companies/{}/sites", "/v1/companies/acme/sites/{}/energy"])
def test_a_path_that_is_no_id_is_not_there(single: Client, text: str, place: str) -> None:
    assert single.refused(place.format(text))[:2] == (404, "not_found")


def test_an_address_of_twenty_thousand_characters_is_refused(single: Client) -> None:
    assert single.refused(f"/v1/companies/{'a' * 20_000}/sites")[:2] == (414, "too_long")


def test_several_faults_are_told_at_once(single: Client) -> None:
    errors = single.ask(f"{SITE}/events?limit=x&after=y").json()["errors"]

    assert [one["pointer"] for one in errors] == ["query/limit", "query/after"]
