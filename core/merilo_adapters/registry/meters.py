"""Meters: dated definitions, the default meter of each device, and the checks that all of a site's meters pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from merilo.errors import ConflictError, NotFoundError, RegistryError
from merilo.ids import DeviceKey, MeterKey, check_id
from merilo.schema import ROLES, UNASSIGNED
from merilo.site import MeterVersion, check_meters, parse_expression
from merilo_adapters.registry import tables

_ID_MAX = 32
_HASH_CHARACTERS = 8


def role_of(proposed: str) -> str:
    """The role that is booked under: what was proposed if it is a role, else ``unassigned``; never empty."""
    return proposed if proposed in ROLES else UNASSIGNED


def cut_id(name: str) -> str:
    """A name as an id: as it is, or its beginning and eight characters of its hash where it is too long."""
    if len(name) <= _ID_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{name[: _ID_MAX - _HASH_CHARACTERS - 1]}-{digest}"


def _version(row: Any) -> MeterVersion:
    device = DeviceKey(row.company, row.site, row.gateway, row.device) if row.device is not None else None
    names = ("company", "site", "meter", "valid_from_ms", "valid_to_ms", "role", "parent", "confirmed")
    return MeterVersion(
        device=device, phase=row.phase, expression=row.expression, **{name: getattr(row, name) for name in names}
    )


def meters(connection: sa.Connection, company: str, site: str | None) -> list[MeterVersion]:
    """All versions of all meters of a company or one of its sites, by site, meter and instant."""
    table = tables.meter_versions
    query = sa.select(table).where(table.c.company == company).order_by(*table.primary_key.columns)
    if site is not None:
        query = query.where(table.c.site == site)
    return [_version(row) for row in connection.execute(query)]


def names(connection: sa.Connection, company: str, site: str) -> dict[str, str]:
    """All ids that are taken on a site, each with the mark of what it was first given to, or nothing."""
    table = tables.meters
    query = sa.select(table.c.meter, table.c.default_of).where(table.c.company == company, table.c.site == site)
    return {row.meter: row.default_of for row in connection.execute(query)}


def enter(connection: sa.Connection, key: MeterKey, at_ms: int, default_of: str = "") -> None:
    """Takes an id for a meter, for ever."""
    check_id("meter", key.meter)
    connection.execute(sa.insert(tables.meters).values(**key._asdict(), default_of=default_of, created_ms=at_ms))


def store(connection: sa.Connection, key: MeterKey, own: list[MeterVersion]) -> None:
    """Replaces all versions of one meter."""
    table = tables.meter_versions
    mine = sa.and_(*(table.c[name] == value for name, value in zip(MeterKey._fields, key, strict=True)))
    connection.execute(sa.delete(table).where(mine))
    if own:
        connection.execute(sa.insert(table), [_row(version) for version in own])


def _row(version: MeterVersion) -> dict[str, Any]:
    plain = ("valid_from_ms", "valid_to_ms", "role", "parent", "confirmed", "phase", "expression")
    return {
        **version.key._asdict(),
        "gateway": version.device.gateway if version.device else None,
        "device": version.device.device if version.device else None,
        **{name: getattr(version, name) for name in plain},
    }


@dataclass(slots=True)
class OnSite:
    """The meters of one site while a transaction changes many of them: read once, kept in step with the tables."""

    connection: sa.Connection
    company: str
    site: str
    taken: dict[str, str]
    """Ids that are taken, each with whose they were proposed as."""
    versions: dict[str, list[MeterVersion]]
    by_mark: dict[str, str]
    """The default meter of each gateway/device."""

    @classmethod
    def load(cls, connection: sa.Connection, company: str, site: str) -> OnSite:
        """All meters of a site."""
        taken = names(connection, company, site)
        versions: dict[str, list[MeterVersion]] = {}
        for version in meters(connection, company, site):
            versions.setdefault(version.meter, []).append(version)
        return cls(connection, company, site, taken, versions, {mark: name for name, mark in taken.items() if mark})

    def every(self) -> list[MeterVersion]:
        """All versions of all meters."""
        return [version for own in self.versions.values() for version in own]

    def own_id(self, wanted: str, device: DeviceKey, mark: str, at_ms: int) -> MeterKey:
        """The meter that was entered under a mark, or a new id: the wanted one, or one made with the gateway's."""
        name = self.by_mark.get(mark)
        if name is None:
            candidates = [wanted, cut_id(f"{device.gateway}-{wanted}")]
            candidates += [cut_id(f"{device.gateway}-{wanted}-{'x' * _ID_MAX}{n}") for n in range(len(self.taken))]
            name = next(candidate for candidate in candidates if candidate not in self.taken)
            enter(self.connection, MeterKey(self.company, self.site, name), at_ms, mark)
            self.taken[name] = self.by_mark[mark] = name
        return MeterKey(self.company, self.site, name)

    def set(self, key: MeterKey, own: list[MeterVersion]) -> bool:
        """Replaces all versions of one meter; false if they are so already."""
        if self.versions.get(key.meter, []) == own:
            return False
        store(self.connection, key, own)
        self.versions[key.meter] = own
        return True

    def add_default(self, device: DeviceKey, at_ms: int) -> MeterKey:
        """The first meter of a device, made if it has none yet: its own id where that is free on the site."""
        mark = mark_of(device)
        new = mark not in self.by_mark
        key = self.own_id(device.device, device, mark, at_ms)
        if new:
            self.set(key, [MeterVersion(**key._asdict(), valid_from_ms=0, device=device)])
        return key


