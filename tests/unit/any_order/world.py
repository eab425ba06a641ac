"""One random life of a site: readings in any order, a clock, crashes, expiry, decisions; and one pass to compare with.

Everything follows from the seed. The life goes on until all readings have come, everything is known and no work waits;
what is stored then must be what one pass over all readings stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from merilo.decisions import Decision, Kind
from merilo.ids import DeviceKey, MeterKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, floor_ms
from merilo.ledger import Anchor, LedgerEvent, RegisterFacts
from merilo.quantities import is_register, power_of
from merilo.site import MeterVersion, Site
from merilo_collector.books import SiteBooks, Span, Steps
from merilo_collector.quality import DailyQuality
from merilo_collector.recompute import Checkpoints, Head
from unit.any_order.ports import (
    CrashError,
    Fuse,
    MemoryCheckpoints,
    MemoryFacts,
    MemoryHappened,
    MemoryRaw,
    MemoryStore,
    Row,
    Tags,
)
from unit.ledger_spec.strategies import History, history

COMPANY, SITE = "acme", "hq"
FIRST = DeviceKey(COMPANY, SITE, "gw1", "m1")
SECOND = DeviceKey(COMPANY, SITE, "gw1", "m2")
TOTAL = RegisterKey(*FIRST, "active_energy_import_wh")
PHASE = RegisterKey(*FIRST, "active_energy_import_l1_wh")
OTHER = RegisterKey(*SECOND, "active_energy_import_wh")
OTHER_POWER = RegisterKey(*SECOND, "active_power_w")
POWERS = (RegisterKey(*FIRST, "active_power_w"), RegisterKey(*FIRST, "active_power_l1_w"), OTHER_POWER)
FUTURE_MAX_MS = 300_000
COMPARED = ("register_15m", "energy_15m", "energy_1h", "energy_1d", "energy_1mo", "quality_1d", "events")
"""Measurements that are compared."""
FORM = "@form"

Readings = dict[int, dict[str, float]]
Stored = dict[tuple[str, Tags], dict[int, Row]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that the books leave behind."""

    stored: Stored
    events: dict[RegisterKey, dict[int, LedgerEvent]]
    warnings: dict[RegisterKey, dict[int, LedgerEvent]]
    days: dict[RegisterKey, dict[int, Anchor]]
    heads: dict[RegisterKey, Head]


class Touch(NamedTuple):
    """A row of the work table."""

    first_ms: int
    last_ms: int


@dataclass(slots=True)
class Ports:
    """What survives a crash."""

    fuse: Fuse
    store: MemoryStore
    raw: MemoryRaw
    checkpoints: MemoryCheckpoints
    facts: MemoryFacts

    @classmethod
    def empty(cls, intervals: Mapping[DeviceKey, float]) -> Ports:
        """Before the first reading."""
        fuse = Fuse()
        site = Site(company=COMPANY, id=SITE, name="Head office", zone="Europe/Sofia")
        return cls(
            fuse, MemoryStore(fuse), MemoryRaw(fuse), MemoryCheckpoints(fuse), MemoryFacts(fuse, site, intervals)
        )


class Pauses(Steps):
    """Between the steps of a pass the process may end, or ingest may take more readings."""

    def __init__(self, fuse: Fuse, between: Callable[[], None]) -> None:
        self._fuse = fuse
        self._between = between

    def reached(self, step: str) -> None:
        """See the port."""
        self._fuse.burn()
        self._between()


def books_of(ports: Ports, steps: Steps | None = None) -> SiteBooks:
    """The books as they start anew: from what is stored alone."""
    return made(SiteBooks, ports, ports.checkpoints, steps)


def made(kind: type[SiteBooks], ports: Ports, checkpoints: Checkpoints, steps: Steps | None) -> SiteBooks:
    """Books of some kind on these ports."""
    facts, store = ports.facts, ports.store
    happened = MemoryHappened(facts)
    quality = DailyQuality(facts.site, store, happened, happened, facts.devices)
    return kind(facts, store, ports.raw, checkpoints, ports.checkpoints.heads, quality, steps)


