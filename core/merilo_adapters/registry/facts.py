"""What the ledger must know of each register, dated: step, rollover, largest power, poll interval, meaning of zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import DAY_MS, QUARTER_MS, floor_ms
from merilo.site import RATED_CURRENT_ASSUMED_A, Device
from merilo_adapters.registry import companies, tables

STEP_ASSUMED_MWH = 10_000
"""10 Wh, two decimals of a kWh: the commonest display; used, and flagged, where a profile does not say."""
_PHASES, _VOLTAGE_V, _MARGIN = 3, 230.0, 1.25
RAW_MARGIN_MS = DAY_MS
"""Facts are not changed for the last day before raw readings expire: a walk from there would lose them half-way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of one register from an instant on."""

    valid_from_ms: int
    step_mwh: int
    rollover_mwh: int | None
    max_power_mw: int
    poll_interval_ms: int
    zero_is_valid: bool
    assumed: frozenset[str] = frozenset()
    """Names of the facts that nobody stated: ``max_power_mw``, ``step_mwh``."""


def rated_power_w(current_a: float, phases: int = _PHASES) -> float:
    """Largest mean power behind a rated current [W]: 1.25 x phases x 230 V x current."""
    return _MARGIN * phases * _VOLTAGE_V * current_a


def raw_start_ms(connection: sa.Connection, company: str, at_ms: int) -> int:
    """The first grid instant from which raw readings can still be walked, 0 where they are kept for ever."""
    raw_days = companies.company(connection, company).raw_days
    if raw_days is None:
        return 0
    return max(0, floor_ms(at_ms - raw_days * DAY_MS + RAW_MARGIN_MS, QUARTER_MS))


def facts(connection: sa.Connection, key: DeviceKey) -> dict[str, list[Facts]]:
    """All facts of a device's registers, oldest first."""
    table = tables.register_facts
    query = sa.select(table).where(_of(key)).order_by(table.c.register, table.c.valid_from_ms)
    found: dict[str, list[Facts]] = {}
    for row in connection.execute(query):
        found.setdefault(row.register, []).append(
            Facts(
                valid_from_ms=row.valid_from_ms,
                step_mwh=row.step_mwh,
                rollover_mwh=row.rollover_mwh,
                max_power_mw=row.max_power_mw,
                poll_interval_ms=row.poll_interval_ms,
                zero_is_valid=row.zero_is_valid,
                assumed=frozenset(row.assumed.split()),
            )
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a profile says of one register; None where it says nothing."""

    step_mwh: int | None = None
    rollover_mwh: int | None = None


def settle(
    connection: sa.Connection,
    device: Device,
    zero_is_valid: bool,
    stated: Mapping[str, Stated] | None,
    from_ms: int,
    *,
    another: bool = False,
) -> dict[RegisterKey, int]:
    """Brings the facts of a device's registers up to what is known now.

    A register without facts gets them from the beginning. A fact that was only assumed is corrected from the
    beginning; any other change counts from ``from_ms``, and a later dated fact takes it over.

    Args:
        device: As it is now.
        zero_is_valid: As it is decided for this device.
        stated: What its profile says of its registers; None: as before.
        from_ms: On the 15-minute grid.
        another: Another device answers from then on, so that nothing is learned about the time before.

    Returns:
        The registers whose facts changed, and from when.
    """
    known = facts(connection, device.key)
    changed: dict[RegisterKey, int] = {}
    for register in sorted(stated if stated is not None else known):
        dated = known.get(register, [])
        says = (stated or {}).get(register)
        now = wanted(device, zero_is_valid, says, dated[-1] if dated else None)
        result, since = _revised(dated, now, from_ms, another)
        if since is not None:
            _store(connection, device.key, register, result)
            changed[RegisterKey(*device.key, register)] = since
    return changed


def wanted(device: Device, zero_is_valid: bool, says: Stated | None, before: Facts | None) -> Facts:
    """What the facts of one register should be now.

    Args:
        device: As it is now.
        zero_is_valid: As it is decided for this device.
        says: What its profile says of the register, None if nothing new.
        before: Its present facts, None if it has none.
    """
    assumed: set[str] = set()
    if says is None and before is not None:
        step, rollover = before.step_mwh, before.rollover_mwh
        assumed |= before.assumed & {"step_mwh"}
    else:
        step = says.step_mwh if says is not None and says.step_mwh is not None else STEP_ASSUMED_MWH
        rollover = says.rollover_mwh if says is not None else None
        if says is None or says.step_mwh is None:
            assumed.add("step_mwh")
    power_w = device.max_power_w
    if power_w is None:
        power_w = rated_power_w(RATED_CURRENT_ASSUMED_A)
        assumed.add("max_power_mw")
    return Facts(
        valid_from_ms=0,
        step_mwh=step,
        rollover_mwh=rollover,
        max_power_mw=max(1, round(power_w * 1000)),
        poll_interval_ms=max(1, round(device.interval_s * 1000)),
        zero_is_valid=zero_is_valid,
        assumed=frozenset(assumed),
    )


_NAMES = ("step_mwh", "rollover_mwh", "max_power_mw", "poll_interval_ms", "zero_is_valid")


def _revised(dated: list[Facts], wanted: Facts, from_ms: int, another: bool) -> tuple[list[Facts], int | None]:
    """The dated facts with what is wanted now, and since when they differ; None if they do not."""
    if not dated:
        return [wanted], 0
    last = dated[-1]
    differs = {name for name in _NAMES if getattr(last, name) != getattr(wanted, name)}
    corrects = set() if another else set(last.assumed - wanted.assumed)
    if not differs and not corrects:
        return dated, None
    since: list[int] = []
    result = list(dated)
    for name in corrects:  # an assumption is wrong from where it began
        for place, one in enumerate(result):
            if name in one.assumed:
                if name in differs:
                    since.append(one.valid_from_ms)
                value = {name: getattr(wanted, name), "assumed": one.assumed - {name}}
                result[place] = replace(one, **value)
    rest = {name: getattr(wanted, name) for name in differs - corrects}
    if rest:
        begins = [one for one in result if one.valid_from_ms <= from_ms]
        if begins and begins[-1].valid_from_ms != from_ms:
            result.insert(len(begins), replace(begins[-1], valid_from_ms=from_ms))
        assumed = frozenset(rest) & wanted.assumed  # what is stated anew may be an assumption again
        for place, one in enumerate(result):
            if one.valid_from_ms >= from_ms:
                result[place] = replace(one, **rest, assumed=(one.assumed - frozenset(rest)) | assumed)
        since.append(from_ms)
    return result, min(since, default=None)


def _of(key: DeviceKey) -> sa.ColumnElement[bool]:
    columns = tables.register_facts.c
    return sa.and_(*(columns[name] == value for name, value in zip(DeviceKey._fields, key, strict=True)))


def _store(connection: sa.Connection, key: DeviceKey, register: str, dated: list[Facts]) -> None:
    table = tables.register_facts
    connection.execute(sa.delete(table).where(_of(key), table.c.register == register))
    rows: list[dict[str, Any]] = [
        {
            **key._asdict(),
            "register": register,
            **{name: getattr(one, name) for name in ("valid_from_ms", *_NAMES)},
            "assumed": " ".join(sorted(one.assumed)),
        }
        for one in dated
    ]
    connection.execute(sa.insert(table), rows)
