"""What a gateway says of its devices, taken over as proposals. Doing it again changes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from merilo import wire
from merilo.ids import DeviceKey, GatewayKey, MeterKey, RegisterKey, is_id
from merilo.instants import QUARTER_MS, floor_ms
from merilo.quantities import is_register
from merilo.site import NAME_MAX, Device, MeterVersion, Phase
from merilo_adapters.registry import companies, devices, facts, meters, tables
from merilo_adapters.registry.events import instant_of
from merilo_adapters.registry.work import ALL, FORM, touch_rows

POWER_MAX_W = 1e9
"""Largest power a gateway may state; above it the statement is passed over."""
INTERVAL_MAX_S = 86_400.0
_MWH_MAX = 9_000_000_000_000_000
"""9 TWh in mWh: largest step or rollover that may be stated."""


@dataclass(frozen=True, slots=True)
class BirthChanges:
    """What one birth message changed; everything empty when it was known already."""

    new_devices: tuple[DeviceKey, ...] = ()
    changed_devices: tuple[DeviceKey, ...] = ()
    """Known before, and described otherwise now."""
    facts: Mapping[RegisterKey, int] = field(default_factory=dict)
    """Registers whose facts changed, and from which grid instant."""
    identities: Mapping[DeviceKey, int] = field(default_factory=dict)
    """Devices behind whose id another device answers now, and since when."""
    meters: Mapping[MeterKey, int] = field(default_factory=dict)
    """Meters that were made or changed, and from which grid instant their rows must be formed again."""
    refused: tuple[DeviceKey, ...] = ()
    """Invalid ids, and more devices than one gateway may bring."""

    def __bool__(self) -> bool:
        return bool(self.new_devices or self.changed_devices or self.facts or self.identities or self.meters)


@dataclass(slots=True)
class _Changes:
    """Collects what one birth changes."""

    new: list[DeviceKey] = field(default_factory=list)
    changed: list[DeviceKey] = field(default_factory=list)
    facts: dict[RegisterKey, int] = field(default_factory=dict)
    identities: dict[DeviceKey, int] = field(default_factory=dict)
    meters: dict[MeterKey, int] = field(default_factory=dict)
    refused: list[DeviceKey] = field(default_factory=list)


def apply(
    connection: sa.Connection, gateway: GatewayKey, birth: wire.Birth, at_ms: int, max_per_gateway: int
) -> BirthChanges:
    """Takes over what a birth message proposes, and marks what must be worked on.

    Args:
        connection: In a writing transaction.
        gateway: From the topic.
        birth: As it came.
        at_ms: When it came; a birth from the future counts from then.
        max_per_gateway: Devices that nobody confirmed.

    Raises:
        NotFoundError: The registry has no such gateway.
    """
    companies.existing_gateway(connection, gateway)
    said_ms = instant_of(birth.at, at_ms)
    changes = _Changes()
    room = devices.room(connection, gateway, max_per_gateway)
    known = {d.key: d for d in devices.devices(connection, gateway.company, gateway.site)}
    taken: list[DeviceKey] = []
    for device_id, told in birth.devices.items():
        key = DeviceKey(*gateway, device_id)
        if not is_id(device_id) or (key not in known and len(changes.new) >= room):
            changes.refused.append(key)
            continue
        taken.append(key)
        _describe(connection, key, told, known.get(key), said_ms, changes)
    there = meters.OnSite.load(connection, gateway.company, gateway.site)
    for key in taken:
        _propose_meters(there, key, birth.devices[key.device], at_ms, changes)
    for key in taken:
        _propose_parent(there, key, birth.devices[key.device], changes)
    _settle_facts(there, taken, birth, said_ms, changes)
    _touch(there, changes, at_ms)
    return BirthChanges(
        tuple(changes.new),
        tuple(changes.changed),
        changes.facts,
        changes.identities,
        changes.meters,
        tuple(changes.refused),
    )


def reported_identity(connection: sa.Connection, key: DeviceKey, serial: str, at_ms: int, now_ms: int) -> bool:
    """Takes over that another device answers since an instant; false if that is known, or the device is not."""
    known = connection.execute(sa.select(tables.devices).where(devices.is_device(key))).first()
    serial = _clean(serial)
    if known is None or not serial or not known.serial or known.serial == serial:
        return False
    devices.add_identity(connection, devices.device(connection, key), at_ms, serial=serial, profile=known.profile)
    connection.execute(sa.update(tables.devices).where(devices.is_device(key)).values(serial=serial))
    touch_rows(connection, {RegisterKey(*key, ALL): (at_ms, now_ms)})
    return True


def _clean(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:NAME_MAX].strip()


def _within(value: float | None, low: float, high: float) -> float | None:
    return value if value is not None and math.isfinite(value) and low < value <= high else None


def _columns(told: wire.BirthDevice) -> dict[str, Any]:
    """What a birth may set of a device; nonsense is passed over."""
    return {
        "model": _clean(told.model),
        "serial": _clean(told.serial),
        "profile": _clean(told.profile),
        "profile_version": _clean(told.profile_version),
        "channel_of": told.channel_of if is_id(told.channel_of) else "",
        "interval_s": _within(told.interval_s, 0.0, INTERVAL_MAX_S) or 10.0,
        "proposed_role": _clean(told.role)[:32],
        "proposed_max_power_w": _within(told.max_power_w, 0.0, POWER_MAX_W),
        "proposed_zero_is_valid": told.zero_is_valid,
        "born": True,
    }


def _describe(
    connection: sa.Connection,
    key: DeviceKey,
    told: wire.BirthDevice,
    before: Device | None,
    said_ms: int,
    changes: _Changes,
) -> None:
    says = _columns(told)
    if before is None:
        devices.enter(connection, key, said_ms, **says)
        changes.new.append(key)
        return
    row = connection.execute(sa.select(tables.devices).where(devices.is_device(key))).one()
    if all(getattr(row, name) == value for name, value in says.items()):
        return
    serial, profile = says["serial"], says["profile"]
    # A device that says nothing of itself has not changed; one that was never described has no identity to lose.
    another = row.born and (
        (serial and row.serial and serial != row.serial) or (row.profile and profile != row.profile)
    )
    connection.execute(sa.update(tables.devices).where(devices.is_device(key)).values(**says))
    changes.changed.append(key)
    if another and devices.add_identity(connection, before, said_ms, serial=serial, profile=profile):
        changes.identities[key] = said_ms


def _propose_meters(
    there: meters.OnSite, key: DeviceKey, told: wire.BirthDevice, at_ms: int, changes: _Changes
) -> None:
    """Makes the meters that the gateway's file names; what a person confirmed stays as it is."""
    every = there.every()
    mine = [version for version in every if version.device == key]
    if any(version.confirmed for version in mine):
        return
    wanted: dict[MeterKey, MeterVersion] = {}
    for part in told.meters:
        if is_id(part.meter):
            name = there.own_id(part.meter, key, meters.mark_of(key, part.meter), at_ms)
            wanted[name] = _definition(there, name, key, part.phase, part.role or told.role)
    if not wanted:
        name = there.add_default(key, at_ms)
        if not mine:
            changes.meters[name] = 0
        wanted[name] = _definition(there, name, key, "", told.role)
    for name, version in wanted.items():
        if there.set(name, [version]):
            changes.meters[name] = 0
    for version in mine:
        if version.key not in wanted and not meters.users_of(version.meter, every, 0):
            there.set(version.key, [])  # it stood for the device, or a part of it, until its file said otherwise
            changes.meters[version.key] = version.valid_from_ms


