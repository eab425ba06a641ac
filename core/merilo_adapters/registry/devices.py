"""Devices: entered when first seen, described by their gateway's birth, decided by a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from merilo.errors import NotFoundError
from merilo.ids import DeviceKey, GatewayKey
from merilo.site import Device, MeterVersion
from merilo_adapters.registry import companies, meters, tables

_TOLD = ("model", "serial", "profile", "profile_version", "channel_of", "interval_s", "confirmed", "proposed_role")


def _device(row: Any) -> Device:
    power, zero = row.decided_max_power_w, row.decided_zero_is_valid
    return Device(
        key=DeviceKey(row.company, row.site, row.gateway, row.device),
        first_seen_ms=row.first_seen_ms,
        max_power_w=power if power is not None else row.proposed_max_power_w,
        zero_is_valid=zero if zero is not None else row.proposed_zero_is_valid,
        **{name: getattr(row, name) for name in _TOLD},
    )


def is_device(key: DeviceKey) -> sa.ColumnElement[bool]:
    """The row of one device."""
    columns = tables.devices.c
    return sa.and_(*(columns[name] == value for name, value in zip(DeviceKey._fields, key, strict=True)))


def of_gateway(key: GatewayKey) -> sa.ColumnElement[bool]:
    """The rows of one gateway's devices."""
    columns = tables.devices.c
    return sa.and_(*(columns[name] == value for name, value in zip(GatewayKey._fields, key, strict=True)))


def devices(connection: sa.Connection, company: str, site: str | None) -> list[Device]:
    """The devices of a company or one of its sites, by site, gateway and device."""
    query = sa.select(tables.devices).where(tables.devices.c.company == company)
    if site is not None:
        query = query.where(tables.devices.c.site == site)
    return [_device(row) for row in connection.execute(query.order_by(*tables.devices.primary_key.columns))]


def device(connection: sa.Connection, key: DeviceKey) -> Device:
    """One device.

    Raises:
        NotFoundError: There is none.
    """
    row = connection.execute(sa.select(tables.devices).where(is_device(key))).first()
    if row is None:
        raise NotFoundError(f"device {'/'.join(key)}: the registry has none of that name")
    return _device(row)


def is_born(connection: sa.Connection, key: DeviceKey) -> bool:
    """Whether a birth message described the device."""
    return bool(connection.execute(sa.select(tables.devices.c.born).where(is_device(key))).scalar())


def enter(connection: sa.Connection, key: DeviceKey, at_ms: int, **told: object) -> None:
    """Enters a device that is to be confirmed."""
    row = {"interval_s": 10.0, "confirmed": False, "born": False, "first_seen_ms": at_ms, **key._asdict(), **told}
    connection.execute(sa.insert(tables.devices).values(row))


def room(connection: sa.Connection, key: GatewayKey, max_per_gateway: int) -> int:
    """How many more devices a gateway may bring before a person has confirmed some of them."""
    query = sa.select(sa.func.count()).select_from(tables.devices).where(of_gateway(key), ~tables.devices.c.confirmed)
    return max_per_gateway - int(connection.execute(query).scalar_one())


def see(
    connection: sa.Connection, keys: Iterable[DeviceKey], at_ms: int, max_per_gateway: int
) -> tuple[list[DeviceKey], list[DeviceKey]]:
    """Enters unknown devices with their default meter; gives those that were entered and those that are refused.

    Refused is what a gateway brings beyond the limit, and every device of an unknown gateway.
    """
    entered: list[DeviceKey] = []
    refused: list[DeviceKey] = []
    wanted: dict[GatewayKey, list[DeviceKey]] = {}
    for key in sorted(set(keys)):
        wanted.setdefault(key.gateway_key, []).append(key)
    for gateway, brought in wanted.items():
        if companies.gateway(connection, gateway) is None:
            refused.extend(brought)
            continue
        known = set(connection.execute(sa.select(tables.devices.c.device).where(of_gateway(gateway))).scalars())
        new = [key for key in brought if key.device not in known]
        space = max(0, room(connection, gateway, max_per_gateway)) if new else 0
        refused.extend(new[space:])
        entered.extend(new[:space])
        if not new[:space]:
            continue
        there = meters.OnSite.load(connection, gateway.company, gateway.site)
        for key in new[:space]:
            enter(connection, key, at_ms)
            there.add_default(key, at_ms)
    return entered, refused


def zero_is_valid(found: Device, versions: Iterable[MeterVersion]) -> bool:
    """Whether a day of exact zero is data: as stated, else not where the device is a main meter."""
    if found.zero_is_valid is not None:
        return found.zero_is_valid
    return not any(version.role == "main" for version in meters.whole(found.key, list(versions)))


def identity_instants(connection: sa.Connection, key: DeviceKey) -> tuple[int, ...]:
    """When another device appeared under this id, oldest first."""
    table = tables.identities
    mine = sa.and_(*(table.c[name] == value for name, value in zip(DeviceKey._fields, key, strict=True)))
    return tuple(connection.execute(sa.select(table.c.at_ms).where(mine).order_by(table.c.at_ms)).scalars())


def add_identity(connection: sa.Connection, before: Device, at_ms: int, *, serial: str, profile: str) -> bool:
    """Records that from an instant on another device answers; false if that instant is recorded already."""
    if at_ms in identity_instants(connection, before.key):
        return False
    connection.execute(
        sa.insert(tables.identities).values(
            **before.key._asdict(),
            at_ms=at_ms,
            serial_before=before.serial,
            serial_after=serial,
            profile_before=before.profile,
            profile_after=profile,
        )
    )
    return True
