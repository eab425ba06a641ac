"""What a company has: sites, devices, meters, as the registry says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Security
from starlette.responses import Response

from merilo.instants import to_text
from merilo.site import Device, MeterVersion, Site
from merilo_adapters.registry import Registry
from merilo_api import answers
from merilo_api.access import BEARER, Caller, caller, may_see
from merilo_api.bodies import respond
from merilo_api.params import identifier, strict
from merilo_api.problems import not_there

router = APIRouter(prefix="/v1", dependencies=[Depends(strict), Security(BEARER)], tags=["what there is"])

Who = Annotated[Caller, Depends(caller)]


def registry_of(request: Request) -> Registry:
    """The registry of this application."""
    found: Registry = request.app.state.registry
    return found


def site_of(request: Request, who: Caller, company: str, site: str) -> Site:
    """The site of this path, if this caller may see it."""
    identifier(company)
    identifier(site)
    may_see(who, company)
    found = next((s for s in registry_of(request).sites(company) if s.id == site), None)
    if found is None:
        raise not_there()
    return found


def meter_body(version: MeterVersion) -> dict[str, Any]:
    """A meter as it is defined from one instant on."""
    return {
        "id": version.meter,
        "role": version.role,
        "parent": version.parent,
        "confirmed": version.confirmed,
        "device": "/".join(version.device[2:]) if version.device else None,
        "phase": version.phase or None,
        "expression": version.expression,
        "valid_from": to_text(version.valid_from_ms),
        "valid_to": to_text(version.valid_to_ms) if version.valid_to_ms is not None else None,
    }


def device_body(device: Device) -> dict[str, Any]:
    """A device as the registry knows it."""
    return {
        "id": device.key.device,
        "gateway": device.key.gateway,
        "model": device.model,
        "serial": device.serial,
        "profile": device.profile,
        "channel_of": device.channel_of or None,
        "interval_s": device.interval_s,
        "confirmed": device.confirmed,
        "proposed_role": device.proposed_role or None,
        "first_seen": to_text(device.first_seen_ms),
        "max_power_w": device.max_power_w,
    }


def current(versions: Sequence[MeterVersion], now_ms: int) -> list[MeterVersion]:
    """The definitions that are valid now; before a meter's first one, that one."""
    found: dict[str, MeterVersion] = {}
    for version in sorted(versions, key=lambda v: v.valid_from_ms):
        if version.valid_from_ms <= now_ms or version.meter not in found:
            found[version.meter] = version
    return [v for v in found.values() if v.valid_to_ms is None or v.valid_to_ms > now_ms]


@router.get(
    "/companies",
    operation_id="list_companies",
    summary="The companies this key may see",
    response_model=answers.Companies,
)
def companies(request: Request, who: Who) -> Response:
    """Id and name of each company."""
    found = [c for c in registry_of(request).companies() if who.company in (None, c.id)]
    body = {"companies": [{"id": c.id, "name": c.name, "raw_days": c.raw_days} for c in found], "next": None}
    return respond(request, body)


@router.get(
    "/companies/{company}/sites",
    operation_id="list_sites",
    summary="The sites of a company",
    response_model=answers.Sites,
)
def sites(request: Request, company: str, who: Who) -> Response:
    """Id, name, zone, country and currency of each site."""
    identifier(company)
    may_see(who, company)
    if all(c.id != company for c in registry_of(request).companies()):
        raise not_there()
    found = registry_of(request).sites(company)
    rows = [{"id": s.id, "name": s.name, "tz": s.zone, "country": s.country, "currency": s.currency} for s in found]
    return respond(request, {"sites": rows, "next": None})


@router.get(
    "/companies/{company}/sites/{site}/devices",
    operation_id="list_devices",
    summary="What gateways talk to",
    response_model=answers.Devices,
)
def devices(request: Request, company: str, site: str, who: Who) -> Response:
    """Every device of the site, also those that nobody confirmed yet."""
    place = site_of(request, who, company, site)
    found = registry_of(request).devices(place.company, place.id)
    return respond(request, {"devices": [device_body(d) for d in found], "next": None})


@router.get(
    "/companies/{company}/sites/{site}/meters",
    operation_id="list_meters",
    summary="What energy is booked on",
    response_model=answers.Meters,
)
def meters(request: Request, company: str, site: str, who: Who) -> Response:
    """Every meter with its newest definition and all dated ones; one that has ended says when."""
    place = site_of(request, who, company, site)
    versions = sorted(registry_of(request).meters(place.company, place.id), key=lambda v: (v.meter, v.valid_from_ms))
    newest = {version.meter: version for version in versions}
    rows = [
        {**meter_body(v), "versions": [meter_body(other) for other in versions if other.meter == v.meter]}
        for v in newest.values()
    ]
    return respond(request, {"meters": rows, "next": None})
