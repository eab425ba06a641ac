"""A board: variables, annotations, links and panels, written in Grafana's classic form.

The classic form is read by every Grafana from 10 on; the newer one of Grafana 13 is not read by older servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from merilo_dashboards.parts import DATASOURCE, PLUGIN_VERSION, Panel, Place
from merilo_dashboards.texts import Json, Language, Named, Text, Value, rendered

SCHEMA_VERSION = 39
"""Panel references as objects; newer servers migrate upwards, older ones have no need to."""
UID_MAX = 40
"""Grafana refuses longer ones."""
DATASOURCE_NAME = "Merilo"
ZONE = "Europe/Sofia"
"""Where days begin, unless the builder is told another zone."""


def language_tag(language: Language) -> str:
    """The tag that ties the boards of one language together."""
    return f"merilo-{language}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable that the data fill, or, without a query, a constant."""

    name: str
    label: Text
    query: str = ""
    pattern: str = ""
    """Regular expression that picks from the query's answer."""
    many: bool = False
    constant: str = ""
    hidden: bool = False

    def value(self) -> Value:
        """The variable as Grafana reads it."""
        if not self.query:
            return {
                "type": "constant",
                "name": self.name,
                "label": self.label,
                "hide": 2,
                "query": self.constant,
                "current": {"text": self.constant, "value": self.constant, "selected": False},
                "options": [],
                "skipUrlSync": True,
            }
        found: dict[str, Value] = {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "hide": 2 if self.hidden else 0,
            "datasource": DATASOURCE,
            "query": self.query,
            "definition": self.query,
            "regex": self.pattern,
            "refresh": 2,
            "sort": 1,
            "multi": self.many,
            "includeAll": self.many,
            "current": {},
            "options": [],
        }
        if self.many:
            found["allValue"] = ".*"
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Rows of ``events`` drawn over every chart, as ranges where they have an end.

    Grafana reads a row only if none of the selected fields is empty, so only fields that every such row has are
    selected. The title and the end are matched by measurement and column, the text by the column alone.
    """

    name: Text
    query: Named
    title: Named
    """``events.`` and the column."""
    text: str
    """Column."""
    colour: str
    enabled: bool = True

    def value(self) -> Value:
        """The annotation as Grafana reads it."""
        columns: Mapping[str, Value] = {
            "query": self.query,
            "titleColumn": self.title,
            "textColumn": self.text,
            "tagsColumn": "tags",
            "timeEndColumn": "events.end_ms",
        }
        target: Mapping[str, Value] = {
            "refId": "Anno",
            "name": self.name,
            "rawQuery": True,
            "queryType": "tags",
            "fromAnnotations": True,
            "resultFormat": "time_series",
            **columns,
        }
        return {
            "name": self.name,
            "enable": self.enabled,
            "hide": False,
            "iconColor": self.colour,
            "datasource": DATASOURCE,
            **columns,
            "target": target,
        }


@dataclass(frozen=True, slots=True)
class Period:
    """A link that sets the board's stretch of time and keeps what is chosen."""

    title: Text
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading over the panels below it."""

    title: Text
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A thin text over the panels: links to periods, and how to read the board.

    The links stand here and not among Grafana's own, which would take two lines more of a laptop's screen.
    """

    about: Text
    content: Text
    place: Place
    periods: tuple[Period, ...] = ()

    def text(self, uid: str, language: Language) -> str:
        """The Markdown text in this language."""
        chosen = "${company:queryparam}&${site:queryparam}"
        links = (f"[{one.title.of(language)}](/d/{uid}?from={one.start}&to={one.end}&{chosen})" for one in self.periods)
        return "  \n".join((" · ".join(links), self.content.of(language)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One board; its files are written per language."""

    name: str
    """Unique among boards; with the language it is the uid."""
    title: Text
    description: Text
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]
    header: Header
    sections: tuple[Section, ...]
    panels: tuple[tuple[int, Panel], ...]
    """With their numbers, which links name: never given to another panel."""
    start: str
    end: str
    refresh: str

    def uid(self, language: Language) -> str:
        """The board's identity on the server."""
        return f"{self.name}-{language}"

    def json(self, language: Language, zone: str = ZONE) -> Json:
        """The board file's content.

        Args:
            zone: IANA name of the zone that cuts the company's days.
        """
        return rendered(self._value(language, zone), language)

    def _value(self, language: Language, zone: str) -> Value:
        return {
            "id": None,
            "uid": self.uid(language),
            "title": self.title,
            "description": self.description,
            "tags": [language_tag(language)],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "timezone": zone,
            "weekStart": "monday",
            "fiscalYearStartMonth": 0,
            "time": {"from": self.start, "to": self.end},
            "timepicker": {},
            "refresh": self.refresh,
            "liveNow": False,
            "links": self._links(language),
            "templating": {"list": self._variables(zone)},
            "annotations": {"list": [one.value() for one in self.annotations]},
            "panels": self._panels(language),
        }

    def _variables(self, zone: str) -> list[Value]:
        source: Mapping[str, Value] = {
            "type": "datasource",
            "name": "datasource",
            "label": Text("Data source", "Източник"),
            "hide": 2,
            "query": "influxdb",
            "regex": f"/^{DATASOURCE_NAME}$/",
            "refresh": 1,
            "multi": False,
            "includeAll": False,
            "current": {},
            "options": [],
        }
        zone_constant = Variable(name="tz", label=Text("Time zone", "Часова зона"), constant=zone)
        return [source, *(one.value() for one in self.variables), zone_constant.value()]

    def _links(self, language: Language) -> list[Value]:
        boards: Mapping[str, Value] = {
            "type": "dashboards",
            "title": Text("Energy boards", "Енергийни табла"),
            "icon": "external link",
            "tooltip": "",
            "tags": [language_tag(language)],
            "asDropdown": True,
            "targetBlank": False,
            "includeVars": True,
            "keepTime": True,
            "url": "",
        }
        return [boards]

    def _panels(self, language: Language) -> list[Value]:
        found: list[tuple[int, int, Value]] = [(self.header.place.y, self.header.place.x, self._header(language))]
        for index, section in enumerate(self.sections):
            row: Mapping[str, Value] = {
                "id": 100 + index,
                "type": "row",
                "title": section.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": section.y, "w": 24, "h": 1},
                "panels": [],
            }
            found.append((section.y, 0, row))
        found += [(panel.place.y, panel.place.x, panel.value(number)) for number, panel in self.panels]
        # Grafana and a phone's stack show panels in the order of the file.
        return [value for _, _, value in sorted(found, key=lambda one: one[:2])]

    def _header(self, language: Language) -> Value:
        place = self.header.place
        return {
            "id": 99,
            "type": "text",
            "title": "",
            "description": self.header.about,
            "transparent": True,
            "pluginVersion": PLUGIN_VERSION,
            "gridPos": {"x": place.x, "y": place.y, "w": place.w, "h": place.h},
            "fieldConfig": {"defaults": {}, "overrides": []},
            "options": {
                "mode": "markdown",
                "content": self.header.text(self.uid(language), language),
                "code": {"language": "plaintext", "showLineNumbers": False, "showMiniMap": False},
            },
            "targets": [],
        }
