"""InfluxQL of the boards, built from the stored names: the one language that InfluxDB 1.x and 2.x share.

Rules that hold for every statement: sum, then show (the mean over meters is not the company's power); every tag of a
measurement is grouped or fixed; bounded in time at every level; no number is multiplied or divided. Rows of local days
and months are stored, so no statement cuts days. Rows of one instant are put together by ``GROUP BY time(15m)``, since
every row lies on the 15-minute grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from merilo.schema import MEASUREMENTS, STATES

SCOPE = '"company" =~ /^$company$/ AND "site" =~ /^$site$/'
MAIN = f"{SCOPE} AND \"role\" = 'main'"
PICKED = "$timeFilter"
"""The panel's stretch of time."""
GRID = "time(15m)"

STATE_CODES: Mapping[str, int] = MappingProxyType({word: code for code, word in STATES.items()})


def last(span: str) -> str:
    """The stretch of this length up to now."""
    return f"time > now() - {span}"


def source(measurement: str) -> str:
    """The measurement as it stands after FROM: policy raw needs its database, the default policy must have none."""
    return f'"$db"."raw"."{measurement}"' if MEASUREMENTS[measurement].policy == "raw" else f'"{measurement}"'


def every_tag(measurement: str) -> list[str]:
    """All tags of a measurement for GROUP BY."""
    return [f'"{tag}"' for tag in MEASUREMENTS[measurement].tags]


def select(
    picked: Sequence[str], read: str, *conditions: str, groups: Sequence[str] = (), fill: str = "", tail: str = ""
) -> str:
    """One SELECT.

    Args:
        read: What stands after FROM.
        fill: What an empty interval gives, where time is grouped.
        tail: Order and limit.
    """
    parts = ["SELECT", ", ".join(picked), "FROM", read, "WHERE", " AND ".join(conditions)]
    if groups:
        parts += ["GROUP BY", ", ".join(groups)]
    if fill:
        parts.append(f"fill({fill})")
    if tail:
        parts.append(tail)
    return " ".join(parts)


def total(measurement: str, field: str, name: str, *conditions: str) -> str:
    """The sum of a field over all rows."""
    return select([f'sum("{field}") AS "{name}"'], source(measurement), *conditions)


def total_of_newest(measurement: str, field: str, where: str, when: str, combine: str = "sum") -> str:
    """The newest value of each series, put together by sum, or by another function."""
    newest = [f'last("{field}") AS "newest"']
    inner = select(newest, source(measurement), where, when, groups=every_tag(measurement))
    return select([f'{combine}("newest") AS "newest"'], f"({inner})", when)


def stacked_rows(measurement: str, fields: Mapping[str, str], where: str, when: str) -> str:
    """Sums over meters of the rows of each instant.

    Args:
        fields: Stored field by the name of its column.
    """
    picked = [f'"{field}" AS "{name}"' for name, field in fields.items()]
    inner = select(picked, source(measurement), where, when, groups=every_tag(measurement))
    sums = [f'sum("{name}") AS "{name}"' for name in fields]
    return select(sums, f"({inner})", when, groups=[GRID], fill="none")


def quarter_power(state: str, where: str, when: str) -> str:
    """The power of each quarter of an hour, summed over the meters whose quarter has this state.

    One row per meter and quarter exists, so the mean is that row.
    """
    groups = [GRID, *every_tag("energy_15m")]
    code = f'"state" = {STATE_CODES[state]}'
    mean = ['mean("power_mean_w") AS "power"']
    inner = select(mean, source("energy_15m"), where, code, when, groups=groups, fill="none")
    return select(['sum("power") AS "power"'], f"({inner})", when, groups=[GRID], fill="null")


def quarters_without(where: str, when: str) -> str:
    """How many meters each quarter of an hour is missing for; nothing where none is."""
    groups = [GRID, *every_tag("energy_15m")]
    code = f'"state" = {STATE_CODES["missing"]}'
    inner = select(['count("state") AS "missing"'], source("energy_15m"), where, code, when, groups=groups, fill="none")
    return select(['sum("missing") AS "missing"'], f"({inner})", when, groups=[GRID], fill="none")


def rows_below(measurement: str, field: str, limit: float, where: str, when: str) -> str:
    """How many series have a lower value than the limit at each instant; nothing where none has."""
    low = f'"{field}" < {limit}'
    inner = select([f'"{field}" AS "low"'], source(measurement), where, low, when, groups=every_tag(measurement))
    return select(['count("low") AS "below"'], f"({inner})", when, groups=[GRID], fill="none")


def newest_rows(measurement: str, fields: Mapping[str, str], *conditions: str) -> str:
    """The newest value of each field of each series."""
    picked = [f'last("{field}") AS "{name}"' for name, field in fields.items()]
    return select(picked, source(measurement), *conditions, groups=every_tag(measurement))


def lowest(measurement: str, field: str, *conditions: str) -> str:
    """The lowest value of each series in each interval of the panel; an interval without a row stays empty."""
    groups = ["time($__interval)", *every_tag(measurement)]
    return select([f'min("{field}") AS "{field}"'], source(measurement), *conditions, groups=groups, fill="null")


def values_of(tag: str, measurement: str, where: str = "") -> str:
    """The values a tag has, for a variable. Only measurements of the default policy answer on 2.x."""
    text = f'SHOW TAG VALUES FROM {source(measurement)} WITH KEY = "{tag}"'
    return f"{text} WHERE {where}" if where else text
