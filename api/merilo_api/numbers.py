"""Series, energy, quality and events: stored numbers in columns, each with unit, state and coverage."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from merilo.calendar import boundaries
from merilo.frame import Series
from merilo.instants import QUARTER_MS
from merilo.quantities import QUANTITIES
from merilo.site import Site
from merilo_adapters.stores import Store
from merilo_api.access import Caller, caller
from merilo_api.bodies import instants, meta, respond, rounded, state_words
from merilo_api.catalogue import registry_of, site_of
from merilo_api.params import Range, identifier, resolution, strict, time_range, zone
from merilo_api.problems import Refused, near
from merilo_api.sums import energy_envelopes

router = APIRouter(prefix="/v1/companies/{company}/sites/{site}", dependencies=[Depends(strict)])

ENERGY_STEPS = ("15m", "1h", "1d", "1mo")
SERIES_MAX = 200
"""Series of one answer."""

From = Annotated[str | None, Query(alias="from", description="First instant, RFC 3339 with offset; included")]
To = Annotated[str | None, Query(alias="to", description="Last instant, RFC 3339 with offset; excluded")]
Period = Annotated[str | None, Query(description="2026, 2026-10 or 2026-10-25 in local time")]
Last = Annotated[str | None, Query(description="24h, 30d, 12mo, 1y up to now")]
Zone = Annotated[str | None, Query(description="IANA zone that cuts days and months; the site's by default")]
Step = Annotated[str | None, Query(description="15m, 1h, 1d, 1mo or auto")]
Format = Annotated[str | None, Query(description="csv for a file, else by Accept", pattern="^(csv|json)$")]
Who = Annotated[Caller, Depends(caller)]


def store_of(request: Request, company: str) -> Store:
    """The company's series store."""
    found: Store = request.app.state.stores.of(company)
    return found


def _span(
    request: Request,
    site: Site,
    from_: str | None,
    to: str | None,
    period: str | None,
    last: str | None,
    tz: str | None,
) -> Range:
    now_ms: int = request.app.state.clock.now_ms()
    return time_range(from_, to, period, last, zone(tz, site.zone), tz is not None, now_ms)


def row_ends(starts_ms: Any, step: str, tz: str) -> Any:
    """The end of each row of a resolution."""
    if step == "15m" or not len(starts_ms):
        return np.asarray(starts_ms) + QUARTER_MS
    unit = {"1h": "hour", "1d": "day", "1mo": "month"}[step]
    cut = boundaries(unit, tz, int(starts_ms[0]), int(starts_ms[-1]) + 1)  # type: ignore[arg-type]  # one of the units
    return cut.edges_ms[np.searchsorted(cut.edges_ms, starts_ms, side="right").clip(max=len(cut.edges_ms) - 1)]


@router.get("/energy", operation_id="get_energy", summary="Energy of each meter, with states")
def energy(
    request: Request,
    company: str,
    site: str,
    who: Who,
    from_: From = None,
    to: To = None,
    period: Period = None,
    last: Last = None,
    tz: Zone = None,
    resolution_: Annotated[str | None, Query(alias="resolution", description="15m, 1h, 1d, 1mo or auto")] = None,
    meter: Annotated[str | None, Query(description="Only this meter")] = None,
    role: Annotated[str | None, Query(description="Only meters with this role")] = None,
    format_: Annotated[str | None, Query(alias="format", description="csv for a file", pattern="^(csv|json)$")] = None,
) -> Response:
    """Rows of energy per meter and their sum over the period as result envelopes."""
    place = site_of(request, who, company, site)
    span = _span(request, place, from_, to, period, last, tz)
    step = resolution(resolution_, span, ENERGY_STEPS)
    if step in ("1d", "1mo", "1h") and span.tz.key != place.zone:
        detail = f"rows of {step} are cut in the site's zone {place.zone}; ask for 15m or leave tz out"
        raise Refused(422, "zone", detail, "query/tz")
    tags = {"company": company, "site": site}
    if meter is not None:
        tags["meter"] = identifier("meter", meter)
    if role is not None:
        tags["role"] = identifier("role", role.replace("_", "-")) and role
    found = store_of(request, company).read(company, f"energy_{step}", tags, span.start_ms, span.end_ms)
    if len(found) > SERIES_MAX:
        raise Refused(422, "too_many_series", f"more than {SERIES_MAX} meters: name one with meter=", "query/meter")
    now_ms: int = request.app.state.clock.now_ms()
    body = {
        "meta": meta(span, step, now_ms, unit="Wh"),
        "series": [energy_series(one, step, place.zone) for one in found],
        "sums": energy_envelopes(request, place, span, tags, now_ms),
        "notices": [],
        "next": None,
    }
    return respond(request, body, end_ms=span.end_ms, name=f"{company}-{site}-energy-{step}")


def energy_series(one: Series, step: str, tz: str) -> dict[str, Any]:
    """One meter's rows in columns."""
    frame = one.frame
    numbers = frame.numbers
    nothing = np.full(len(frame), np.nan)
    body: dict[str, Any] = {
        "id": one.tags["meter"],
        "role": one.tags["role"],
        "unit": "Wh",
        "start": instants(frame.at_ms),
        "end": instants(row_ends(frame.at_ms, step, tz)),
        "value": rounded(numbers.get("energy_wh", nothing)),
    }
    for field in ("energy_metered_wh", "energy_bridged_wh", "energy_estimated_wh", "energy_low_wh", "energy_export_wh"):
        if field in numbers and not bool(np.all(np.isnan(numbers[field]))):
            body[field] = rounded(numbers[field])
    for field in ("power_mean_w", "power_max_w"):
        body[field] = rounded(numbers.get(field, nothing), 1)
    body["coverage"] = rounded(numbers.get("coverage", nothing), 4)
    if step == "15m":
        body["state"] = state_words(numbers.get("state", nothing))
    return body


