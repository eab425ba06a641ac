"""Events: what the ledger found, kept with a stable number, and what gateways and programs report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import sqlalchemy as sa

from merilo import wire
from merilo.errors import NotFoundError, RegistryError
from merilo.ids import GatewayKey, RegisterKey, is_id
from merilo.instants import DAY_MS, floor_ms, to_ms
from merilo.site import BookedKind, Event, EventKind, Place
from merilo_adapters.registry import tables

if TYPE_CHECKING:
    from merilo.ledger import LedgerEvent

ROWS_MAX = 20_000
"""Events of one answer."""
PARAMETERS_MAX = 8_192
"""Characters of an event's parameters."""
CODE_MAX = 64
REPORTS_PER_DAY_MAX = 2_000
"""Reports of one gateway and UTC day: a device may come and go every minute, but a flood may not fill the disk."""

_BOOKED = get_args(BookedKind)
_REPORTED = tuple(kind for kind in get_args(EventKind) if kind not in _BOOKED)
_PLAIN = ("number", "kind", "code", "at_ms", "end_ms")


def _event(row: Any) -> Event:
    place = Place(*(getattr(row, name) for name in Place._fields))
    plain = {name: getattr(row, name) for name in _PLAIN}
    return Event(place=place, parameters=msgspec.json.decode(row.parameters), **plain)


