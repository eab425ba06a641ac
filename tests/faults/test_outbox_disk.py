"""Faults of the disk under the outbox: kills, flipped bits, a full disk, a power cut. Each shows that it happened."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from merilo.errors import OutboxError
from merilo.reading import Reading
from merilo_adapters.outbox import Outbox

START = 1_796_083_200_000
WRITER = f"""
import sys
from merilo.reading import Reading
from merilo_adapters.outbox import Outbox
box = Outbox(sys.argv[1])
n = box.next_number
while n < int(sys.argv[2]):
    readings = [Reading(device="d0", at_ms={START} + n * 1000, values={{"active_energy_import_wh": float(n)}})]
    box.append(readings, wall_ms={START} + n * 1000)
    print(n, flush=True)
    if n % 3 == 2:
        box.free(box.epoch, n - 2, n - 1, {START})
    n += 1
"""


def value(number: int) -> Reading:
    return Reading(device="d0", at_ms=START + number * 1000, values={"active_energy_import_wh": float(number)})


def everything(box: Outbox) -> dict[int, Reading]:
    """All readings that are in the file, the reserve included."""
    box.resync()
    found: dict[int, Reading] = {}
    while (batch := box.waiting()) is not None:
        found |= {batch.first + n: reading for n, reading in enumerate(batch.readings)}
        box.free(batch.epoch, batch.first, batch.last, START)
    return found


def command(path: Path, count: int) -> list[str]:
    return [sys.executable, "-c", WRITER, str(path), str(count)]


def test_kill_9_in_the_middle_of_writing_loses_nothing_that_was_said_to_be_stored(tmp_path: Path) -> None:
    chance = random.Random(7)
    said = -1
    for _ in range(5):
        with (tmp_path / "said").open("w+") as out:
            process = subprocess.Popen(command(tmp_path / "o", 100_000), stdout=out)
            time.sleep(0.6 + chance.random() * 0.4)
            process.kill()
            assert process.wait(10) == -signal.SIGKILL
            out.seek(0)
            lines = [line for line in out.read().split("\n")[:-1] if line]
        said = max([said, *map(int, lines)])

    box = Outbox(tmp_path / "o")
    found = everything(box)
    box.close()
    assert said > 10, "nothing was written: the kill came too early"
    assert found.items() >= {n: value(n) for n in range(said + 1)}.items()
    assert box.findings == []


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """A closed outbox with 300 cycles of 5 readings; in memory where there is such a folder, for speed."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path) as folder:
        path = Path(folder) / "o"
        box = Outbox(path)
        box.append_all([(START + n * 1000, [value(n + k) for k in range(5)]) for n in range(0, 1500, 5)])
        box.close()
        yield path