@router.get("/series", operation_id="get_series", summary="Live power or raw quantities")
def series(
    request: Request,
    company: str,
    site: str,
    who: Who,
    from_: From = None,
    to: To = None,
    period: Period = None,
    last: Last = None,
    tz: Zone = None,
    quantity: Annotated[
        str, Query(description="active_power_w of meters, or any quantity of a device")
    ] = "active_power_w",
    meter: Annotated[str | None, Query(description="Only this meter")] = None,
    device: Annotated[str | None, Query(description="gateway/device: its readings as read")] = None,
    format_: Annotated[str | None, Query(alias="format", description="csv for a file", pattern="^(csv|json)$")] = None,
) -> Response:
    """Minute means of meters' power, or the readings of one device as read."""
    place = site_of(request, who, company, site)
    span = _span(request, place, from_, to, period, last or ("24h" if not (from_ or to or period) else None), tz)
    now_ms: int = request.app.state.clock.now_ms()
    tags = {"company": company, "site": site}
    if device is not None:
        gateway, _, name = device.partition("/")
        tags |= {"gateway": identifier("gateway", gateway), "device": identifier("device", name)}
        if quantity not in QUANTITIES:
            hint = near(quantity, sorted(QUANTITIES))
            raise Refused(
                422, "unknown_quantity", f"quantity: no such quantity {quantity[:40]!r}{hint}", "query/quantity"
            )
        resolution("raw", span, ("raw",))
        found = store_of(request, company).read(company, "readings", tags, span.start_ms, span.end_ms, [quantity])
        body_series = [
            {
                "id": f"{one.tags['gateway']}/{one.tags['device']}",
                "quantity": quantity,
                "unit": QUANTITIES[quantity].unit,
                "start": instants(one.frame.at_ms),
                "value": rounded(one.frame.numbers.get(quantity, np.full(len(one.frame), np.nan))),
            }
            for one in found
        ]
        step = "raw"
    else:
        if quantity != "active_power_w":
            raise Refused(
                422, "quantity", "meters have active_power_w; name a device= for other quantities", "query/quantity"
            )
        if meter is not None:
            tags["meter"] = identifier("meter", meter)
        if (span.end_ms - span.start_ms) // 60_000 > 100_000:
            raise Refused(422, "too_many_points", "more than 100000 minutes: ask /energy for 15m", "query/from")
        found = store_of(request, company).read(company, "power_1m", tags, span.start_ms, span.end_ms)
        body_series = [
            {
                "id": one.tags["meter"],
                "role": one.tags["role"],
                "unit": "W",
                "start": instants(one.frame.at_ms),
                "value": rounded(one.frame.numbers.get("power_mean_w", np.full(len(one.frame), np.nan)), 1),
            }
            for one in found
        ]
        step = "1m"
    body = {"meta": meta(span, step, now_ms), "series": body_series, "notices": [], "next": None}
    return respond(request, body, end_ms=span.end_ms, name=f"{company}-{site}-{quantity}")


@router.get("/quality", operation_id="get_quality", summary="What was expected, what came, what happened")
def quality(
    request: Request,
    company: str,
    site: str,
    who: Who,
    from_: From = None,
    to: To = None,
    period: Period = None,
    last: Last = None,
    tz: Zone = None,
    format_: Annotated[str | None, Query(alias="format", description="csv for a file", pattern="^(csv|json)$")] = None,
) -> Response:
    """Per device and local day: coverage, counts, gaps, ledger events."""
    place = site_of(request, who, company, site)
    span = _span(request, place, from_, to, period, last or ("30d" if not (from_ or to or period) else None), tz)
    now_ms: int = request.app.state.clock.now_ms()
    tags = {"company": company, "site": site}
    found = store_of(request, company).read(company, "quality_1d", tags, span.start_ms, span.end_ms)
    rows = []
    for one in found:
        body: dict[str, Any] = {
            "id": f"{one.tags['gateway']}/{one.tags['device']}",
            "start": instants(one.frame.at_ms),
        }
        for name in sorted(one.frame.numbers):
            if not bool(np.all(np.isnan(one.frame.numbers[name]))):
                body[name] = rounded(one.frame.numbers[name], 4)
        rows.append(body)
    body_all = {"meta": meta(span, "1d", now_ms), "series": rows, "notices": [], "next": None}
    return respond(request, body_all, end_ms=span.end_ms, name=f"{company}-{site}-quality")


@router.get("/events", operation_id="list_events", summary="What happened, typed")
def events(
    request: Request,
    company: str,
    site: str,
    who: Who,
    from_: From = None,
    to: To = None,
    period: Period = None,
    last: Last = None,
    tz: Zone = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many, newest last")] = 500,
) -> Response:
    """Ledger events, outages, configuration changes; codes with parameters, words are made where people read."""
    place = site_of(request, who, company, site)
    span = _span(request, place, from_, to, period, last or ("30d" if not (from_ or to or period) else None), tz)
    found = registry_of(request).events(company, span.start_ms, span.end_ms, limit=limit, site=site)
    rows = [
        {
            "number": event.number,
            "kind": event.kind,
            "code": event.code,
            "at": instants([event.at_ms])[0],
            "end": instants([event.end_ms])[0] if event.end_ms is not None else None,
            "gateway": event.place.gateway or None,
            "device": event.place.device or None,
            "register": event.place.register or None,
            "meter": event.place.meter or None,
            "parameters": dict(event.parameters),
        }
        for event in found
    ]
    return respond(request, {"events": rows, "next": None}, end_ms=span.end_ms)
