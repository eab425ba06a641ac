"""Does data move? Gateways, devices, books, store, and everything that was not taken, with the next step for each."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Security
from starlette.responses import Response

from merilo.errors import ConfigError, StoreError, StoreRefusedError, StoreUnavailableError
from merilo.frame import Frame, Series
from merilo.ids import GatewayKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, SECOND_MS, to_text
from merilo.site import Company, Device, Gateway, Site
from merilo_adapters.registry.work import Work
from merilo_adapters.stores import Store
from merilo_api import answers, work_view
from merilo_api.access import BEARER
from merilo_api.bodies import respond
from merilo_api.catalogue import Who, registry_of
from merilo_api.numbers import Language
from merilo_api.page.notices import told
from merilo_api.page.shell import shell_of
from merilo_api.page.words import Words, of_request
from merilo_api.params import strict
from merilo_api.sums import booked_ms

log = logging.getLogger(__name__)

router = APIRouter(dependencies=[Depends(strict)], tags=["health"])

LOOK_BACK_MS = 30 * MINUTE_MS
SILENT_AFTER_MS = 180 * SECOND_MS
"""Life signs are written each minute; none for so long, and nobody writes them."""
BEHIND_MS = 45 * MINUTE_MS
"""Books three quarters of an hour late do not run, or cannot."""
REFUSED_DAYS = 30
"""Refusals before that are history."""
_REASONS = {StoreUnavailableError: "unavailable", StoreRefusedError: "refused"}
"""What a key holder learns; addresses and paths stay in the log."""


def newest(frame: Frame, field: str) -> float | None:
    """The last value of a field that is there."""
    column = frame.numbers.get(field)
    if column is None:
        return None
    here = np.flatnonzero(~np.isnan(column))
    return float(column[here[-1]]) if len(here) else None


def newest_text(frame: Frame, field: str) -> str | None:
    """The last text of a field that is there."""
    return next((text for text in reversed(frame.texts.get(field, [])) if text), None)


class CompanyHealth:
    """Collects what is known of one company's data, and what of it needs somebody."""

    def __init__(self, request: Request, company: Company, words: Words) -> None:
        self._registry = registry_of(request)
        self._work: Work = request.app.state.work
        self._stores = request.app.state.stores
        self._company = company
        self._words = words
        self._shell = shell_of(request)
        self._now_ms: int = request.app.state.clock.now_ms()
        self._notices: list[dict[str, Any]] = []

    def body(self) -> dict[str, Any]:
        """Everything, with notices in the order they were found."""
        company = self._company.id
        gateways = [g for g in self._registry.gateways(company) if g.revoked_ms is None]
        devices = self._registry.devices(company)
        sites = self._registry.sites(company)
        found: dict[str, Any] = {"id": company, "store": {}, "gateways": [], "devices": [], "sites": []}
        self._of_registry(sites, gateways, devices)
        try:
            store: Store = self._stores.of(company)
            found["store"] = {"ok": True, "kind": store.kind(), "started": _text(store.started_ms())}
            span = (self._now_ms - LOOK_BACK_MS, self._now_ms + DAY_MS)
            gateway_rows = store.read(company, "gateway_health", {"company": company}, *span)
            device_rows = store.read(company, "device_health", {"company": company}, *span)
            found["sites"] = [self._site(store, site) for site in sites]
        except (StoreError, ConfigError) as error:
            log.warning("store away company=%s reason=%s", company, error)
            found["store"] = {"ok": False, "reason": _REASONS.get(type(error), "configuration")}
            self._note("store_away")
        else:
            self._of_collector(gateways, gateway_rows)
            found["gateways"] = [self._gateway(one, devices) for one in gateway_rows]
            strips = {(d.key.gateway_key, d.key.device): d.channel_of for d in devices if d.channel_of}
            down = {_place(one) for one in device_rows if newest(one.frame, "up") != 1.0}
            dead = {key for key, strip in strips.items() if (key[0], strip) in down}  # their strip says it for them
            found["devices"] = [self._device(one, found["gateways"], dead) for one in device_rows]
        self._of_work(found)
        found["notices"] = self._notices
        return found

    def _note(self, code: str, **parameters: Any) -> None:
        self._notices.append(told(code, parameters, self._words, self._shell))

    def _of_registry(self, sites: Sequence[Site], gateways: Sequence[Gateway], devices: Sequence[Device]) -> None:
        company = self._company.id
        for site in sites:
            if all(g.key.site != site.id for g in gateways):
                self._note("no_gateway", site=f"{company}/{site.id}")
            new = [d.key.device for d in devices if d.key.site == site.id and not d.confirmed]
            if new:
                self._note("devices_unconfirmed", site=f"{company}/{site.id}", devices=new)

    def _of_collector(self, gateways: Sequence[Gateway], rows: Sequence[Series]) -> None:
        last_ms = max((int(one.frame.at_ms[-1]) for one in rows), default=0)
        started = [g for g in gateways if g.created_ms <= self._now_ms - SILENT_AFTER_MS]
        if started and last_ms <= self._now_ms - SILENT_AFTER_MS:
            self._note("collector_silent")

    def _gateway(self, one: Series, devices: Sequence[Device]) -> dict[str, Any]:
        site, gateway = one.tags["site"], one.tags["gateway"]
        up = newest(one.frame, "up") == 1.0
        if not up:
            seen = any((d.key.site, d.key.gateway) == (site, gateway) for d in devices)
            place = f"{self._company.id}/{site}"
            self._note("gateway_silent" if seen else "gateway_never_seen", site=place, gateway=gateway)
        numbers = ("outbox_rows", "outbox_age_s", "disk_free", "clock_offset_s", "mqtt_reconnects")
        return {
            "id": gateway,
            "site": site,
            "up": up,
            "at": to_text(int(one.frame.at_ms[-1])),
            "version": newest_text(one.frame, "version"),
            **{name: newest(one.frame, name) for name in numbers},
        }

    def _device(
        self, one: Series, gateways: Sequence[dict[str, Any]], dead: Collection[tuple[GatewayKey, str]]
    ) -> dict[str, Any]:
        up = newest(one.frame, "up") == 1.0
        site, gateway = one.tags["site"], one.tags["gateway"]
        heard = any(g["up"] for g in gateways if (g["site"], g["id"]) == (site, gateway))
        if not up and heard and _place(one) not in dead:  # behind a silent gateway every device is silent
            self._note("device_silent", site=f"{self._company.id}/{site}", device=one.tags["device"], gateway=gateway)
        numbers = ("age_s", "polls", "polls_failed", "latency_s")
        fields = {name: newest(one.frame, name) for name in numbers}
        return {"id": one.tags["device"], "gateway": gateway, "site": site, "up": up, **fields}

    def _site(self, store: Store, site: Site) -> dict[str, Any]:
        until_ms = booked_until(store, site, self._now_ms)
        if until_ms is not None and until_ms < booked_ms(self._now_ms) - BEHIND_MS:
            behind_s = (self._now_ms - until_ms) / SECOND_MS
            self._note("books_behind", site=f"{site.company}/{site.id}", behind_s=behind_s)
        return {"id": site.id, "booked_until": _text(until_ms)}

    def _of_work(self, found: dict[str, Any]) -> None:
        company = self._company.id
        days = work_view.forgotten_days(self._work, company)
        if days:
            self._note("store_forgot", days=days)
        since = to_text(self._now_ms - REFUSED_DAYS * DAY_MS)[:10]
        found["store"]["forgotten_days"] = days
        found["rejected"] = work_view.rejected(self._work, company, since)
        found["dead_letters"] = work_view.dead(self._work, company)
        if found["rejected"]:
            total = sum(found["rejected"].values())
            self._note("messages_refused", number=total, reasons=sorted(found["rejected"]))