def test_flipped_bits_never_change_a_value_and_cost_only_what_they_hit(written: Path) -> None:
    chance = random.Random(11)
    original = written.read_bytes()
    truth = {n: value(n) for n in range(1500)}
    lost: list[int] = []
    for _ in range(60):
        content = bytearray(original)
        at = chance.randrange(4096, len(content))
        content[at] ^= 1 << chance.randrange(8)
        for left in written.parent.glob("o*"):
            left.unlink()
        written.write_bytes(content)
        box = Outbox(written)
        found = everything(box)
        wrong = {n for n, reading in found.items() if truth.get(n) != reading}
        assert not wrong, f"bit flip at {at} gave wrong values of {wrong}"
        lost.append(len(truth) - len(found))
        assert box.append([value(0)], wall_ms=START) >= 0
        box.close()

    assert any(lost), "no flip hit a row: the fault was not there"
    assert sorted(lost)[len(lost) // 2] <= 60


def test_without_the_checksum_the_same_flips_would_give_wrong_values(written: Path) -> None:
    """The control: what SQLite itself notices of a changed row."""
    changed = 0
    for n in range(40):
        db = sqlite3.connect(written)
        (key, body) = db.execute("SELECT id, body FROM cycles ORDER BY id LIMIT 1 OFFSET ?", (n,)).fetchone()
        db.execute("UPDATE cycles SET wall_ms = wall_ms + 1 WHERE id = ?", (key,))
        db.commit()
        changed += db.execute("PRAGMA integrity_check").fetchone()[0] == "ok" and bool(body)
        db.close()

    assert changed == 40
    box = Outbox(written)
    found = everything(box)
    assert not set(range(200)) & set(found)
    assert len(found) == 1300
    box.close()


def test_a_page_of_garbage_in_the_middle_costs_a_page_and_the_rest_moves_to_a_new_file(written: Path) -> None:
    content = bytearray(written.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = random.Random(3).randbytes(4096)
    written.write_bytes(content)

    box = Outbox(written)
    found = everything(box)

    assert all(value(n) == reading for n, reading in found.items())
    assert len(found) >= 1500 - 260  # about fifty of these small rows lie on a page
    assert box.append([value(1)], wall_ms=START) >= 0
    box.close()


def test_every_single_page_can_be_garbage_and_the_start_still_succeeds(written: Path) -> None:
    original = written.read_bytes()
    best = []
    for page in range(0, len(original) // 4096, 3):
        content = bytearray(original)
        content[page * 4096 : page * 4096 + 4096] = random.Random(page).randbytes(4096)
        for left in written.parent.glob("o*"):
            left.unlink()
        written.write_bytes(content)
        box = Outbox(written)
        found = everything(box)
        assert all(value(n) == reading for n, reading in found.items())
        best.append(len(found))
        assert box.append([value(1)], wall_ms=START) >= 0
        box.close()

    assert sum(count >= 1500 - 260 for count in best) >= len(best) - 1


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own that can be full; needs root."""
    place = folder / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("a disk of its own needs root and mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_gives_up_the_reserve_and_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path, "32m") as place:
        box = Outbox(place / "o", size_bytes=6_000_000)
        for n in range(3000):
            box.append([value(n)], wall_ms=START + n * 1000)
        box.free(box.epoch, 0, 2999, START)
        filler = place / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
        assert os.statvfs(place).f_bavail == 0, "the disk is not full: the fault was not there"
        assert (place / "o.ballast").exists()

        for n in range(3000, 9000):
            box.append([value(n)], wall_ms=START + n * 1000)
        found = {n for n in everything(box) if n >= 3000}
        assert found == set(range(3000, 9000))
        assert not (place / "o.ballast").exists()

        filler.unlink()
        box.trim(START)
        assert (place / "o.ballast").exists()
        box.close()


def test_a_disk_that_becomes_read_only_is_said_and_recovers(tmp_path: Path) -> None:
    with small_disk(tmp_path, "12m") as place:
        box = Outbox(place / "o")
        box.append([value(0)], wall_ms=START)
        if subprocess.run(["mount", "-o", "remount,ro", str(place)], capture_output=True, check=False).returncode:
            pytest.skip("this kernel does not remount a disk with open files")
        with pytest.raises(OutboxError):
            box.append([value(1)], wall_ms=START)
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        assert box.append([value(1)], wall_ms=START) == 1
        box.close()


def test_every_commit_is_synchronised_to_the_disk_before_it_is_reported(tmp_path: Path) -> None:
    """A power cut loses what the file system only had in memory; the control writes without synchronising."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not on this machine")
    opened = "box = Outbox(sys.argv[1])"
    weak = WRITER.replace(opened, f'{opened}; box._db.execute("PRAGMA synchronous=OFF")')
    synced: dict[str, list[bool]] = {}
    for name, program in (("full", WRITER), ("off", weak)):
        trace = tmp_path / f"{name}.trace"
        call = [sys.executable, "-c", program, str(tmp_path / name), "30"]
        done = subprocess.run(
            ["strace", "-f", "-y", "-e", "trace=fdatasync,fsync,pwrite64,write", "-o", str(trace), *call],
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip("strace may not trace here")
        clean = True
        synced[name] = []
        for line in trace.read_text().splitlines():
            if re.search(rf"pwrite64\(\d+<[^>]*{name}-wal>", line):
                clean = False
            elif re.search(rf"f(data)?sync\(\d+<[^>]*{name}-wal>\) += 0", line):
                clean = True
            elif re.search(r'write\(1<[^>]*>, "\d', line):
                synced[name].append(clean)

    assert len(synced["full"]) == 30
    assert all(synced["full"])
    assert not all(synced["off"])


def test_a_text_that_is_no_utf_8_any_more_is_damage_and_costs_only_its_row(written: Path) -> None:
    with sqlite3.connect(written) as db:
        db.execute("UPDATE cycles SET epoch = CAST(x'30ff' AS TEXT) WHERE id = (SELECT min(id) FROM cycles)")
    db.close()

    box = Outbox(written)
    found = everything(box)
    box.close()

    assert len(found) >= 1500 - 5
    assert all(value(n) == reading for n, reading in found.items())