MakeBooks = Callable[[Ports, Steps | None], SiteBooks]
MakePorts = Callable[[Mapping[DeviceKey, float]], Ports]


class World:
    """One life.

    Args:
        seed: Chooses everything.
        make_books: The books; mutants are made here.
        make_ports: What survives a crash; mutants are made here too.
    """

    def __init__(self, seed: int, make_books: MakeBooks = books_of, make_ports: MakePorts = Ports.empty) -> None:
        self.seed = seed
        self.rng = np.random.default_rng([seed, 7])
        self._make_books = make_books
        days = int(self.rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25]))
        poll_ms = int(self.rng.choice([300_000, 600_000, 900_000]))
        self.histories: dict[RegisterKey, History] = {TOTAL: history(2 * seed, days_max=days, poll_min_ms=poll_ms)}
        if self.rng.random() < 0.8:
            self.histories[PHASE] = history(2 * seed + 1, days_max=days, poll_min_ms=poll_ms)
        chosen = self.rng.random()
        if chosen < 0.5:
            self.histories[OTHER if chosen < 0.3 else OTHER_POWER] = history(
                2 * seed + 1_000_003, days_max=days, poll_min_ms=poll_ms
            )
        if OTHER_POWER in self.histories and all(power is None for _, _, power in self.histories[OTHER_POWER].readings):
            del self.histories[OTHER_POWER]
        intervals: dict[DeviceKey, float] = {}
        for key, one in self.histories.items():
            slowest = max(intervals.get(key.device_key, 0.0), one.facts[0].poll_interval_ms / 1000)
            intervals[key.device_key] = slowest
        self.intervals = intervals
        self.ports = make_ports(intervals)
        self.readings = {device: _merged(device, self.histories) for device in sorted(intervals)}
        if self.rng.random() < 0.2:
            _mute(self.readings[FIRST], int(self.rng.integers(1, 40)))
        self.begin_ms = min(min(found) for found in self.readings.values())
        self.end_ms = max(max(found) for found in self.readings.values())
        self.late_max_ms = int(self.rng.uniform(0.1, 2.0) * DAY_MS)
        self.waiting = {device: sorted(found) for device, found in self.readings.items()}
        self.now_ms = self.begin_ms
        self.work: dict[RegisterKey, Touch] = {}
        self.under_way: dict[RegisterKey, Touch] = {}
        """What a pass has taken and not finished: it survives a crash."""
        self.to_learn: list[tuple[int, Callable[[], None]]] = []
        self.passes = self.crashes = self.expired = 0
        self._decided = 0
        self._settle()

    # What the registry says

    def _settle(self) -> None:
        facts = self.ports.facts
        facts.define(self._meters())
        for key in POWERS:
            facts.known[key] = [self.histories[TOTAL].facts[0]]
        for key, one in self.histories.items():
            later = one.facts[1:] if self.rng.random() < 0.6 else ()
            facts.known[key] = [fact for fact in one.facts if fact not in later]
            for fact in later:
                self.to_learn.append((fact.valid_from_ms, self._learns_fact(key, fact)))
            for at_ms in one.identity_ms:
                if self.rng.random() < 0.4:
                    facts.identities[key.device_key] = tuple(sorted({*facts.identity(key.device_key), at_ms}))
                else:
                    self.to_learn.append((at_ms, self._learns_identity(key.device_key, at_ms)))
        if self.rng.random() < 0.25:
            at_ms = floor_ms(int(self.rng.integers(self.begin_ms, self.end_ms)), QUARTER_MS)
            self.to_learn.append((at_ms + int(self.rng.integers(0, DAY_MS)), self._learns_role("m1", at_ms)))
        self.to_learn.sort(key=lambda one: one[0])

    def _meters(self) -> list[MeterVersion]:
        def meter(name: str, role: str, **source: object) -> MeterVersion:
            return MeterVersion(company=COMPANY, site=SITE, meter=name, valid_from_ms=0, role=role, **source)  # type: ignore[arg-type]

        found = [meter("m1", "main", device=FIRST)]
        if PHASE in self.histories:
            found += [meter("m1-l1", "it", device=FIRST, phase="l1"), meter("rest", "office", expression="m1 - m1-l1")]
        if SECOND in self.intervals:
            found += [meter("m2", "cooling", device=SECOND), meter("all", "other", expression="m1 + 0.4*m2")]
        return found

    def _learns_fact(self, key: RegisterKey, fact: RegisterFacts) -> Callable[[], None]:
        def learn() -> None:
            self.ports.facts.known[key].append(fact)
            self._touch(key, fact.valid_from_ms, max(self.now_ms, fact.valid_from_ms))

        return learn

    def _learns_identity(self, device: DeviceKey, at_ms: int) -> Callable[[], None]:
        def learn() -> None:
            facts = self.ports.facts
            facts.identities[device] = tuple(sorted({*facts.identity(device), at_ms}))
            self._touch(RegisterKey(*device, "*"), at_ms, max(self.now_ms, at_ms))

        return learn

    def _learns_role(self, meter: str, at_ms: int) -> Callable[[], None]:
        def learn() -> None:
            facts = self.ports.facts
            old = next(one for one in facts.versions if one.meter == meter)
            if at_ms <= old.valid_from_ms:
                return
            kept = [one for one in facts.versions if one is not old]
            facts.define([*kept, replace(old, valid_to_ms=at_ms), replace(old, valid_from_ms=at_ms, role="pdu")])
            self._touch(RegisterKey(*FIRST, FORM), at_ms, max(self.now_ms, at_ms))

        return learn

    def _learn(self) -> None:
        while self.to_learn and self.to_learn[0][0] <= self.now_ms:
            self.to_learn.pop(0)[1]()

    # What happens

    def live(self) -> World:
        """Goes through the whole life."""
        moves = np.sort(self.rng.integers(self.begin_ms, self.end_ms, int(self.rng.integers(3, 9))))
        for now_ms in moves.tolist():
            self._move(now_ms)
            for _ in range(int(self.rng.integers(1, 4))):
                self._happens()
        # Some lives end while their newest readings lie behind the last row, where these may still change it.
        end_ms = max([self.end_ms, *(at for at, _ in self.to_learn)])
        self._move(end_ms + int(self.rng.choice([0.0, 0.1, 2.0]) * HOUR_MS))
        for _ in range(2):
            self._happens()
        while any(self.waiting.values()):
            self.deliver()
            if self.rng.random() < 0.6:
                self.books(crash=self.rng.random() < 0.3)
        self.drain()
        return self

    def drain(self) -> None:
        """The books without a crash, until no work is due."""
        for _ in range(4):
            self.books(crash=False)
            books = self._make_books(self.ports, None)
            until_ms = books.until(self.now_ms)
            left = [row for row in self.waiting_work().items() if books.due(_span(*row), until_ms)]
            if not left:
                return
        raise AssertionError(f"work is left: {left}")

    def _happens(self) -> None:
        what = self.rng.random()
        if what < 0.4:
            self.deliver()
        elif what < 0.75:
            self.books(crash=self.rng.random() < 0.5)
        elif what < 0.87:
            self._decide()
        elif what < 0.93:
            self._revoke()
        else:
            self._expire()

    def _move(self, now_ms: int) -> None:
        """The clock goes on; what would be too late then has come before."""
        for device in self.waiting:
            while late := [at for at in self.waiting[device] if at < now_ms - self.late_max_ms]:
                self._take(device, _batch(late, self.rng))
        self.now_ms = now_ms
        self._learn()

    def deliver(self) -> None:
        """Ingest takes one batch of a device, some of it again."""
        devices = sorted(self.waiting)
        device = devices[int(self.rng.integers(len(devices)))]
        here = [at for at in self.waiting[device] if at <= self.now_ms + FUTURE_MAX_MS]
        if here:
            self._take(device, _batch(here, self.rng))

    def _take(self, device: DeviceKey, batch: Sequence[int]) -> None:
        """Raw write, work table, acknowledgement; a crash before the last brings the batch again."""
        if not batch:
            return
        readings = self.readings[device]
        known = [at for at in readings if at not in self.waiting[device] and at >= self.now_ms - self.late_max_ms]
        again = [at for at in known if self.rng.random() < 0.05] if self.rng.random() < 0.3 else []
        taken = [*batch, *again]
        self.ports.raw.write(device, {at: readings[at] for at in taken})
        if self.rng.random() < 0.05:
            return  # crash before the work table
        self._touch(RegisterKey(*device, "*"), min(taken), max(taken))
        if self.rng.random() < 0.05:
            return  # crash before the acknowledgement
        gone = set(batch)
        self.waiting[device] = [at for at in self.waiting[device] if at not in gone]

    def _touch(self, key: RegisterKey, first_ms: int, last_ms: int) -> None:
        self.work[key] = _united(self.work.get(key), Touch(first_ms, last_ms))

    def books(self, *, crash: bool) -> None:
        """One round of the books, which may end anywhere."""
        fuse = self.ports.fuse
        fuse.light(int(np.exp(self.rng.uniform(0, 5))) if crash else None)
        try:
            self._round()
        except CrashError:
            self.crashes += 1
        fuse.light(None)
        self.passes += 1

    def _round(self) -> None:
        waiting = self.waiting_work()
        books = self._make_books(self.ports, Pauses(self.ports.fuse, self._meanwhile))
        until_ms = books.until(self.now_ms)
        moved = books.behind(until_ms)
        taken = {key: row for key, row in waiting.items() if books.due(_span(key, row), until_ms)}
        self.ports.fuse.burn()
        self.under_way |= taken
        for key in taken:
            self.work.pop(key, None)
        if moved:
            books.advance(until_ms)
        if taken:
            books.correct([_span(key, row) for key, row in taken.items()], until_ms)
            self.ports.fuse.burn()
            for key in taken:
                del self.under_way[key]

    def waiting_work(self) -> dict[RegisterKey, Touch]:
        """All that was touched, what a crashed pass had taken too."""
        keys = sorted(self.work.keys() | self.under_way.keys())
        return {key: _united(self.work.get(key), self.under_way.get(key)) for key in keys}

    def _meanwhile(self) -> None:
        if self.rng.random() < 0.03:
            self.deliver()

    def _expire(self) -> None:
        """Raw readings go that no walk from a reading that is not too late can need."""
        oldest_ms = self.now_ms - self.late_max_ms
        points, waiting = self.ports.checkpoints, self.waiting_work().items()
        for device in self.readings:
            work = [row.first_ms for key, row in waiting if key.device_key == device and key.register != FORM]
            first_ms = min([oldest_ms, *work])
            keys = [key for key in self.histories if key.device_key == device]
            heads = [points.heads[key] for key in keys if key in points.heads]
            # A day that is not over is looked through as a whole when it is, and a late reading has its day looked at.
            whole_ms = min(floor_ms(at, DAY_MS) - DAY_MS for at in (first_ms, *(head.until_ms for head in heads)))
            behind_ms = min([first_ms, *(head.until_ms + QUARTER_MS for head in heads)])
            starts = [points.newest_before(key, first_ms, behind_ms) for key in keys]
            known = [one.t_ms for one in starts if one is not None]
            if len(known) == len(keys):
                self.ports.raw.expire(device, min([whole_ms, *known]))
                self.expired += 1

    # Decisions

    def _decide(self) -> None:
        self._decided += 1
        kind: Kind = ("confirm", "scale", "swap", "reclassify", "exclude", "set_energy")[int(self.rng.integers(6))]
        key = sorted(self.histories)[int(self.rng.integers(len(self.histories)))]
        at_ms = self._instant(key)
        length_ms = int(np.exp(self.rng.uniform(np.log(MINUTE_MS), np.log(12 * HOUR_MS))))
        stretch = kind in ("scale", "exclude", "set_energy")
        target: RegisterKey | MeterKey = key
        if kind == "set_energy":
            names = sorted({one.meter for one in self.ports.facts.versions})
            target = MeterKey(COMPANY, SITE, names[int(self.rng.integers(len(names)))])
        size = self.histories[key].facts[0].max_power_mw / 1000
        parameters: dict[str, float | str] = {}
        if kind == "scale":
            parameters = {"factor": float(self.rng.choice([0.5, 2.0, 10.0, 1.7]))}
        elif kind == "swap":
            parameters = {
                "final_wh": size + float(self.rng.integers(0, 1000)),
                "first_wh": float(self.rng.integers(0, 1000)),
            }
        elif kind == "reclassify":
            parameters = {"type": str(self.rng.choice(["rollover", "load", "reset"]))}
        elif kind == "set_energy":
            parameters = {"energy_wh": float(self.rng.integers(0, 10_000))}
        decision = Decision(
            id=self._decided,
            kind=kind,
            target=target,
            from_ms=at_ms,
            to_ms=at_ms + (length_ms if stretch else 0),
            parameters=parameters,
            created_ms=self.now_ms,
        )
        self.ports.facts.decided.append(decision)
        self._redecide(decision)

    def _instant(self, key: RegisterKey) -> int:
        """The instant or the pair of an event, or any."""
        noted = sorted(self.ports.facts.noted.get(key, {}).values(), key=lambda event: event.at_ms)
        if noted and self.rng.random() < 0.7:
            event = noted[int(self.rng.integers(len(noted)))]
            return event.at_ms if self.rng.random() < 0.6 else int(self.rng.integers(event.t0_ms, event.t1_ms + 1))
        return int(self.rng.integers(self.begin_ms - HOUR_MS, self.now_ms + HOUR_MS))

    def _revoke(self) -> None:
        standing = [i for i, one in enumerate(self.ports.facts.decided) if not one.revoked]
        if standing:
            i = standing[int(self.rng.integers(len(standing)))]
            self.ports.facts.decided[i] = replace(self.ports.facts.decided[i], revoked=True)
            self._redecide(self.ports.facts.decided[i])

    def _redecide(self, decision: Decision) -> None:
        if isinstance(decision.target, RegisterKey):
            devices = {decision.target.device_key}
        else:
            devices = _leaves(decision.target.meter, self.ports.facts.versions)
        for device in devices:
            self._touch(RegisterKey(*device, FORM), floor_ms(decision.from_ms, QUARTER_MS), decision.to_ms)

    # The end

    def one_pass(self) -> Outcome:
        """All readings, facts and decisions at once, into empty stores."""
        ports = Ports.empty(self.intervals)
        mine = self.ports.facts
        facts = ports.facts
        facts.define(mine.versions)
        facts.known, facts.identities, facts.decided = mine.known, mine.identities, mine.decided
        for device, readings in self.readings.items():
            ports.raw.write(device, readings)
        books = books_of(ports)
        spans = [Span(device, min(found), max(found)) for device, found in self.readings.items()]
        books.correct(spans, books.until(self.now_ms))
        return outcome(ports)


