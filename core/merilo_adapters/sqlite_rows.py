"""The statements of the embedded store: series, upserts, deletions and columns, inside one transaction."""

# ruff: noqa: S608 - names come from the schema alone, values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import numpy as np

from merilo.frame import Frame
from merilo.instants import HOUR_MS
from merilo.ports import Point
from merilo.schema import Measurement
from merilo_adapters.frames import Difference
from merilo_adapters.sqlite_files import columns_of, quoted, rows_table, series_table

EXPIRE_SLICE_MS = 6 * HOUR_MS
"""Raw rows are deleted this much at a time, so that ingest never waits long."""


def kept_text(db: sqlite3.Connection) -> str | None:
    """Days that raw rows are kept, as stored: empty for ever, None where nothing is stored yet."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return None
    row = db.execute("SELECT value FROM meta WHERE name = 'raw_days'").fetchone()
    return None if row is None else str(row[0])


def kept_days(db: sqlite3.Connection) -> int | None:
    """Days that raw rows are kept, None for ever."""
    text = kept_text(db)
    return int(text) if text else None


def matching_series(
    db: sqlite3.Connection, measurement: Measurement, wanted: Mapping[str, str]
) -> dict[int, tuple[str, ...]]:
    """Numbers and tag values of the series that have these values."""
    names = ", ".join(quoted(tag) for tag in measurement.tags)
    where = " AND ".join(f"{quoted(tag)} = ?" for tag in wanted) or "1"
    rows = db.execute(f"SELECT id, {names} FROM {series_table(measurement)} WHERE {where}", tuple(wanted.values()))
    return {row[0]: tuple(row[1:]) for row in rows}


def series_number(
    db: sqlite3.Connection, measurement: Measurement, values: tuple[str, ...], *, create: bool
) -> int | None:
    """The number of one series; asked anew in each transaction, because another process may have removed it."""
    wanted = dict(zip(measurement.tags, values, strict=True))
    found = next(iter(matching_series(db, measurement, wanted)), None)
    if found is not None or not create:
        return found
    marks = ", ".join("?" for _ in values)
    names = ", ".join(quoted(tag) for tag in measurement.tags)
    return db.execute(f"INSERT INTO {series_table(measurement)} ({names}) VALUES ({marks})", values).lastrowid


def upsert(db: sqlite3.Connection, measurement: Measurement, points: Iterable[Point]) -> None:
    """Unites each point with what is stored; later points of the batch win."""
    numbers: dict[tuple[str, ...], int | None] = {}
    merged: dict[tuple[int, int | None], dict[str, float | str]] = {}
    for point in points:
        if point.tags not in numbers:
            numbers[point.tags] = series_number(db, measurement, point.tags, create=True)
        merged.setdefault((point.at_ms, numbers[point.tags]), {}).update(point.fields)
    batches: dict[tuple[str, ...], list[tuple[int | float | str | None, ...]]] = {}
    for key, fields in merged.items():
        batches.setdefault(tuple(fields), []).append((*key, *fields.values()))
    for names, rows in batches.items():
        columns = "".join(f", {quoted(name)}" for name in names)
        marks = ", ?" * len(names)
        updates = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names)
        db.executemany(
            f"INSERT INTO {rows_table(measurement)} (at_ms, series{columns}) VALUES (?, ?{marks})"
            f" ON CONFLICT DO UPDATE SET {updates}",
            rows,
        )


def insert_whole(
    db: sqlite3.Connection, measurement: Measurement, number: int, columns: Sequence[str], frame: Frame
) -> None:
    """Writes rows so that each has exactly the frame's fields."""
    if not len(frame):
        return
    names = [name for name in columns if name in frame.numbers or name in frame.texts]
    values: list[Iterable[object]] = [frame.at_ms.tolist(), repeat(number)]
    # SQLite stores NaN as NULL, which is what a missing field is here.
    values += [frame.numbers[name].tolist() if name in frame.numbers else frame.texts[name] for name in names]
    db.executemany(
        f"INSERT OR REPLACE INTO {rows_table(measurement)} (at_ms, series{''.join(f', {quoted(n)}' for n in names)})"
        f" VALUES (?, ?{', ?' * len(names)})",
        zip(*values, strict=False),
    )


