"""Rules that every panel of a board keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from merilo_dashboards.lint_queries import alias_faults, query_faults
from merilo_dashboards.parts import DATASOURCE, PLUGIN_VERSION, Format, Kind

Node = Mapping[str, Any]

TITLE_MAX = 45
TILE_TITLE_MAX = 12
"""Characters that a tile 4 columns wide shows on a laptop with the menu open."""
TILE_TITLE_MAX_CYRILLIC = 10
"""Of Cyrillic ones, which are wider."""
TILE_WIDTH = 4
UNITS = frozenset({"none", "watt", "watth", "percentunit", "s", "time:YYYY-MM"})
"""What the boards show; a new one goes here first."""


def panel_faults(panel: Node, variables: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with one panel."""
    if panel["type"] == "row":
        if not panel.get("title"):
            yield "words: a heading needs a title"
        return
    if panel["type"] not in get_args(Kind):
        yield f"kind: {panel['type']} is not one of the core panels in use"
    if panel.get("pluginVersion") != PLUGIN_VERSION:
        yield f"version: expected pluginVersion {PLUGIN_VERSION}, else Grafana migrates the panel"
    if not panel.get("description"):
        yield "words: expected a description"
    if panel["type"] == "text":
        return
    yield from _word_faults(panel)
    yield from _field_faults(panel)
    yield from _target_faults(panel, variables)
    if panel["type"] == "table":
        yield from _table_faults(panel)


def _word_faults(panel: Node) -> Iterator[str]:
    title = str(panel.get("title") or "")
    if not title or len(title) > TITLE_MAX:
        yield f"title: expected 1 to {TITLE_MAX} characters, found {len(title)}"
    shown = TILE_TITLE_MAX if title.isascii() else TILE_TITLE_MAX_CYRILLIC
    if panel["gridPos"]["w"] <= TILE_WIDTH and len(title) > shown:
        yield f"title: a panel {TILE_WIDTH} wide shows {shown} characters, found {len(title)}"
    if panel["gridPos"]["w"] < TILE_WIDTH:
        yield f"place: expected at least {TILE_WIDTH} columns"
    span = (panel.get("timeFrom"), panel.get("timeShift"))
    if any(span) and panel["gridPos"]["w"] <= TILE_WIDTH and panel.get("hideTimeOverride") is not True:
        yield "span: the badge of a panel's own time hides the title of a narrow panel"


def _field_faults(panel: Node) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    for unit in _units(panel["fieldConfig"]):
        if unit not in UNITS:
            yield f"unit: {unit} is not in the list"
    if defaults.get("unit") is None:
        yield "unit: expected one"
    if not isinstance(defaults.get("decimals"), int):
        yield "decimals: expected a whole number"
    if not defaults.get("noValue"):
        yield "no-value: expected what is shown where nothing is known"
    if "palette" in str(defaults.get("color", {}).get("mode")):
        yield "colour: Grafana's own palettes are not for every eye, name the colours"
    steps = defaults.get("thresholds", {}).get("steps", [])
    if not steps or steps[0].get("value") is not None:
        yield "thresholds: expected explicit steps; the default is red above 80"
    custom = defaults.get("custom", {})
    if panel["type"] in ("timeseries", "state-timeline") and custom.get("spanNulls") is not False:
        yield "gaps: spanNulls must be false, a gap is a gap"
    if panel["type"] in ("timeseries", "barchart") and defaults.get("min") != 0:
        yield "bars: expected min 0, else the smallest bar vanishes"
    if panel["type"] == "gauge" and (defaults.get("min") is None or defaults.get("max") is None):
        yield "gauge: expected min and max"
    if panel["type"] == "state-timeline":
        if defaults.get("color", {}).get("mode") != "thresholds":
            yield "states: expected colours by threshold, else each series has its own"
        if panel["options"]["legend"]["showLegend"]:
            yield "states: the legend lists every value, hide it"


def _units(config: Node) -> Iterator[str]:
    if config["defaults"].get("unit") is not None:
        yield str(config["defaults"]["unit"])
    for override in config["overrides"]:
        for one in override["properties"]:
            if one["id"] == "unit":
                yield str(one["value"])


def _target_faults(panel: Node, variables: Mapping[str, Any]) -> Iterator[str]:
    if panel.get("datasource") != DATASOURCE:
        yield "datasource: expected ${datasource}"
    if not panel["targets"]:
        yield "target: expected at least one"
    refs = [target.get("refId") for target in panel["targets"]]
    if len(set(refs)) != len(refs):
        yield f"target: refIds {refs} are not unique"
    for target in panel["targets"]:
        if target.get("datasource") != DATASOURCE:
            yield "datasource: expected ${datasource} in every target"
        if target.get("rawQuery") is not True or target.get("resultFormat") not in get_args(Format):
            yield "target: expected rawQuery and a resultFormat"
        query = str(target["query"])
        yield from query_faults(query, variables)
        yield from alias_faults(str(target.get("alias", "")), query)


def _table_faults(panel: Node) -> Iterator[str]:
    if any(target.get("resultFormat") != "table" for target in panel["targets"]):
        yield "table: expected resultFormat table"
    steps = [one for one in panel.get("transformations", []) if one["id"] == "organize"]
    if not steps or not steps[0]["options"].get("indexByName"):
        yield "columns: tags come in any order, expected an organize step with indexByName"
    elif steps[0]["options"].get("renameByName"):
        yield "columns: rename by the override displayName, which matches in every release"
