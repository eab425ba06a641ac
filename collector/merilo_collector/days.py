"""Labels of local days, cheap enough for every reading."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

from merilo.calendar import boundaries
from merilo.instants import from_ms


@lru_cache(maxsize=8)
def _zone_days(zone: str) -> dict[int, tuple[int, int, str]]:
    return {}


def local_day(at_ms: int, zone: str) -> str:
    """The local date of an instant, ``2026-10-25``."""
    days = _zone_days(zone)
    hour = at_ms // 3_600_000
    found = days.get(hour)
    if found is None or not found[0] <= at_ms < found[1]:
        edges = boundaries("day", zone, at_ms, at_ms + 1).edges_ms
        label = from_ms(int(edges[0])).astimezone(ZoneInfo(zone)).date().isoformat()
        found = (int(edges[0]), int(edges[1]), label)
        if len(days) > 100_000:
            days.clear()
        days[hour] = found
    return found[2]
