"""Work tables: what ingest received and touched, what the books still have to do, and where they can start again.

Ingest writes raw readings, then commits here in one transaction, and only then acknowledges. A row of touched work is
deleted only if nobody widened it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from merilo.ids import DeviceKey, GatewayKey, RegisterKey
from merilo_adapters.registry import tables
from merilo_adapters.registry.database import Database

ALL = "*"
"""As a register: all registers of the device are walked."""
FORM = "@form"
"""As a register: nothing is walked; decisions are applied and meters formed again from the stored base rows.

Meters and decisions change long after raw readings have expired, so they must not lead to a walk.
"""

UNDER_WAY = ">"
"""Before a register: this work was taken by a pass that is not done; after a crash it waits again."""

DEAD_MAX = 20_000
"""Dead letters kept, the newest; the counters go on counting. A flood cannot fill the disk."""
TRIM_EVERY = 1_000
"""Surplus dead letters before the oldest are deleted."""
_HALF = 2**32
_ROWS_MAX = 20_000
"""Rows of one answer of dead letters."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message, or one reading of it, that was not taken."""

    at_ms: int
    topic: str
    reason: str
    """One of ``merilo.wire.REASONS``."""
    detail: str
    payload: bytes
    gateway: GatewayKey | None = None
    seq: int | None = None
    """Number of the one reading, None for the whole message."""
    number: int = 0
    """Given by the table, 0 before."""


@dataclass(slots=True)
class WorkBatch:
    """What one batch of messages leaves in the work tables; collected, then committed at once."""

    touched: dict[RegisterKey, tuple[int, int]] = field(default_factory=dict)
    """First and last touched instant."""
    received: list[tuple[GatewayKey, str, int, int]] = field(default_factory=list)
    """Gateway, epoch, first and last number, both included."""
    dead: list[DeadLetter] = field(default_factory=list)
    day_sums: dict[tuple[DeviceKey, int], tuple[int, int]] = field(default_factory=dict)
    """Count and checksum modulo 2^64 of the rows written, by device and start of the UTC day."""
    counters: dict[tuple[str, str], int] = field(default_factory=dict)
    """By scope and name."""

    def touch(self, key: RegisterKey, first_ms: int, last_ms: int) -> None:
        """Widens what is touched of a register to contain [first_ms, last_ms]."""
        found = self.touched.get(key)
        self.touched[key] = (min(found[0], first_ms), max(found[1], last_ms)) if found else (first_ms, last_ms)

    def count(self, scope: str, name: str, number: int) -> None:
        """Adds to a counter."""
        self.counters[(scope, name)] = self.counters.get((scope, name), 0) + number

    def add_sum(self, device: DeviceKey, day_ms: int, count: int, checksum: int) -> None:
        """Adds rows and their checksum to a device's UTC day."""
        rows, total = self.day_sums.get((device, day_ms), (0, 0))
        self.day_sums[(device, day_ms)] = (rows + count, (total + checksum) % 2**64)


class Touched(NamedTuple):
    """Work that waits: a register was touched between two instants, both included."""

    key: RegisterKey
    first_ms: int
    last_ms: int


class Checkpoint(NamedTuple):
    """A stored anchor of the walk of one register."""

    kind: Literal["day", "head"]
    t_ms: int
    v_ms: int
    """Up to when readings must be known for this state to be certain."""
    blob: bytes


@dataclass(frozen=True, slots=True)
class DaySum:
    """What was written of one device in one UTC day."""

    device: DeviceKey
    day_ms: int
    count: int
    checksum: int


