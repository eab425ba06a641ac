"""What the books note of their own work: how far each register's rows reach, and hashes of the rows they stored.

The hashes are one vector a series and UTC day: the start of each row within the day and 64 bits of its content. They do
not depend on what the store still has, so a store that forgot rows is found out.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from merilo.ids import RegisterKey
from merilo_adapters.registry import tables
from merilo_adapters.registry.database import Database
from merilo_adapters.registry.work import Checkpoint, Work, statements

_ENTRY = struct.Struct("<IQ")


class BookDay(NamedTuple):
    """One UTC day of one stored series."""

    measurement: str
    series: str
    """Tag values in the schema's order, joined by slashes."""
    day_ms: int


Hashes = Mapping[int, int]
"""Milliseconds from the start of the day to the hash of the row there."""


def packed(hashes: Hashes) -> bytes:
    """The stored form."""
    return b"".join(_ENTRY.pack(offset, value) for offset, value in sorted(hashes.items()))


def unpacked(blob: bytes) -> dict[int, int]:
    """The hashes of the stored form."""
    return dict(_ENTRY.iter_unpack(blob))


class Bookkeeping:
    """Reads and writes the books' own notes, in the database of the work tables."""

    def __init__(self, work: Work) -> None:
        self._database: Database = work.database

    def heads(self, company: str, site: str) -> dict[RegisterKey, Checkpoint]:
        """The newest certain state of every register of a site that was ever walked."""
        table = tables.checkpoints
        query = sa.select(*table.c).where(table.c.company == company, table.c.site == site, table.c.kind == "head")
        with self._database.read() as connection:
            return {RegisterKey(*row[:5]): Checkpoint(*row[5:]) for row in connection.execute(query)}

    def rows(self, company: str, days: Iterable[BookDay]) -> dict[BookDay, dict[int, int]]:
        """Hashes of these days; a day that was never stored is absent."""
        table = tables.book_rows
        found: dict[BookDay, dict[int, int]] = {}
        wanted: dict[tuple[str, str], list[int]] = {}
        for day in days:
            wanted.setdefault((day.measurement, day.series), []).append(day.day_ms)
        with self._database.read() as connection:
            for (measurement, series), instants in wanted.items():
                query = sa.select(table.c.day_ms, table.c.hashes).where(
                    table.c.company == company,
                    table.c.measurement == measurement,
                    table.c.series == series,
                    table.c.day_ms >= min(instants),
                    table.c.day_ms <= max(instants),
                )
                asked = set(instants)
                for day_ms, blob in connection.execute(query):
                    if day_ms in asked:
                        found[BookDay(measurement, series, day_ms)] = unpacked(blob)
        return found

    def days(self, company: str, from_ms: int, to_ms: int) -> list[BookDay]:
        """Which days of which series were stored, of [from, to)."""
        table = tables.book_rows
        query = (
            sa.select(table.c.measurement, table.c.series, table.c.day_ms)
            .where(table.c.company == company, table.c.day_ms >= from_ms, table.c.day_ms < to_ms)
            .order_by(table.c.measurement, table.c.series, table.c.day_ms)
        )
        with self._database.read() as connection:
            return [BookDay(*row) for row in connection.execute(query)]

    def put(self, company: str, changed: Mapping[BookDay, Hashes], noted: Collection[tuple[str, str]] = ()) -> None:
        """Stores the hashes of these days; an empty vector removes the day.

        Args:
            noted: Scopes and names of counters that are counted up in the same transaction.
        """
        if not changed:
            return
        table = tables.book_rows
        with self._database.write() as connection:
            for day, hashes in changed.items():
                here = sa.and_(
                    table.c.company == company,
                    table.c.measurement == day.measurement,
                    table.c.series == day.series,
                    table.c.day_ms == day.day_ms,
                )
                connection.execute(sa.delete(table).where(here))
                if hashes:
                    row = {"company": company, **day._asdict(), "hashes": packed(hashes)}
                    connection.execute(sa.insert(table), [row])
            for scope, name in noted:
                connection.exec_driver_sql(statements(self._database.is_sqlite).counters, (scope, name, 1))

    def forget(self, company: str, measurement: str, series: str, from_ms: int, to_ms: int) -> None:
        """Removes whole days of [from, to)."""
        table = tables.book_rows
        with self._database.write() as connection:
            connection.execute(
                sa.delete(table).where(
                    table.c.company == company,
                    table.c.measurement == measurement,
                    table.c.series == series,
                    table.c.day_ms >= from_ms,
                    table.c.day_ms < to_ms,
                )
            )

    def days_of(self, company: str, measurement: str, series: str, from_ms: int, to_ms: int) -> Sequence[int]:
        """Stored days of one series whose start lies in [from, to)."""
        table = tables.book_rows
        query = sa.select(table.c.day_ms).where(
            table.c.company == company,
            table.c.measurement == measurement,
            table.c.series == series,
            table.c.day_ms >= from_ms,
            table.c.day_ms < to_ms,
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())
