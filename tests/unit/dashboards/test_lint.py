"""Every rule of the boards catches what breaks it: a good board is broken in one place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from merilo_dashboards.catalogue import boards
from merilo_dashboards.files import rendered_files
from merilo_dashboards.lint import board_faults, faults
from merilo_dashboards.lint_queries import levels, query_faults, variable_faults

EN, BG = "en/merilo-company-en.json", "bg/merilo-company-bg.json"
FILES = rendered_files(boards())
GOOD: Any = json.loads(FILES[EN])
Board = Any
VARIABLES = ("datasource", "company", "site", "db", "tz")
SCOPE = '"company" =~ /^$company$/ AND "site" =~ /^$site$/'
TAGS = '"company", "site", "meter", "role"'


def panel(board: Board, title: str) -> Any:
    return next(one for one in board["panels"] if one["title"] == title)


def variable(board: Board, name: str) -> Any:
    return next(one for one in board["templating"]["list"] if one["name"] == name)


def put(thing: Any, value: Any, *path: str | int) -> None:
    for name in path[:-1]:
        thing = thing[name]
    thing[path[-1]] = value


def power(board: Board) -> Any:
    return panel(board, "Power by quarter of an hour")


BREAKS: list[tuple[str, Callable[[Board], None]]] = [
    ("uid:", lambda b: put(b, "merilo-" + "x" * 33 + "-en", "uid")),
    ("schema:", lambda b: put(b, 27, "schemaVersion")),
    ("editable:", lambda b: put(b, True, "editable")),
    ("words:", lambda b: put(b, "", "description")),
    ("range:", lambda b: put(b, "2026-01-01", "time", "from")),
    ("zone:", lambda b: put(b, "browser", "timezone")),
    ("tag:", lambda b: put(b, ["merilo"], "tags")),
    ("variables:", lambda b: b["templating"]["list"].reverse()),
    ("datasource:", lambda b: put(variable(b, "datasource"), "", "regex")),
    ("refresh:", lambda b: put(variable(b, "company"), {"text": "acme", "value": "acme"}, "current")),
    ("refresh:", lambda b: put(variable(b, "company"), 1, "refresh")),
    ("all:", lambda b: put(variable(b, "site"), None, "allValue")),
    ("a constant must be hidden", lambda b: put(variable(b, "tz"), 0, "hide")),
    ("target: without", lambda b: b["annotations"]["list"][0].pop("target")),
    ("end:", lambda b: put(b, "end_ms", "annotations", "list", 0, "target", "timeEndColumn")),
    ("target: expected the same", lambda b: put(b, "SELECT 1", "annotations", "list", 0, "query")),
    ("id:", lambda b: put(panel(b, "Today"), 1, "id")),
    ("overlap", lambda b: put(panel(b, "Today"), 3, "gridPos", "x")),
    ("outside the 24", lambda b: put(panel(b, "Devices"), 22, "gridPos", "x")),
    ("colour:", lambda b: put(power(b), "red", "fieldConfig", "defaults", "thresholds", "steps", 0, "color")),
    ("kind:", lambda b: put(power(b), "volkovlabs-echarts-panel", "type")),
    ("version:", lambda b: power(b).pop("pluginVersion")),
    ("words: expected a description", lambda b: put(power(b), "", "description")),
    ("title: expected 1 to", lambda b: put(power(b), "x" * 46, "title")),
    ("title: a panel 4 wide", lambda b: put(panel(b, "Today"), "Energy so far today", "title")),
    ("at least 4 columns", lambda b: put(panel(b, "Today"), 3, "gridPos", "w")),
    ("span:", lambda b: put(panel(b, "Today"), False, "hideTimeOverride")),
    ("unit:", lambda b: put(power(b), "kwatth", "fieldConfig", "defaults", "unit")),
    ("unit:", lambda b: put(power(b), None, "fieldConfig", "defaults", "unit")),
    ("decimals:", lambda b: put(power(b), None, "fieldConfig", "defaults", "decimals")),
    ("no-value:", lambda b: put(power(b), None, "fieldConfig", "defaults", "noValue")),
    ("colour: Grafana's", lambda b: put(power(b), "palette-classic", "fieldConfig", "defaults", "color", "mode")),
    ("thresholds:", lambda b: put(power(b), [], "fieldConfig", "defaults", "thresholds", "steps")),
    ("gaps:", lambda b: put(power(b), True, "fieldConfig", "defaults", "custom", "spanNulls")),
    ("bars:", lambda b: power(b)["fieldConfig"]["defaults"].pop("min")),
    ("gauge:", lambda b: panel(b, "Complete")["fieldConfig"]["defaults"].pop("max")),
    ("states: expected", lambda b: put(panel(b, "Gateways and devices"), {}, "fieldConfig", "defaults", "color")),
    ("states: the legend", lambda b: put(panel(b, "Gateways and devices"), True, "options", "legend", "showLegend")),
    ("datasource:", lambda b: put(power(b), {"type": "influxdb", "uid": "x"}, "datasource")),
    ("datasource:", lambda b: put(power(b), "Merilo", "targets", 0, "datasource")),
    ("target: expected at least", lambda b: put(power(b), [], "targets")),
    ("not unique", lambda b: put(power(b), "B", "targets", 0, "refId")),
    ("resultFormat", lambda b: power(b)["targets"][0].pop("resultFormat")),
    ("alias:", lambda b: put(power(b), "$tag_device", "targets", 0, "alias")),
    ("table:", lambda b: put(panel(b, "Events"), "time_series", "targets", 0, "resultFormat")),
    ("columns:", lambda b: panel(b, "Events").pop("transformations")),
    (
        "columns: rename",
        lambda b: put(panel(b, "Events"), {"kind": "Kind"}, "transformations", 0, "options", "renameByName"),
    ),
]


@pytest.mark.parametrize(("rule", "broken"), BREAKS, ids=[f"{i}-{rule}" for i, (rule, _) in enumerate(BREAKS)])
def test_a_board_broken_in_one_place_is_caught(rule: str, broken: Callable[[Board], None]) -> None:
    board = copy.deepcopy(GOOD)
    assert list(board_faults(board)) == []

    broken(board)

    assert any(rule in line for line in board_faults(board)), list(board_faults(board))


def test_more_panels_than_a_person_reads_are_refused() -> None:
    board = copy.deepcopy(GOOD)
    for number in range(200, 210):
        extra = copy.deepcopy(panel(GOOD, "Today"))
        extra["id"], extra["gridPos"]["y"] = number, number
        board["panels"].append(extra)

    assert "panels: more than 20" in list(board_faults(board))


def select(picked: str, source: str = '"energy_1d"', where: str = f"{SCOPE} AND $timeFilter", tail: str = "") -> str:
    return f"SELECT {picked} FROM {source} WHERE {where}" + (f" {tail}" if tail else "")


QUERIES = [
    ("one-statement", select('sum("energy_wh")') + "; DROP MEASUREMENT x"),
    ("variable:", select('sum("energy_wh")', where=f"{SCOPE} AND \"meter\" = '$meter' AND $timeFilter")),
    ("macro:", select('sum("energy_wh")', where=f"{SCOPE} AND $__timeFilter")),
    ("fill(0)", select('sum("energy_wh")', tail=f"GROUP BY time(1h), {TAGS} fill( 0 )")),
    ("spread(", select('SPREAD("energy_wh")')),
    ("integral(", select('integral("power_mean_w")')),
    ("derivative(", select('non_negative_derivative("energy_wh")')),
    ("unbounded", select('sum("energy_wh")', where=SCOPE)),
    (
        "unbounded",
        f'SELECT sum("e") FROM ({select("sum(energy_wh) AS " + chr(34) + "e" + chr(34))}) GROUP BY time(15m)',
    ),
    ("arithmetic", select('sum("energy_wh") / sum("power_mean_w")')),
    ("arithmetic", select('sum("energy_wh") * 0.25')),
    ("arithmetic", select("*")),
    ("measurement:", select('sum("energy_wh")', '"energy_1y"')),
    ("source:", select('sum("energy_wh")', "energy_1d")),
    ("policy:", select('last("up")', '"gateway_health"', tail='GROUP BY "company", "site", "gateway"')),
    ("policy:", select('last("up")', '"raw"."gateway_health"', tail='GROUP BY "company", "site", "gateway"')),
    ("policy:", select('sum("energy_wh")', '"$db"."autogen"."energy_1d"')),
    ("field:", select('sum("energy_kwh")')),
    ("field:", select('sum("energy_cost")')),
    ("field:", select('sum("energy_wh")', where=f"{SCOPE} AND \"device\" = 'x' AND $timeFilter")),
    ("scope:", select('sum("energy_wh")', where='"company" =~ /^$company$/ AND $timeFilter')),
    ("scope:", select('sum("energy_wh")', where='"site" =~ /^$site$/ AND $timeFilter')),
    ("grouping:", select('sum("energy_wh")', tail='GROUP BY "meter"')),
    ("grouping:", select('mean("power_mean_w")')),
    ("grouping:", select('last("energy_wh")')),
    ("grouping:", select('last("coverage")')),
    ("sum:", select('sum("power_mean_w")')),
    ("local-days", select('sum("energy_wh")', tail=f"GROUP BY time(1d), {TAGS}")),
    ("local-days", select('sum("energy_wh")', tail="GROUP BY time(1d) tz('Europe/Sofia')")),
    (
        "local-days",
        f'SELECT sum("e") FROM ({select("sum(energy_wh) AS " + chr(34) + "e" + chr(34), tail="GROUP BY " + TAGS)}) '
        "WHERE $timeFilter GROUP BY time(1d) tz('$tz')",
    ),
]


@pytest.mark.parametrize(("rule", "query"), QUERIES, ids=[f"{i}-{rule}" for i, (rule, _) in enumerate(QUERIES)])
def test_a_query_that_breaks_a_rule_is_caught(rule: str, query: str) -> None:
    assert any(rule in line for line in query_faults(query, VARIABLES)), list(query_faults(query, VARIABLES))


@pytest.mark.parametrize(
    "query",
    [
        select('sum("energy_wh")'),
        select('mean("coverage")', '"quality_1d"'),
        select('mean("power_mean_w")', tail=f"GROUP BY time(1h), {TAGS} fill(null)"),
        select('sum("energy_wh")', tail=f"GROUP BY time(1d), {TAGS} fill(none) tz('$tz')"),
        select(
            'last("power_mean_w")',
            '"$db"."raw"."power_1m"',
            f"{SCOPE} AND \"role\" = 'main' AND time > now() - 5m",
            'GROUP BY "company", "site", "meter"',
        ),
    ],
)
def test_good_queries_pass(query: str) -> None:
    assert list(query_faults(query, VARIABLES)) == []


def test_levels_of_a_nested_select_are_told_apart() -> None:
    found = levels('SELECT sum("a") FROM (SELECT last("b") AS "a" FROM "c" WHERE x) WHERE y GROUP BY time(15m)')

    assert [(one.picked, one.condition, one.groups, one.inner) for one in found] == [
        ('sum("a")', "y", "time(15m)", False),
        ('last("b") AS "a"', "x", "", True),
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('SHOW TAG VALUES FROM "power_1m" WITH KEY = "site"', "default policy"),
        ('SHOW TAG VALUES FROM "nothing" WITH KEY = "site"', "default policy"),
        ('SHOW TAG VALUES FROM "energy_1d" WITH KEY = "device"', "no tag device"),
        ("SHOW SERIES", "expected SHOW TAG VALUES"),
    ],
)
def test_a_variable_that_would_stay_empty_is_caught(query: str, said: str) -> None:
    assert said in next(variable_faults(query))


@pytest.mark.parametrize(
    ("said", "language", "old", "new"),
    [
        ("parity:", "bg", '"decimals": 1', '"decimals": 2'),
        ("parity:", "bg", '"Мощност"', '"Power"'),
        ("parity:", "en", '"Power now"', '"Мощност"'),
        ("parity:", "bg", '"maxDataPoints": 720', '"maxPoints": 720'),
        ("link:", "en", "(/d/merilo-company-en?from=now/d", "(/d/merilo-company-bg?from=now/d"),
        ("link:", "en", "(/d/merilo-company-en?from=now/d", "(d/merilo-company-en?from=now/d"),
        ("link:", "en", '"/d/${__dashboard.uid}?', '"/d/merilo-nothing-en?'),
        ("link:", "en", '"merilo-en"\n      ],\n      "asDropdown"', '"merilo"\n      ],\n      "asDropdown"'),
        ("uid:", "bg", '"uid": "merilo-company-bg"', '"uid": "merilo-company-en"'),
        ("json:", "en", "{", "["),
    ],
)
def test_what_is_wrong_between_boards_is_caught(said: str, language: str, old: str, new: str) -> None:
    name = EN if language == "en" else BG
    assert old in FILES[name]

    found = faults({**FILES, name: FILES[name].replace(old, new, 1)})

    assert any(said in line for line in found), found


def test_a_board_in_one_language_is_caught() -> None:
    assert faults({EN: FILES[EN]}) == [f"{EN}: parity: no {BG}"]
