"""Energy of meters: rows of one resolution, and their sums as result envelopes."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Security
from starlette.responses import Response

from merilo.calendar import Unit, boundaries
from merilo.frame import Frame, Instants, Series
from merilo.instants import QUARTER_MS
from merilo.meterrows import MeterRows
from merilo.rollup import roll
from merilo.schema import ROLES
from merilo.site import Site
from merilo_adapters.stores import Store
from merilo_api import answers
from merilo_api.access import BEARER
from merilo_api.bodies import field, has, instants, meta, respond, state_words
from merilo_api.catalogue import Who, registry_of, site_of
from merilo_api.numbers import (
    Form,
    From,
    Language,
    Last,
    Locale,
    MeterFilter,
    Period,
    To,
    Zone,
    meters_asked,
    span_of,
    store_of,
)
from merilo_api.params import Range, resolution, strict, whole
from merilo_api.problems import Refused, near
from merilo_api.sums import EnergyRows, booked_ms, sums

router = APIRouter(
    prefix="/v1/companies/{company}/sites/{site}", dependencies=[Depends(strict), Security(BEARER)], tags=["numbers"]
)

STEPS = ("15m", "1h", "1d", "1mo")
_UNITS: dict[str, Unit] = {"1h": "hour", "1d": "day", "1mo": "month"}
_ALWAYS = ("energy_metered_wh", "energy_bridged_wh", "energy_estimated_wh", "energy_low_wh")


@router.get(
    "/energy", operation_id="get_energy", summary="Energy of each meter, with states", response_model=answers.Energy
)
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
    meter: MeterFilter = None,
    role: Annotated[str | None, Query(description=f"Only meters with this role: {', '.join(ROLES)}")] = None,
    format_: Form = None,
    locale: Locale = None,
    lang: Language = None,
) -> Response:
    """Rows that begin in the period, per meter; and each meter's sum over the period with coverage and reasons."""
    place = site_of(request, who, company, site)
    span = span_of(request, place, from_, to, period, last, tz)
    step = resolution(resolution_, span, STEPS)
    filters = {"meter": meter, "role": _role(role)}
    tags = {"company": company, "site": site, **{k: v for k, v in filters.items() if v is not None}}
    store = store_of(request, company)
    now_ms: int = request.app.state.clock.now_ms()
    cut_here = step != "15m" and span.tz.key != place.zone
    whole("15m" if cut_here else step, span, meters_asked(request, place, meter))
    found = _cut(store, place, span, step, tags, now_ms) if cut_here else _stored(store, place, span, step, tags)
    decisions = registry_of(request).decision_records(company, site)
    rows = EnergyRows(store, place, decisions, {k: v for k, v in tags.items() if k in filters})
    body = {
        "meta": meta(span, step, unit="Wh"),
        "series": [energy_series(one, step, span.tz.key) for one in found],
        "sums": sums(rows, span.start_ms, span.end_ms, span.tz.key, now_ms),
        "notices": [],
        "next": None,
    }
    return respond(request, body, span=span, table="series", name=f"{company}-{site}-energy-{step}")


def _role(role: str | None) -> str | None:
    if role is not None and role not in ROLES:
        detail = f"role: expected one of {', '.join(ROLES)}; found {role[:40]!r}{near(role, ROLES)}"
        raise Refused(422, "role", detail, "query/role")
    return role


def _stored(store: Store, place: Site, span: Range, step: str, tags: dict[str, str]) -> list[Series]:
    """Rows as the books wrote them, cut in the site's own zone."""
    return store.read(place.company, f"energy_{step}", tags, span.start_ms, span.end_ms)


def _cut(store: Store, place: Site, span: Range, step: str, tags: dict[str, str], now_ms: int) -> list[Series]:
    """Rows cut in another zone than the site's, by the books' own function from the quarters of an hour."""
    bounds = boundaries(_UNITS[step], span.tz.key, span.start_ms, span.end_ms)
    first, last = int(bounds.edges_ms[0]), int(bounds.edges_ms[-1])
    if first < span.start_ms:
        first = int(bounds.edges_ms[1])
    if first >= last:
        return []
    bounds = boundaries(_UNITS[step], span.tz.key, first, last)
    found = []
    for one in store.read(place.company, "energy_15m", tags, first, last):
        frame = roll(MeterRows.from_frame(one.frame), bounds, min(booked_ms(now_ms), last))
        found.append(Series(f"energy_{step}", one.tags, frame))
    return [one for one in found if len(one.frame)]


def row_ends(starts_ms: Instants, step: str, tz: str) -> Instants:
    """The end of each row of a resolution."""
    if step == "15m" or not len(starts_ms):
        return starts_ms + QUARTER_MS
    edges = boundaries(_UNITS[step], tz, int(starts_ms[0]), int(starts_ms[-1]) + 1).edges_ms
    ends: Instants = edges[np.searchsorted(edges, starts_ms, side="right").clip(max=len(edges) - 1)]
    return ends


def energy_series(one: Series, step: str, tz: str) -> dict[str, Any]:
    """One meter's rows in columns."""
    frame: Frame = one.frame
    body: dict[str, Any] = {
        "id": one.tags["meter"],
        "role": one.tags["role"],
        "unit": "Wh",
        "start": instants(frame.at_ms),
        "end": instants(row_ends(frame.at_ms, step, tz)),
        "value": field(frame, "energy_wh"),
    }
    body |= {name: field(frame, name) for name in _ALWAYS}
    if has(frame, "energy_export_wh"):
        body["energy_export_wh"] = field(frame, "energy_export_wh")
    body |= {name: field(frame, name, 1) for name in ("power_mean_w", "power_max_w")}
    body["coverage"] = field(frame, "coverage", 4)
    if step == "15m":
        body["state"] = state_words(frame.numbers.get("state", np.full(len(frame), np.nan)))
    return body
