"""The embedded store under several processes, crashes and age."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from merilo.errors import StoreRefusedError, StoreUnavailableError
from merilo.frame import Frame
from merilo.ports import Point
from merilo.schema import MEASUREMENTS
from merilo_adapters.sqlite_store import SqliteStore

DAY = 86_400_000
NOW = 1_798_761_600_000
"""2027-01-01T00:00Z."""
TAGS = {"company": "acme", "site": "hq", "gateway": "gw1", "device": "meter-1"}
DEVICE = tuple(TAGS.values())

WRITER = """
import sys
from pathlib import Path
from merilo.ports import Point
from merilo_adapters.sqlite_store import SqliteStore

store, name, count = SqliteStore(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for i in range(count):
    store.write("acme", "register_15m", [Point(("acme", "hq", "gw1", name, "r"), i * 1000, {"known_wh": float(i)})])
    print(i, flush=True)
"""


def writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> list[int]:
    out, _ = process.communicate(timeout=60)
    return [int(line) for line in out.split()]


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    made = SqliteStore(tmp_path, now_ms=lambda: NOW)
    made.init("acme", 90)
    return made


def test_two_processes_write_while_a_third_reads_whole_states(store: SqliteStore, tmp_path: Path) -> None:
    both = [writer(tmp_path, name, 150) for name in ("a", "b")]
    seen = 0
    while any(process.poll() is None for process in both):
        for series in store.read("acme", "register_15m", {}, 0, NOW):
            known = series.frame.numbers["known_wh"].tolist()
            assert known == [float(i) for i in range(len(known))]
            seen += 1

    assert [ended(process) for process in both] == [list(range(150))] * 2
    found = store.read("acme", "register_15m", {}, 0, NOW)
    assert [len(series.frame) for series in found] == [150, 150]
    assert seen > 0


def test_a_killed_writer_loses_nothing_that_it_acknowledged(store: SqliteStore, tmp_path: Path) -> None:
    process = writer(tmp_path, "a", 100_000)
    assert process.stdout is not None
    for _ in range(100):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    acknowledged = 100 + len(ended(process))

    found = store.read("acme", "register_15m", {}, 0, NOW)[0].frame

    assert len(found) in (acknowledged, acknowledged + 1)
    assert store.write("acme", "register_15m", [Point((*DEVICE, "r"), 0, {"known_wh": 1.0})]) == []


def test_the_log_is_synchronised_fully_and_readers_do_not_block(store: SqliteStore) -> None:
    with store._files.transaction("acme", "read") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_field_that_first_appears_in_another_process_is_seen(store: SqliteStore, tmp_path: Path) -> None:
    store.write("acme", "readings", [Point(DEVICE, NOW, {"active_power_w": 1.0})])
    other = SqliteStore(tmp_path, now_ms=lambda: NOW)
    assert set(store.read("acme", "readings", {}, 0, NOW + 1)[0].frame.numbers) == {"active_power_w"}

    other.write("acme", "readings", [Point(DEVICE, NOW, {"frequency_hz": 50.0})])

    assert store.read("acme", "readings", {}, 0, NOW + 1)[0].frame.rows() == {
        NOW: {"active_power_w": 1.0, "frequency_hz": 50.0}
    }


def test_every_field_of_the_schema_can_be_stored(store: SqliteStore) -> None:
    for measurement in MEASUREMENTS.values():
        fields: dict[str, float | str] = dict.fromkeys(measurement.numbers, 1.5)
        fields |= dict.fromkeys(measurement.texts, "text")
        tags = tuple(f"{tag}-1" for tag in measurement.tags)

        assert store.write("acme", measurement.name, [Point(tags, NOW, fields)]) == []

        assert store.read("acme", measurement.name, {}, 0, NOW + 1)[0].frame.rows() == {NOW: fields}


def test_expired_raw_rows_go_and_all_others_stay(store: SqliteStore) -> None:
    at = [NOW - d * DAY for d in (90, 60, 30, 1)]
    store.write("acme", "readings", [Point(DEVICE, t, {"frequency_hz": 1.0}) for t in at])
    gone = (*DEVICE[:3], "gone")
    store.write("acme", "readings", [Point(gone, at[0], {"frequency_hz": 1.0})])
    store.write("acme", "register_15m", [Point((*DEVICE, "r"), at[0], {"known_wh": 1.0})])

    deleted = store.expire("acme", NOW + 29 * DAY)

    assert deleted == 2
    assert store.read("acme", "readings", TAGS, 0, NOW)[0].frame.at_ms.tolist() == sorted(at[1:])
    assert store.tags("acme", "readings", {}) == [TAGS]
    assert len(store.read("acme", "register_15m", {}, 0, NOW)[0].frame) == 1
    assert store.expire("acme", NOW + 29 * DAY) == 0


def test_raw_rows_kept_for_ever_do_not_expire(store: SqliteStore) -> None:
    store.init("acme", None)
    store.write("acme", "readings", [Point(DEVICE, 1000, {"frequency_hz": 1.0})])

    assert store.expire("acme", NOW) == 0
    assert len(store.read("acme", "readings", {}, 0, NOW)) == 1


@pytest.mark.parametrize(("age_ms", "taken"), [(90 * DAY, True), (90 * DAY + 1, False)])
def test_a_row_is_taken_up_to_the_age_that_raw_rows_are_kept(store: SqliteStore, age_ms: int, taken: bool) -> None:
    rejected = store.write("acme", "readings", [Point(DEVICE, NOW - age_ms, {"frequency_hz": 1.0})])

    assert (rejected == []) is taken


def test_a_replace_that_fails_half_way_changes_nothing(store: SqliteStore) -> None:
    tags = {**TAGS, "register": "r"}
    before = Frame(np.arange(10, dtype=np.int64), {"known_wh": np.arange(10.0)})
    store.replace("acme", "register_15m", tags, 0, 10, before)
    with store._files.transaction("acme", "write") as db:
        db.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON register_15m WHEN NEW.known_wh = 77"
            " BEGIN SELECT RAISE(ABORT, 'disk trouble'); END"
        )

    with pytest.raises(StoreRefusedError, match="disk trouble"):
        store.replace("acme", "register_15m", tags, 0, 10, Frame(np.array([3]), {"known_wh": np.array([77.0])}))

    assert store.read("acme", "register_15m", {}, 0, 10)[0].frame.rows() == before.rows()


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "merilo-acme.db").write_bytes(b"x" * 5000)
    store = SqliteStore(tmp_path)

    with pytest.raises(StoreRefusedError, match=r"merilo-acme\.db.*not a database"):
        store.tags("acme", "readings", {})


def test_a_full_disk_is_unavailable_and_passes(store: SqliteStore) -> None:
    points = [Point(DEVICE, NOW - i, {"frequency_hz": float(i)}) for i in range(20_000)]
    with store._files.transaction("acme", "read") as db:
        db.execute("PRAGMA max_page_count = 20")

    with pytest.raises(StoreUnavailableError, match="full"):
        store.write("acme", "readings", points)

    store.close()
    assert store.write("acme", "readings", points) == []


def test_a_writer_that_holds_the_file_too_long_makes_it_unavailable(store: SqliteStore, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "merilo-acme.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with store._files.transaction("acme", "read") as db:
        db.execute("PRAGMA busy_timeout = 20")
    try:
        with pytest.raises(StoreUnavailableError, match="locked"):
            store.write("acme", "readings", [Point(DEVICE, NOW, {"frequency_hz": 1.0})])
        assert store.tags("acme", "readings", {}) == []
    finally:
        other.close()
    assert store.write("acme", "readings", [Point(DEVICE, NOW, {"frequency_hz": 1.0})]) == []


def test_many_threads_share_one_store(store: SqliteStore) -> None:
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for i in range(20):
                store.write("acme", "register_15m", [Point((*DEVICE[:3], name, "r"), i, {"known_wh": float(i)})])
                store.read("acme", "register_15m", {"device": name}, 0, NOW)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"d{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert errors == []
    assert [len(s.frame) for s in store.read("acme", "register_15m", {}, 0, NOW)] == [20] * 8


@pytest.mark.long
def test_a_year_of_a_site_is_stored_in_ten_seconds_and_read_in_fifty_milliseconds(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.init("acme", 90)
    names = ("energy_wh", "energy_metered_wh", "energy_bridged_wh", "energy_estimated_wh", "energy_low_wh",
             "power_mean_w", "power_max_w", "coverage", "coverage_shape")  # fmt: skip
    began = time.perf_counter()
    for meter in range(20):
        tags = {"company": "acme", "site": "hq", "meter": f"m{meter}", "role": "it"}
        base = {**TAGS, "device": f"m{meter}", "register": "r"}
        for measurement, count, step, whose, fields in (
            ("energy_15m", 35_040, 900_000, tags, (*names, "state")),
            ("register_15m", 35_040, 900_000, base, tuple(MEASUREMENTS["register_15m"].numbers)),
            ("energy_1h", 8_760, 3_600_000, tags, names),
            ("energy_1d", 365, DAY, tags, names),
            ("energy_1mo", 12, 30 * DAY, tags, names),
        ):
            at = np.arange(count, dtype=np.int64) * step
            frame = Frame(at, {name: np.sqrt(at + position) for position, name in enumerate(fields)})
            store.replace("acme", measurement, whose, 0, 366 * DAY, frame)
    stored_s = time.perf_counter() - began
    took = []
    for measurement, count in (("energy_1h", 8_760), ("energy_1d", 365)):
        began = time.perf_counter()
        (found,) = store.read("acme", measurement, {"meter": "m7"}, 0, 366 * DAY)
        took.append(time.perf_counter() - began)
        assert len(found.frame) == count

    assert stored_s < 10.0
    assert max(took) < 0.05
