"""Energy of Acme's meters. By hand: 14 h at 2 kW and 10 h at 6 kW are 88 kWh a day."""

from __future__ import annotations

import csv
import io
from datetime import datetime

import pytest

from merilo.ids import MeterKey
from merilo.instants import DAY_MS, QUARTER_MS
from merilo_adapters.registry import DecisionRecord
from unit.api.asking import SITE, Client
from unit.api.scene import Scene, at

ENERGY = f"{SITE}/energy"


def test_a_day_is_the_sum_of_its_hours(single: Client) -> None:
    body = single.get(f"{ENERGY}?period=2026-11-10&resolution=1d&meter=main")
    row = body["series"][0]

    assert (row["id"], row["role"], row["unit"]) == ("main", "main", "Wh")
    assert (row["value"], row["energy_metered_wh"], row["coverage"]) == ([88_000.0], [88_000.0], [1.0])
    assert (row["start"], row["end"]) == (["2026-11-09T22:00:00Z"], ["2026-11-10T22:00:00Z"])
    assert (row["power_mean_w"], row["power_max_w"]) == ([3_666.7], [6_000.0])


def test_the_day_of_the_autumn_change_has_25_hours(single: Client) -> None:
    hours = single.get(f"{ENERGY}?period=2026-10-25&resolution=1h&meter=main")["series"][0]
    day = single.get(f"{ENERGY}?period=2026-10-25&resolution=1d&meter=main")["series"][0]

    assert len(hours["value"]) == 25
    assert sum(hours["value"]) == day["value"][0] == 90_000.0  # 15 h at 2 kW
    assert hours["start"][2:5] == ["2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"]
    lengths = {
        datetime.fromisoformat(b) - datetime.fromisoformat(a) for a, b in zip(hours["start"], hours["end"], strict=True)
    }
    assert [one.total_seconds() for one in lengths] == [3_600.0]


def test_every_interval_tells_its_state_and_a_missing_one_is_null(single: Client) -> None:
    row = single.get(f"{ENERGY}?from=2026-11-21T06:45:00Z&to=2026-11-21T07:15:00Z&resolution=15m&meter=main")["series"][
        0
    ]

    assert row["state"] == ["metered", "missing"]
    assert row["value"] == [1_500.0, None]
    assert row["energy_low_wh"] == [1_500.0, 0.0]
    assert row["coverage"] == [1.0, 0.0]


def test_parts_by_state_add_up(single: Client) -> None:
    row = single.get(f"{ENERGY}?from=2026-11-18&to=2026-11-23&tz=Europe/Sofia&resolution=1d&meter=main")["series"][0]

    assert row["energy_bridged_wh"] == [10_000.0, 0.0, 0.0, 0.0, 88_000.0]  # 5 h at 2 kW; a whole day
    assert row["energy_estimated_wh"] == [0.0, 0.0, 24_000.0, 0.0, 0.0]  # 4 h at 6 kW
    assert row["value"] == [88_000.0, 88_000.0, 88_000.0, 52_000.0, 88_000.0]  # 6 h at 6 kW are missing
    assert row["coverage"] == [1.0, 1.0, 0.8333, 0.75, 1.0]


def test_the_sum_over_a_period_says_what_it_is_made_of(single: Client) -> None:
    envelope = single.get(f"{ENERGY}?from=2026-11-18&to=2026-11-23&tz=Europe/Sofia&meter=main")["sums"][0]

    assert (envelope["value"], envelope["unit"]) == (404_000.0, "Wh")
    assert envelope["coverage"] == pytest.approx(110 / 120)  # 10 of 120 h are estimated or missing
    assert envelope["estimated_share"] == pytest.approx(24 / 404)
    assert (envelope["label"], envelope["reason"], envelope["warnings"]) == ("complete", None, [])
    assert (envelope["method"], envelope["method_version"]) == ("energy_sum", "1")
    assert envelope["period"] == {
        "start": "2026-11-17T22:00:00Z",
        "end": "2026-11-22T22:00:00Z",
        "tz": "Europe/Sofia",
    }


def test_a_period_below_its_gate_is_called_partial(single: Client) -> None:
    envelope = single.get(f"{ENERGY}?period=2026-11-21&meter=main")["sums"][0]

    assert (envelope["label"], envelope["warnings"]) == ("partial", ["coverage_low"])