def delete_gone(
    db: sqlite3.Connection, measurement: Measurement, number: int, old: Frame, new: Frame, change: Difference
) -> None:
    """Deletes the old rows whose instants the new frame does not have."""
    gone = np.setdiff1d(old.at_ms[change.lost], new.at_ms, assume_unique=True).tolist()
    if gone:
        db.executemany(
            f"DELETE FROM {rows_table(measurement)} WHERE series = ? AND at_ms = ?", zip(repeat(number), gone)
        )


def forget_if_empty(db: sqlite3.Connection, measurement: Measurement, number: int) -> None:
    """Removes the series if it has no row left."""
    left = db.execute(f"SELECT 1 FROM {rows_table(measurement)} WHERE series = ? LIMIT 1", (number,)).fetchone()
    if left is None:
        db.execute(f"DELETE FROM {series_table(measurement)} WHERE id = ?", (number,))


def frames_of(
    db: sqlite3.Connection,
    measurement: Measurement,
    series: Mapping[int, tuple[str, ...]],
    columns: tuple[str, ...],
    start_ms: int,
    end_ms: int,
) -> dict[int, Frame]:
    """The rows of [start, end) per series number, in columns."""
    names = "".join(f", {quoted(name)}" for name in columns)
    table = rows_table(measurement)
    if measurement.policy == "raw" and len(series) > 1:
        return _frames_by_instant(db, measurement, series, columns, start_ms, end_ms)
    found = {}
    for number in series:
        rows = db.execute(
            f"SELECT at_ms{names} FROM {table} WHERE series = ? AND at_ms >= ? AND at_ms < ? ORDER BY at_ms",
            (number, start_ms, end_ms),
        ).fetchall()
        found[number] = _frame(measurement, columns, rows, 1)
    return found


def _frames_by_instant(
    db: sqlite3.Connection,
    measurement: Measurement,
    series: Mapping[int, tuple[str, ...]],
    columns: tuple[str, ...],
    start_ms: int,
    end_ms: int,
) -> dict[int, Frame]:
    """One pass over rows that lie in the order of their instants, for all series at once."""
    names = "".join(f", {quoted(name)}" for name in columns)
    per_series: dict[int, list[tuple[object, ...]]] = {number: [] for number in series}
    for row in db.execute(
        f"SELECT series, at_ms{names} FROM {rows_table(measurement)} WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms",
        (start_ms, end_ms),
    ):
        rows = per_series.get(row[0])
        if rows is not None:
            rows.append(row)
    return {number: _frame(measurement, columns, rows, 2) for number, rows in per_series.items()}


def _frame(measurement: Measurement, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]], skip: int) -> Frame:
    """Columns of rows whose instant stands before position `skip`."""
    if not rows:
        return Frame.empty()
    at_ms = np.fromiter((row[skip - 1] for row in rows), np.int64, len(rows))
    numbers, texts = {}, {}
    for position, name in enumerate(columns, start=skip):
        values = [row[position] for row in rows]
        if name in measurement.numbers:
            numbers[name] = np.array(values, np.float64)
        else:
            texts[name] = [None if value is None else str(value) for value in values]
    return Frame(at_ms, numbers, texts)


def expire_slice(db: sqlite3.Connection, measurement: Measurement, oldest_ms: int) -> int | None:
    """Deletes the oldest rows before the instant, one slice; the number of rows, None when none were left.

    The last call also forgets series without a row.
    """
    if not columns_of(db, measurement):
        return None
    first = db.execute(f"SELECT min(at_ms) FROM {rows_table(measurement)}").fetchone()[0]
    if first is None or first >= oldest_ms:
        db.execute(
            f"DELETE FROM {series_table(measurement)} WHERE NOT EXISTS"
            f" (SELECT 1 FROM {rows_table(measurement)} WHERE series = id)"
        )
        return None
    until = min(first + EXPIRE_SLICE_MS, oldest_ms)
    return db.execute(f"DELETE FROM {rows_table(measurement)} WHERE at_ms < ?", (until,)).rowcount
