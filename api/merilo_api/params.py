"""Query parameters, taken strictly: one spelling, an offset on every instant, a limit on every range."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BeforeValidator

from merilo.calendar import day_start_ms
from merilo.ids import is_id
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, to_ms
from merilo_api.problems import Refused, near, not_there

POINTS_MAX = 100_000
"""Rows of one series in one answer."""
POINTS_TOTAL_MAX = 1_000_000
"""Rows of one answer, all series together: about 60 MB of JSON."""
STEPS = {
    "raw": 1_000,
    "1m": MINUTE_MS,
    "15m": QUARTER_MS,
    "1h": HOUR_MS,
    "1d": 23 * HOUR_MS,
    "1mo": 28 * DAY_MS,
}
"""Resolutions, and the shortest time between two rows [ms]."""
AUTO_ROWS = 1_500
"""What resolution=auto aims at: about one row per pixel of a chart."""
YEAR_MIN, YEAR_MAX = 1990, 2200

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_LOST_PLUS = re.compile(r"(\d{4}-\d\d-\d\d[Tt][\d:.]+) (\d\d:\d\d)", re.ASCII)
"""A plus sign that was not written %2B arrives as a space, and can have been nothing else."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d\d", re.ASCII)
_YEAR = re.compile(r"\d{4}", re.ASCII)
_LAST = re.compile(r"(\d{1,5})(h|d|mo|y)", re.ASCII)


def strict(request: Request) -> None:
    """Refuses a parameter that the route does not know, one that is given twice, and one without a value."""
    route = request.scope.get("route")
    known = [p.alias for p in route.dependant.query_params] if isinstance(route, APIRoute) else []
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            hint = near(name, known)
            raise Refused(422, "unknown_parameter", f"no parameter {name[:40]!r} here{hint}", f"query/{name[:40]}")
        if name in seen:
            raise Refused(422, "parameter_twice", f"parameter {name!r} is given twice", f"query/{name}")
        if not value:
            raise Refused(422, "parameter_empty", f"parameter {name!r} has no value; leave it out", f"query/{name}")
        seen.add(name)


def identifier(text: str) -> str:
    """A path id of the right form; anything else is simply not there."""
    if not is_id(text):
        raise not_there()
    return text


def _plain_number(value: object) -> object:
    """Digits only: no sign, no underscore, no space, no other alphabet."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,9}", value):
        raise ValueError("expected digits")
    return value


Count = Annotated[int, BeforeValidator(_plain_number)]
"""A whole number from 0 in a query."""


@lru_cache(1)
def zones() -> frozenset[str]:
    """Every IANA zone of this machine; the folder is read once."""
    return frozenset(available_timezones())


def zone(text: str | None, default: str) -> ZoneInfo:
    """The zone that cuts days and months."""
    name = text or default
    if name not in zones():
        hint = near(name, sorted(zones()))
        raise Refused(
            422,
            "unknown_zone",
            f"tz: expected an IANA name such as Europe/Sofia, found {name[:60]!r}{hint}",
            "query/tz",
        )
    return ZoneInfo(name)


def instant(name: str, text: str, tz: ZoneInfo | None) -> int:
    """An RFC 3339 instant [UTC ms]; without an offset only where ``tz`` was named, and never an ambiguous one."""
    where = f"query/{name}"
    text = _LOST_PLUS.sub(r"\1+\2", text)
    if _DAY.fullmatch(text):
        if tz is not None:
            return _local_midnight(name, text, tz)
        text += "T00:00:00"
    if not _INSTANT.fullmatch(text):
        raise Refused(
            422, "instant", f"{name}: expected RFC 3339 such as 2026-10-01T00:00:00+03:00, found {text[:60]!r}", where
        )
    try:
        found = datetime.fromisoformat(text.replace("z", "Z"))
    except ValueError as error:
        raise Refused(422, "instant", f"{name}: {error}: {text[:60]!r}", where) from None
    if not YEAR_MIN <= found.year <= YEAR_MAX:
        raise _wrong_year(name, found.year, "instant")
    if found.tzinfo is not None:
        return to_ms(found)
    if tz is None:
        raise Refused(
            422, "offset_missing", f"{name}: expected an offset as in {text[:30]}+03:00 or tz=, found none", where
        )
    first, second = (found.replace(tzinfo=tz, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        both = " or ".join(f"{found.isoformat()}{f.strftime('%z')[:3]}:{f.strftime('%z')[3:]}" for f in (first, second))
        raise Refused(422, "ambiguous", f"{name}: {text[:30]} is not one instant in {tz.key}: write {both}", where)
    return to_ms(first)


def _local_midnight(name: str, text: str, tz: ZoneInfo) -> int:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise Refused(422, "instant", f"{name}: {error}: {text[:60]!r}", f"query/{name}") from None
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise _wrong_year(name, day.year, "instant")
    return day_start_ms(day, tz)


def _wrong_year(name: str, year: int, code: str) -> Refused:
    return Refused(422, code, f"{name}: expected a year of {YEAR_MIN} to {YEAR_MAX}, found {year}", f"query/{name}")


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open stretch of time and the zone that cuts its days."""

    start_ms: int
    end_ms: int
    tz: ZoneInfo