def test_a_period_that_runs_is_provisional(single: Client) -> None:
    envelope = single.get(f"{ENERGY}?period=2026-11&meter=servers")["sums"][0]

    assert (envelope["label"], envelope["coverage"]) == ("provisional", 1.0)
    assert envelope["value"] == 1_500.0 * (24 * 24 + 11)


def test_a_period_without_rows_has_no_figure(single: Client) -> None:
    body = single.get(f"{ENERGY}?period=2025-11&resolution=1d")

    assert (body["series"], body["sums"]) == ([], [])


def test_whole_months_come_from_days_and_give_what_all_intervals_give(single: Client) -> None:
    days = single.get(f"{ENERGY}?period=2026-11&meter=main&resolution=1d")["sums"][0]
    quarters = single.get(f"{ENERGY}?period=2026-11&meter=main&resolution=15m")

    # 24 days of 88 kWh, 36 kWh missing on the 21st, 34 kWh of today by 11:00.
    assert days["value"] == 24 * 88_000.0 - 36_000.0 + 34_000.0
    assert days["value"] == pytest.approx(sum(v for v in quarters["series"][0]["value"] if v is not None))
    known = sum(state in ("metered", "bridged") for state in quarters["series"][0]["state"])
    assert days["coverage"] == pytest.approx(known / len(quarters["series"][0]["state"]))


def test_another_zone_cuts_other_days(single: Client) -> None:
    row = single.get(f"{ENERGY}?from=2026-11-10&to=2026-11-12&tz=Europe/Oslo&resolution=1d&meter=main")["series"][0]

    # Oslo's day begins an hour after Sofia's: at night, so it has the same energy.
    assert row["start"] == ["2026-11-09T23:00:00Z", "2026-11-10T23:00:00Z"]
    assert row["value"] == [88_000.0, 88_000.0]


def test_rows_of_another_zone_are_whole_periods_only(single: Client) -> None:
    row = single.get(f"{ENERGY}?from=2026-11-10T12:00:00&to=2026-11-12&tz=Europe/Oslo&resolution=1d&meter=main")[
        "series"
    ][0]

    assert row["start"] == ["2026-11-10T23:00:00Z"]


def test_a_role_selects_its_meters(single: Client) -> None:
    body = single.get(f"{ENERGY}?last=2d&role=it")

    assert [one["id"] for one in body["series"]] == [one["meter"] for one in body["sums"]] == ["servers"]


def test_decisions_behind_a_figure_are_named(scene: Scene) -> None:
    scene.registry.add_decision(
        DecisionRecord(
            kind="set_energy",
            meter=MeterKey("acme", "hq", "main"),
            from_ms=at(12, 10),
            to_ms=at(12, 11),
            parameters={"energy_wh": 6_000.0},
            reason="read from the display",
            author="eva",
            created_ms=scene.now_ms,
        )
    )
    tags = {"company": "acme", "site": "hq", "meter": "main", "role": "main"}
    rows = scene.store.read("acme", "energy_15m", tags, at(12, 10), at(12, 11))[0].frame
    decided = type(rows)(rows.at_ms, rows.numbers, {"decision": ["1"] * len(rows)})
    scene.store.replace("acme", "energy_15m", tags, at(12, 10), at(12, 11), decided)

    month = Client(scene).get(f"{ENERGY}?period=2026-11&meter=main")["sums"][0]
    other = Client(scene).get(f"{ENERGY}?from=2026-11-13&to=2026-11-20&tz=Europe/Sofia&meter=main")["sums"][0]

    assert (month["inputs"]["decisions"], other["inputs"]["decisions"]) == ([1], [])


# Caching --------------------------------------------------------------------------------------------------------------