def _definition(there: meters.OnSite, name: MeterKey, key: DeviceKey, phase: Phase, role: str) -> MeterVersion:
    before = there.versions.get(name.meter, [])
    return MeterVersion(
        **name._asdict(),
        valid_from_ms=0,
        role=meters.role_of(role),
        parent=before[0].parent if before else None,
        device=key,
        phase=phase,
    )


def _propose_parent(there: meters.OnSite, key: DeviceKey, told: wire.BirthDevice, changes: _Changes) -> None:
    """Hangs a device's unconfirmed meters below the proposed parent, where there is one and it makes no circle."""
    if not is_id(told.parent):
        return
    every = there.every()
    parents = {version.meter: version.parent for version in every}
    parent: str | None = told.parent
    if parent not in parents:
        above_it = DeviceKey(key.company, key.site, key.gateway, told.parent)
        parent = next((version.meter for version in meters.whole(above_it, every)), None)
    above, line = parent, set[str]()
    while above is not None and above not in line:
        line.add(above)
        above = parents.get(above)
    for version in every:
        free = version.device == key and not version.confirmed and version.valid_from_ms == 0
        if free and parent is not None and version.meter not in line and version.parent != parent:
            there.set(version.key, [replace(version, parent=parent)])
            changes.meters.setdefault(version.key, 0)


def _settle_facts(
    there: meters.OnSite, taken: list[DeviceKey], birth: wire.Birth, said_ms: int, changes: _Changes
) -> None:
    every = there.every()
    known = {device.key: device for device in devices.devices(there.connection, there.company, there.site)}
    for key in taken:
        stated = {
            name: facts.Stated(step_mwh=_mwh(quantity.step_wh), rollover_mwh=_mwh(quantity.rollover_wh))
            for name, quantity in birth.devices[key.device].quantities.items()
            if is_register(name)
        }
        zero = devices.zero_is_valid(known[key], every)
        since = floor_ms(said_ms, QUARTER_MS)
        another = key in changes.identities
        changes.facts |= facts.settle(there.connection, known[key], zero, stated, since, another=another)


def _mwh(energy_wh: float | None) -> int | None:
    known = _within(energy_wh, 0.0, _MWH_MAX / 1000)
    return max(1, round(known * 1000)) if known is not None else None


def _touch(there: meters.OnSite, changes: _Changes, at_ms: int) -> None:
    """Marks the work: changed facts and identities are walked again, changed meters are formed again."""
    raw_ms = facts.raw_start_ms(there.connection, there.company, at_ms)
    new = set(changes.new)
    spans: dict[RegisterKey, tuple[int, int]] = {}
    for register, since in changes.facts.items():
        if register.device_key not in new:
            spans[register] = (max(since, raw_ms), at_ms)
    for device, since in changes.identities.items():
        spans[RegisterKey(*device, ALL)] = (max(since, raw_ms), at_ms)
    for version in there.every():
        if version.key in changes.meters and version.device is not None and version.device not in new:
            spans[RegisterKey(*version.device, FORM)] = (changes.meters[version.key], at_ms)
    touch_rows(there.connection, spans)
