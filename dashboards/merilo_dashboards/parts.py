"""Parts of a board: targets, thresholds, mappings, overrides, links, and the panel that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from merilo_dashboards.palette import NEUTRAL
from merilo_dashboards.texts import Named, Text, Value

Kind = Literal["stat", "gauge", "timeseries", "barchart", "table", "state-timeline", "text"]
"""Core panels only: no board needs a plugin to be downloaded."""
Format = Literal["time_series", "table"]

PLUGIN_VERSION = "12.2.0"
"""Of the panels' options; without it Grafana runs its migrations of old boards over them."""
DATASOURCE: Mapping[str, Value] = {"type": "influxdb", "uid": "${datasource}"}

_REFS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One InfluxQL statement and how its answer is read."""

    query: str | Named
    alias: str | Text = ""
    """Name of the series; ``$tag_site`` is the value of that tag."""
    format: Format = "time_series"

    def value(self, ref: str) -> Value:
        """The target as Grafana reads it."""
        found: dict[str, Value] = {
            "refId": ref,
            "datasource": DATASOURCE,
            "rawQuery": True,
            "query": self.query,
            "resultFormat": self.format,
        }
        if self.alias:
            found["alias"] = self.alias
        return found


@dataclass(frozen=True, slots=True)
class Threshold:
    """From this value on, this colour; the first step has no value."""

    value: float | None
    colour: str


PLAIN = (Threshold(None, NEUTRAL),)
"""One colour whatever the value: an energy is neither good nor bad by itself."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a value is called, and its colour."""

    value: str
    text: Text
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """Properties of the fields that have this name."""

    name: str | Text
    properties: Mapping[str, Value]
    by: Literal["byName", "byRegexp", "byFrameRefID"] = "byName"

    def value(self) -> Value:
        """The override as Grafana reads it."""
        properties: list[Value] = [{"id": name, "value": one} for name, one in self.properties.items()]
        return {"matcher": {"id": self.by, "options": self.name}, "properties": properties}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel lies on the grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The panel's own stretch of time, which holds while the board's is relative."""

    start: str = ""
    """For example ``now/d``."""
    shift: str = ""
    """For example ``1M``: the same, earlier."""
    shown: bool = False
    """Whether the panel says so; a badge hides the title of a narrow panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel, whatever its kind; the functions in `panels` fill in what a kind needs."""

    kind: Kind
    title: Text
    description: Text
    place: Place
    targets: tuple[Target, ...]
    unit: str = "none"
    decimals: int = 0
    no_value: Text | None = None
    thresholds: tuple[Threshold, ...] = PLAIN
    meanings: tuple[Meaning, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    colour: Mapping[str, Value] = field(default_factory=lambda: {"mode": "thresholds"})
    custom: Mapping[str, Value] = field(default_factory=dict)
    options: Mapping[str, Value] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    transformations: tuple[Mapping[str, Value], ...] = ()
    span: Span | None = None
    interval: str = ""
    """Shortest ``$__interval``."""
    points_max: int | None = None

    def value(self, number: int) -> Value:
        """The panel as Grafana reads it."""
        found: dict[str, Value] = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "pluginVersion": PLUGIN_VERSION,
            "gridPos": {"x": self.place.x, "y": self.place.y, "w": self.place.w, "h": self.place.h},
            "fieldConfig": {"defaults": self._defaults(), "overrides": [one.value() for one in self.overrides]},
            "options": self.options,
            "targets": [target.value(_REFS[index]) for index, target in enumerate(self.targets)],
        }
        if self.transformations:
            found["transformations"] = list(self.transformations)
        if self.span is not None:
            if self.span.start:
                found["timeFrom"] = self.span.start
            if self.span.shift:
                found["timeShift"] = self.span.shift
            found["hideTimeOverride"] = not self.span.shown
        if self.interval:
            found["interval"] = self.interval
        if self.points_max is not None:
            found["maxDataPoints"] = self.points_max
        return found

    def _defaults(self) -> Value:
        defaults: dict[str, Value] = {
            "unit": self.unit,
            "decimals": self.decimals,
            "noValue": self.no_value,
            "color": self.colour,
            "thresholds": steps(self.thresholds),
            "mappings": meanings(self.meanings),
            "custom": self.custom,
        }
        for name, bound in zip(("min", "max"), self.bounds, strict=True):
            if bound is not None:
                defaults[name] = bound
        return defaults


def meanings(given: tuple[Meaning, ...]) -> list[Value]:
    """Value mappings as Grafana reads them; none where none are given."""
    if not given:
        return []
    options: dict[str, Value] = {}
    for index, one in enumerate(given):
        found: dict[str, Value] = {"text": one.text, "index": index}
        if one.colour is not None:
            found["color"] = one.colour
        options[one.value] = found
    return [{"type": "value", "options": options}]


def steps(given: tuple[Threshold, ...]) -> Value:
    """Thresholds as Grafana reads them."""
    return {"mode": "absolute", "steps": [{"color": one.colour, "value": one.value} for one in given]}


def coloured(name: str | Text, colour: str) -> Override:
    """The series of this name in this colour."""
    return Override(name, {"color": {"mode": "fixed", "fixedColor": colour}})


def shaded(name: str | Text, shown: Text, colour: str) -> Override:
    """The series of this name as a shade over the whole height wherever it is 1 or more, outside of the stack."""
    return Override(
        name,
        {
            "displayName": shown,
            "color": {"mode": "fixed", "fixedColor": colour},
            "unit": "none",
            "decimals": 0,
            "min": 0,
            "max": 1,
            "custom.stacking": {"mode": "none", "group": "B"},
            "custom.fillOpacity": 25,
            "custom.axisPlacement": "hidden",
        },
    )


def columns(order: tuple[str, ...], hidden: tuple[str, ...]) -> Mapping[str, Value]:
    """A table's columns in this order: the data source gives tags in any order."""
    return {
        "id": "organize",
        "options": {
            "indexByName": {name: index for index, name in enumerate((*hidden, *order))},
            "excludeByName": dict.fromkeys(hidden, True),
            "includeByName": {},
            "renameByName": {},
        },
    }
