"""The embedded series store: SQLite in WAL mode, one file per company."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from merilo.errors import StoreRefusedError
from merilo.frame import Frame, Series
from merilo.instants import DAY_MS
from merilo.ports import Point, Rejected, Replaced
from merilo.schema import MEASUREMENTS, Measurement, database
from merilo_adapters.frames import difference, fields_of, select, trimmed
from merilo_adapters.points import (
    AT_MAX_MS,
    check_company,
    check_frame,
    clean_points,
    measurement_named,
    wanted_fields,
    wanted_tags,
    whole_tags,
)
from merilo_adapters.sqlite_files import SqliteFiles, columns_of, ensure_columns
from merilo_adapters.sqlite_rows import (
    delete_gone,
    expire_slice,
    forget_if_empty,
    frames_of,
    insert_whole,
    kept_days,
    kept_text,
    matching_series,
    series_number,
    upsert,
)


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteStore:
    """Series store and its set-up on SQLite files below one folder.

    Several processes may read and write at the same time; writers take turns.

    Args:
        folder: Holds one file per company; made by `init`.
        now_ms: The clock that decides what is outside the retention of policy raw.
    """

    def __init__(self, folder: Path, *, now_ms: Callable[[], int] = _system_ms) -> None:
        self._files = SqliteFiles(folder)
        self._now_ms = now_ms

    def write(self, company: str, measurement: str, points: Sequence[Point]) -> list[Rejected]:
        """See `merilo.ports.SeriesStore.write`."""
        check_company(company)
        meant = measurement_named(measurement)
        clean = clean_points(meant, points)
        if not clean:
            return []
        with self._files.transaction(company, "write") as db:
            oldest = self._oldest_ms(db, meant)
            rejected = [Rejected(i, _too_old(p.at_ms, oldest)) for i, p in enumerate(clean) if p.at_ms < oldest]
            taken = [p for p in clean if p.at_ms >= oldest] if rejected else clean
            ensure_columns(db, meant, frozenset(name for p in taken for name in p.fields))
            upsert(db, meant, taken)
        return rejected

    def read(
        self,
        company: str,
        measurement: str,
        tags: Mapping[str, str],
        start_ms: int,
        end_ms: int,
        fields: Sequence[str] | None = None,
    ) -> list[Series]:
        """See `merilo.ports.SeriesStore.read`."""
        check_company(company)
        meant = measurement_named(measurement)
        wanted, chosen = wanted_tags(meant, tags), wanted_fields(meant, fields)
        start_ms, end_ms = max(start_ms, 0), min(end_ms, AT_MAX_MS + 1)
        if wanted is None or start_ms >= end_ms:
            return []
        with self._files.transaction(company, "read") as db:
            have = columns_of(db, meant)
            columns = tuple(name for name in sorted(have) if chosen is None or name in chosen)
            if not columns:
                return []
            series = matching_series(db, meant, wanted)
            frames = frames_of(db, meant, series, columns, start_ms, end_ms)
        given = ((series[number], trimmed(meant, frame, chosen)) for number, frame in frames.items())
        found = [Series(meant.name, dict(zip(meant.tags, v, strict=True)), frame) for v, frame in given if len(frame)]
        return sorted(found, key=lambda s: tuple(s.tags.values()))

    def replace(
        self, company: str, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int, frame: Frame
    ) -> Replaced:
        """See `merilo.ports.SeriesStore.replace`; one transaction."""
        check_company(company)
        meant = measurement_named(measurement)
        values = whole_tags(meant, tags)
        check_frame(meant, frame, start_ms, end_ms)
        with self._files.transaction(company, "write") as db:
            oldest = self._oldest_ms(db, meant)
            if len(frame) and int(frame.at_ms[0]) < oldest:
                raise StoreRefusedError(f"replace in {measurement}: {_too_old(int(frame.at_ms[0]), oldest)}")
            ensure_columns(db, meant, fields_of(frame))
            number = series_number(db, meant, values, create=len(frame) > 0)
            if number is None:
                return Replaced(0, 0)
            columns = tuple(sorted(columns_of(db, meant)))
            low, high = max(start_ms, 0), min(end_ms, AT_MAX_MS + 1)
            old = frames_of(db, meant, {number: values}, columns, low, high)[number]
            change = difference(old, frame)
            delete_gone(db, meant, number, old, frame, change)
            insert_whole(db, meant, number, columns, select(frame, change.changed))
            if not len(frame) and len(old):
                forget_if_empty(db, meant, number)
        return Replaced(int(change.lost.sum()), int(change.changed.sum()))

    def tags(self, company: str, measurement: str, tags: Mapping[str, str]) -> list[dict[str, str]]:
        """See `merilo.ports.SeriesStore.tags`."""
        check_company(company)
        meant = measurement_named(measurement)
        wanted = wanted_tags(meant, tags)
        if wanted is None:
            return []
        with self._files.transaction(company, "read") as db:
            if not columns_of(db, meant):
                return []
            found = sorted(matching_series(db, meant, wanted).values())
        return [dict(zip(meant.tags, values, strict=True)) for values in found]

    def init(self, company: str, raw_days: int | None, *, dry_run: bool = False) -> list[str]:
        """See `merilo.ports.StoreAdmin.init`."""
        check_company(company)
        if raw_days is not None and raw_days < 1:
            raise ValueError(f"raw_days = {raw_days}, expected at least 1, or none for ever")
        kept = "for ever" if raw_days is None else f"for {raw_days} d"
        text = "" if raw_days is None else str(raw_days)
        path = self._files.path(company)
        if not path.exists() and dry_run:
            return [f"would create {path}, raw kept {kept}"]
        done: list[str] = [] if path.exists() else [f"created {path}, raw kept {kept}"]
        with self._files.transaction(company, "read" if dry_run else "write", create=True) as db:
            if not dry_run:
                db.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
            if kept_text(db) != text:
                if not done:
                    done.append(f"{'would set' if dry_run else 'set'} {database(company)}: raw kept {kept}")
                if not dry_run:
                    db.execute("INSERT OR REPLACE INTO meta VALUES ('raw_days', ?)", (text,))
        return done

    def started_ms(self) -> int | None:
        """None: there is no server that could forget."""
        return None

    def kind(self) -> str:
        """The library's version."""
        return f"sqlite {sqlite3.sqlite_version}"

    def expire(self, company: str, now_ms: int) -> int:
        """Deletes raw rows that are older than the company's raw_days; the number of deleted rows."""
        check_company(company)
        deleted = 0
        for measurement in MEASUREMENTS.values():
            if measurement.policy == "raw":
                deleted += self._expire_one(company, measurement, now_ms)
        return deleted

    def close(self) -> None:
        """Closes idle connections."""
        self._files.close()

    def _expire_one(self, company: str, measurement: Measurement, now_ms: int) -> int:
        deleted = 0
        while True:
            with self._files.transaction(company, "write") as db:
                days = kept_days(db)
                slice_rows = None if days is None else expire_slice(db, measurement, now_ms - days * DAY_MS)
            if slice_rows is None:
                return deleted
            deleted += slice_rows

    def _oldest_ms(self, db: sqlite3.Connection, measurement: Measurement) -> int:
        """The first instant that the measurement's policy still takes."""
        if measurement.policy != "raw":
            return 0
        days = kept_days(db)
        return 0 if days is None else max(self._now_ms() - days * DAY_MS, 0)


def _too_old(at_ms: int, oldest_ms: int) -> str:
    return f"instant {at_ms} is beyond the retention, the oldest that is taken is {oldest_ms}"
