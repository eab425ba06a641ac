"""What the page says of the data's quality: each device's month, and what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merilo.frame import Frame
from merilo.instants import DAY_MS, HOUR_MS
from merilo.ports import SeriesStore
from merilo.schema import EVENT_COUNTERS
from merilo.site import Device, Event, Site
from merilo_adapters.registry import Registry
from merilo_api.page.notices import event_text
from merilo_api.page.words import Words

DAYS = 30
EVENTS_SHOWN = 8
EVENTS_READ = 2_000


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One row of the table of devices."""

    device: str
    gateway: str
    model: str
    up: bool | None
    """None: nothing was heard of it lately."""
    age_s: float | None
    coverage: float | None
    """Of the last days; None in the first hour of a device, and where nothing is known."""
    disturbances: int


def device_views(
    store: SeriesStore, site: Site, devices: Sequence[Device], health: Mapping[str, Any], now_ms: int
) -> list[DeviceView]:
    """Every device of the site, those that the registry has only too."""
    tags = {"company": site.company, "site": site.id}
    rows = store.read(site.company, "quality_1d", tags, now_ms - DAYS * DAY_MS, now_ms + DAY_MS)
    days = {(one.tags["gateway"], one.tags["device"]): one.frame for one in rows}
    live = {(one["gateway"], one["id"]): one for one in health["devices"] if one["site"] == site.id}
    known = {(one.key.gateway, one.key.device): one for one in devices}
    new = {key for key, one in known.items() if one.first_seen_ms > now_ms - HOUR_MS}  # too early to judge
    return [
        _view(key, known.get(key), live.get(key, {}), None if key in new else days.get(key))
        for key in sorted(known.keys() | live.keys())
    ]


def _view(key: tuple[str, str], device: Device | None, live: Mapping[str, Any], days: Frame | None) -> DeviceView:
    coverage = None
    disturbances = 0
    if days is not None and len(days):
        share, expected = (days.numbers.get(n, np.full(len(days), np.nan)) for n in ("coverage", "expected"))
        here = ~np.isnan(share) & (expected > 0)
        coverage = float((share[here] * expected[here]).sum() / expected[here].sum()) if here.any() else None
        disturbances = round(sum(float(np.nansum(days.numbers[n])) for n in EVENT_COUNTERS if n in days.numbers))
    return DeviceView(
        device=key[1],
        gateway=key[0],
        model=device.model if device is not None else "",
        up=live.get("up"),
        age_s=live.get("age_s"),
        coverage=coverage,
        disturbances=disturbances,
    )


@dataclass(frozen=True, slots=True)
class EventView:
    """One event, newest first."""

    at_ms: int
    text: str
    about: str


def event_views(registry: Registry, site: Site, now_ms: int, words: Words) -> list[EventView]:
    """The newest events of the last days."""
    start_ms = now_ms - DAYS * DAY_MS
    found = registry.events(site.company, start_ms, now_ms + 1, limit=EVENTS_READ, site=site.id)
    return [EventView(one.at_ms, event_text(one.code, words), _about(one)) for one in reversed(found[-EVENTS_SHOWN:])]


def _about(event: Event) -> str:
    return event.place.meter or event.place.device or event.place.gateway or ""
