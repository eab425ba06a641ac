"""Power now, today and this month: the same numbers as the page, from the same function."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Security
from starlette.responses import Response

from merilo.instants import to_text
from merilo_api import answers
from merilo_api.access import BEARER
from merilo_api.bodies import respond
from merilo_api.catalogue import Who, current, registry_of, site_of
from merilo_api.numbers import Language, store_of
from merilo_api.page.notices import told
from merilo_api.page.shell import Shell, shell_of
from merilo_api.page.view import Booked, MeterView, PageView, Reader
from merilo_api.page.words import Words, of_request
from merilo_api.params import strict

router = APIRouter(
    prefix="/v1/companies/{company}/sites/{site}", dependencies=[Depends(strict), Security(BEARER)], tags=["numbers"]
)


@router.get("/now", operation_id="get_now", summary="Power now, today and this month", response_model=answers.Now)
def now(request: Request, company: str, site: str, who: Who, lang: Language = None) -> Response:
    """Per meter and for the whole site; what is not booked yet is told apart as provisional."""
    place = site_of(request, who, company, site)
    registry = registry_of(request)
    now_ms: int = request.app.state.clock.now_ms()
    meters = current(registry.meters(company, site), now_ms)
    reader = Reader(
        store_of(request, company),
        place,
        now_ms,
        registry.decision_records(company, site),
        registry.devices(company, site),
    )
    view = reader.numbers(meters)
    body = {
        "at": to_text(now_ms),
        "tz": place.zone,
        "total": _meter(view.total) if view.total is not None else None,
        "meters": [_meter(row) for row in view.meters],
        "notices": lacks(view, of_request(request), shell_of(request)),
    }
    return respond(request, body)


def lacks(view: PageView, words: Words, shell: Shell) -> list[dict[str, Any]]:
    """What the registry lacks for a total."""
    if view.has_main or not view.meters:
        return []
    place = f"{view.site.company}/{view.site.id}"
    return [told("no_main", {"meter": f"{place}/{view.meters[0].meter}"}, words, shell)]


def _meter(row: MeterView) -> dict[str, Any]:
    return {
        "id": row.meter,
        "role": row.role,
        "power_w": None if row.power_w is None else round(row.power_w, 1),
        "power_at": None if row.power_at_ms is None else to_text(row.power_at_ms),
        "today": _booked(row.today, row.booked_until_ms),
        "month": _booked(row.month, row.booked_until_ms),
    }


def _booked(period: Booked, until_ms: int | None) -> dict[str, Any]:
    value = period.value_wh
    return {
        "value": None if value is None else round(value, 3),
        "booked_wh": period.booked_wh,
        "provisional_wh": round(period.provisional_wh, 3),
        "coverage": None if period.coverage is None else round(period.coverage, 4),
        "start": to_text(period.start_ms),
        "booked_until": None if until_ms is None else to_text(until_ms),
    }