def _place(one: Series) -> tuple[GatewayKey, str]:
    tags = one.tags
    return GatewayKey(tags["company"], tags["site"], tags["gateway"]), tags["device"]


def booked_until(store: Store, site: Site, now_ms: int) -> int | None:
    """End of the newest booked quarter of an hour of a site, None where nothing was booked in the last year."""
    tags = {"company": site.company, "site": site.id}

    def last(measurement: str, start_ms: int, end_ms: int, field: str) -> int | None:
        found = store.read(site.company, measurement, tags, start_ms, end_ms, [field])
        return max((int(one.frame.at_ms[-1]) for one in found), default=None)

    at_ms = last("energy_15m", now_ms - 2 * HOUR_MS, now_ms + HOUR_MS, "state")
    if at_ms is None:
        day_ms = last("energy_1d", now_ms - 366 * DAY_MS, now_ms, "coverage")
        at_ms = None if day_ms is None else last("energy_15m", day_ms, day_ms + DAY_MS + 2 * HOUR_MS, "state")
    return None if at_ms is None else at_ms + QUARTER_MS


def _text(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_text(at_ms)


def company_health(request: Request, company: Company, words: Words) -> dict[str, Any]:
    """Everything that is known of one company's data."""
    return CompanyHealth(request, company, words).body()


@router.get(
    "/v1/health",
    operation_id="get_health",
    summary="Does data move, and what was not taken",
    response_model=answers.Health,
    dependencies=[Security(BEARER)],
)
def health(request: Request, who: Who, lang: Language = None) -> Response:
    """Per company: store, gateways, devices, books, refusals by reason, and notices with the next step."""
    work: Work = request.app.state.work
    words = of_request(request)
    found = [company_health(request, c, words) for c in registry_of(request).companies() if who.company in (None, c.id)]
    return respond(
        request,
        {
            "at": to_text(request.app.state.clock.now_ms()),
            "ok": all(not one["notices"] for one in found),
            "companies": found,
            "books": {"waiting": work_view.waiting(work, who.company)},
            "rejected": work_view.rejected(work, who.company),
            "next": None,
        },
    )


@router.get("/healthz", operation_id="alive", summary="Whether the program answers", include_in_schema=False)
def alive() -> Response:
    """For supervisors: no login, no data."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz", operation_id="ready", summary="Whether the registry can be read", include_in_schema=False)
def ready(request: Request) -> Response:
    """For supervisors: no login, no data."""
    registry_of(request).version()
    return Response("ok\n", media_type="text/plain")
