"""A real InfluxDB forgets what it acknowledged: found out, said on the page, filled again, without a person.

The torn log is made by hand: after a kill the newest log file ends in half an entry. The server starts, cuts the file
in its mind but goes on writing behind the cut, and at its next start everything written since is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.checker import BOOKED, FAR_MS, Verdict, check, rows_of, stored
from faults.harness import COMPANY, Plant, reconciled, settled, wait_for
from faults.nursery import Nursery
from merilo_adapters.company_stores import CompanyStores
from real import ORG, InfluxServer, influx1, influx2

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

REPAIRED_S = 120.0
"""Everything is as before this long after the restart."""
RATE = 1.0 if os.environ.get("MERILO_LONG") == "1" else 30.0
"""The collector compares once a minute of the shown clock; a long run does it in real time."""
Kind = Callable[[], AbstractContextManager[InfluxServer]]
both_kinds = pytest.mark.parametrize("kind", [influx1, influx2])


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    yield found
    found.close()


def plant_of(folder: Path, nursery: Nursery, server: InfluxServer, late_hours: int) -> Plant:
    """A plant with three days of history, some hours of which come late."""
    return Plant(
        folder,
        nursery,
        store=server.url,
        token=server.token or "",
        days=3,
        rate=RATE,
        holes=1,
        hole_hours=late_hours,
        live=False,
    )


def newest_logs(place: Path) -> list[Path]:
    """The newest write-ahead log file of each shard."""
    shards = {path.parent for path in place.rglob("*.wal")}
    return [max(shard.glob("*.wal")) for shard in shards]


def log_folder(server: InfluxServer, policy: str) -> Path:
    """Where the running server keeps the write-ahead logs of the company's policy."""
    if server.token is None:
        return server.data / f"merilo-{COMPANY}" / policy
    name = f"merilo-{COMPANY}" + ("/raw" if policy == "raw" else "")
    query = urllib.parse.urlencode({"name": name, "org": ORG})
    request = urllib.request.Request(
        f"{server.url}/api/v2/buckets?{query}", headers={"Authorization": f"Token {server.token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return server.data / str(json.load(answer)["buckets"][0]["id"]) / "autogen"


def tear(path: Path) -> None:
    """Appends the head of an entry of 900 bytes and only 300 of them, as a power cut leaves it."""
    with path.open("ab") as sink:
        sink.write(b"\x01" + (900).to_bytes(4, "big") + b"\x5a" * 300)


@dataclass
class Held:
    """What a store holds."""

    readings: dict[tuple[str, int], dict[str, float]]
    rows: dict[tuple[str, ...], dict[int, dict[str, float | str]]]

    @classmethod
    def by(cls, plant: Plant) -> Held:
        """What the plant's store holds now."""
        registry = plant.registry()
        store = CompanyStores(plant.installation(), registry).of(COMPANY)
        rows = {
            (name, *series.tags.values()): rows_of(series.frame)
            for name in BOOKED
            for series in store.read(COMPANY, name, {"company": COMPANY}, 0, FAR_MS)
        }
        found = cls(stored(store), rows)
        registry.close()
        return found

    def lost(self, later: Held) -> tuple[int, int]:
        """Readings, and rows of the books, that are gone or not what they were."""
        readings = sum(later.readings.get(key) != values for key, values in self.readings.items())
        rows = sum(
            later.rows.get(series, {}).get(at_ms) != row
            for series, mine in self.rows.items()
            for at_ms, row in mine.items()
        )
        return readings, rows


def repaired(plant: Plant) -> tuple[float, bool]:
    """Waits until the store is whole again and the books are done; seconds, and whether the page said so meanwhile."""
    began = time.monotonic()
    said = False

    def whole() -> bool:
        nonlocal said
        said = said or "store_forgot" in plant.notices()
        return said and reconciled(plant, 0)

    assert wait_for(whole, REPAIRED_S if RATE > 1 else 3 * REPAIRED_S, 0.3), plant.log("collector")[-3000:]
    settled(plant)
    return time.monotonic() - began, said


def told(name: str, lost: tuple[int, int], seconds: float, verdict: Verdict) -> None:
    """One line for people."""
    print(f"\n{name}: lost {lost[0]} readings and {lost[1]} rows, whole again after {seconds:.0f} s | {verdict.text()}")


@both_kinds
@pytest.mark.parametrize("policy", ["raw", "autogen"])
def test_what_a_torn_log_lost_is_back_two_minutes_after_the_restart_and_the_page_said_so(
    tmp_path: Path, nursery: Nursery, kind: Kind, policy: str
) -> None:
    with (
        kind() as server,
        Plant(
            tmp_path,
            nursery,
            store=server.url,
            token=server.token or "",
            days=3,
            rate=RATE,
            holes=1,
            hole_hours=14,
            live=False,
        ) as plant,
    ):
        plant.start_all()
        plant.start_api()
        settled(plant)
        assert reconciled(plant), "the store's first start was not noted"
        plant.stop("gateway")
        place = log_folder(server, policy)
        server.kill()
        for log in newest_logs(place):
            tear(log)
        server.start()
        plant.late()  # 1,176 readings, acknowledged by the store after the tear
        plant.start_all("gateway")
        settled(plant)
        before = Held.by(plant)
        assert plant.waiting_rows() == 0

        server.restart()
        lost = before.lost(Held.by(plant))
        assert lost[0 if policy == "raw" else 1] > 0, "the torn log lost nothing: the test proves nothing"
        assert lost[1 if policy == "raw" else 0] == 0
        seconds, said = repaired(plant)
        plant.stop("gateway", "collector", "books", "api")
        verdict = check(plant, tmp_path / "scratch")

    told(f"torn {policy}", lost, seconds, verdict)
    assert said
    assert verdict.wrong == []
    assert seconds <= REPAIRED_S


@both_kinds
def test_a_store_restored_to_yesterdays_backup_is_filled_again(tmp_path: Path, nursery: Nursery, kind: Kind) -> None:
    with (
        kind() as server,
        Plant(
            tmp_path / "plant",
            nursery,
            store=server.url,
            token=server.token or "",
            days=3,
            rate=RATE,
            holes=1,
            hole_hours=24,
            live=False,
        ) as plant,
    ):
        plant.start_all()
        plant.start_api()
        settled(plant)
        assert reconciled(plant), "the store's first start was not noted"
        plant.stop("gateway")
        server.stop()
        shutil.copytree(server.folder, tmp_path / "backup")
        server.start()
        plant.late()
        plant.start_all("gateway")
        settled(plant)
        before = Held.by(plant)

        server.stop()
        for part in list(server.folder.iterdir()):
            if part.is_dir():
                shutil.rmtree(part)
                shutil.copytree(tmp_path / "backup" / part.name, part)
            elif part.suffix in (".bolt", ".sqlite"):
                shutil.copy(tmp_path / "backup" / part.name, part)
        server.start()
        lost = before.lost(Held.by(plant))
        assert min(lost) > 0, "the backup had everything: the test proves nothing"
        seconds, said = repaired(plant)
        plant.stop("gateway", "collector", "books", "api")
        verdict = check(plant, tmp_path / "scratch")

    told("backup", lost, seconds, verdict)
    assert said
    assert verdict.wrong == []
    assert seconds <= REPAIRED_S
