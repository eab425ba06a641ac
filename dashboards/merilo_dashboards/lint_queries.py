"""Rules that every query of a board keeps, checked on its text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from merilo.schema import MEASUREMENTS, Measurement

MACROS = frozenset({"timeFilter", "__interval"})
"""What Grafana's server fills in; other forms of them are refused there."""

_QUOTED = re.compile(r'"([^"]*)"')
_SOURCE = re.compile(r'\bFROM\s+((?:"[^"]+"\.)*)"([^"]+)"')
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_FORBIDDEN = {
    "fill(0)": "a gap would be booked as zero",
    "spread(": "the largest minus the smallest value meets restarts and exchanged meters",
    "integral(": "energy comes from stored rows, never from power",
    "difference(": "registers are differenced by the books",
    "derivative(": "registers are differenced by the books",
}
_UNITS = ("_w", "_wh", "_var", "_varh", "_va", "_v", "_a", "_hz", "_s", "_ms", "_c")


@dataclass(frozen=True, slots=True)
class Level:
    """One SELECT, its subquery cut out."""

    text: str
    inner: bool
    """Whether it reads a measurement and not another SELECT."""

    @property
    def picked(self) -> str:
        """What stands between SELECT and FROM."""
        return self.text.partition(" FROM ")[0].removeprefix("SELECT ")

    @property
    def condition(self) -> str:
        """What stands behind WHERE."""
        return re.split(r"\s(?:GROUP BY|ORDER BY|LIMIT)\s", self.text.partition(" WHERE ")[2])[0]

    @property
    def groups(self) -> str:
        """What stands behind GROUP BY."""
        found = self.text.partition(" GROUP BY ")[2]
        return re.split(r"\s(?:fill\(|tz\(|ORDER BY|LIMIT)", found)[0]


def levels(query: str) -> list[Level]:
    """The SELECTs of a statement, outermost first."""
    start = query.find("(SELECT ")
    if start < 0:
        return [Level(query, True)]
    depth = 0
    for end in range(start, len(query)):
        depth += {"(": 1, ")": -1}.get(query[end], 0)
        if depth == 0:
            return [Level(query[:start] + "()" + query[end + 1 :], False), *levels(query[start + 1 : end])]
    raise ValueError(f"no closing bracket in {query[:80]!r}")


def query_faults(query: str, variables: Collection[str]) -> Iterator[str]:
    """What is wrong with a panel's or an annotation's query.

    Args:
        variables: Names of the board's variables.
    """
    if ";" in query:
        yield "one-statement: Grafana answers only the first statement of a text"
    for name in _VARIABLE.findall(query):
        if name not in variables and name not in MACROS:
            yield f"variable: the board has no variable {name}"
    if "${__interval}" in query or "$__timeFilter" in query:
        yield "macro: write $__interval and $timeFilter, the server knows no other form"
    for text, why in _FORBIDDEN.items():
        if text in query.replace(" ", "").lower():
            yield f"forbidden: {text} ({why})"
    names = set(re.findall(r'AS "([^"]+)"', query))
    for level in levels(query):
        yield from _level_faults(level)
        if level.inner:
            yield from _source_faults(level, names)


def _level_faults(level: Level) -> Iterator[str]:
    if "$timeFilter" not in level.condition and not re.search(r"\btime\s*>=?\s*now\(\)", level.condition):
        yield f"unbounded: no $timeFilter and no explicit time in: {level.text[:80]}"
    if re.search(r"[*/]", _QUOTED.sub("", level.picked)):
        yield "arithmetic: no panel multiplies or divides, indicators are stored"
    if not level.inner and "tz(" in level.text:
        yield "local-days: local days cut over merged series are wrong on both clock-change days"


def _source_faults(level: Level, names: Collection[str]) -> Iterator[str]:
    found = _SOURCE.search(level.text)
    if found is None:
        yield 'source: expected FROM "measurement" or FROM "$db"."raw"."measurement"'
        return
    prefix, name = found.groups()
    measurement = MEASUREMENTS.get(name)
    if measurement is None:
        yield f"measurement: the schema has no {name}"
        return
    wanted = '"$db"."raw".' if measurement.policy == "raw" else ""
    if prefix != wanted:
        yield f'policy: expected FROM {wanted}"{name}", found {prefix}"{name}"'
    known = measurement.fields | set(measurement.tags) | {name, "$db", "raw"}
    for one in _QUOTED.findall(level.text):
        if one not in known and one not in names:
            yield f"field: {name} has no field or tag {one}"
    yield from _scope_faults(level, measurement)
    yield from _group_faults(level, measurement)


def _scope_faults(level: Level, measurement: Measurement) -> Iterator[str]:
    for tag in ("company", "site"):
        if tag in measurement.tags and not re.search(rf'"{tag}"\s*=~\s*/\^\${tag}\$/', level.condition):
            yield f'scope: expected "{tag}" =~ /^${tag}$/ in the condition'


def _group_faults(level: Level, measurement: Measurement) -> Iterator[str]:
    grouped = set(_QUOTED.findall(level.groups))
    fixed = set(re.findall(r'"(\w+)"\s*=\s*\'', level.condition))
    whole = set(measurement.tags) <= grouped | fixed
    calls = re.findall(r'(\w+)\("([^"]+)"', level.picked)
    if level.groups and not whole:
        lacking = ", ".join(tag for tag in measurement.tags if tag not in grouped | fixed)
        yield f"grouping: every tag of {measurement.name} must be grouped or fixed, lacking {lacking}"
    for function, field in calls:
        has_unit = field.endswith(_UNITS)
        if function == "sum" and field.endswith(("_w", "_v", "_a", "_c", "_hz", "_va", "_var")):
            yield f"sum: adding up {field} over time gives no quantity"
        elif function not in ("sum", "count") and not whole and (has_unit or function != "mean"):
            yield f"grouping: {function} of {field} over several series is none of them; sum, then show"
    days = re.search(r"time\(\s*\d+\s*[dw]\s*\)", level.groups)
    if days and "tz(" not in level.text:
        yield f"local-days: {days.group()} cuts days in UTC"
    if "tz(" in level.text and not whole:
        yield "local-days: local days cut over merged series are wrong on both clock-change days"


def variable_faults(query: str) -> Iterator[str]:
    """What is wrong with a variable's query."""
    if query == "SHOW DATABASES":
        return
    found = re.match(r'SHOW TAG VALUES FROM "([^"]+)" WITH KEY = "([^"]+)"', query)
    if found is None:
        yield f"variable-query: expected SHOW TAG VALUES of a measurement in the default policy, found {query[:80]}"
        return
    measurement = MEASUREMENTS.get(found.group(1))
    if measurement is None or measurement.policy != "autogen":
        yield f"variable-query: {found.group(1)} is not in the default policy, where InfluxDB 2 looks"
    elif found.group(2) not in measurement.tags:
        yield f"variable-query: {measurement.name} has no tag {found.group(2)}"


def alias_faults(alias: str, query: str) -> Iterator[str]:
    """What is wrong with the name of a series."""
    inner = _SOURCE.search(levels(query)[-1].text)
    measurement = MEASUREMENTS.get(inner.group(2)) if inner else None
    for tag in re.findall(r"\$tag_(\w+)", alias):
        if measurement is None or tag not in measurement.tags:
            yield f"alias: no tag {tag} to name a series by"