def mark_of(device: DeviceKey, part: str = "") -> str:
    """What remembers whose meter an id was first given to: the whole device, or a part that its gateway named."""
    return f"{device.gateway}/{device.device}" + (f"/{part}" if part else "")


def revised(
    own: list[MeterVersion], key: MeterKey, from_ms: int, to_ms: int | None, changes: dict[str, Any]
) -> list[MeterVersion]:
    """The versions of one meter with some attributes changed in [from_ms, to_ms), everything else as before.

    Args:
        own: Its versions, oldest first.
        key: Of the meter.
        from_ms: First instant of the change.
        to_ms: End of the change, None for all time to come.
        changes: Attributes; with a source (device or expression) the stretch is also filled where nothing was valid.
    """
    sourced = "device" in changes or "expression" in changes
    pieces: list[MeterVersion] = []
    filled_ms: int | None = from_ms
    for version in own:
        start, end = version.valid_from_ms, version.valid_to_ms
        if start < from_ms:
            pieces.append(replace(version, valid_to_ms=_earlier(end, from_ms)))
        inner, outer = max(start, from_ms), _earlier(end, to_ms)
        if outer is None or inner < outer:
            if sourced and filled_ms is not None and filled_ms < inner:
                pieces.append(_new(key, filled_ms, inner, changes))
            pieces.append(replace(version, valid_from_ms=inner, valid_to_ms=outer, **changes))
            filled_ms = outer
        if to_ms is not None and (end is None or end > to_ms):
            pieces.append(replace(version, valid_from_ms=max(start, to_ms)))
    if sourced and filled_ms is not None and (to_ms is None or filled_ms < to_ms):
        pieces.append(_new(key, filled_ms, to_ms, changes))
    return _joined(pieces)


def without(own: list[MeterVersion], from_ms: int) -> list[MeterVersion]:
    """The versions of one meter that ends at an instant."""
    return [
        replace(version, valid_to_ms=_earlier(version.valid_to_ms, from_ms))
        for version in own
        if version.valid_from_ms < from_ms
    ]


def _earlier(one: int | None, other: int | None) -> int | None:
    given = [instant for instant in (one, other) if instant is not None]
    return min(given) if given else None


def _new(key: MeterKey, from_ms: int, to_ms: int | None, changes: dict[str, Any]) -> MeterVersion:
    return MeterVersion(**key._asdict(), valid_from_ms=from_ms, valid_to_ms=to_ms, **changes)