def outcome(ports: Ports) -> Outcome:
    """What is stored, without what depends on the order of arrival: the numbers of events."""
    stored: Stored = {}
    for (measurement, tags), table in ports.store.series.items():
        rows = table.between(0, 2**62).rows()
        if measurement == "events":
            rows = {at: {name: value for name, value in row.items() if name != "number"} for at, row in rows.items()}
        if rows and measurement in COMPARED:
            stored[measurement, tags] = rows
    events = {key: dict(noted) for key, noted in ports.facts.noted.items() if noted}
    warnings = {key: dict(noted) for key, noted in ports.facts.warned.items() if noted}
    days = {key: dict(found) for key, found in ports.checkpoints.by_day.items() if found}
    return Outcome(stored, events, warnings, days, dict(ports.checkpoints.heads))


def difference(found: Outcome, expected: Outcome) -> str:
    """The first thing that is not equal, in words; empty where nothing is."""
    for series in sorted(found.stored.keys() | expected.stored.keys()):
        rows, wanted = found.stored.get(series, {}), expected.stored.get(series, {})
        for at in sorted(rows.keys() | wanted.keys()):
            if rows.get(at) != wanted.get(at):
                row, right = rows.get(at, {}), wanted.get(at, {})
                names = sorted(name for name in row.keys() | right.keys() if row.get(name) != right.get(name))
                return f"{series} at {at}: {names} found {row} expected {right}"
    for name in ("events", "warnings", "days"):
        mine, other = getattr(found, name), getattr(expected, name)
        for key in sorted(mine.keys() | other.keys()):
            here, there = mine.get(key, {}), other.get(key, {})
            for at in sorted(here.keys() | there.keys()):
                if here.get(at) != there.get(at):
                    return f"{name} of {key} at {at}: found {here.get(at)} expected {there.get(at)}"
    for key in sorted(found.heads.keys() | expected.heads.keys()):
        if found.heads.get(key) != expected.heads.get(key):
            return f"head of {key}: found {found.heads.get(key)} expected {expected.heads.get(key)}"
    return ""


