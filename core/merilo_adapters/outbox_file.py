"""The outbox's file: how it is opened, what keeps room on its disk, and what is saved of a damaged one."""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from merilo.errors import OutboxError
from merilo_adapters.outbox_rows import Row, from_columns

log = logging.getLogger(__name__)

PAGE_BYTES = 4096
PAGES_MIN = 16
WAL_PAGES = 200
"""Checkpoint after so many pages: fewest bytes on flash (measured), and a small log."""
BALLAST_BYTES = 4 << 20
"""Given back when the disk is full: a full disk blocks even deleting."""

ROW = "c.id, c.span, c.epoch, c.boot, c.mono_ns, c.wall_ms, c.clock, c.schema, c.crc, c.body"
"""Columns of a row, in the order that outbox_rows wants them."""
_TABLES = """
CREATE TABLE IF NOT EXISTS epochs (ordinal INTEGER PRIMARY KEY, epoch TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cycles (id INTEGER PRIMARY KEY, span INTEGER NOT NULL, epoch TEXT NOT NULL,
  boot TEXT NOT NULL, mono_ns INTEGER NOT NULL, wall_ms INTEGER NOT NULL, clock TEXT NOT NULL,
  schema INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY, held INTEGER NOT NULL DEFAULT 0,
  level INTEGER NOT NULL DEFAULT 0, acked TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS reserve (id INTEGER PRIMARY KEY, freed_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS gaps (number INTEGER PRIMARY KEY, epoch TEXT NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS aside (id INTEGER PRIMARY KEY, body BLOB, reason TEXT NOT NULL);
"""


class DamageError(sqlite3.DatabaseError):
    """The file contradicts itself where SQLite does not look."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def connect(path: Path | str, pages: int) -> sqlite3.Connection:
    """Opens the file and makes its tables.

    Args:
        path: The file, or ``:memory:``.
        pages: Its size limit.

    Raises:
        sqlite3.DatabaseError, OSError: It cannot be opened or is damaged.
    """
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        if isinstance(path, Path):
            path.chmod(0o600)
        for pragma in (
            f"page_size={PAGE_BYTES}",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={WAL_PAGES}",
            f"journal_size_limit={WAL_PAGES * PAGE_BYTES}",
            f"max_page_count={pages}",
        ):
            db.execute(f"PRAGMA {pragma}")
        db.executescript(_TABLES)
    except (sqlite3.Error, OSError):
        db.close()
        raise
    return db


def keep_ballast(path: Path | str) -> None:
    """Sets room aside on the disk, where there is plenty."""
    if not isinstance(path, Path):
        return
    ballast = path.with_name(path.name + ".ballast")
    try:
        if ballast.exists() and ballast.stat().st_size >= BALLAST_BYTES:
            return
        disk = os.statvfs(path.parent)
        if disk.f_bavail * disk.f_frsize < 4 * BALLAST_BYTES:
            return
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
    except OSError as error:
        log.debug("no ballast file=%s reason=%s", ballast, error)


def release_ballast(path: Path | str, db: sqlite3.Connection, pages: int) -> None:
    """Gives the room back when it is the disk that is full, not the size limit that is reached."""
    if not isinstance(path, Path):
        return
    ballast = path.with_name(path.name + ".ballast")
    if db.execute("PRAGMA page_count").fetchone()[0] < pages and ballast.exists():
        log.warning("outbox disk is full, ballast released file=%s", path)
        ballast.unlink(missing_ok=True)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is not what it should be; a text that is no UTF-8 is damage too, without a code of its own."""
    if "decode to UTF-8" in str(error):
        return True
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: sqlite3.Error) -> bool:
    """Whether the size limit or the disk has no room."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def set_aside(path: Path) -> Path:
    """Renames a file with its log; gives the new name."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return aside


def salvage(path: Path) -> tuple[list[Row], dict[int, tuple[str, int]]]:
    """All rows of a damaged file whose checksum is right, and what was known about their state."""
    states: dict[int, tuple[str, int]] = {}
    rows: dict[int, Row] = {}
    db = _lenient(path)
    try:
        try:
            db.execute("SELECT 1 FROM cycles, waiting, reserve LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            db.close()
            _give_first_page(path)
            db = _lenient(path)
        for columns in _readable(db, f"SELECT {ROW} FROM cycles c"):  # noqa: S608
            try:
                row = from_columns(columns)
            except OutboxError:
                continue
            rows[row.key] = row
        for columns in _readable(db, "SELECT c.id, c.freed_ms FROM reserve c"):
            states[int(str(columns[0]))] = ("reserve", int(str(columns[1])))
        for columns in _readable(db, "SELECT c.id, c.level FROM waiting c"):
            states[int(str(columns[0]))] = ("waiting", int(str(columns[1])))
    finally:
        db.close()
    return [rows[key] for key in sorted(rows)], states


def _lenient(path: Path) -> sqlite3.Connection:
    """A connection that reads on over a text that is no UTF-8: the row's checksum judges it."""
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    db.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
    return db


def _give_first_page(path: Path) -> None:
    """Replaces the first page of a file by that of an empty outbox: its tables begin on the same pages."""
    model = path.with_name(path.name + ".model")
    connect(model, PAGES_MIN).close()
    head = bytearray(model.read_bytes()[:PAGE_BYTES])
    for left in path.parent.glob(model.name + "*"):
        left.unlink()
    pages = path.stat().st_size // PAGE_BYTES
    if not pages:
        return
    head[28:40] = struct.pack(">III", pages, 0, 0)  # size in pages, no free pages (SQLite file format, 1.3)
    with path.open("r+b") as file:
        file.write(head)


def _readable(db: sqlite3.Connection, select: str) -> Iterator[Sequence[object]]:
    """Rows of a damaged table by rising key; jumps over what cannot be read, in growing steps."""
    key, step = -1, 1
    for _ in range(10_000_000):
        try:
            for columns in db.execute(f"{select} WHERE c.id > ? ORDER BY c.id", (key,)):
                if not isinstance(columns[0], int) or columns[0] <= key:
                    raise sqlite3.DatabaseError("keys do not rise")
                key, step = columns[0], 1
                yield columns
            return
        except (sqlite3.DatabaseError, OverflowError):
            key += step
            step *= 2
            if key >= 1 << 62:
                return
