"""SQLite files of the embedded store: connections, transactions, tables, and SQLite's errors turned into ours.

One file per company. A measurement is one wide table without rowid and one table of its series.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from merilo.errors import StoreError, StoreRefusedError, StoreUnavailableError
from merilo.schema import Measurement, database

BUSY_S = 15.0
"""How long a writer waits for another one; the longest transaction (a year of one meter) takes under a second."""
RETRY_S = 0.01
"""Between two tries where SQLite does not wait by itself."""
IDLE_MAX = 32
"""Connections kept open for the next call; more are closed at once."""
CACHE_KIB = 16_384
"""Page cache of one connection."""
WAL_KEPT_BYTES = 16_777_216
"""The log is cut back to this after a checkpoint."""
_TRY_AGAIN = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    }
)


def quoted(name: str) -> str:
    """A name of the schema as an SQL identifier."""
    return f'"{name}"'


def rows_table(measurement: Measurement) -> str:
    """The table that holds the measurement's rows, quoted."""
    return quoted(measurement.name)


def series_table(measurement: Measurement) -> str:
    """The table that holds the tag sets, quoted."""
    return quoted(f"{measurement.name}_series")


def translated(error: sqlite3.Error, what: str) -> StoreError:
    """SQLite's error as one of ours: busy, full disk and I/O errors may pass, the rest needs a person."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _TRY_AGAIN:
        return StoreUnavailableError(f"{what}: {error}")
    return StoreRefusedError(f"{what}: {error}")


class SqliteFiles:
    """The files below one folder. Any number of threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._idle: dict[str, list[sqlite3.Connection]] = {}
        self._lock = threading.Lock()

    def path(self, company: str) -> Path:
        """The company's file."""
        return self.folder / f"{database(company)}.db"

    @contextmanager
    def transaction(
        self, company: str, mode: Literal["read", "write"], *, create: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """One transaction: a snapshot to read, or the only writer. Rolled back when the block raises.

        Raises:
            StoreRefusedError: The file does not exist (and is not to be created) or is damaged.
            StoreUnavailableError: Locked for longer than BUSY_S, disk full, I/O error.
        """
        what = str(self.path(company))
        try:
            connection = self._borrow(company, create=create)
        except sqlite3.Error as error:
            raise translated(error, what) from error
        except OSError as error:
            raise StoreRefusedError(f"{what}: {error}") from error
        sound = False
        try:
            connection.execute("BEGIN" if mode == "read" else "BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            sound = True
        except sqlite3.Error as error:
            raise translated(error, what) from error
        finally:
            if not sound:
                sound = _rolled_back(connection)
            self._give_back(company, connection, sound=sound)

    def close(self) -> None:
        """Closes the idle connections; the next call opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _borrow(self, company: str, *, create: bool) -> sqlite3.Connection:
        path = self.path(company)
        if not path.exists():
            if not create:
                raise StoreRefusedError(f"{path}: database not found: {database(company)}. Run `merilo store init`")
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            idle = self._idle.get(company)
            if idle:
                return idle.pop()
        return _opened(path)

    def _give_back(self, company: str, connection: sqlite3.Connection, *, sound: bool) -> None:
        with self._lock:
            if sound and sum(map(len, self._idle.values())) < IDLE_MAX:
                self._idle.setdefault(company, []).append(connection)
                return
        connection.close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Sets the journal of a file; while two programs make it, SQLite refuses one of them at once."""
    end = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(connection)
        # FULL, not NORMAL: a power cut must not take back what was acknowledged.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _rolled_back(connection: sqlite3.Connection) -> bool:
    """Whether the connection can be used again."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def columns_of(connection: sqlite3.Connection, measurement: Measurement) -> frozenset[str]:
    """The fields that the measurement's table has; empty where there is no table yet."""
    found = connection.execute("SELECT name FROM pragma_table_info(?)", (measurement.name,)).fetchall()
    return frozenset(str(name) for (name,) in found) & measurement.fields


def ensure_columns(connection: sqlite3.Connection, measurement: Measurement, fields: frozenset[str]) -> None:
    """Makes the tables and adds the columns that the fields need; only inside a write transaction.

    Raw rows lie in the order of their instants, so that ingest appends; all others by series, because
    they are replaced and read series by series.
    """
    present = connection.execute("SELECT name FROM pragma_table_info(?)", (measurement.name,)).fetchall()
    have = {str(name) for (name,) in present}
    if not have:
        tags = ", ".join(f"{quoted(tag)} TEXT NOT NULL" for tag in measurement.tags)
        unique = ", ".join(quoted(tag) for tag in measurement.tags)
        connection.execute(
            f"CREATE TABLE {series_table(measurement)} (id INTEGER PRIMARY KEY, {tags}, UNIQUE ({unique}))"
        )
        key = "at_ms, series" if measurement.policy == "raw" else "series, at_ms"
        columns = "".join(f", {quoted(name)} {_kind(measurement, name)}" for name in sorted(fields))
        connection.execute(
            f"CREATE TABLE {rows_table(measurement)} (at_ms INTEGER NOT NULL, series INTEGER NOT NULL{columns},"
            f" PRIMARY KEY ({key})) WITHOUT ROWID"
        )
        return
    for name in sorted(fields - have):
        connection.execute(
            f"ALTER TABLE {rows_table(measurement)} ADD COLUMN {quoted(name)} {_kind(measurement, name)}"
        )


def _kind(measurement: Measurement, name: str) -> str:
    return "REAL" if name in measurement.numbers else "TEXT"
