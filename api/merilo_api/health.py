"""Does data move? Gateways, devices, books, store, and everything that was not taken, with the next step for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from merilo.errors import StoreError
from merilo.frame import Frame, Series
from merilo.instants import DAY_MS, MINUTE_MS, SECOND_MS, to_text
from merilo.site import Company
from merilo_adapters.registry.work import Work
from merilo_adapters.stores import Store
from merilo_api.access import Caller, caller
from merilo_api.bodies import respond
from merilo_api.catalogue import registry_of
from merilo_api.params import strict

router = APIRouter(dependencies=[Depends(strict)])

LOOK_BACK_MS = 30 * MINUTE_MS
SILENT_AFTER_MS = 180 * SECOND_MS
"""Without a health row for this long the collector itself is silent."""


def newest(frame: Frame, field: str) -> float | None:
    """The last value of a field that is there."""
    column = frame.numbers.get(field)
    if column is None:
        return None
    here = np.flatnonzero(~np.isnan(column))
    return float(column[here[-1]]) if len(here) else None


def notice(code: str, **parameters: Any) -> dict[str, Any]:
    """A finding: a code with parameters; words are made where people read them."""
    return {"code": code, "parameters": parameters}


def company_health(request: Request, company: Company, now_ms: int) -> dict[str, Any]:
    """Everything that is known of one company's data."""
    registry = registry_of(request)
    gateways = [g for g in registry.gateways(company.id) if g.revoked_ms is None]
    devices = registry.devices(company.id)
    notices: list[dict[str, Any]] = []
    if not gateways:
        notices.append(notice("no_gateway", company=company.id))
    notices.extend(
        notice("device_unconfirmed", device=d.key.device, gateway=d.key.gateway) for d in devices if not d.confirmed
    )
    body: dict[str, Any] = {"id": company.id, "gateways": [], "devices": [], "store": {"ok": True}, "notices": notices}
    try:
        store: Store = request.app.state.stores.of(company.id)
        body["store"]["kind"] = store.kind()
        span = (now_ms - LOOK_BACK_MS, now_ms + DAY_MS)
        gateway_rows = store.read(company.id, "gateway_health", {"company": company.id}, *span)
        device_rows = store.read(company.id, "device_health", {"company": company.id}, *span)
    except StoreError as error:
        body["store"] = {"ok": False, "reason": str(error)}
        notices.append(notice("store_away", reason=str(error)))
        return body
    if gateways and not gateway_rows:
        notices.append(notice("collector_silent"))
    body["gateways"] = [_gateway(one, now_ms, notices) for one in gateway_rows]
    known = {(one["site"], one["id"]) for one in body["gateways"]}
    for gateway in gateways:
        if (gateway.key.site, gateway.key.gateway) not in known and gateway_rows:
            notices.append(notice("gateway_never_seen", gateway=gateway.key.gateway))
    body["devices"] = [_device(one, notices) for one in device_rows]
    days = work_of(request).counters(f"store/{company.id}").get((f"store/{company.id}", "forgotten_days"), 0)
    if days:
        notices.append(notice("store_forgot", days=days))
    return body


def _gateway(one: Series, now_ms: int, notices: list[dict[str, Any]]) -> dict[str, Any]:
    up = newest(one.frame, "up") == 1.0
    if not up:
        notices.append(notice("gateway_silent", gateway=one.tags["gateway"], site=one.tags["site"]))
    return {
        "id": one.tags["gateway"],
        "site": one.tags["site"],
        "up": up,
        "at": to_text(int(one.frame.at_ms[-1])),
        "outbox_rows": newest(one.frame, "outbox_rows"),
        "outbox_age_s": newest(one.frame, "outbox_age_s"),
        "clock_offset_s": newest(one.frame, "clock_offset_s"),
    }


def _device(one: Series, notices: list[dict[str, Any]]) -> dict[str, Any]:
    up = newest(one.frame, "up") == 1.0
    if not up:
        notices.append(notice("device_silent", device=one.tags["device"], gateway=one.tags["gateway"]))
    return {
        "id": one.tags["device"],
        "gateway": one.tags["gateway"],
        "site": one.tags["site"],
        "up": up,
        "age_s": newest(one.frame, "age_s"),
        "polls_failed": newest(one.frame, "polls_failed"),
    }


def work_of(request: Request) -> Work:
    """The work tables of this application."""
    found: Work = request.app.state.work
    return found


def dropped(work: Work, company: str | None) -> dict[str, int]:
    """What was not taken, by reason: of one company, or of everything."""
    found: dict[str, int] = {}
    for (scope, name), value in work.counters().items():
        kind, _, reason = name.partition(":")
        if kind == "rejected" and (company is None or scope.split("/")[0] == company):
            code = reason.split(":")[0]
            found[code] = found.get(code, 0) + value
    return found


@router.get("/v1/health", operation_id="get_health", summary="Does data move, and what was not taken")
def health(request: Request, who: Caller = Depends(caller)) -> Response:  # noqa: B008
    """Per company: gateways, devices, store, notices; counters of everything that was refused."""
    now_ms: int = request.app.state.clock.now_ms()
    registry, work = registry_of(request), work_of(request)
    companies = [c for c in registry.companies() if who.company in (None, c.id)]
    found = [company_health(request, c, now_ms) for c in companies]
    body = {
        "at": to_text(now_ms),
        "ok": all(not one["notices"] for one in found),
        "companies": found,
        "books": {"waiting": work.pending_count()},
        "rejected": dropped(work, who.company),
        "next": None,
    }
    return respond(request, body)


@router.get("/healthz", operation_id="alive", summary="Whether the program answers", include_in_schema=False)
def alive() -> Response:
    """For supervisors: no login, no data."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz", operation_id="ready", summary="Whether the registry can be read", include_in_schema=False)
def ready(request: Request) -> Response:
    """For supervisors: no login, no data."""
    registry_of(request).version()
    return Response("ok\n", media_type="text/plain")