def _joined(pieces: list[MeterVersion]) -> list[MeterVersion]:
    found: list[MeterVersion] = []
    for piece in sorted(pieces, key=lambda version: version.valid_from_ms):
        last = found[-1] if found else None
        touching = last is not None and last.valid_to_ms == piece.valid_from_ms
        if (
            last is not None
            and touching
            and replace(last, valid_to_ms=piece.valid_to_ms) == replace(piece, valid_from_ms=last.valid_from_ms)
        ):
            found[-1] = replace(last, valid_to_ms=piece.valid_to_ms)
        else:
            found.append(piece)
    return found


def change(
    connection: sa.Connection,
    key: MeterKey,
    *,
    from_ms: int,
    to_ms: int | None,
    changes: dict[str, Any],
    at_ms: int,
) -> tuple[list[MeterVersion], list[MeterVersion]]:
    """Changes a meter in [from_ms, to_ms), or makes it; gives all versions of the site before and after.

    Raises:
        NotFoundError: A meter without a source that does not exist yet, or an unknown device.
        RegistryError: A cycle, shares above 1, an unknown parent, an unknown role, an instant off the grid.
    """
    before = meters(connection, key.company, key.site)
    taken = names(connection, key.company, key.site)
    own = [version for version in before if version.meter == key.meter]
    if key.meter not in taken:
        if "device" not in changes and "expression" not in changes:
            raise NotFoundError(f"meter {'/'.join(key)}: the site has none of that id. Give a device or an expression")
        enter(connection, key, at_ms)
    if to_ms is not None and to_ms <= from_ms:
        raise RegistryError(f"meter {'/'.join(key)}: the end {to_ms} is not after the begin {from_ms}")
    device = changes.get("device")
    if device is not None and not _has_device(connection, device):
        raise NotFoundError(f"device {'/'.join(device)}: the registry has none of that name")
    try:
        after = [v for v in before if v.meter != key.meter] + revised(own, key, from_ms, to_ms, changes)
        if not any(version.meter == key.meter for version in after):
            raise NotFoundError(
                f"meter {'/'.join(key)}: is not defined in that stretch. Give a device or an expression"
            )
        check_meters(after, frozenset({*taken, key.meter}))
    except ValueError as error:
        raise RegistryError(f"meter {'/'.join(key)}: {error}") from error
    store(connection, key, [version for version in after if version.meter == key.meter])
    return before, after


def existing(connection: sa.Connection, key: MeterKey) -> list[MeterVersion]:
    """All versions of one meter.

    Raises:
        NotFoundError: It has none.
    """
    own = [version for version in meters(connection, key.company, key.site) if version.meter == key.meter]
    if not own:
        raise NotFoundError(f"meter {'/'.join(key)}: the site has none of that id")
    return own


def end(connection: sa.Connection, key: MeterKey, from_ms: int) -> list[MeterVersion]:
    """Ends a meter at an instant; gives all versions of the site before.

    Raises:
        NotFoundError: There is none.
        ConflictError: Another meter is formed of it after that instant.
    """
    before = meters(connection, key.company, key.site)
    own = existing(connection, key)
    users = users_of(key.meter, before, from_ms)
    if users:
        raise ConflictError(f"meter {'/'.join(key)}: {', '.join(users)} would be formed of a meter that has ended")
    store(connection, key, without(own, from_ms))
    return before


def users_of(meter: str, versions: list[MeterVersion], from_ms: int) -> list[str]:
    """The meters that are formed of this one at or after an instant."""
    return sorted(
        {
            version.meter
            for version in versions
            if version.expression is not None
            and (version.valid_to_ms is None or version.valid_to_ms > from_ms)
            and any(term.meter == meter for term in parse_expression(version.expression))
        }
    )


def whole(device: DeviceKey, versions: list[MeterVersion]) -> list[MeterVersion]:
    """The present meters that are all of this device."""
    return [v for v in versions if v.device == device and v.phase == "" and v.valid_to_ms is None]


def _has_device(connection: sa.Connection, key: DeviceKey) -> bool:
    columns = tables.devices.c
    mine = sa.and_(*(columns[name] == value for name, value in zip(DeviceKey._fields, key, strict=True)))
    return connection.execute(sa.select(columns.device).where(mine)).first() is not None
