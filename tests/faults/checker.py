"""Compares what a chain left behind with the truth, and with books kept from scratch on the same raw readings."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np

from faults.harness import COMPANY, SITE, Plant
from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import QUARTER_MS
from merilo.reading import Reading
from merilo.site import BookedKind
from merilo_adapters.clock import Clock
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.registry import Registry
from merilo_adapters.registry.bookkeeping import Bookkeeping
from merilo_adapters.sqlite_store import SqliteStore
from merilo_adapters.stores import Store
from merilo_collector.book_store import CompanyBookStore
from merilo_collector.books import SiteBooks, Span
from merilo_collector.checkpoints import StoreReader, WorkCheckpoints
from merilo_collector.quality import DailyQuality
from merilo_collector.run_books import BooksLoop
from merilo_collector.site_facts import RegistryFacts
from merilo_simulators.truth import truth

FAR_MS = 4_102_444_800_000
BOOKED = ("register_15m", "energy_15m", "energy_1h", "energy_1d", "energy_1mo", "quality_1d", "events")
DELIVERY = frozenset({"received", "late", "duplicate", "rejected", "conflicts", "conflict"})
"""Counters of deliveries depend on how often a reading came; they are no figures of energy."""
KINDS = get_args(BookedKind)
DIFFERENCES_MAX = 12


@dataclass
class Verdict:
    """What a comparison found; nothing in ``wrong`` is good."""

    wrong: list[str] = field(default_factory=list)
    readings: int = 0
    rows: int = 0
    events: int = 0
    checkpoints: int = 0
    energy_error_pct: float = math.nan

    def text(self) -> str:
        """One line for people."""
        return (
            f"readings {self.readings} rows {self.rows} events {self.events} checkpoints {self.checkpoints}"
            f" energy {self.energy_error_pct:.4f} % off | wrong {len(self.wrong)}"
        )


def durable(plant: Plant) -> dict[tuple[str, int], dict[str, float]]:
    """Every reading that the gateway has counted durable, by device and instant: the numbers have no hole."""
    box = plant.outbox_copy()
    box.resync()
    found: dict[tuple[str, int], dict[str, float]] = {}
    numbers: set[int] = set()
    epochs: set[str] = set()
    while (batch := box.waiting()) is not None:
        epochs.add(batch.epoch)
        for offset, reading in enumerate(batch.readings):
            number = batch.first + offset
            assert number not in numbers, f"number {number} was given twice"
            numbers.add(number)
            _take(found, reading)
        box.free(batch.epoch, batch.first, batch.last, plant.now_ms())
    following = box.next_number
    box.close()
    assert len(epochs) == 1, f"expected one epoch, found {epochs}"
    assert numbers == set(range(following)), "the outbox itself has a hole"
    return found


def _take(found: dict[tuple[str, int], dict[str, float]], reading: Reading) -> None:
    key = (reading.device, reading.at_ms)
    assert key not in found, f"two readings of one instant: {key}"
    found[key] = dict(reading.values)


def stored(store: Store, measurement: str = "readings") -> dict[tuple[str, int], dict[str, float]]:
    """Every reading in the store."""
    found = {}
    for series in store.read(COMPANY, measurement, {"company": COMPANY}, 0, FAR_MS):
        for key, row in rows_of(series.frame).items():
            found[series.tags["device"], key] = {name: float(value) for name, value in row.items()}
    return found


def rows_of(frame: Frame) -> dict[int, dict[str, float | str]]:
    """The rows of a frame with the fields they have."""
    found: dict[int, dict[str, float | str]] = {int(at): {} for at in frame.at_ms}
    assert len(found) == len(frame), "an instant occurs twice in one series"
    for name, column in frame.numbers.items():
        for at, value in zip(frame.at_ms, column, strict=True):
            if not math.isnan(value):
                found[int(at)][name] = float(value)
    for name, texts in frame.texts.items():
        for at, text in zip(frame.at_ms, texts, strict=True):
            if text is not None:
                found[int(at)][name] = text
    return found


def settle(plant: Plant, now_ms: int) -> BooksLoop:
    """Lets the books do what is left at one standing instant; a second look must find nothing to do."""
    registry = plant.registry()
    stores = CompanyStores(plant.installation(), registry)
    loop = BooksLoop(registry, registry.work(), stores, Clock(real_now_ms=lambda: now_ms))
    for _ in range(5):
        if not loop.once():
            break
    assert not loop.once(), "the books find something to do again and again"
    return loop


@dataclass
class Scratch:
    """Books kept from nothing."""

    registry: Registry
    store: SqliteStore


def from_scratch(plant: Plant, folder: Path, live: Store, until_ms: int) -> Scratch:
    """The books of the same raw readings and facts, in one pass into an empty store."""
    folder.mkdir()
    copy = folder / "registry.db"
    source, target = sqlite3.connect(plant.folder / "registry.db"), sqlite3.connect(copy)
    source.backup(target)
    for statement in (
        "DELETE FROM work_checkpoints",
        "DELETE FROM work_touched",
        "DELETE FROM work_book_rows",
        "DELETE FROM events WHERE kind IN ('ledger', 'check')",
    ):
        target.execute(statement)
    target.commit()
    source.close()
    target.close()
    registry = Registry.open(f"sqlite:///{copy}", actor="scratch")
    work = registry.work()
    store = SqliteStore(folder / "store")
    store.init(COMPANY, None)
    facts = RegistryFacts(registry, registry.site(COMPANY, SITE))
    book_store = CompanyBookStore(COMPANY, store, Bookkeeping(work))
    quality = DailyQuality(facts.site, book_store, registry, work, facts.devices)
    books = SiteBooks(facts, book_store, StoreReader(lambda company: live), WorkCheckpoints(work), {}, quality)
    devices = sorted(DeviceKey(**s) for s in live.tags(COMPANY, "readings", {"company": COMPANY}))
    books.correct([Span(device, 0, FAR_MS) for device in devices], until_ms)
    return Scratch(registry, store)


def _limited(found: Iterable[str], wrong: list[str]) -> None:
    for text in found:
        if len(wrong) < DIFFERENCES_MAX:
            wrong.append(text)


def compare_rows(live: Store, scratch: SqliteStore, verdict: Verdict) -> None:
    """Row by row, field by field."""
    for name in BOOKED:
        mine = {
            tuple(s.tags.values()): rows_of(s.frame) for s in live.read(COMPANY, name, {"company": COMPANY}, 0, FAR_MS)
        }
        other = {
            tuple(s.tags.values()): rows_of(s.frame)
            for s in scratch.read(COMPANY, name, {"company": COMPANY}, 0, FAR_MS)
        }
        if name == "events":
            mine, other = _booked_only(mine), _booked_only(other)
        _limited((f"{name} {tags}: series only in one of both" for tags in mine.keys() ^ other.keys()), verdict.wrong)
        for tags in mine.keys() & other.keys():
            verdict.rows += len(mine[tags])
            _limited(_row_differences(name, tags, mine[tags], other[tags]), verdict.wrong)


Rows = dict[int, dict[str, float | str]]


def _booked_only(found: dict[tuple[str, ...], Rows]) -> dict[tuple[str, ...], Rows]:
    return {tags: rows for tags, rows in found.items() if tags[2] in KINDS}


def _row_differences(name: str, tags: tuple[str, ...], mine: Rows, other: Rows) -> Iterable[str]:
    ignored = DELIVERY if name == "quality_1d" else {"number"} if name == "events" else frozenset()
    for at in sorted(mine.keys() | other.keys()):
        a, b = mine.get(at), other.get(at)
        if a is None or b is None:
            yield f"{name} {'/'.join(tags)} at {at}: {'only from scratch' if a is None else 'not from scratch'}"
            continue
        for key in sorted((a.keys() | b.keys()) - ignored):
            if a.get(key) != b.get(key):
                yield f"{name} {'/'.join(tags)} at {at}: {key} = {a.get(key)}, from scratch {b.get(key)}"


def compare_events(plant_registry: Registry, live: Store, scratch: Registry, verdict: Verdict) -> None:
    """Ledger events of the registry, and their mirror in the store by number."""

    def ledger(registry: Registry) -> dict[RegisterKey, list[tuple[int, object]]]:
        found: dict[RegisterKey, list[tuple[int, object]]] = {}
        for key in Bookkeeping(registry.work()).heads(COMPANY, SITE):
            found[key] = [one for kind in KINDS for one in registry.ledger_events(key, -1, FAR_MS, kind)]
        return found

    mine, other = ledger(plant_registry), ledger(scratch)
    for key in sorted(mine.keys() | other.keys()):
        a, b = [e for _, e in mine.get(key, [])], [e for _, e in other.get(key, [])]
        verdict.events += len(a)
        if a != b:
            _limited([f"events {key}: {a}, from scratch {b}"[:600]], verdict.wrong)
    mirrored = {
        int(row["number"])
        for series in live.read(COMPANY, "events", {"company": COMPANY}, 0, FAR_MS)
        if series.tags["kind"] in KINDS
        for row in rows_of(series.frame).values()
    }
    numbers = {number for found in mine.values() for number, _ in found}
    if mirrored != numbers:
        _limited([f"events: registry has numbers {sorted(numbers)}, store {sorted(mirrored)}"[:600]], verdict.wrong)


def compare_checkpoints(plant_registry: Registry, scratch: Registry, verdict: Verdict) -> None:
    """Day checkpoints and heads of every register."""
    mine, other = (Bookkeeping(r.work()).heads(COMPANY, SITE) for r in (plant_registry, scratch))
    _limited((f"head of {key} only in one of both" for key in mine.keys() ^ other.keys()), verdict.wrong)
    for key in mine.keys() & other.keys():
        pairs = [(mine[key], other[key])]
        days = [r.work().day_checkpoints(key, 0, FAR_MS) for r in (plant_registry, scratch)]
        verdict.checkpoints += len(days[0]) + 1
        if len(days[0]) != len(days[1]):
            _limited([f"checkpoints of {key}: {len(days[0])} days, from scratch {len(days[1])}"], verdict.wrong)
        pairs += zip(*days, strict=False)
        for a, b in pairs:
            if a != b:
                told = [msgspec.msgpack.decode(point.blob) for point in (a, b)]
                _limited([f"{a.kind} checkpoint of {'/'.join(key)}: {told[0]}, from scratch {told[1]}"], verdict.wrong)


def energy_error_pct(plant: Plant, live: Store) -> float:
    """Booked energy of all meters together against what truly flowed, over the rows they all have [%]."""
    booked: dict[str, dict[int, float]] = {}
    for series in live.read(COMPANY, "energy_15m", {"company": COMPANY}, 0, FAR_MS, ["energy_wh"]):
        meter = series.tags["meter"]
        if meter in plant.measures:
            column = series.frame.numbers["energy_wh"]
            here = {int(at): float(v) for at, v in zip(series.frame.at_ms, column, strict=True) if not np.isnan(v)}
            booked.setdefault(meter, {}).update(here)
    assert set(booked) == set(plant.measures), f"meters without energy: {set(plant.measures) - set(booked)}"
    common = sorted(set.intersection(*(set(rows) for rows in booked.values())))
    assert common, "no quarter of an hour has energy of all meters"
    found = true = 0.0
    for meter, rows in booked.items():
        circuit = plant.measures[meter]
        found += sum(rows[at] for at in common)
        for first, last in _stretches(common):
            true += truth(plant.seed, circuit, first, last) / 1000
    return abs(found - true) / true * 100


def _stretches(starts: list[int]) -> Iterable[tuple[int, int]]:
    first = previous = starts[0]
    for at in starts[1:]:
        if at != previous + QUARTER_MS:
            yield first, previous + QUARTER_MS
            first = at
        previous = at
    yield first, previous + QUARTER_MS


def check(plant: Plant, folder: Path, *, energy: bool = True) -> Verdict:
    """Everything: nothing lost, nothing doubled, energy true, books as if they had been kept in one pass."""
    verdict = Verdict()
    registry = plant.registry()
    live = CompanyStores(plant.installation(), registry).of(COMPANY)
    now_ms = plant.now_ms()
    settle(plant, now_ms)
    want, have = durable(plant), stored(live)
    verdict.readings = len(want)
    lost, foreign = want.keys() - have.keys(), have.keys() - want.keys()
    if lost:
        verdict.wrong.append(f"{len(lost)} readings lost, for example {sorted(lost)[:3]}")
    if foreign:
        verdict.wrong.append(f"{len(foreign)} readings that no gateway has, for example {sorted(foreign)[:3]}")
    different = [key for key in want.keys() & have.keys() if want[key] != have[key]]
    if different:
        key = different[0]
        verdict.wrong.append(f"{len(different)} readings differ, for example {key}: {want[key]}, stored {have[key]}")
    heads = Bookkeeping(registry.work()).heads(COMPANY, SITE)
    untils = {msgspec.msgpack.decode(point.blob)["until_ms"] for point in heads.values()}
    if len(untils) != 1:
        verdict.wrong.append(f"registers end at different instants: {sorted(untils)}")
        return verdict
    scratch = from_scratch(plant, folder, live, untils.pop())
    compare_rows(live, scratch.store, verdict)
    compare_events(registry, live, scratch.registry, verdict)
    compare_checkpoints(registry, scratch.registry, verdict)
    if energy:
        verdict.energy_error_pct = energy_error_pct(plant, live)
        if not verdict.energy_error_pct <= 0.1:
            verdict.wrong.append(f"energy is {verdict.energy_error_pct:.4f} % off, expected at most 0.1 %")
    return verdict
