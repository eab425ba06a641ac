"""Answers: columns from stored frames as JSON, with entity tags and cache rules.

Columns stay numpy arrays up to the encoder: 100,000 rows take milliseconds that way and a second as Python numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import Request
from numpy.typing import NDArray
from starlette.responses import Response

from merilo.frame import Column, Frame, Instants
from merilo.instants import DAY_MS, MINUTE_MS, to_text
from merilo.schema import STATES
from merilo_api.params import Range
from merilo_api.tables import to_csv, wants_csv

CLOSED_AGE_S = 3_600
"""How long a client may keep an answer whose period is long over."""
LATE_AGE_S = 60
"""The same while late readings still come: gateways keep what they could not send for at least a week."""
LATE_MS = 8 * DAY_MS
SETTLED_MS = 30 * MINUTE_MS
"""A period is over when its last readings have had this long to come and to be booked."""
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_WORDS = np.array([STATES[code] for code in range(4)] + [None], object)


def rounded(column: Column, digits: int = 3) -> Column:
    """Numbers for people and programs; what is not there stays NaN and is encoded as null."""
    found: Column = np.asarray(np.round(column, digits), np.float64) + 0.0  # no minus before a zero
    found[~np.isfinite(found)] = np.nan
    return found


def field(frame: Frame, name: str, digits: int = 3) -> Column:
    """A rounded column of a frame; null throughout where no row has the field."""
    column = frame.numbers.get(name)
    return np.full(len(frame), np.nan) if column is None else rounded(column, digits)


def has(frame: Frame, name: str) -> bool:
    """Whether any row has this field."""
    column = frame.numbers.get(name)
    return column is not None and not bool(np.all(np.isnan(column)))


def instants(at_ms: Instants | Sequence[int]) -> NDArray[np.datetime64]:
    """RFC 3339 in UTC, once encoded."""
    return np.asarray(at_ms, np.int64).astype("datetime64[ms]")


def state_words(column: Column) -> list[str | None]:
    """Words of stored state codes."""
    codes = np.where(np.isnan(column), 4, np.nan_to_num(column)).astype(np.int64)
    found: list[str | None] = _WORDS[np.clip(codes, 0, 4)].tolist()
    return found


def meta(span: Range, resolution: str, **more: Any) -> dict[str, Any]:
    """What every series body says of itself; `respond` adds when it was made."""
    period = {"start": to_text(span.start_ms), "end": to_text(span.end_ms), "tz": span.tz.key}
    return {"period": period, "resolution": resolution, **more}


def encoded(body: Any) -> bytes:
    """JSON: NaN as null, instants with Z."""
    return orjson.dumps(body, option=_OPTIONS)


def respond(
    request: Request,
    body: Mapping[str, Any],
    *,
    span: Range | None = None,
    table: str | None = None,
    name: str = "merilo",
) -> Response:
    """The body in the form the client asked for, with an entity tag.

    An answer about a period that is over depends on stored rows alone: its tag is strong and it does not say when it
    was made. Any other tag is weak: it changes when a number does.

    Args:
        span: The period, None where the answer has none.
        table: Key of the body that a CSV file has the rows of; None: there is no CSV of this.
        name: File name of a download, without its ending.
    """
    now_ms: int = request.app.state.clock.now_ms()
    closed = span is not None and span.end_ms <= now_ms - SETTLED_MS
    csv = wants_csv(request) if table is not None else None
    parts = {key: orjson.Fragment(encoded(value)) for key, value in body.items() if key != "meta"}
    headers: dict[str, str] = {}
    if csv is not None and table is not None:
        tz = span.tz if span is not None else None
        content = to_csv(body[table], tz, csv)
        stable, media_type = content, "text/csv; charset=utf-8"
        headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    else:
        stable = orjson.dumps(parts)
        about = (
            {"meta": {**body["meta"], "generated_at": None if closed else to_text(now_ms)}} if "meta" in body else {}
        )
        content, media_type = encoded({**about, **parts}), "application/json"
        stable = content if closed else stable
    digest = hashlib.blake2b(stable, digest_size=12).hexdigest()
    tag = f'"{digest}"' if closed else f'W/"{digest}"'
    headers |= {"ETag": tag, "Cache-Control": _cache(span, now_ms), "Vary": _VARY}
    if _known(request, digest):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


_VARY = "Authorization, Cookie, Accept, Accept-Language"


def _cache(span: Range | None, now_ms: int) -> str:
    if span is None or span.end_ms > now_ms - SETTLED_MS:
        return "private, no-cache"
    return f"private, max-age={LATE_AGE_S if span.end_ms > now_ms - LATE_MS else CLOSED_AGE_S}"


def _known(request: Request, digest: str) -> bool:
    asked = [part.strip() for part in request.headers.get("if-none-match", "").split(",")]
    return "*" in asked or any(part.removeprefix("W/") == f'"{digest}"' for part in asked)