class Work:
    """The work tables of one installation; several processes use them at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements(database.is_sqlite)
        self._dead_since_trim = 0

    @property
    def database(self) -> Database:
        """The database, for what is kept beside the work tables."""
        return self._database

    @classmethod
    def open(cls, url: str) -> Work:
        """Opens the work tables of the registry at this URL."""
        return cls(Database(url))

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self._database.close()

    # What ingest writes -----------------------------------------------------------------------------------------------

    def commit(self, batch: WorkBatch) -> None:
        """Stores one batch in one transaction; durable afterwards.

        Raises:
            RegistryUnavailableError: Nothing was stored; do not acknowledge.
        """
        with self._database.write() as connection:
            touch_rows(connection, batch.touched)
            self._receive(connection, batch.received)
            if batch.dead:
                connection.execute(sa.insert(tables.dead_letters), [_dead_row(letter) for letter in batch.dead])
            _many(
                connection,
                self._sql.sums,
                [
                    (*device, day, count, total % _HALF, total // _HALF)
                    for (device, day), (count, total) in batch.day_sums.items()
                ],
            )
            _many(connection, self._sql.counters, [(*key, value) for key, value in batch.counters.items()])
            self._trim(connection, len(batch.dead))

    def _receive(self, connection: sa.Connection, received: Sequence[tuple[GatewayKey, str, int, int]]) -> None:
        """Lengthens the range that ends where the new one begins; enters a range where there is none."""
        rows = [
            (*gateway, epoch, first, last)
            for (gateway, epoch), group in groupby(sorted(received), key=lambda row: row[:2])
            for first, last in merged((first, last) for _, _, first, last in group)
        ]
        _many(connection, self._sql.lengthen, [(last, *key, first - 1, last) for *key, first, last in rows])
        _many(connection, self._sql.receive, [(*row, *row) for row in rows])

    def _trim(self, connection: sa.Connection, added: int) -> None:
        self._dead_since_trim += added
        if self._dead_since_trim < TRIM_EVERY:
            return
        number = tables.dead_letters.c.number
        kept = sa.select(number).order_by(number.desc()).offset(DEAD_MAX - 1).limit(1).scalar_subquery()
        connection.execute(sa.delete(tables.dead_letters).where(number < kept))
        self._dead_since_trim = 0

    def received(self, gateway: GatewayKey, epoch: str) -> list[tuple[int, int]]:
        """Which numbers of an epoch were received: sorted closed ranges that do not touch."""
        table = tables.received
        query = sa.select(table.c.first, table.c.last).where(
            _at(table, gateway, *GatewayKey._fields), table.c.epoch == epoch
        )
        with self._database.read() as connection:
            return merged((first, last) for first, last in connection.execute(query))

    def epochs(self, gateway: GatewayKey) -> list[str]:
        """The epochs something was received of."""
        table = tables.received
        query = sa.select(table.c.epoch).distinct().where(_at(table, gateway, *GatewayKey._fields))
        with self._database.read() as connection:
            return sorted(connection.execute(query).scalars())

    # What the books take ----------------------------------------------------------------------------------------------

    def touch(self, key: RegisterKey, first_ms: int, last_ms: int) -> None:
        """Marks [first_ms, last_ms] of a register as touched."""
        with self._database.write() as connection:
            touch_rows(connection, {key: (first_ms, last_ms)})

    def pending(self, limit: int) -> list[Touched]:
        """Work that waits, by key, at most so many; what a crashed process had taken waits too."""
        table = tables.touched
        query = sa.select(*table.c).order_by(*table.primary_key.columns).limit(2 * limit)
        with self._database.read() as connection:
            return _united(connection.execute(query))[:limit]

    def pending_count(self) -> int:
        """How many rows of work wait or are under way."""
        return self._database.scalar("SELECT count(*) FROM work_touched")

    def take(self, keys: Iterable[RegisterKey]) -> list[Touched]:
        """Takes work that waits: what is touched from now on makes a new row, and is not lost with this one.

        A live device is touched every few seconds and a pass takes as long: without taking, its row would never be
        found unchanged, and every pass would begin again at the oldest instant.
        """
        table = tables.touched
        taken: list[Touched] = []
        with self._database.write() as connection:
            for key in keys:
                both = sa.or_(*(_at(table, one, *RegisterKey._fields) for one in (key, _under_way(key))))
                found = _united(connection.execute(sa.select(*table.c).where(both)))
                if found:
                    connection.execute(sa.delete(table).where(both))
                    touch_rows(connection, {_under_way(key): (found[0].first_ms, found[0].last_ms)})
                    taken += found
        return taken

    def finished(self, keys: Iterable[RegisterKey]) -> None:
        """Removes work that was taken and is done."""
        table = tables.touched
        with self._database.write() as connection:
            for key in keys:
                connection.execute(sa.delete(table).where(_at(table, _under_way(key), *RegisterKey._fields)))

    # Dead letters, sums, counters -------------------------------------------------------------------------------------

    def dead_letters(
        self,
        *,
        company: str | None = None,
        reason: str | None = None,
        numbers: Sequence[int] | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """Dead letters, newest first.

        Args:
            company: Only letters whose gateway is this company's.
            reason: Only this reason.
            numbers: Only these.
            limit: At most so many, up to 20 000.
        """
        table = tables.dead_letters
        query = sa.select(*table.c).order_by(table.c.number.desc()).limit(min(limit, _ROWS_MAX))
        if company is not None:
            query = query.where(table.c.company == company)
        if reason is not None:
            query = query.where(table.c.reason == reason)
        if numbers is not None:
            query = query.where(table.c.number.in_(numbers))
        with self._database.read() as connection:
            return [_letter(row._asdict()) for row in connection.execute(query)]

    def take_dead(self, numbers: Sequence[int]) -> list[DeadLetter]:
        """Removes these dead letters and gives them, in the order they came; unknown numbers are passed over."""
        table = tables.dead_letters
        with self._database.write() as connection:
            query = sa.select(*table.c).where(table.c.number.in_(numbers)).order_by(table.c.number)
            found = [_letter(row._asdict()) for row in connection.execute(query)]
            connection.execute(sa.delete(table).where(table.c.number.in_(numbers)))
            return found

    def day_sums(self, company: str, from_ms: int, to_ms: int) -> list[DaySum]:
        """Count and checksum by device and UTC day whose start lies in [from_ms, to_ms)."""
        table = tables.day_sums
        query = (
            sa.select(*table.c)
            .where(table.c.company == company, table.c.day_ms >= from_ms, table.c.day_ms < to_ms)
            .order_by(*table.primary_key.columns)
        )
        with self._database.read() as connection:
            return [
                DaySum(DeviceKey(*row[:4]), day_ms, count, (low + high * _HALF) % 2**64)
                for *row, day_ms, count, low, high in connection.execute(query)
            ]

    def set_day_sum(self, device: DeviceKey, day_ms: int, count: int, checksum: int) -> None:
        """Sets a device's UTC day to what the store was seen to hold."""
        table = tables.day_sums
        with self._database.write() as connection:
            connection.execute(sa.delete(table).where(_at(table, device, *DeviceKey._fields), table.c.day_ms == day_ms))
            row = (*device, day_ms, count, checksum % _HALF, checksum % 2**64 // _HALF)
            _many(connection, self._sql.sums, [row])

    def counters(self, scope_prefix: str = "") -> dict[tuple[str, str], int]:
        """All counters whose scope begins so, by scope and name."""
        table = tables.counters
        query = sa.select(*table.c).order_by(table.c.scope, table.c.name)
        if scope_prefix and self._database.is_sqlite:  # a range goes by the key; LIKE would read every counter
            behind = scope_prefix[:-1] + chr(ord(scope_prefix[-1]) + 1)
            query = query.where(table.c.scope >= scope_prefix, table.c.scope < behind)
        elif scope_prefix:
            query = query.where(table.c.scope.startswith(scope_prefix, autoescape=True))
        with self._database.read() as connection:
            return {(row.scope, row.name): row.value for row in connection.execute(query)}

    def set_counter(self, scope: str, name: str, value: int) -> None:
        """Sets a counter to a value."""
        table = tables.counters
        with self._database.write() as connection:
            connection.execute(sa.delete(table).where(table.c.scope == scope, table.c.name == name))
            connection.execute(sa.insert(table), [{"scope": scope, "name": name, "value": value}])

    def forget_counters(self, scope_prefix: str, before_scope: str) -> None:
        """Removes the counters whose scope begins so and stands before this one in order of text."""
        table = tables.counters
        mine = sa.and_(table.c.scope.startswith(scope_prefix, autoescape=True), table.c.scope < before_scope)
        with self._database.write() as connection:
            connection.execute(sa.delete(table).where(mine))

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def newest_before(self, key: RegisterKey, v_below_ms: int, t_max_ms: int) -> Checkpoint | None:
        """The latest checkpoint with v < v_below_ms and t <= t_max_ms, None if there is none."""
        table = tables.checkpoints
        query = _checkpoints(key).where(table.c.v_ms < v_below_ms, table.c.t_ms <= t_max_ms)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(table.c.t_ms.desc(), table.c.kind.desc()).limit(1)).first()
        return Checkpoint(*row) if row else None

    def head(self, key: RegisterKey) -> Checkpoint | None:
        """The newest certain state of a register, None if it was never walked."""
        with self._database.read() as connection:
            row = connection.execute(_checkpoints(key).where(tables.checkpoints.c.kind == "head")).first()
        return Checkpoint(*row) if row else None

    def day_checkpoints(self, key: RegisterKey, from_ms: int, to_ms: int) -> list[Checkpoint]:
        """The first checkpoints of UTC days with t in [from_ms, to_ms], both included, in order."""
        table = tables.checkpoints
        query = _checkpoints(key).where(table.c.kind == "day", table.c.t_ms >= from_ms, table.c.t_ms <= to_ms)
        with self._database.read() as connection:
            return [Checkpoint(*row) for row in connection.execute(query.order_by(table.c.t_ms))]

    def put_checkpoints(
        self, key: RegisterKey, after_ms: int, to_ms: int, days: Sequence[Checkpoint], head: Checkpoint | None
    ) -> None:
        """Afterwards the day checkpoints of (after_ms, to_ms] are exactly these, and the head is this one if given."""
        table = tables.checkpoints
        mine = _at(table, key, *RegisterKey._fields)
        rows = [dict(zip(table.c.keys(), (*key, *point), strict=True)) for point in (*days, *([head] if head else []))]
        with self._database.write() as connection:
            day_ones = sa.and_(table.c.kind == "day", table.c.t_ms > after_ms, table.c.t_ms <= to_ms)
            gone = sa.or_(day_ones, table.c.kind == "head") if head else day_ones
            connection.execute(sa.delete(table).where(mine, gone))
            if rows:
                connection.execute(sa.insert(table), rows)

    def drop_checkpoints(self, key: RegisterKey) -> None:
        """Forgets all checkpoints of a register: its next walk begins at the first reading."""
        table = tables.checkpoints
        with self._database.write() as connection:
            connection.execute(sa.delete(table).where(_at(table, key, *RegisterKey._fields)))


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Closed ranges of whole numbers, sorted and united where they overlap or touch."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def touch_rows(connection: sa.Connection, touched: Mapping[RegisterKey, tuple[int, int]]) -> None:
    """Widens rows of touched work inside a transaction that is already under way."""
    rows = [(*key, first, last) for key, (first, last) in sorted(touched.items())]
    _many(connection, statements(connection.dialect.name == "sqlite").touch, rows)