def _merged(device: DeviceKey, histories: Mapping[RegisterKey, History]) -> Readings:
    """All that a device said: its registers, each with its own power."""
    found: Readings = {}
    for key, one in histories.items():
        if key.device_key != device:
            continue
        for at, register, power in one.readings:
            reading = found.setdefault(at, {})
            if is_register(key.register):
                if register is not None:
                    reading[key.register] = register / 1000
                if power is not None:
                    reading[power_of(key.register)] = power / 1000
            elif power is not None:
                reading[key.register] = power / 1000
    return {at: reading for at, reading in found.items() if reading}


def _mute(readings: Readings, count: int) -> None:
    """The first readings carry power only, as those of a meter that tells its register once an hour."""
    for at in sorted(readings)[:count]:
        powers = {name: value for name, value in readings[at].items() if not is_register(name)}
        if powers:
            readings[at] = powers


def _batch(waiting: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Some of what waits: all, all but what came before some midnight, a stretch, or a random sample."""
    how = rng.random()
    if how < 0.15:
        return list(waiting)
    if how < 0.45:
        midnight_ms = floor_ms(waiting[int(rng.integers(len(waiting)))], DAY_MS) + int(rng.integers(0, 2)) * DAY_MS
        begin_ms = midnight_ms - int(np.exp(rng.uniform(np.log(5 * MINUTE_MS), np.log(12 * HOUR_MS))))
        return [at for at in waiting if not begin_ms <= at < midnight_ms] or list(waiting)
    if how < 0.75:
        low, high = np.sort(rng.integers(0, len(waiting) + 1, 2)).tolist()
        return list(waiting[low:high])
    share = rng.random()
    return [at for at in waiting if rng.random() < share]


def _united(*rows: Touch | None) -> Touch:
    """One row over all of them."""
    there = [row for row in rows if row is not None]
    return Touch(min(row.first_ms for row in there), max(row.last_ms for row in there))


def _span(key: RegisterKey, row: Touch) -> Span:
    registers = None if key.register in ("*", FORM) else frozenset({key.register})
    return Span(key.device_key, row.first_ms, row.last_ms, registers, walk=key.register != FORM)


def _leaves(meter: str, versions: Sequence[MeterVersion]) -> set[DeviceKey]:
    if meter in ("rest", "all"):
        return {one.device for one in versions if one.device is not None and (meter == "all" or one.device == FIRST)}
    return {one.device for one in versions if one.meter == meter and one.device is not None}