def time_range(
    from_: str | None, to: str | None, period: str | None, last: str | None, tz: ZoneInfo, tz_named: bool, now_ms: int
) -> Range:
    """One of: ``from`` and ``to``; ``period=2026-10``; ``last=30d``. Default: the last 7 days."""
    given = [n for n, v in (("from/to", from_ or to), ("period", period), ("last", last)) if v]
    if len(given) > 1:
        raise Refused(422, "range", f"expected one of from/to, period, last; found {' and '.join(given)}", "query")
    if period:
        start_ms, end_ms = _period(period, tz)
    elif from_ or to:
        named = tz if tz_named else None
        if not from_:
            raise Refused(422, "range", "from: expected an instant beside to, found nothing", "query/from")
        start_ms = instant("from", from_, named)
        end_ms = instant("to", to, named) if to else now_ms
    else:
        start_ms, end_ms = _last(last or "7d", tz, now_ms)
    if start_ms >= end_ms:
        raise Refused(422, "range", "expected from before to", "query/from")
    return Range(start_ms, end_ms, tz)


def _period(text: str, tz: ZoneInfo) -> tuple[int, int]:
    try:
        if _DAY.fullmatch(text):
            first = date.fromisoformat(text)
            after = first + timedelta(days=1)
        elif _MONTH.fullmatch(text):
            first = date.fromisoformat(f"{text}-01")
            after = (first + timedelta(days=32)).replace(day=1)
        elif _YEAR.fullmatch(text):
            first = date(int(text), 1, 1)
            after = date(int(text) + 1, 1, 1)
        else:
            raise ValueError("not a period")
    except ValueError:
        detail = f"period: expected 2026, 2026-10 or 2026-10-25, found {text[:40]!r}"
        raise Refused(422, "period", detail, "query/period") from None
    if not YEAR_MIN <= first.year <= YEAR_MAX:
        raise _wrong_year("period", first.year, "period")
    return day_start_ms(first, tz), day_start_ms(after, tz)


def _last(text: str, tz: ZoneInfo, now_ms: int) -> tuple[int, int]:
    found = _LAST.fullmatch(text)
    if not found or int(found[1]) == 0:
        raise Refused(422, "last", f"last: expected 24h, 30d, 12mo or 1y, found {text[:40]!r}", "query/last")
    number, unit = int(found[1]), found[2]
    if unit == "h":
        start_ms = now_ms - number * HOUR_MS
    else:
        today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(tz).date()
        if unit == "d":
            first = today - timedelta(days=min(number - 1, 366 * 200))
        else:
            months = min(number * (12 if unit == "y" else 1), 12 * 200) - 1
            index = today.year * 12 + today.month - 1 - months
            first = date(max(1, index // 12), index % 12 + 1, 1)
        if first.year < YEAR_MIN:
            raise Refused(422, "last", f"last: {text[:40]!r} reaches before {YEAR_MIN}", "query/last")
        start_ms = day_start_ms(first, tz)
    return start_ms, now_ms


def resolution(text: str | None, span: Range, allowed: Sequence[str]) -> str:
    """The resolution asked for, or the finest that gives about 1,500 rows; refused when it gives too many."""
    length = span.end_ms - span.start_ms
    if text in (None, "auto"):
        fit = (name for name in allowed if length // STEPS[name] <= AUTO_ROWS)
        return next(fit, allowed[-1])
    assert text is not None
    if text not in allowed:
        found = f"found {text[:20]!r}{near(text, allowed)}"
        detail = f"resolution: expected one of {', '.join(allowed)}, auto; {found}"
        raise Refused(422, "resolution", detail, "query/resolution")
    if length // STEPS[text] > POINTS_MAX:
        raise too_long(text, span, allowed)
    return text


def too_long(step: str, span: Range, allowed: Sequence[str]) -> Refused:
    """A range with too many rows; names the finest resolution that fits, or the longest range."""
    fit = next((name for name in allowed if (span.end_ms - span.start_ms) // STEPS[name] <= POINTS_MAX), None)
    days = STEPS[step] * POINTS_MAX // DAY_MS
    advice = f"the finest for this range is {fit}" if fit else f"ask for at most {days} days"
    detail = f"resolution {step} gives more than {POINTS_MAX} rows; {advice}"
    return Refused(422, "too_many_points", detail, "query/resolution")


def whole(step: str, span: Range, series: int) -> None:
    """Refuses an answer whose series together have too many rows."""
    if series * ((span.end_ms - span.start_ms) // STEPS[step]) > POINTS_TOTAL_MAX:
        detail = f"{series} series in steps of {step} give more than {POINTS_TOTAL_MAX} rows; name one, or ask for less"
        raise Refused(422, "too_many_points", detail, "query/from")
