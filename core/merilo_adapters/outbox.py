"""Readings on disk until the collector has them, in SQLite: one row per poll cycle.

Every reading has a number that is never given twice within an epoch; the epoch is made with the file. ``append`` is
durable when it returns (write-ahead log, full synchronous: the file system's cache alone would lose a power cut). What
is acknowledged stays as a reserve for a while, so that a store that forgot can be filled again. The file has a size
limit; at the limit the reserve goes first, then fast gauges are thinned, then counters, and what is given up is
recorded as a gap. Every row carries a checksum, because SQLite has none; a damaged file is set aside and what is
readable moves to a new one, so that opening always succeeds where the folder can be written at all.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from merilo.errors import OutboxError
from merilo.instants import DAY_MS
from merilo.reading import Reading
from merilo.wire import MESSAGE_MAX
from merilo_adapters.outbox_file import (
    PAGE_BYTES,
    PAGES_MIN,
    ROW,
    DamageError,
    connect,
    is_damage,
    is_full,
    keep_ballast,
    release_ballast,
    salvage,
    set_aside,
)
from merilo_adapters.outbox_rows import (
    NUMBER_MAX,
    ORDINAL_BITS,
    Batch,
    Clock,
    Columns,
    Level,
    Numbered,
    Row,
    Span,
    batches,
    from_columns,
    quarter,
    shifted,
    thinned,
    to_columns,
)

__all__ = ["Batch", "Gap", "Outbox", "Span", "Stats"]

log = logging.getLogger(__name__)
T = TypeVar("T")

SIZE_BYTES = 1 << 30
"""Default size limit: more than 30 days of 20 devices at 10 s."""
GRACE_MS = 7 * DAY_MS
"""Default time that acknowledged rows stay as a reserve, where there is room."""
ROOM_STEPS = 64
"""Tries to make room for one cycle."""
EVICT_ROWS = 256
DROP_ROWS = 32
ASIDE_MAX = 100
"""Damaged rows that are kept to be looked at."""
GAPS_MAX = 1000
"""Gap records that wait for delivery; when there are more, the two oldest become one."""

_EPOCH = re.compile("[0-9a-f]{16}")


class Gap(NamedTuple):
    """Readings that will never come, and why."""

    number: int
    """Of the record, for :meth:`Outbox.gap_delivered`."""
    epoch: str
    first: int
    last: int
    reason: str
    """``gauges_thinned`` (counters were kept), ``counters_thinned``, ``evicted`` or ``damaged``."""


class Stats(NamedTuple):
    """How full the outbox is."""

    rows: int
    """Cycles that wait to be acknowledged."""
    oldest_ms: int | None
    """Wall clock of the oldest of them [UTC ms]."""
    bytes: int
    """In use, reserve included."""
    reserve_rows: int
    evicted: int
    """Readings given up since the file was opened."""


def _cut(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges sorted and joined."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


class Outbox:
    """The outbox of one gateway. Safe for use from several threads; one at a time works.

    Args:
        path: The file; made if it is not there. ``:memory:`` keeps nothing beyond the process.
        size_bytes: Limit of the file.
        grace_ms: How long acknowledged rows stay [ms].

    Raises:
        OutboxError: The folder cannot be written.
    """

    def __init__(self, path: Path | str, *, size_bytes: int = SIZE_BYTES, grace_ms: int = GRACE_MS) -> None:
        self.path = path if path == ":memory:" else Path(path)
        self._pages = max(size_bytes // PAGE_BYTES, PAGES_MIN)
        self._grace_ms = grace_ms
        self._lock = threading.RLock()
        self._evicted = 0
        self.findings: list[str] = []
        """What opening or salvage had to repair, one line each; the owner reports and empties it."""
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise OutboxError(f"{self.path}: cannot be opened, {error}") from error
            self._rebuild(error)
        except OSError as error:
            raise OutboxError(f"{self.path}: cannot be opened, {error}") from error

    # Opening

    def _open(self) -> None:
        self._db = connect(self.path, self._pages)
        self._begin_epoch()
        keep_ballast(self.path)

    def _begin_epoch(self) -> None:
        """Goes on with the file's last epoch, or begins one where there is none or its last row is not to be trusted.

        Numbers are derived from the last row, which is therefore never deleted.
        """
        self._epochs: dict[int, str] = dict(self._db.execute("SELECT ordinal, epoch FROM epochs").fetchall())
        ordinal = max(self._epochs, default=0)
        epoch, following = self._epochs.get(ordinal, ""), 0
        last = self._db.execute(f"SELECT {ROW} FROM cycles c ORDER BY id DESC LIMIT 1").fetchone()  # noqa: S608
        if last:
            try:
                row = from_columns(last)
                self._repair_epoch(row)
                ordinal = max(ordinal, row.ordinal)
                epoch, following = self._epochs[ordinal], row.last + 1 if row.ordinal == ordinal else 0
            except OutboxError as error:
                self.findings.append(f"last row damaged: {error}")
                ordinal, epoch = max(ordinal, last[0] >> ORDINAL_BITS if isinstance(last[0], int) else 0), ""
        if not isinstance(epoch, str) or not _EPOCH.fullmatch(epoch):
            ordinal, epoch, following = ordinal + 1, secrets.token_hex(8), 0
            self._epochs[ordinal] = epoch
            self._db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (ordinal, epoch))
        self._ordinal, self.epoch, self._next = ordinal, epoch, following

    def _repair_epoch(self, row: Row) -> None:
        """The row's checksum vouches for its epoch; the table of epochs has none."""
        if self._epochs.get(row.ordinal) != row.epoch:
            self._epochs[row.ordinal] = row.epoch
            self._db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (row.ordinal, row.epoch))
            self.findings.append(f"name of epoch {row.epoch} repaired")

    def close(self) -> None:
        """Ends; the file can be opened again."""
        with self._lock:
            self._db.close()

    def _run(self, work: Callable[[], T]) -> T:
        """Runs one piece of work under the lock; a damaged file is rebuilt and the work repeated once."""
        with self._lock:
            try:
                return work()
            except sqlite3.DatabaseError as error:
                self._roll_back()
                if is_damage(error):
                    self._rebuild(error)
                    return work()
                # After an I/O error nothing about the connection's caches is certain: it is never retried as it is.
                self._reopen()
                raise OutboxError(f"{self.path}: {error}") from error

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.debug("rollback failed reason=%s", error)

    def _reopen(self) -> None:
        if not isinstance(self.path, Path):
            return
        try:
            self._db.close()
            self._open()
        except (sqlite3.Error, OSError) as error:
            log.warning("outbox could not be reopened file=%s reason=%s", self.path, error)

    # Writing

    def append(
        self,
        readings: Sequence[Reading],
        *,
        wall_ms: int,
        mono_ns: int = 0,
        boot: str = "",
        clock: Clock = "synced",
    ) -> int:
        """Stores one cycle durably.

        Args:
            readings: At least one, in order of their instants.
            wall_ms: Wall clock now [UTC ms].
            mono_ns: Monotonic clock now [ns]; with ``boot`` it lets :meth:`stamp` correct the instants later.
            boot: Names the boot.
            clock: ``unsynced`` rows are held back until :meth:`stamp` or :meth:`release`.

        Returns:
            The number of the first reading; the n-th has that number plus n.

        Raises:
            OutboxError: Not stored; nothing of the cycle is in the file.
        """
        return self.append_all([(wall_ms, readings)], mono_ns=mono_ns, boot=boot, clock=clock)

    def append_all(
        self,
        cycles: Sequence[tuple[int, Sequence[Reading]]],
        *,
        mono_ns: int = 0,
        boot: str = "",
        clock: Clock = "synced",
    ) -> int:
        """Stores several cycles, each with its wall clock, in one transaction: for histories that are filled in.

        Returns:
            The number of the first reading of the first cycle.

        Raises:
            OutboxError: Nothing was stored.
        """
        if not cycles or not all(readings for _, readings in cycles):
            raise OutboxError("expected at least one cycle and one reading in each, found none")
        return self._run(lambda: self._append(cycles, mono_ns, boot, clock))

    def _append(self, cycles: Sequence[tuple[int, Sequence[Reading]]], mono_ns: int, boot: str, clock: Clock) -> int:
        first = following = self._next
        columns: list[Columns] = []
        for wall_ms, readings in cycles:
            numbered = tuple(Numbered(following + n, reading) for n, reading in enumerate(readings))
            row = Row(
                ordinal=self._ordinal,
                epoch=self.epoch,
                first=following,
                span=len(numbered),
                boot=boot,
                mono_ns=mono_ns,
                wall_ms=wall_ms,
                clock=clock,
                readings=numbered,
            )
            columns.append(to_columns(row))
            following += len(numbered)
        held = int(clock == "unsynced")
        for _ in range(ROOM_STEPS):
            try:
                self._insert(columns, held)
            except sqlite3.OperationalError as error:
                self._roll_back()
                if not is_full(error):
                    raise
                if not self._make_room():
                    raise OutboxError(f"{self.path}: full, and nothing is left to give up") from error
            else:
                self._next = following
                return first
        raise OutboxError(f"{self.path}: full after {ROOM_STEPS} tries to make room")

    def _insert(self, columns: Sequence[Columns], held: int) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO cycles VALUES (?,?,?,?,?,?,?,?,?,?)", columns)
        self._db.executemany("INSERT INTO waiting (id, held) VALUES (?, ?)", [(c[0], held) for c in columns])
        self._db.execute("COMMIT")

    # Sending

    def waiting(
        self, limit_bytes: int = MESSAGE_MAX, *, newest_first: bool = False, skip: Collection[Span] = ()
    ) -> Batch | None:
        """The next message to send, None if nothing waits.

        Args:
            limit_bytes: Largest payload.
            newest_first: The newest cycle; else the oldest, joined with those that follow it.
            skip: Numbers that are under way already.
        """
        return self._run(lambda: batches(self._waiting_rows(newest_first), list(skip), limit_bytes))

    def _waiting_rows(self, newest_first: bool) -> Iterator[tuple[Row, list[tuple[int, int]]]]:
        order, beyond, key = ("DESC", "<", 1 << 62) if newest_first else ("ASC", ">", -1)
        while True:
            found = self._db.execute(
                f"SELECT {ROW}, w.acked FROM waiting w JOIN cycles c ON c.id = w.id"  # noqa: S608
                f" WHERE w.held = 0 AND w.id {beyond} ? ORDER BY w.id {order} LIMIT 8",
                (key,),
            ).fetchall()
            if not found:
                return
            self._check_order([columns[0] for columns in found], falling=newest_first)
            for columns in found:
                key = columns[0]
                row = self._checked(columns[:-1])
                if row is not None:
                    yield row, _ranges(columns[-1])

    def _check_order(self, keys: Sequence[int], *, falling: bool) -> None:
        """Rows must come in order and be found again by their keys, or they would be sent and never freed."""
        marks = ",".join("?" * len(keys))
        found = self._db.execute(f"SELECT count(*) FROM waiting WHERE id IN ({marks})", keys).fetchone()[0]  # noqa: S608
        if list(keys) != sorted(set(keys), reverse=falling) or found != len(keys):
            raise DamageError("keys of waiting rows are not in order")

    def _checked(self, columns: Sequence[object]) -> Row | None:
        """The row, or None if it is damaged; then it is set aside and a gap is recorded."""
        try:
            row = from_columns(columns)
            self._repair_epoch(row)
            return row
        except OutboxError as error:
            key = int(str(columns[0]))
            log.warning("outbox row set aside key=%s reason=%s", key, error)
            span = columns[1] if isinstance(columns[1], int) and 0 < columns[1] < 10_000 else 1
            epoch = self._epochs.get(key >> ORDINAL_BITS, self.epoch)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM waiting WHERE id = ?", (key,))
            self._db.execute("DELETE FROM reserve WHERE id = ?", (key,))
            self._db.execute(
                "INSERT OR REPLACE INTO aside SELECT ?, ?, ? WHERE (SELECT count(*) FROM aside) < ?",
                (key, columns[9] if isinstance(columns[9], bytes) else None, str(error), ASIDE_MAX),
            )
            self._db.execute(
                "DELETE FROM cycles WHERE id = ? AND id < (SELECT max(id) FROM cycles)",
                (key,),
            )
            low = key & NUMBER_MAX
            self._record_gap(epoch, low, low + span - 1, "damaged")
            self._db.execute("COMMIT")
            return None

    # Acknowledgements

    def free(self, epoch: str, first: int, last: int, now_ms: int) -> int:
        """Takes an acknowledgement: these numbers are with the collector, both ends included.

        Returns:
            Rows that need not be sent any more; they become reserve. 0 for an unknown epoch.
        """
        return self._run(lambda: self._free(epoch, first, last, now_ms))

    def _rows_of(self, table: str, epoch: str, first: int, last: int) -> list[tuple[int, int]]:
        """Key and last number of the rows in a table that touch these numbers."""
        ordinal = next((number for number, name in self._epochs.items() if name == epoch), None)
        if ordinal is None or first > last or first < 0:
            return []
        base = ordinal << ORDINAL_BITS
        low, high = base | min(first, NUMBER_MAX), base | min(last, NUMBER_MAX)
        before = self._db.execute(
            f"SELECT max(id) FROM {table} WHERE id < ? AND id >= ?",  # noqa: S608  # a constant of this file
            (low, base),
        ).fetchone()[0]
        found = self._db.execute(
            f"SELECT t.id, (t.id & ?) + c.span - 1 FROM {table} t JOIN cycles c ON c.id = t.id"  # noqa: S608
            " WHERE t.id BETWEEN ? AND ? ORDER BY t.id",
            (NUMBER_MAX, low if before is None else before, high),
        ).fetchall()
        return [(key, end) for key, end in found if end >= first]

    def _free(self, epoch: str, first: int, last: int, now_ms: int) -> int:
        done: list[int] = []
        partly: list[tuple[str, int]] = []
        for key, end in self._rows_of("waiting", epoch, first, last):
            begin = key & NUMBER_MAX
            if first <= begin and end <= last:
                done.append(key)
                continue
            acked = self._db.execute("SELECT acked FROM waiting WHERE id = ?", (key,)).fetchone()[0]
            ranges = _cut([*_ranges(acked), (max(first, begin), min(last, end))])
            row = self._row(key)
            if row is None:
                continue
            if all(any(low <= n <= high for low, high in ranges) for n, _ in row.readings):
                done.append(key)
            else:
                partly.append((json.dumps(ranges), key))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("UPDATE waiting SET acked = ? WHERE id = ?", partly)
        self._db.executemany("DELETE FROM waiting WHERE id = ?", [(key,) for key in done])
        try:
            self._db.executemany("INSERT OR REPLACE INTO reserve VALUES (?, ?)", [(key, now_ms) for key in done])
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
            # No page is free for the reserve's own table: the rows are given up at once instead.
            self._roll_back()
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM waiting WHERE id = ?", [(key,) for key in done])
            self._forget(done)
        self._db.execute("COMMIT")
        return len(done)

    def _row(self, key: int) -> Row | None:
        found = self._db.execute(f"SELECT {ROW} FROM cycles c WHERE c.id = ?", (key,)).fetchone()  # noqa: S608
        return None if found is None else self._checked(found)

    def resync(self, epoch: str = "", ranges: Sequence[tuple[int, int]] = (), *, since_ms: int | None = None) -> int:
        """Makes reserve rows wait again: those of the ranges, those since an instant, or all.

        Returns:
            Rows that wait again.
        """
        return self._run(lambda: self._resync(epoch, ranges, since_ms))

    def _resync(self, epoch: str, ranges: Sequence[tuple[int, int]], since_ms: int | None) -> int:
        keys: list[int]
        if ranges:
            keys = [key for first, last in ranges for key, _ in self._rows_of("reserve", epoch, first, last)]
        else:
            oldest = since_ms if since_ms is not None else 0
            keys = [
                key
                for (key,) in self._db.execute(
                    "SELECT r.id FROM reserve r JOIN cycles c ON c.id = r.id WHERE c.wall_ms >= ?", (oldest,)
                )
            ]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR IGNORE INTO waiting (id) VALUES (?)", [(key,) for key in keys])
        self._db.executemany("DELETE FROM reserve WHERE id = ?", [(key,) for key in keys])
        self._db.execute("COMMIT")
        return len(set(keys))

    # Clocks

    def stamp(self, boot: str, wall_ms: int, mono_ns: int) -> int:
        """Corrects the held rows of a boot, now that its wall clock is right, and lets them go.

        Args:
            boot: The boot whose monotonic clock ``mono_ns`` is.
            wall_ms: Right wall clock [UTC ms] at the moment ``mono_ns`` [ns].

        Returns:
            Rows that were held.
        """

        def move(row: Row) -> Row:
            right = wall_ms - (mono_ns - row.mono_ns) // 1_000_000
            return shifted(row, right - row.wall_ms, "synced")

        return self._run(lambda: self._unhold("c.boot = ?", boot, move))

    def release(self, boot: str, now_ms: int, *, also_this: bool = False) -> int:
        """Lets held rows of other boots go: their clock will never be known.

        Their instants are kept if they lie between the neighbours'; else the stretch is moved between them.

        Args:
            boot: The present boot.
            now_ms: Right wall clock [UTC ms].
            also_this: Rows of the present boot too: it has waited long enough.

        Returns:
            Rows that were held.
        """
        count = 0
        for other in self._run(lambda: [b for (b,) in self._db.execute(_HELD_BOOTS)]):
            if other == boot and not also_this:
                continue
            shift = self._run(lambda other=other: self._bounded(other, now_ms))  # type: ignore[misc]  # bound now
            count += self._run(
                lambda other=other, shift=shift: self._unhold(  # type: ignore[misc]
                    "c.boot = ?", other, lambda row: shifted(row, shift, "unknown")
                )
            )
        return count

    def _bounded(self, boot: str, now_ms: int) -> int:
        start, end, low, high = self._db.execute(
            "SELECT min(c.wall_ms), max(c.wall_ms), min(c.id), max(c.id) FROM waiting w JOIN cycles c ON c.id = w.id"
            " WHERE w.held = 1 AND c.boot = ?",
            (boot,),
        ).fetchone()
        before = self._db.execute(
            "SELECT wall_ms FROM cycles WHERE id < ? AND clock <> 'unsynced' ORDER BY id DESC LIMIT 1", (low,)
        ).fetchone()
        after = self._db.execute(
            "SELECT wall_ms FROM cycles WHERE id > ? AND clock <> 'unsynced' ORDER BY id LIMIT 1", (high,)
        ).fetchone()
        latest = after[0] if after else now_ms
        if before is not None and start <= before[0]:
            return int(before[0]) + 1 - int(start)
        if end >= latest:
            return int(latest) - 1 - int(end)
        return 0

    def _unhold(self, where: str, value: str, move: Callable[[Row], Row]) -> int:
        count = 0
        while True:
            found = self._db.execute(
                f"SELECT {ROW} FROM waiting w JOIN cycles c ON c.id = w.id"  # noqa: S608  # constants
                f" WHERE w.held = 1 AND {where} ORDER BY w.id LIMIT 200",
                (value,),
            ).fetchall()
            if not found:
                return count
            rows = [row for row in map(self._checked, found) if row is not None]
            self._db.execute("BEGIN IMMEDIATE")
            for row in rows:
                columns = to_columns(move(row))
                self._db.execute(
                    "UPDATE cycles SET wall_ms = ?, clock = ?, schema = ?, crc = ?, body = ? WHERE id = ?",
                    (*columns[5:], row.key),
                )
                self._db.execute("UPDATE waiting SET held = 0 WHERE id = ?", (row.key,))
            self._db.execute("COMMIT")
            count += len(rows)

    # Room

    def _make_room(self) -> bool:
        """Gives something up, in the order that costs least; False if there is nothing left."""
        release_ballast(self.path, self._db, self._pages)
        keys = [key for (key,) in self._db.execute("SELECT id FROM reserve ORDER BY id LIMIT ?", (EVICT_ROWS,))]
        if keys and self._transaction(lambda: self._forget(keys)):
            return True
        return self._made(lambda: self._thin(1)) or self._made(lambda: self._thin(2)) or self._made(self._drop)

    def _made(self, work: Callable[[], bool]) -> bool:
        """Whether the work gave something up; it may itself find no page free, then it has changed nothing."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            self._roll_back()
            if not is_full(error):
                raise
            return False

    def _transaction(self, work: Callable[[], int]) -> int:
        self._db.execute("BEGIN IMMEDIATE")
        count = work()
        self._db.execute("COMMIT")
        return count

    def _forget(self, keys: Sequence[int]) -> int:
        """Deletes rows, the newest excepted; gives how many."""
        newest = self._db.execute("SELECT max(id) FROM cycles").fetchone()[0]
        old = [(key,) for key in keys if key != newest]
        self._db.executemany("DELETE FROM cycles WHERE id = ?", old)
        self._db.executemany("DELETE FROM reserve WHERE id = ?", old)
        return len(old)

    def _thin(self, level: Level) -> bool:
        """Thins the oldest quarter of an hour that is not thinned so far; the newest quarter stays."""
        newest = self._db.execute("SELECT max(wall_ms) FROM (SELECT wall_ms FROM cycles ORDER BY id DESC LIMIT 1)")
        limit = newest.fetchone()[0] // 900_000
        rows: list[Row] = []
        oldest = self._db.execute(
            f"SELECT {ROW}, w.acked FROM waiting w JOIN cycles c ON c.id = w.id"  # noqa: S608
            " WHERE w.level < ? ORDER BY w.id LIMIT 1000",
            (level,),
        )
        for columns in oldest.fetchall():
            row = self._checked(columns[:-1])
            if row is None:
                continue
            if rows and (quarter(row), row.ordinal, row.clock) != (quarter(rows[0]), rows[0].ordinal, rows[0].clock):
                break
            if quarter(row) >= limit and not rows:
                return False
            rows.append(_left(row, columns[-1]))
        if rows:
            self._evicted += self._transaction(lambda: self._replace_thinned(rows, level))
        return bool(rows)

    def _replace_thinned(self, rows: Sequence[Row], level: Level) -> int:
        row, lost = thinned(rows, level)
        held = int(row.clock == "unsynced")
        self._db.executemany("DELETE FROM cycles WHERE id = ?", [(r.key,) for r in rows])
        self._db.executemany("DELETE FROM waiting WHERE id = ?", [(r.key,) for r in rows])
        if row.readings:
            self._db.execute("INSERT INTO cycles VALUES (?,?,?,?,?,?,?,?,?,?)", to_columns(row))
            self._db.execute("INSERT INTO waiting (id, held, level) VALUES (?, ?, ?)", (row.key, held, level))
        reason = "gauges_thinned" if level == 1 else "counters_thinned"
        self._record_gap(row.epoch, row.first, row.last, reason)
        return len(lost)

    def _drop(self) -> bool:
        """Gives up the oldest rows that wait: the last resort."""
        newest = self._db.execute("SELECT max(id) FROM cycles").fetchone()[0]
        found = self._db.execute(
            f"SELECT {ROW}, w.acked FROM waiting w JOIN cycles c ON c.id = w.id"  # noqa: S608
            " WHERE w.id <> ? ORDER BY w.id LIMIT ?",
            (newest, DROP_ROWS),
        ).fetchall()
        rows = [_left(row, columns[-1]) for columns in found if (row := self._checked(columns[:-1])) is not None]

        def drop() -> int:
            self._forget([row.key for row in rows])
            for row in rows:
                self._db.execute("DELETE FROM waiting WHERE id = ?", (row.key,))
                self._record_gap(row.epoch, row.first, row.last, "evicted")
            return sum(len(row.readings) for row in rows)

        if not rows:
            return bool(found)  # damaged rows were set aside: that is room too
        self._evicted += self._transaction(drop)
        return True

    def trim(self, now_ms: int) -> int:
        """Deletes reserve rows whose grace is over; call now and then while the clock is right.

        Returns:
            Rows deleted.
        """

        def work() -> int:
            before = now_ms - self._grace_ms
            found = self._db.execute("SELECT id FROM reserve WHERE freed_ms < ? LIMIT 5000", (before,)).fetchall()
            keep_ballast(self.path)
            return self._transaction(lambda: self._forget([key for (key,) in found])) if found else 0

        return self._run(work)

    # Gaps and figures

    def _record_gap(self, epoch: str, first: int, last: int, reason: str) -> None:
        found = self._db.execute(
            "SELECT number FROM gaps WHERE epoch = ? AND reason = ? AND last = ? ORDER BY number DESC LIMIT 1",
            (epoch, reason, first - 1),
        ).fetchone()
        if found:
            self._db.execute("UPDATE gaps SET last = ? WHERE number = ?", (last, found[0]))
            return
        self._db.execute(
            "INSERT INTO gaps (epoch, first, last, reason) VALUES (?, ?, ?, ?)", (epoch, first, last, reason)
        )
        if self._db.execute("SELECT count(*) FROM gaps").fetchone()[0] > GAPS_MAX:
            old = self._db.execute("SELECT number, last FROM gaps ORDER BY number LIMIT 2").fetchall()
            self._db.execute("UPDATE gaps SET last = max(last, ?) WHERE number = ?", (old[1][1], old[0][0]))
            self._db.execute("DELETE FROM gaps WHERE number = ?", (old[1][0],))

    def gaps(self) -> list[Gap]:
        """What was given up and not yet told, oldest first."""
        return self._run(
            lambda: [
                Gap(*g) for g in self._db.execute("SELECT number, epoch, first, last, reason FROM gaps ORDER BY number")
            ]
        )

    def gap_delivered(self, gap: Gap) -> None:
        """Forgets a gap record, unless it has grown since it was read."""
        self._run(
            lambda: self._transaction(
                lambda: (
                    self._db.execute("DELETE FROM gaps WHERE number = ? AND last = ?", (gap.number, gap.last)).rowcount
                )
            )
        )

    def stats(self) -> Stats:
        """How full the outbox is now."""

        def work() -> Stats:
            rows = self._db.execute("SELECT count(*) FROM waiting").fetchone()[0]
            oldest = self._db.execute(
                "SELECT c.wall_ms FROM waiting w JOIN cycles c ON c.id = w.id ORDER BY w.id LIMIT 1"
            ).fetchone()
            pages = self._db.execute("PRAGMA page_count").fetchone()[0]
            free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
            reserve = self._db.execute("SELECT count(*) FROM reserve").fetchone()[0]
            return Stats(rows, oldest[0] if oldest else None, (pages - free) * PAGE_BYTES, reserve, self._evicted)

        return self._run(work)

    @property
    def next_number(self) -> int:
        """The number that the next reading gets."""
        return self._next

    # Damage

    def _rebuild(self, error: Exception) -> None:
        """Sets the file aside and moves what is readable to a new one, under a new epoch for what comes."""
        if not isinstance(self.path, Path):
            raise OutboxError(f"outbox in memory is damaged: {error}") from error
        try:
            self._db.close()
        except (AttributeError, sqlite3.Error) as closing:
            log.debug("damaged outbox could not be closed reason=%s", closing)
        try:
            aside = set_aside(self.path)
            rows, states = salvage(aside)
            self._open()
            self._take_over(rows, states)
        except (OSError, sqlite3.Error) as again:
            raise OutboxError(f"{self.path}: damaged ({error}), and no new file can be made: {again}") from again
        self.findings.append(f"outbox damaged: {error}; {len(rows)} cycles moved, the old file is {aside.name}")
        log.error("outbox damaged file=%s reason=%s salvaged=%s", aside, error, len(rows))

    def _take_over(self, rows: Sequence[Row], states: dict[int, tuple[str, int]]) -> None:
        fresh = max((row.ordinal for row in rows), default=0) + 1
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("DELETE FROM epochs")
        self._db.executemany("INSERT INTO epochs VALUES (?, ?)", sorted({(row.ordinal, row.epoch) for row in rows}))
        self._db.execute("INSERT INTO epochs VALUES (?, ?)", (fresh, self.epoch))
        for row in rows:
            self._db.execute("INSERT OR IGNORE INTO cycles VALUES (?,?,?,?,?,?,?,?,?,?)", to_columns(row))
            kind, value = states.get(row.key, ("waiting", 0))
            if kind == "reserve":
                self._db.execute("INSERT OR IGNORE INTO reserve VALUES (?, ?)", (row.key, value))
            else:
                self._db.execute(
                    "INSERT OR IGNORE INTO waiting (id, held, level) VALUES (?, ?, ?)",
                    (row.key, int(row.clock == "unsynced"), value),
                )
        self._db.execute("COMMIT")
        self._epochs = {row.ordinal: row.epoch for row in rows} | {fresh: self.epoch}
        self._ordinal, self._next = fresh, 0


_HELD_BOOTS = "SELECT DISTINCT c.boot FROM waiting w JOIN cycles c ON c.id = w.id WHERE w.held = 1"


def _left(row: Row, acked: object) -> Row:
    """The row without what is acknowledged already."""
    done = _ranges(acked)
    return replace(row, readings=tuple(n for n in row.readings if not any(a <= n.number <= b for a, b in done)))


def _ranges(text: object) -> list[tuple[int, int]]:
    """Acknowledged parts of a row; what is damaged counts as not acknowledged: the row is sent again."""
    try:
        return [(int(low), int(high)) for low, high in json.loads(text)] if isinstance(text, str) and text else []
    except (ValueError, TypeError):
        return []