def test_a_period_that_is_over_has_a_strong_tag_and_the_same_bytes_again(scene: Scene) -> None:
    client, path = Client(scene), f"{ENERGY}?period=2026-10&resolution=1d"
    first = client.ask(path)
    scene.now_ms += QUARTER_MS
    second = client.ask(path)

    assert not first.headers["etag"].startswith("W/")
    assert first.content == second.content
    assert first.headers["cache-control"] == "private, max-age=3600"
    assert first.json()["meta"]["generated_at"] is None
    again = client.ask(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_tag_changes_with_a_number(scene: Scene) -> None:
    client, path = Client(scene), f"{ENERGY}?period=2026-10&resolution=1mo"
    before = client.ask(path).headers["etag"]
    tags = {"company": "acme", "site": "hq", "meter": "main", "role": "main"}
    row = scene.store.read("acme", "energy_1mo", tags, at(1, month=10), at(2, month=10))[0].frame
    numbers = {**row.numbers, "energy_wh": row.numbers["energy_wh"] + 1}
    scene.store.replace("acme", "energy_1mo", tags, at(1, month=10), at(2, month=10), type(row)(row.at_ms, numbers))

    assert client.ask(path, headers={"If-None-Match": before}).status_code == 200


def test_a_period_that_runs_has_a_weak_tag_and_is_asked_for_again(single: Client) -> None:
    answer = single.ask(f"{ENERGY}?last=2d")

    assert answer.headers["etag"].startswith('W/"')
    assert answer.headers["cache-control"] == "private, no-cache"
    assert (
        single.ask(f"{ENERGY}?last=2d", headers={"If-None-Match": f'"x", {answer.headers["etag"]}'}).status_code == 304
    )


def test_late_data_may_still_change_what_is_a_few_days_old(single: Client) -> None:
    assert single.ask(f"{ENERGY}?period=2026-11-20").headers["cache-control"] == "private, max-age=60"


def test_a_kept_answer_is_never_given_to_another_caller(single: Client) -> None:
    vary = single.ask(f"{ENERGY}?period=2026-10").headers["vary"]

    assert {"Authorization", "Cookie", "Accept", "Accept-Language"} <= set(vary.split(", "))


# Files ----------------------------------------------------------------------------------------------------------------


def table(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def test_a_csv_file_has_the_rows_of_the_answer(single: Client) -> None:
    answer = single.ask(f"{ENERGY}?period=2026-11-21&resolution=1h&meter=main&format=csv")
    rows = table(answer.text)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="acme-hq-energy-1h.csv"'
    assert (len(rows), answer.text.count("\r\n")) == (24, 25)
    assert rows[0]["start"] == "2026-11-20T22:00:00.000Z"
    assert rows[0]["start_local"] == "2026-11-21 00:00"
    assert (rows[0]["value"], rows[9]["value"], rows[9]["coverage"]) == ("2000", "", "0")


def test_a_bulgarian_spreadsheet_gets_its_own_separators(single: Client) -> None:
    answer = single.ask(f"{ENERGY}?period=2026-11-10&resolution=1d&meter=main&format=csv&locale=bg")

    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert table(answer.content.decode("utf-8-sig"), ";")[0]["power_mean_w"] == "3666,7"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("application/json;q=0.1, text/csv;q=0.9", "text/csv; charset=utf-8"),
        ("text/csv;q=0, */*", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("*/*", "application/json"),
        ("text/csv;q=x", "application/json"),
    ],
)
def test_the_form_is_what_the_client_accepts(single: Client, accept: str, kind: str) -> None:
    answer = single.ask(f"{ENERGY}?period=2026-11-10", headers={"Accept": accept})

    assert answer.headers["content-type"] == kind


def test_a_csv_file_has_a_tag_too(single: Client) -> None:
    path = f"{ENERGY}?period=2026-10&format=csv"
    answer = single.ask(path)

    assert answer.headers["etag"] != single.ask(f"{ENERGY}?period=2026-10").headers["etag"]
    assert single.ask(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_what_has_no_table_is_never_an_empty_file(single: Client) -> None:
    answer = single.ask("/v1/companies", headers={"Accept": "text/csv"})

    assert answer.json()["companies"]


def test_days_of_one_month_end_where_the_next_begin(single: Client) -> None:
    row = single.get(f"{ENERGY}?period=2026-10&resolution=1d&meter=office")["series"][0]

    assert row["end"][:-1] == row["start"][1:]
    assert len(row["start"]) == 31


def test_months_end_where_the_next_begin(single: Client) -> None:
    row = single.get(f"{ENERGY}?last=2mo&resolution=1mo&meter=main")["series"][0]

    assert row["start"] == ["2026-09-30T21:00:00Z", "2026-10-31T22:00:00Z"]
    assert row["end"] == ["2026-10-31T22:00:00Z", "2026-11-30T22:00:00Z"]
    assert row["value"][0] == 31 * 88_000.0 + 2_000.0  # one more hour of the night


def test_the_resolution_fits_the_period(single: Client) -> None:
    def chosen(query: str) -> str:
        return str(single.get(f"{ENERGY}?{query}")["meta"]["resolution"])

    assert [chosen(q) for q in ("last=7d", "last=30d", "last=1y", "last=30y")] == ["15m", "1h", "1d", "1mo"]
    assert DAY_MS * 7 // QUARTER_MS <= 1_500
