"""Local time, working hours and daylight of an office in Bulgaria, as smooth functions of the instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from merilo.instants import DAY_MS, HOUR_MS, from_ms
from merilo_simulators.noise import Floats, Ints, uniform

ZONE = ZoneInfo("Europe/Sofia")
_FIXED_HOLIDAYS = frozenset({(1, 1), (3, 3), (5, 1), (5, 6), (5, 24), (9, 6), (9, 22), (12, 24), (12, 25), (12, 26)})
"""Month and day, from article 154 of the Bulgarian Labour Code; moved days off are left out."""

_YEAR_DAYS = 365.25
_MIDSUMMER = 171
"""Days from 1 January 1970 to the solstice of that year."""
_SOLAR_NOON_H = 12.0 - 27.5 / 15.0
"""Hour of the day in UTC at which the sun stands highest in Burgas."""


def orthodox_easter(year: int) -> date:
    """Orthodox Easter Sunday, by Meeus' Julian algorithm, for 1900 to 2099."""
    a, b, c = year % 4, year % 7, year % 19
    d = (19 * c + 15) % 30
    e = (2 * a + 4 * b - d + 34) % 7
    month, day = divmod(d + e + 114, 31)
    return date(year, month, day + 1) + timedelta(days=13)


@lru_cache(maxsize=4096)
def is_day_off(day: date) -> bool:
    """Whether nobody works: a Sunday, or a public holiday (fixed ones, Good Friday to Easter Monday)."""
    since_easter = (day - orthodox_easter(day.year)).days
    return day.weekday() == 6 or (day.month, day.day) in _FIXED_HOLIDAYS or -2 <= since_easter <= 1


@lru_cache(maxsize=65536)
def _offset_ms(hour: int) -> int:
    offset = from_ms(hour * HOUR_MS).astimezone(ZONE).utcoffset()
    assert offset is not None
    return offset // timedelta(milliseconds=1)


def local_ms(at_ms: Ints) -> Ints:
    """Wall-clock time in Sofia as milliseconds since 1970-01-01 00:00 local, daylight saving included."""
    hours, places = np.unique(at_ms // HOUR_MS, return_inverse=True)
    offsets = np.array([_offset_ms(int(hour)) for hour in hours], dtype=np.int64)
    return np.asarray(at_ms + offsets[places], dtype=np.int64)


def _ramp(hour: Floats, start: float, end: float) -> Floats:
    part = np.clip((hour - start) / (end - start), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part), dtype=np.float64)


def occupancy(seed: int, at_ms: Ints) -> Floats:
    """Share of the staff at work, 0 to 1: by local hour, weekday, holiday, and how many came that day."""
    local = local_ms(at_ms)
    day, in_day = np.divmod(local, DAY_MS)
    hour = in_day / HOUR_MS
    shape = _ramp(hour, 7.25, 9.25) * (1.0 - _ramp(hour, 16.75, 18.75))
    shape *= 1.0 - 0.3 * _ramp(hour, 12.0, 12.5) * (1.0 - _ramp(hour, 13.0, 13.5))
    days, places = np.unique(day, return_inverse=True)
    present = np.array([_present(seed, int(number)) for number in days])
    return np.asarray(shape * present[places], dtype=np.float64)


@lru_cache(maxsize=4096)
def _present(seed: int, day_number: int) -> float:
    day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day_number)).date()
    if is_day_off(day):
        return 0.0
    drawn = float(uniform(seed, "present", np.array([day_number]))[0])
    return 0.12 + 0.08 * drawn if day.weekday() == 5 else 0.88 + 0.1 * drawn


def daylight(at_ms: Ints) -> Floats:
    """Share of full daylight in Burgas (42.5° N, 27.5° E), 0 to 1: a half cosine between sunrise and sunset."""
    day, in_day = np.divmod(at_ms, DAY_MS)
    half_length_h = 6.1 + 1.55 * np.cos(2 * np.pi * (day - _MIDSUMMER) / _YEAR_DAYS)
    from_noon_h = in_day / HOUR_MS - _SOLAR_NOON_H
    return np.cos(np.pi / 2 * np.clip(from_noon_h / half_length_h, -1.0, 1.0))
