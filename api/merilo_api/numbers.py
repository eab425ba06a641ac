"""Live power, readings, daily quality and events: stored numbers in columns with their unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Security
from starlette.responses import Response

from merilo.instants import MINUTE_MS, to_text
from merilo.quantities import QUANTITIES
from merilo.site import Event, Site
from merilo_adapters.stores import Store
from merilo_api import answers
from merilo_api.access import BEARER
from merilo_api.bodies import field, has, instants, meta, respond
from merilo_api.catalogue import Who, registry_of, site_of
from merilo_api.page.notices import event_text
from merilo_api.page.words import Words, of_request
from merilo_api.params import POINTS_MAX, Count, Range, resolution, strict, time_range, too_long, whole, zone
from merilo_api.problems import Refused, near

router = APIRouter(
    prefix="/v1/companies/{company}/sites/{site}", dependencies=[Depends(strict), Security(BEARER)], tags=["numbers"]
)

SERIES_MAX = 200
"""Series of one answer."""
KNOWN_SHOWN = 20
"""Names that a refusal lists."""

From = Annotated[str | None, Query(alias="from", description="First instant, included: RFC 3339 with its offset")]
To = Annotated[str | None, Query(description="End, excluded: RFC 3339 with its offset; now by default")]
Period = Annotated[str | None, Query(description="Instead: 2026, 2026-10 or 2026-10-25 in local time")]
Last = Annotated[str | None, Query(description="Instead: 24h, 30d, 12mo, 1y up to now; days begin at local midnight")]
Zone = Annotated[str | None, Query(description="IANA zone that cuts days and months; the site's by default")]
Form = Annotated[
    Literal["json", "csv"] | None, Query(alias="format", description="csv for a file; by default what Accept says")
]
Locale = Annotated[Literal["en", "bg"] | None, Query(description="Of a CSV file; bg: semicolons and decimal commas")]
Language = Annotated[Literal["en", "bg"] | None, Query(description="Of texts; by default what Accept-Language says")]
MeterFilter = Annotated[str | None, Query(description="Only this meter")]


def store_of(request: Request, company: str) -> Store:
    """The company's series store."""
    found: Store = request.app.state.stores.of(company)
    return found


def span_of(
    request: Request,
    site: Site,
    from_: str | None,
    to: str | None,
    period: str | None,
    last: str | None,
    tz: str | None,
    default: str = "7d",
) -> Range:
    """The period of a request."""
    now_ms: int = request.app.state.clock.now_ms()
    if not (from_ or to or period or last):
        last = default
    return time_range(from_, to, period, last, zone(tz, site.zone), tz is not None, now_ms)


def meters_asked(request: Request, site: Site, meter: str | None) -> int:
    """How many meters an answer is about.

    Raises:
        Refused: No such meter, or more than one answer may hold.
    """
    known = {version.meter for version in registry_of(request).meters(site.company, site.id)}
    if meter is not None:
        _known("meter", meter, sorted(known))
        return 1
    found = len(known)
    if found > SERIES_MAX:
        raise Refused(422, "too_many_series", f"more than {SERIES_MAX} meters: name one with meter=", "query/meter")
    return found


def _known(what: str, asked: str, known: Sequence[str]) -> None:
    """Refuses a name that the site does not have: an empty answer would look like one without numbers."""
    if asked not in known:
        some = ", ".join(known[:KNOWN_SHOWN]) + (", …" if len(known) > KNOWN_SHOWN else "")
        detail = f"{what}: expected one of {some or 'none yet'}; found {asked[:40]!r}{near(asked, known)}"
        raise Refused(422, f"unknown_{what}", detail, f"query/{what}")


@router.get(
    "/series", operation_id="get_series", summary="Live power, or readings", response_model=answers.SeriesAnswer
)
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
    quantity: Annotated[str, Query(description="active_power_w of meters, or any of a device")] = "active_power_w",
    meter: MeterFilter = None,
    device: Annotated[str | None, Query(description="gateway/device: its readings as read")] = None,
    format_: Form = None,
    locale: Locale = None,
    lang: Language = None,
) -> Response:
    """Minute means of the power of meters, or the readings of one device as read."""
    place = site_of(request, who, company, site)
    span = span_of(request, place, from_, to, period, last, tz, "24h")
    if device is not None and meter is not None:
        raise Refused(422, "meter_and_device", "expected meter= or device=, found both", "query/meter")
    if device is not None:
        step, rows = "raw", _readings(request, place, span, device, quantity)
    else:
        step, rows = "1m", _power(request, place, span, quantity, meter)
    body = {"meta": meta(span, step), "series": rows, "notices": [], "next": None}
    return respond(request, body, span=span, table="series", name=f"{company}-{site}-{quantity}")