def _many(connection: sa.Connection, statement: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        connection.exec_driver_sql(statement, rows)


def _under_way(key: RegisterKey) -> RegisterKey:
    """Under which key work stands while it is done."""
    return key._replace(register=UNDER_WAY + key.register)


def _united(rows: Iterable[Any]) -> list[Touched]:
    """Rows of work by key, what is under way and what came since united."""
    spans: dict[RegisterKey, tuple[int, int]] = {}
    for row in rows:
        key = RegisterKey(*row[:5])
        key = key._replace(register=key.register.removeprefix(UNDER_WAY))
        first, last = spans.get(key, (row.first_ms, row.last_ms))
        spans[key] = (min(first, row.first_ms), max(last, row.last_ms))
    return [Touched(key, *span) for key, span in sorted(spans.items())]


def _at(table: sa.Table, key: Sequence[str], *columns: str) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == value for name, value in zip(columns, key, strict=True)))


def _checkpoints(key: RegisterKey) -> sa.Select[tuple[Any, ...]]:
    table = tables.checkpoints
    columns = (table.c.kind, table.c.t_ms, table.c.v_ms, table.c.blob)
    return sa.select(*columns).where(_at(table, key, *RegisterKey._fields))


def _dead_row(letter: DeadLetter) -> dict[str, object]:
    gateway = letter.gateway or GatewayKey("", "", "")
    row = {name: getattr(letter, name) for name in ("at_ms", "topic", "reason", "detail", "payload", "seq")}
    return {**row, **gateway._asdict()}


