"""CSV files (RFC 4180) that spreadsheet programs open as they are meant, and never take for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from fastapi import Request

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How numbers and cells are told apart."""

    delimiter: str
    decimal: str
    bom: bool
    """Without it Excel takes UTF-8 for the machine's own encoding."""


DIALECTS = {"en": Dialect(",", ".", False), "bg": Dialect(";", ",", True)}
"""By `locale`: what programs read, and what a Bulgarian Excel opens by double click."""


def wants_csv(request: Request) -> Dialect | None:
    """How a CSV file is wanted, by ``format`` or else by ``Accept``; None: JSON."""
    asked = request.query_params.get("format")
    if asked == "csv" or (asked is None and _prefers_csv(request.headers.get("accept", ""))):
        return DIALECTS[request.query_params.get("locale", "en")]
    return None


def _prefers_csv(accept: str) -> bool:
    weights = {"text/csv": 0.0, "application/json": 0.0}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        if kind in weights:
            weights[kind] = float(quality) if quality.replace(".", "", 1).isdigit() else 0.0
    return weights["text/csv"] > weights["application/json"]


def safe_cell(text: str) -> str:
    """A text cell that no spreadsheet program takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def to_csv(series: Sequence[Mapping[str, Any]], tz: ZoneInfo | None, dialect: Dialect) -> bytes:
    """Rows of all series: their plain facts first, then one column per list; the start in local time beside UTC."""
    lists = list(dict.fromkeys(key for one in series for key, value in one.items() if _is_column(value)))
    plain = list(dict.fromkeys(key for one in series for key, value in one.items() if not _is_column(value)))
    local = ["start_local"] if tz is not None and "start" in lists else []
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=dialect.delimiter, lineterminator="\r\n")
    writer.writerow([*plain, *local, *lists])
    for one in series:
        head = [_cell(one.get(key), dialect) for key in plain]
        columns = [_texts(one[key], dialect) for key in lists if key in one]
        length = max((len(column) for column in columns), default=0 if lists else 1)
        filled = [_texts(one[key], dialect) if key in one else [""] * length for key in lists]
        times = [_local(one["start"], tz)] if local and tz is not None else []
        for cells in zip(*times, *filled, strict=True) if lists else [()]:
            writer.writerow([*head, *cells])
    return (b"\xef\xbb\xbf" if dialect.bom else b"") + sink.getvalue().encode("utf-8")


def _is_column(value: Any) -> bool:
    return isinstance(value, list | np.ndarray)


def _texts(column: Any, dialect: Dialect) -> list[str]:
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        return [f"{text}Z" for text in np.datetime_as_string(column, unit="ms").tolist()]
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return [_cell(value, dialect) for value in values]


def _local(starts: Any, tz: ZoneInfo) -> list[str]:
    return [at.replace(tzinfo=UTC).astimezone(tz).strftime("%Y-%m-%d %H:%M") for at in starts.tolist()]


def _cell(value: Any, dialect: Dialect) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".").replace(".", dialect.decimal)
    if isinstance(value, str):
        return safe_cell(value)
    return str(value)