def _readings(request: Request, place: Site, span: Range, device: str, quantity: str) -> list[dict[str, Any]]:
    """One quantity of one device as it was read."""
    gateway, _, name = device.partition("/")
    if not gateway or not name:
        raise Refused(422, "device", f"device: expected gateway/device, found {device[:60]!r}", "query/device")
    found = registry_of(request).devices(place.company, place.id)
    _known("device", device, sorted(f"{one.key.gateway}/{one.key.device}" for one in found))
    if quantity not in QUANTITIES:
        hint = near(quantity, sorted(QUANTITIES))
        detail = f"quantity: there is no {quantity[:40]!r}{hint}"
        raise Refused(422, "unknown_quantity", detail, "query/quantity")
    if (span.end_ms - span.start_ms) // 1_000 > POINTS_MAX:
        raise too_long("raw", span, ())
    tags = {"company": place.company, "site": place.id, "gateway": gateway, "device": name}
    store = store_of(request, place.company)
    return [
        {
            "id": f"{one.tags['gateway']}/{one.tags['device']}",
            "quantity": quantity,
            "unit": QUANTITIES[quantity].unit,
            "start": instants(one.frame.at_ms),
            "value": field(one.frame, quantity),
        }
        for one in store.read(place.company, "readings", tags, span.start_ms, span.end_ms, [quantity])
    ]


def _power(request: Request, place: Site, span: Range, quantity: str, meter: str | None) -> list[dict[str, Any]]:
    """Minute means of meters."""
    if quantity != "active_power_w":
        detail = "meters have active_power_w; name a device= for its other quantities"
        raise Refused(422, "quantity", detail, "query/quantity")
    if (span.end_ms - span.start_ms) // MINUTE_MS > POINTS_MAX:
        raise Refused(422, "too_many_points", f"more than {POINTS_MAX} minutes; ask /energy for 15m", "query/from")
    tags = {"company": place.company, "site": place.id, **({"meter": meter} if meter is not None else {})}
    store = store_of(request, place.company)
    whole("1m", span, meters_asked(request, place, meter))
    return [
        {
            "id": one.tags["meter"],
            "role": one.tags["role"],
            "quantity": quantity,
            "unit": "W",
            "start": instants(one.frame.at_ms),
            "value": field(one.frame, "power_mean_w", 1),
        }
        for one in store.read(place.company, "power_1m", tags, span.start_ms, span.end_ms, ["power_mean_w"])
    ]


@router.get(
    "/quality", operation_id="get_quality", summary="What was expected and came", response_model=answers.Quality
)
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
    format_: Form = None,
    locale: Locale = None,
) -> Response:
    """Per device and local day: coverage, counts, longest gap, disturbances by type."""
    place = site_of(request, who, company, site)
    span = span_of(request, place, from_, to, period, last, tz, "30d")
    resolution("1d", span, ("1d",))
    tags = {"company": company, "site": site}
    rows = []
    for one in store_of(request, company).read(company, "quality_1d", tags, span.start_ms, span.end_ms):
        frame = one.frame
        columns = {name: field(frame, name, 4) for name in sorted(frame.numbers) if has(frame, name)}
        rows.append({"id": f"{one.tags['gateway']}/{one.tags['device']}", "start": instants(frame.at_ms), **columns})
    body = {"meta": meta(span, "1d"), "series": rows, "notices": [], "next": None}
    return respond(request, body, span=span, table="series", name=f"{company}-{site}-quality")


@router.get("/events", operation_id="list_events", summary="What happened, typed", response_model=answers.Events)
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
    limit: Annotated[Count, Query(ge=1, le=1000, description="At most so many")] = 500,
    after: Annotated[Count, Query(ge=0, description="Only what follows the event of this number; see next")] = 0,
    format_: Form = None,
    locale: Locale = None,
    lang: Language = None,
) -> Response:
    """Ledger events, outages, changed configurations, oldest first: codes with parameters, and words."""
    place = site_of(request, who, company, site)
    span = span_of(request, place, from_, to, period, last, tz, "30d")
    found = registry_of(request).events(company, span.start_ms, span.end_ms, limit=EVENTS_MAX, site=site)
    position = next((i + 1 for i, event in enumerate(found) if event.number == after), 0) if after else 0
    shown = found[position : position + limit]
    words = of_request(request)
    more = position + limit < len(found)
    address = str(request.url.include_query_params(after=shown[-1].number, limit=limit).query) if more else None
    body = {
        "meta": meta(span, "event"),
        "events": [event_body(event, words) for event in shown],
        "next": f"{request.url.path}?{address}" if more else None,
    }
    return respond(request, body, span=span, table="events", name=f"{company}-{site}-events")


EVENTS_MAX = 20_000
"""Events of one period: what the registry gives at once."""


def event_body(event: Event, words: Words) -> dict[str, Any]:
    """An event as the API gives it."""
    return {
        "number": event.number,
        "kind": event.kind,
        "code": event.code,
        "at": to_text(event.at_ms),
        "end": to_text(event.end_ms) if event.end_ms is not None else None,
        "gateway": event.place.gateway or None,
        "device": event.place.device or None,
        "register": event.place.register or None,
        "meter": event.place.meter or None,
        "text": event_text(event.code, words),
        "parameters": dict(event.parameters),
    }
