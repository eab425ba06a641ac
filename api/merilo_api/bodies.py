"""Answers: columns from stored frames, JSON or CSV, with entity tags and cache rules."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import Request
from starlette.responses import Response

from merilo.instants import from_ms, to_text
from merilo.schema import STATES
from merilo_api.params import Range

CLOSED_AGE_S = 3_600
"""How long a client may keep an answer whose period is over; late data can still change it."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def rounded(column: Any, digits: int = 3) -> list[float | None]:
    """Numbers for people and programs: thousandths, null where there is none."""
    return [None if value != value else round(float(value), digits) for value in column]


def instants(at_ms: Any) -> list[str]:
    """RFC 3339 in UTC."""
    return [to_text(int(at)) for at in at_ms]


def state_words(column: Any) -> list[str | None]:
    """Words of stored state codes."""
    return [None if code != code else STATES.get(int(code)) for code in column]


def ends(starts_ms: Any, step_ends_ms: Any) -> list[str]:
    """End of each row."""
    return instants(step_ends_ms)


def meta(span: Range, resolution: str, now_ms: int, **more: Any) -> dict[str, Any]:
    """What every series body says of itself."""
    return {
        "period": {"start": to_text(span.start_ms), "end": to_text(span.end_ms), "tz": span.tz.key},
        "resolution": resolution,
        "generated_at": to_text(now_ms),
        **more,
    }


def respond(request: Request, body: Mapping[str, Any], *, end_ms: int | None = None, name: str = "merilo") -> Response:
    """The body in the form the client asked for, with an entity tag.

    Args:
        end_ms: End of the period; a period that is over may be kept for a while.
        name: File name of a download, without its ending.
    """
    if _wants_csv(request):
        text = to_csv(body.get("series", []))
        headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return Response(text.encode("utf-8"), media_type="text/csv; charset=utf-8", headers=headers)
    raw = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    stable = orjson.dumps({key: value for key, value in body.items() if key != "meta"})
    digest = hashlib.blake2b(stable, digest_size=12).hexdigest()
    now_ms: int = request.app.state.clock.now_ms()
    closed = end_ms is not None and end_ms <= now_ms
    tag = f'"{digest}"' if closed else f'W/"{digest}"'
    cache = f"private, max-age={CLOSED_AGE_S}" if closed else "private, no-cache"
    headers = {"ETag": tag, "Cache-Control": cache, "Vary": "Authorization, Accept, Cookie"}
    asked = [part.strip() for part in request.headers.get("if-none-match", "").split(",")]
    if tag in asked or tag.removeprefix("W/") in asked:
        return Response(status_code=304, headers=headers)
    return Response(raw, media_type="application/json", headers=headers)


def _wants_csv(request: Request) -> bool:
    if request.query_params.get("format") == "csv":
        return True
    return request.headers.get("accept", "").split(",")[0].split(";")[0].strip() == "text/csv"


def safe_cell(text: str) -> str:
    """A text cell that no spreadsheet program takes for a formula."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def to_csv(series: Sequence[Mapping[str, Any]]) -> str:
    """Rows of all series: their plain facts first, then one column per list."""
    lists = list(dict.fromkeys(key for one in series for key, value in one.items() if isinstance(value, list)))
    plain = list(dict.fromkeys(key for one in series for key, value in one.items() if isinstance(value, str)))
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\r\n")
    writer.writerow([*plain, *lists])
    for one in series:
        head = [safe_cell(str(one.get(key, ""))) for key in plain]
        length = max((len(one[key]) for key in lists if key in one), default=0)
        for index in range(length):
            cells = [one[key][index] if key in one else None for key in lists]
            writer.writerow([*head, *(_cell(cell) for cell in cells)])
    return sink.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return safe_cell(value) if isinstance(value, str) else repr(value)


def newest(columns: Sequence[Any]) -> float | None:
    """The last number that is there."""
    for column in columns:
        here = np.flatnonzero(~np.isnan(column))
        if len(here):
            return float(column[here[-1]])
    return None


def local_label(at_ms: int, span: Range, step: str) -> str:
    """A row's start as people in that zone write it."""
    local = from_ms(at_ms).astimezone(span.tz)
    return local.strftime({"1mo": "%Y-%m", "1d": "%Y-%m-%d"}.get(step, "%Y-%m-%d %H:%M"))
