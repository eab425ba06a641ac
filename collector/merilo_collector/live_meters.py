"""How the live power of each meter is made of devices' powers, as the registry defines meters now."""

from __future__ import annotations

from collections.abc import Sequence

from merilo.ids import DeviceKey
from merilo.meters import Scheme
from merilo.site import MeterVersion
from merilo_adapters.registry import Registry
from merilo_collector.live import LiveMeter

DEPTH_MAX = 8
"""Meters of meters of meters: deeper than this nobody can explain a figure."""


def live_meters(registry: Registry, company: str, now_ms: int) -> list[LiveMeter]:
    """Every meter of the company that can be formed of live powers."""
    found: list[LiveMeter] = []
    for site in registry.sites(company):
        versions = registry.meters(company, site.id)
        scheme = Scheme(versions)
        for meter in sorted({version.meter for version in versions}):
            version = scheme.at(meter, now_ms) or _first(versions, meter, now_ms)
            terms = _terms(scheme, version, 1.0, now_ms, 0) if version is not None else []
            if version is not None and terms:
                found.append(LiveMeter(meter, version.role, site.id, tuple(terms)))
    return found


def _first(versions: Sequence[MeterVersion], meter: str, now_ms: int) -> MeterVersion | None:
    """A definition that begins at the next quarter of an hour is as good as begun."""
    coming = [v for v in versions if v.meter == meter and v.valid_from_ms > now_ms]
    return min(coming, key=lambda v: v.valid_from_ms) if coming else None


def _terms(
    scheme: Scheme, version: MeterVersion, factor: float, now_ms: int, depth: int
) -> list[tuple[float, DeviceKey, str]]:
    if version.device is not None:
        power = f"active_power_{version.phase}_w" if version.phase else "active_power_w"
        return [(factor, version.device, power)]
    found: list[tuple[float, DeviceKey, str]] = []
    if depth >= DEPTH_MAX:
        return []
    for term in scheme.terms(version):
        part = scheme.at(term.meter, now_ms)
        inner = _terms(scheme, part, factor * float(term.factor), now_ms, depth + 1) if part is not None else []
        if not inner:
            return []
        found.extend(inner)
    return found
