"""Everything is killed at random while devices run: afterwards nothing is lost, nothing doubled, and books are right.

The books are compared, row by row and field by field, with books kept in one pass from the same raw readings into an
empty store. Deliberately weak builds must fail the same test.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from faults.checker import Verdict, check
from faults.harness import (
    GAPS,
    GAPS_WANTED,
    INGEST_GAPS,
    Killer,
    Kills,
    Life,
    Plant,
    come_to_rest,
    plans,
    reconciled,
    settled,
    wait_for,
)
from faults.nursery import Nursery
from real import InfluxServer, influx1, influx2

LONG = os.environ.get("MERILO_LONG") == "1"
KILLS_WANTED = 1_000 if LONG else 50
KILLS_WANTED_SLOW = 200 if LONG else 12
"""An InfluxDB 2 needs seconds for a start."""
SECONDS_MAX = 2_400.0 if LONG else 100.0
pytestmark = [pytest.mark.real, pytest.mark.timeout(SECONDS_MAX + 300)]
SEED = int(os.environ.get("MERILO_SEED", "0")) or time.time_ns() % 1_000_000


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    yield found
    found.close()


def enough(kills: Kills, names: tuple[str, ...], wanted: int) -> bool:
    return all(kills.of[name] >= wanted for name in names) and all(kills.gaps[gap] >= GAPS_WANTED for gap in GAPS)


def run(
    plant: Plant, names: tuple[str, ...], wanted: int, seconds: float, store: InfluxServer | None = None
) -> tuple[Kills, Verdict]:
    """Kills, lets the chain come to rest, checks; prints what happened."""
    began = time.monotonic()
    kills = Killer(plant, plans(*names, wanted=wanted), SEED, store).run(lambda k: enough(k, names, wanted), seconds)
    killed_s = time.monotonic() - began

    def restarted() -> None:
        if store is not None:
            store.restart()  # what a torn log has lost shows only now
            assert reconciled(plant), plant.log("collector")[-3000:]

    come_to_rest(plant, restarted)
    verdict = check(plant, plant.folder / "scratch")
    print(f"\nseed {SEED} | {killed_s:.0f} s of {time.monotonic() - began:.0f} s | {kills.text()} | {verdict.text()}")
    return kills, verdict


def test_kills_of_every_process_and_in_every_gap_lose_nothing_and_change_no_figure(
    tmp_path: Path, nursery: Nursery
) -> None:
    names = ("gateway", "broker", "collector", "books")
    with Plant(tmp_path, nursery, days=6) as plant:
        kills, verdict = run(plant, names, KILLS_WANTED, SECONDS_MAX)

    judged(kills, verdict, names, KILLS_WANTED)


@pytest.mark.parametrize(("kind", "wanted"), [(influx1, KILLS_WANTED), (influx2, KILLS_WANTED_SLOW)])
def test_kills_with_a_real_influxdb_lose_nothing_and_change_no_figure(
    tmp_path: Path, nursery: Nursery, kind: Callable[[], AbstractContextManager[InfluxServer]], wanted: int
) -> None:
    names = ("gateway", "broker", "collector", "books", "store")
    with kind() as server, Plant(tmp_path, nursery, store=server.url, token=server.token or "", days=6) as plant:
        kills, verdict = run(plant, names, wanted, SECONDS_MAX, server)

    judged(kills, verdict, names, wanted)


def judged(kills: Kills, verdict: Verdict, names: tuple[str, ...], wanted: int) -> None:
    """Fails on anything wrong, and on a test that did not hit what it says it hits."""
    assert verdict.wrong == []
    assert verdict.events > 0, "no disturbance was booked"
    assert kills.itself == [], "a program ended although nobody killed it"
    for name in names:
        assert kills.of[name] >= wanted, f"{name} was killed {kills.of[name]} times only"
    for gap in GAPS:
        assert kills.gaps[gap] > 0, f"no kill landed in the gap {gap}"


def late_hours(plant: Plant, gaps: tuple[str, ...]) -> None:
    """For each gap an hour arrives late, and the program is killed in exactly this gap while it deals with it."""
    plant.start_all()
    settled(plant)
    for gap in gaps:
        victim = "collector" if gap in INGEST_GAPS else "books"
        plant.stop("gateway", victim)
        plant.late()
        child, mark = plant.start(victim, Life(60, gap))
        plant.start_all("gateway")
        assert child.wait(60), f"{victim} did not get to the gap {gap}"
        child.close()
        assert mark is not None
        assert mark.exists(), plant.log(victim)[-2000:]
        plant.start_all(victim)
        settled(plant)
    plant.stop("gateway", "collector", "books")


def test_a_kill_exactly_in_each_gap_while_an_hour_arrives_late_changes_no_figure(
    tmp_path: Path, nursery: Nursery
) -> None:
    with Plant(tmp_path, nursery, days=4, rate=1.0, holes=len(GAPS), live=False) as plant:
        late_hours(plant, GAPS)
        verdict = check(plant, tmp_path / "scratch")

    assert verdict.wrong == []


@pytest.mark.parametrize(
    ("weak", "wrong"), [("no_work_table", "register_15m"), ("acknowledged_before_commit", "readings lost")]
)
def test_a_weak_collector_fails_the_same_test(tmp_path: Path, nursery: Nursery, weak: str, wrong: str) -> None:
    with Plant(tmp_path, nursery, days=2, rate=1.0, holes=1, live=False, weak={"collector": weak}) as plant:
        late_hours(plant, ("acknowledged",))
        verdict = check(plant, tmp_path / "scratch", energy=False)

    assert any(wrong in text for text in verdict.wrong), verdict


@pytest.mark.parametrize(("weak", "wrong"), [({}, ""), ({"gateway": "freed_on_puback"}, "readings lost")])
def test_a_broker_that_dies_with_an_hour_in_its_memory_costs_it_only_a_gateway_that_trusts_the_broker(
    tmp_path: Path, nursery: Nursery, weak: dict[str, str], wrong: str
) -> None:
    with Plant(tmp_path, nursery, days=2, rate=1.0, holes=1, live=False, weak=weak) as plant:
        plant.start_all()
        settled(plant)
        plant.stop("gateway", "collector")
        plant.late()
        plant.start_all("gateway")
        wait_for(lambda: plant.waiting_rows() == 0, 3)  # a gateway that frees when the broker has it has freed by now
        assert plant.broker is not None
        plant.broker.kill()
        plant.broker.start()
        plant.start_all("collector")
        settled(plant)
        plant.stop("gateway", "collector", "books")
        verdict = check(plant, tmp_path / "scratch", energy=False)

    assert [wrong in text for text in verdict.wrong] == ([True] if wrong else [])