def _at(place: Sequence[str], names: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(*(tables.events.c[name] == value for name, value in zip(names, place, strict=True)))


def _booked(key: RegisterKey, kind: BookedKind, after_ms: int, to_ms: int) -> sa.ColumnElement[bool]:
    columns = tables.events.c
    mine = _at(key, RegisterKey._fields)
    return sa.and_(mine, columns.kind == kind, columns.at_ms > after_ms, columns.at_ms <= to_ms)


def replace(
    connection: sa.Connection,
    key: RegisterKey,
    after_ms: int,
    to_ms: int,
    found: Sequence[LedgerEvent],
    kind: BookedKind = "ledger",
) -> list[int]:
    """Afterwards a register's events of this kind in (after_ms, to_ms] are exactly these; gives their numbers.

    An event keeps its number when its type is revised, and when it goes and comes again.

    Raises:
        RegistryError: An event outside the stretch.
    """
    table = tables.events
    rows = connection.execute(
        sa.select(table).where(_booked(key, kind, after_ms, to_ms)).order_by(table.c.number)
    ).all()
    free: dict[int, list[Any]] = {}
    for row in rows:
        free.setdefault(row.at_ms, []).append(row)
    numbers: list[int] = []
    for event in found:
        if not after_ms < event.at_ms <= to_ms:
            raise RegistryError(f"event at {event.at_ms}: expected an instant in ({after_ms}, {to_ms}]")
        here = free.get(event.at_ms, [])
        text = msgspec.json.encode(event).decode()
        if not here:
            values = {**key._asdict(), "kind": kind, "code": event.kind, "at_ms": event.at_ms, "gone": False}
            new = sa.insert(table).values(**values, parameters=text).returning(table.c.number)
            numbers.append(connection.execute(new).scalar_one())
            continue
        row = next((row for row in here if row.code == event.kind), here[0])
        here.remove(row)
        numbers.append(row.number)
        if row.gone or row.code != event.kind or row.parameters != text:
            revised = {"code": event.kind, "parameters": text, "gone": False}
            connection.execute(sa.update(table).where(table.c.number == row.number).values(**revised))
    gone = [row.number for here in free.values() for row in here if not row.gone]
    if gone:
        connection.execute(sa.update(table).where(table.c.number.in_(gone)).values(gone=True))
    return numbers


def ledger_events(
    connection: sa.Connection, key: RegisterKey, after_ms: int, to_ms: int, kind: BookedKind = "ledger"
) -> list[tuple[int, LedgerEvent]]:
    """A register's events of this kind in (after_ms, to_ms] with their numbers, oldest first."""
    from merilo.ledger import LedgerEvent

    table = tables.events
    query = sa.select(table.c.number, table.c.parameters).where(_booked(key, kind, after_ms, to_ms), ~table.c.gone)
    rows = connection.execute(query.order_by(table.c.at_ms, table.c.number))
    return [(row.number, msgspec.json.decode(row.parameters, type=LedgerEvent)) for row in rows]


def events(
    connection: sa.Connection,
    company: str,
    from_ms: int,
    to_ms: int,
    *,
    kinds: Sequence[EventKind] | None,
    limit: int,
    place: Mapping[str, str],
) -> list[Event]:
    """Events whose instant, or stretch, meets [from_ms, to_ms), oldest first."""
    columns = tables.events.c
    query = sa.select(tables.events).where(columns.company == company, ~columns.gone, columns.at_ms < to_ms)
    query = query.where(sa.or_(columns.at_ms >= from_ms, columns.end_ms > from_ms))
    for name, value in place.items():
        query = query.where(columns[name] == value)
    if kinds is not None:
        query = query.where(columns.kind.in_(kinds))
    query = query.order_by(columns.at_ms, columns.number).limit(min(limit, ROWS_MAX))
    return [_event(row) for row in connection.execute(query)]


def after(connection: sa.Connection, company: str, number: int, limit: int) -> list[Event]:
    """Events that the books have not made, with a higher number, in the order they were entered."""
    columns = tables.events.c
    query = sa.select(tables.events).where(columns.company == company, columns.number > number, ~columns.gone)
    query = query.where(columns.kind.not_in(_BOOKED)).order_by(columns.number).limit(min(limit, ROWS_MAX))
    return [_event(row) for row in connection.execute(query)]


def add(
    connection: sa.Connection,
    kind: EventKind,
    place: Place,
    at_ms: int,
    parameters: Mapping[str, Any],
    *,
    code: str,
    end_ms: int | None,
) -> int:
    """Enters an event and gives its number; the same one again changes nothing and gives the same number.

    Raises:
        RegistryError: An unknown kind, one of the books' own, or parameters that are too long.
    """
    if kind not in _REPORTED:
        raise RegistryError(f"event kind {kind!r}: expected one of {', '.join(_REPORTED)}")
    text = msgspec.json.encode(dict(parameters)).decode()
    if len(text) > PARAMETERS_MAX:
        raise RegistryError(f"event {kind}: expected at most {PARAMETERS_MAX} characters, found {len(text)}")
    table = tables.events
    same = sa.and_(_at(place, Place._fields), table.c.kind == kind, table.c.code == code, table.c.at_ms == at_ms)
    known = connection.execute(sa.select(table.c.number).where(same)).scalar()
    if known is not None:
        return int(known)
    values = {**place._asdict(), "kind": kind, "code": code, "at_ms": at_ms, "end_ms": end_ms, "gone": False}
    new = sa.insert(table).values(**values, parameters=text).returning(table.c.number)
    return int(connection.execute(new).scalar_one())


def instant_of(text: str, now_ms: int) -> int:
    """An instant that a gateway wrote; now, where it is none or lies in the future."""
    try:
        return min(to_ms(datetime.fromisoformat(text)), now_ms)
    except (ValueError, TypeError, OverflowError):
        return now_ms


def report(connection: sa.Connection, gateway: GatewayKey, event: wire.GatewayEvent, now_ms: int) -> int | None:
    """Enters what a gateway reports, cut where it must be; None if it reported too much that day.

    Raises:
        RegistryError: Parameters that are too long.
    """
    at_ms = instant_of(event.at, now_ms)
    device = event.device if is_id(event.device) else ""
    code = "".join(c for c in event.kind if c.isalnum() or c in "_-.")[:CODE_MAX]
    kind: EventKind = "configuration" if code.startswith("config") else "device" if device else "gateway"
    columns = tables.events.c
    day_ms = floor_ms(at_ms, DAY_MS)
    mine = sa.and_(_at(gateway, GatewayKey._fields), columns.at_ms >= day_ms, columns.at_ms < day_ms + DAY_MS)
    query = sa.select(sa.func.count()).select_from(tables.events).where(mine, columns.kind.not_in(_BOOKED))
    if connection.execute(query).scalar_one() >= REPORTS_PER_DAY_MAX:
        return None
    place = Place(*gateway, device)
    return add(connection, kind, place, at_ms, event.parameters, code=code, end_ms=None)


def end(connection: sa.Connection, number: int, end_ms: int) -> None:
    """Says when an event was over.

    Raises:
        NotFoundError: There is none of that number.
    """
    table = tables.events
    ended = connection.execute(sa.update(table).where(table.c.number == number).values(end_ms=end_ms))
    if not ended.rowcount:
        raise NotFoundError(f"event {number}: the registry has none of that number")