def _letter(row: dict[str, Any]) -> DeadLetter:
    gateway = GatewayKey(row["company"], row["site"], row["gateway"]) if row["gateway"] else None
    names = ("at_ms", "topic", "reason", "detail", "payload", "seq", "number")
    return DeadLetter(gateway=gateway, **{name: row[name] for name in names})


class Statements(NamedTuple):
    """The statements of a commit, written for one database with positional parameters."""

    touch: str
    lengthen: str
    receive: str
    sums: str
    counters: str


@lru_cache
def statements(is_sqlite: bool) -> Statements:
    """Statements that run many thousand times a minute: compiled once, fed with tuples."""
    touch = (
        "INSERT INTO work_touched (company, site, gateway, device, register, first_ms, last_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (company, site, gateway, device, register) DO UPDATE SET"
        " first_ms = CASE WHEN excluded.first_ms < work_touched.first_ms"
        " THEN excluded.first_ms ELSE work_touched.first_ms END,"
        " last_ms = CASE WHEN excluded.last_ms > work_touched.last_ms"
        " THEN excluded.last_ms ELSE work_touched.last_ms END"
    )
    lengthen = (
        "UPDATE work_received SET last = ?"
        " WHERE company = ? AND site = ? AND gateway = ? AND epoch = ? AND last = ? AND last < ?"
    )
    receive = (
        "INSERT INTO work_received (company, site, gateway, epoch, first, last)"
        " SELECT ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM work_received"
        " WHERE company = ? AND site = ? AND gateway = ? AND epoch = ? AND first <= ? AND last >= ?)"
        " ON CONFLICT (company, site, gateway, epoch, first) DO UPDATE SET last = excluded.last"
    )
    sums = (
        "INSERT INTO work_day_sums (company, site, gateway, device, day_ms, count, low, high)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (company, site, gateway, device, day_ms) DO UPDATE SET count = work_day_sums.count"
        " + excluded.count, low = work_day_sums.low + excluded.low, high = work_day_sums.high + excluded.high"
    )
    counters = (
        "INSERT INTO work_counters (scope, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (scope, name) DO UPDATE SET value = work_counters.value + excluded.value"
    )
    every = (touch, lengthen, receive, sums, counters)
    return Statements(*every) if is_sqlite else Statements(*(text.replace("?", "%s") for text in every))
