"""The registry's database: engine, transactions, schema. SQLite for one machine, PostgreSQL by URL.

Several processes use it at once. On SQLite a writer therefore says so when it begins (BEGIN IMMEDIATE): two readers
that both want to become writers would otherwise refuse each other at once, whatever the busy timeout.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from merilo.errors import ConfigError, ConflictError, RegistryError
from merilo_adapters.registry import tables
from merilo_adapters.registry.migrations import HEAD, STEPS, Steps

log = logging.getLogger(__name__)

BUSY_TIMEOUT_S = 15
"""How long a writer waits for another process's transaction; the longest of ours takes under a second."""
FILE_MODE = 0o640
"""Of a new SQLite file: it holds password hashes, and its -wal and -shm files take over its mode."""
_REVISIONS = sa.table("alembic_version", sa.column("version_num", sa.String))
_MIGRATION_LOCK = 0x6D65_7269
"""PostgreSQL advisory lock that one migrating process holds."""


class RegistryUnavailableError(RegistryError):
    """The registry's database cannot be reached, is locked or is full: keep everything and try again."""


class Database:
    """Transactions on one registry database, brought to this release's schema when opened."""

    def __init__(self, url: str, steps: Steps = STEPS) -> None:
        """Opens or creates the database.

        Args:
            url: ``sqlite:////var/lib/merilo/registry.db`` or ``postgresql+psycopg://…``.
            steps: The migrations of this release.

        Raises:
            ConfigError: The URL is none, or its driver is not installed.
            RegistryUnavailableError: The database cannot be reached.
            RegistryError: A newer release wrote it.
        """
        self.url = _checked_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        try:
            self._engine = _engine(self.url)
        except (ImportError, NoSuchModuleError) as error:
            raise ConfigError(
                "registry URL", f"no driver for {self.url.drivername!r}: {error}", _DRIVER_HINT
            ) from error
        self._steps = steps
        self._writing = self._engine.execution_options(merilo_write=True)
        with _translated(self.shown):
            self._prepare()

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Closes all connections that are not in use."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent view.

        Raises:
            RegistryUnavailableError: The database cannot be used now.
        """
        with _translated(self.shown), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that may write: everything or nothing, durable when left.

        Raises:
            ConflictError: A key that exists, or one that is missing.
            RegistryUnavailableError: The database cannot be used now; nothing was written.
        """
        with _translated(self.shown), self._writing.begin() as connection:
            yield connection

    def scalar(self, statement: str) -> int:
        """One number of one row, by the shortest way; for what is asked before every batch."""
        with _translated(self.shown), self._engine.connect() as connection:
            return int(connection.exec_driver_sql(statement).scalar_one())

    def _revision(self, connection: sa.Connection) -> str | None:
        """The schema the database has, None for an empty database."""
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(sa.select(_REVISIONS.c.version_num)).scalar()
        return found

    def _prepare(self) -> None:
        with self._engine.connect() as connection:
            found = self._revision(connection)
        if found == self._steps.head:
            return
        with self._unchecked() as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            found = self._revision(connection)  # another process may have been first
            if found is None:
                found = self._create(connection)
            if found != self._steps.head:
                self._migrate(connection, found)

    @contextlib.contextmanager
    def _unchecked(self) -> Iterator[sa.Connection]:
        """A writing connection on which SQLite may rebuild a table that others refer to; closed for good afterwards."""
        with self._writing.connect() as connection:
            if self.is_sqlite:
                driver: Any = connection.connection.driver_connection
                driver.execute("PRAGMA foreign_keys=OFF")  # has no effect inside a transaction
            yield connection
            connection.invalidate()

    def _create(self, connection: sa.Connection) -> str:
        if sa.inspect(connection).has_table("companies"):
            raise RegistryError(f"{self.shown}: has tables but no schema version; expected a registry or nothing")
        if self.is_sqlite:
            Path(str(self.url.database)).chmod(FILE_MODE)
        tables.metadata.create_all(connection)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.execute(sa.insert(_REVISIONS).values(version_num=HEAD))
        connection.execute(sa.insert(tables.versions).values(name="registry", value=1))
        log.info("registry created url=%s schema=%s", self.shown, HEAD)
        return HEAD

    def _migrate(self, connection: sa.Connection, found: str) -> None:
        from merilo_adapters.registry.migrations import run

        head = self._steps.head
        if not run.is_known(self._steps, found):
            raise RegistryError(
                f"{self.shown}: schema {found} is newer than this release, which knows {head}. "
                "Install the release that wrote it, or restore the copy made before the upgrade"
            )
        if self.is_sqlite:
            copied = copy_before(Path(str(self.url.database)), found, head)
            log.info("registry copied before migration copy=%s", copied)
        run.upgrade(connection, self._steps)
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first() if self.is_sqlite else None
        if broken is not None:
            raise RegistryError(f"{self.shown}: the migration would leave {broken[0]} without what it refers to")
        log.info("registry migrated url=%s from=%s to=%s", self.shown, found, head)


def copy_before(file: Path, found: str, head: str) -> Path:
    """Copies a SQLite registry beside itself, as it was last committed; an older copy is kept as it is.

    Args:
        file: The registry.
        found: Its schema.
        head: The schema it is about to get.
    """
    target = file.with_name(f"{file.name}.before-{found}-to-{head}")
    if target.exists():
        return target
    draft = target.with_name(target.name + ".part")
    draft.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(draft)) as copy:
        source.backup(copy)
    draft.chmod(file.stat().st_mode & 0o777)
    draft.rename(target)
    return target


_DRIVER_HINT = "Install merilo[collector], and psycopg for PostgreSQL"


def _checked_url(text: str) -> URL:
    hint = "Expected sqlite:////path/registry.db or postgresql+psycopg://user@host/merilo"
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ConfigError("registry URL", "cannot be read", hint) from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ConfigError("registry URL", "names no file, but several processes share the registry", hint)
        return url
    if backend != "postgresql":
        raise ConfigError("registry URL", f"found {backend!r}", hint)
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _engine(url: URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    file = Path(str(url.database))
    if not file.parent.is_dir():
        raise ConfigError("registry URL", f"the folder {file.parent} does not exist", "Create it, or name another one")
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin below, not where the driver guesses
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("merilo_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextlib.contextmanager
def _translated(shown: str) -> Iterator[None]:
    """Turns what the library raises into errors of ours."""
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(f"registry {shown}: refuses the change, {error.orig}") from error
    except OperationalError as error:
        raise RegistryUnavailableError(f"registry {shown}: cannot be used now, {error.orig}") from error
    except DBAPIError as error:
        raise RegistryError(f"registry {shown}: {error.orig}") from error
    except SQLAlchemyError as error:
        raise RegistryError(f"registry {shown}: {error}") from error
