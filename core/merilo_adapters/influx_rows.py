"""InfluxQL of the series store: constant texts with bound values, and answers turned into frames.

Every identifier comes from the schema or is a checked id; every value a caller gives is bound. The policy is always
named, because 2.x answers some statements from the default policy only, in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from merilo.errors import StoreRefusedError
from merilo.frame import Frame, Series
from merilo.schema import Measurement, database
from merilo_adapters.frames import trimmed
from merilo_adapters.influx_http import Parameter, Table

NS_PER_MS = 1_000_000


def source(company: str, measurement: Measurement) -> str:
    """Database, policy and measurement as one identifier."""
    return f'"{database(company)}"."{measurement.policy}"."{measurement.name}"'


def tag_condition(tags: Mapping[str, str]) -> tuple[str, dict[str, Parameter]]:
    """A condition on tags, empty for none, and its bound values."""
    text = " AND ".join(f'"{name}" = $tag_{name}' for name in tags)
    return text, {f"tag_{name}": value for name, value in tags.items()}


def select(
    company: str,
    measurement: Measurement,
    tags: Mapping[str, str],
    start_ms: int,
    end_ms: int,
    fields: Iterable[str] | None,
) -> tuple[str, dict[str, Parameter]]:
    """The statement that reads [start, end) and its bound values."""
    columns = "*::field" if fields is None else ", ".join(f'"{name}"::field' for name in fields)
    condition, bound = tag_condition(tags)
    where = " AND ".join(part for part in (condition, "time >= $start AND time < $end") if part)
    group = ", ".join(f'"{tag}"' for tag in measurement.tags)
    bound |= {"start": start_ms * NS_PER_MS, "end": end_ms * NS_PER_MS}
    return f"SELECT {columns} FROM {source(company, measurement)} WHERE {where} GROUP BY {group}", bound  # noqa: S608 - see above


def show_series(company: str, measurement: Measurement, tags: Mapping[str, str]) -> tuple[str, dict[str, Parameter]]:
    """The statement that lists series keys and its bound values."""
    condition, bound = tag_condition(tags)
    return f"SHOW SERIES FROM {source(company, measurement)}" + (f" WHERE {condition}" if condition else ""), bound


def series_of(measurement: Measurement, tables: Iterable[Table], chosen: tuple[str, ...] | None) -> list[Series]:
    """The answer's series with their parts joined, ordered by tags."""
    parts: dict[tuple[str, ...], list[Frame]] = {}
    for table in tables:
        tags = tuple(table.tags.get(tag, "") for tag in measurement.tags)
        parts.setdefault(tags, []).append(_frame(measurement, table))
    found = []
    for tags in sorted(parts):
        frame = trimmed(measurement, _joined(parts[tags]), chosen)
        if len(frame):
            found.append(Series(measurement.name, dict(zip(measurement.tags, tags, strict=True)), frame))
    return found


def _frame(measurement: Measurement, table: Table) -> Frame:
    columns = dict(zip(table.columns, zip(*table.values, strict=True), strict=True)) if table.values else {}
    at_ms = np.array(columns.pop("time", ()), np.int64)
    try:
        numbers = {name: np.array(v, np.float64) for name, v in columns.items() if name in measurement.numbers}
    except (TypeError, ValueError) as error:
        raise StoreRefusedError(f"{measurement.name}: a number field holds something else: {error}") from error
    texts = {
        name: [None if value is None else str(value) for value in values]
        for name, values in columns.items()
        if name in measurement.texts
    }
    return Frame(at_ms, numbers, texts)


def _joined(frames: list[Frame]) -> Frame:
    """Parts of one series one after another; all parts have the same columns."""
    if len(frames) == 1:
        return frames[0]
    first = frames[0]
    return Frame(
        np.concatenate([f.at_ms for f in frames]),
        {name: np.concatenate([f.numbers[name] for f in frames]) for name in first.numbers},
        {name: [text for f in frames for text in f.texts[name]] for name in first.texts},
    )


def parsed_key(measurement: Measurement, key: str) -> dict[str, str] | None:
    """The tag values in a series key, None for a series that lacks a tag of the schema."""
    tags: dict[str, str] = {}
    for pair in _split(key, ",")[1:]:
        name, _, value = _partition(pair)
        tags[name] = value
    if any(tag not in tags for tag in measurement.tags):
        return None
    return {tag: tags[tag] for tag in measurement.tags}


def _partition(pair: str) -> tuple[str, str, str]:
    name, *rest = _split(pair, "=")
    return _plain(name), "=", _plain("=".join(rest))


def _split(text: str, at: str) -> list[str]:
    """Cuts at a character that no backslash precedes."""
    parts, part, escaped = [], "", False
    for character in text:
        if character == at and not escaped:
            parts.append(part)
            part = ""
            continue
        escaped = character == "\\" and not escaped
        part += character
    return [*parts, part]


def _plain(text: str) -> str:
    """Without the backslashes before comma, equals sign and space; stored values hold no other backslash."""
    return text.replace("\\,", ",").replace("\\=", "=").replace("\\ ", " ")
