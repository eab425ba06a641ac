"""The books: a site's year computed and stored, one meter's day, and what a late reading costs.

Readings are made as arrays, twenty meters of one company. Computing is everything between readings and stored rows:
walk, decide, form, hours, days, months. Storing uses the stores' own ``replace`` into an empty store.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.servers import Influx, influx
from benchmarks.table import Row, at_least, at_most, below, percentile
from merilo import ledger
from merilo.base_rows import to_frame
from merilo.calendar import Unit, boundaries
from merilo.decisions import decide
from merilo.forming import form
from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS
from merilo.ledger import Anchor, RegisterFacts
from merilo.meterrows import MeterRows
from merilo.meters import Scheme
from merilo.rollup import roll
from merilo.schema import MEASUREMENTS
from merilo.site import MeterVersion
from merilo_adapters.influx_lines import batches, frame_lines
from merilo_adapters.influx_store import InfluxStore
from merilo_adapters.sqlite_store import SqliteStore
from merilo_collector.day_checks import checked
from merilo_collector.recompute import FOREVER_MS, Head, Run, recompute, trace_of

COMPANY, SITE, ZONE = "acme", "hq", "Europe/Sofia"
METERS = 20
START_MS = 1_767_225_600_000
"""2026-01-01T00:00Z."""
YEAR_MS = 365 * DAY_MS
REGISTER = "active_energy_import_wh"
ROLLED: tuple[tuple[str, Unit], ...] = (("energy_1h", "hour"), ("energy_1d", "day"), ("energy_1mo", "month"))


def key(meter: int) -> RegisterKey:
    """The register of one meter."""
    return RegisterKey(COMPANY, SITE, "gw1", f"m{meter:02d}", REGISTER)


def readings(meter: int, step_ms: int, days: int = 365) -> Frame:
    """A meter's register, in steps of 10 Wh, and its power: day and week, noise, a float's digits."""
    chance = np.random.default_rng(meter)
    at_ms = np.arange(START_MS, START_MS + days * DAY_MS, step_ms, dtype=np.int64)
    hour = at_ms % DAY_MS / HOUR_MS
    shape = 2_000 + 4_000 * np.exp(-(((hour - 13) / 4) ** 2)) * np.where(at_ms // DAY_MS % 7 < 5, 1.0, 0.3)
    power = shape * (1 + 0.2 * meter) * chance.uniform(0.9, 1.1, len(at_ms))
    energy = np.concatenate(([0.0], np.cumsum(power[:-1] * step_ms / HOUR_MS))) + 123_450.0 * (meter + 1)
    return Frame(at_ms, {REGISTER: np.floor(energy / 10.0) * 10.0, "active_power_w": power})


def facts(step_ms: int) -> tuple[RegisterFacts, ...]:
    """What is known of the registers."""
    return (RegisterFacts(step_mwh=10_000, max_power_mw=60_000_000, poll_interval_ms=step_ms),)


@dataclass
class Raw:
    """Readings in memory; counts what was asked for."""

    frames: Mapping[DeviceKey, Frame]
    asked: int = 0

    def frame(self, device: DeviceKey, start_ms: int, end_ms: int) -> Frame:
        """The readings of [start, end)."""
        found = self.frames[device].between(start_ms, end_ms)
        self.asked += len(found)
        return found


@dataclass
class Memory:
    """Checkpoints in memory."""

    heads: dict[RegisterKey, Head] = field(default_factory=dict)
    points: dict[RegisterKey, dict[int, Anchor]] = field(default_factory=dict)

    def head(self, key: RegisterKey) -> Head | None:
        """The newest state."""
        return self.heads.get(key)

    def newest_before(self, key: RegisterKey, v_below_ms: int, t_below_ms: int) -> Anchor | None:
        """The newest day checkpoint that is certain before."""
        found = [a for a in self.points.get(key, {}).values() if a.v_ms < v_below_ms and a.t_ms < t_below_ms]
        return max(found, key=lambda a: a.t_ms, default=None)

    def days(self, key: RegisterKey, after_ms: int, to_ms: int) -> dict[int, Anchor]:
        """Day checkpoints of (after, to]."""
        return {t: a for t, a in self.points.get(key, {}).items() if after_ms < t <= to_ms}

    def put(self, key: RegisterKey, after_ms: int, to_ms: int, days: Sequence[Anchor], head: Head | None) -> None:
        """Replaces the day checkpoints of (after, to]."""
        mine = {t: a for t, a in self.points.get(key, {}).items() if not after_ms < t <= to_ms}
        self.points[key] = mine | {a.t_ms: a for a in days}
        if head is not None:
            self.heads[key] = head

    def drop(self, key: RegisterKey) -> None:
        """Forgets a register."""
        self.heads.pop(key, None)
        self.points.pop(key, None)


@dataclass
class Year:
    """What the books make of a site's year."""

    base: dict[RegisterKey, Frame] = field(default_factory=dict)
    meters: dict[str, MeterRows] = field(default_factory=dict)
    rolled: dict[tuple[str, str], Frame] = field(default_factory=dict)
    """By meter and measurement."""


def compute(raw: Raw, step_ms: int, memory: Memory) -> Year:
    """All rows of the site, from its readings."""
    until_ms = START_MS + YEAR_MS - QUARTER_MS
    found, effective, versions = Year(), {}, []
    for device in raw.frames:
        mine = RegisterKey(*device, REGISTER)
        run: Run = recompute(mine, 0, None, until_ms, FOREVER_MS, facts(step_ms), raw, memory)
        checked(mine, START_MS, until_ms, until_ms, ZONE, facts(step_ms), raw)
        memory.put(mine, run.events_after_ms, run.events_to_ms, run.days, run.head)
        found.base[mine] = to_frame(run.rows)
        effective[mine] = decide(run.rows, run.events, [], facts(step_ms))
        versions.append(_meter(device))
    found.meters = form(Scheme(versions), START_MS, until_ms, effective)
    for meter, rows in found.meters.items():
        for measurement, unit in ROLLED:
            bounds = boundaries(unit, ZONE, START_MS, until_ms)
            found.rolled[meter, measurement] = roll(rows, bounds, until_ms)
    return found


def _meter(device: DeviceKey) -> MeterVersion:
    return MeterVersion(company=COMPANY, site=SITE, meter=device.device, valid_from_ms=0, role="other", device=device)


def series(year: Year, meters: int) -> list[tuple[str, dict[str, str], Frame]]:
    """Base rows and meter rows of so many meters, as they are stored: 70,000 rows a meter."""
    found = []
    for register, frame in list(year.base.items())[:meters]:
        found.append(("register_15m", register._asdict(), frame))
        tags = {"company": COMPANY, "site": SITE, "meter": register.device, "role": "other"}
        found.append(("energy_15m", tags, year.meters[register.device].to_frame()))
    return found


def store_all(store: InfluxStore | SqliteStore, rows: Sequence[tuple[str, dict[str, str], Frame]]) -> float:
    """Seconds until all is stored."""
    began = time.monotonic()
    for measurement, tags, frame in rows:
        store.replace(COMPANY, measurement, tags, 0, START_MS + 2 * YEAR_MS, frame)
    return time.monotonic() - began


def bare(db: Influx, rows: Sequence[tuple[str, dict[str, str], Frame]]) -> float:
    """Seconds that the server takes for the same lines, made before, on one open connection."""
    bodies = []
    for measurement, tags, frame in rows:
        meant = MEASUREMENTS[measurement]
        lines = frame_lines(meant, [*tags.values()], frame)
        bodies += [b"\n".join(part) for _, part in batches(lines)]
    connection = http.client.HTTPConnection("127.0.0.1", db.server.port, timeout=60)
    headers = {"Authorization": f"Token {db.server.token}"} if db.server.token else {}
    began = time.monotonic()
    for body in bodies:
        connection.request("POST", "/write?db=merilo-bare&rp=autogen&precision=ms", body, headers)
        answer = connection.getresponse()
        if answer.status != 204:
            raise RuntimeError(f"bare write: {answer.status} {answer.read()[:300]!r}")
        answer.read()
    connection.close()
    return time.monotonic() - began


def _computed(quick: bool, say: Callable[[str], None]) -> tuple[list[Row], Year]:
    say("a site-year from 15-min readings")
    raw = Raw({key(n).device_key: readings(n, QUARTER_MS) for n in range(METERS)})
    began, cpu = time.monotonic(), time.process_time()
    year = compute(raw, QUARTER_MS, Memory())
    cpu, wall = time.process_time() - cpu, time.monotonic() - began
    rows = [
        below(
            "site-year from 15-min readings, CPU", cpu, 1.0, "s", beside=f"{METERS} meters, {wall:.2f} s by the clock"
        )
    ]
    meters = 4 if quick else METERS
    say("a site-year from 60-s polls")
    raw = Raw({key(n).device_key: readings(n, MINUTE_MS) for n in range(meters)})
    memory = Memory()
    began, cpu = time.monotonic(), time.process_time()
    compute(raw, MINUTE_MS, memory)
    cpu, wall = time.process_time() - cpu, time.monotonic() - began
    scaled = f"{meters} meters, {wall:.1f} s by the clock" + (f", CPU times {METERS // meters}" if quick else "")
    rows.append(below("site-year from 60-s polls, CPU", cpu * METERS / meters, 8.0, "s", beside=scaled))
    whole_s = cpu / meters
    say("one late reading")
    one, before = key(0), raw.asked
    at_ms = START_MS + 200 * DAY_MS + 9 * HOUR_MS
    cpu = time.process_time()
    until_ms = START_MS + YEAR_MS - QUARTER_MS
    run = recompute(one, at_ms, at_ms, until_ms, FOREVER_MS, facts(MINUTE_MS), raw, memory)
    cpu, walked = time.process_time() - cpu, (raw.asked - before) / 1440
    days = (run.to_ms - run.from_ms) / DAY_MS
    beside = (
        f"{cpu * 1000:.1f} ms CPU, {days:.0f} d of rows; the whole year {whole_s * 1000:.0f} ms: {whole_s / cpu:.0f} ×"
    )
    rows.append(at_most("days of readings walked for one late reading", walked, 4, "d", beside=beside))
    return rows, year


def _day(quick: bool) -> Row:
    trace = trace_of(readings(0, MINUTE_MS, 1), REGISTER)
    times = []
    for _ in range(50 if quick else 300):
        cpu = time.process_time()
        ledger.walk(trace, facts(MINUTE_MS), START_MS + DAY_MS)
        times.append((time.process_time() - cpu) * 1000)
    return below(
        "walk of a meter-day at 60-s polls, CPU", percentile(times, 0.5), 2.0, "ms", beside="median; 1,440 polls"
    )


def run(quick: bool, say: Callable[[str], None]) -> list[Row]:
    """Computing and storing a site-year, a meter-day, a late reading."""
    rows, year = _computed(quick, say)
    rows.append(_day(quick))
    with TemporaryDirectory(prefix="merilo-bench-") as name:
        meters = 4 if quick else METERS
        parts = series(year, meters)
        count = sum(len(frame) for _, _, frame in parts)
        say(f"{count:,} rows into SQLite")
        store = SqliteStore(Path(name))
        store.init(COMPANY, None)
        cpu = time.process_time()
        took = store_all(store, parts)
        cpu = time.process_time() - cpu
        beside = f"{count:,} rows, {cpu:.1f} s CPU" + (", time taken five times" if quick else "")
        rows.append(below("a site-year's 1.4 M rows into SQLite", took * METERS / meters, 10.0, "s", beside=beside))
        rows += page_rows(store, "SQLite", year)
        store.close()
    with influx() as db:
        parts = series(year, 2 if quick else 8)
        count = sum(len(frame) for _, _, frame in parts)
        say(f"{count:,} rows into {db.kind}")
        influx_store = db.open()
        influx_store.init(COMPANY, None)
        influx_store.init("bare", None)
        plain = bare(db, parts[: len(parts) // 2])
        ours = store_all(influx_store, parts)
        plain += bare(db, parts[len(parts) // 2 :])
        beside = f"{db.kind}: {count / ours:,.0f} rows/s, a bare writer {count / plain:,.0f}"
        rows.append(at_least("rows into InfluxDB, of a bare writer's rate", 100 * plain / ours, 80, "%", beside=beside))
        rows += page_rows(influx_store, db.kind, year)
        influx_store.close()
    return rows


def page_rows(store: InfluxStore | SqliteStore, kind: str, year: Year) -> list[Row]:
    """What the page asks of a store that holds a year: months, days, hours of every meter."""
    for (meter, measurement), frame in year.rolled.items():
        tags = {"company": COMPANY, "site": SITE, "meter": meter, "role": "other"}
        store.replace(COMPANY, measurement, tags, 0, START_MS + 2 * YEAR_MS, frame)
    end_ms = START_MS + YEAR_MS
    asked = (
        ("energy_1mo", START_MS, ["energy_wh"]),
        ("energy_1d", START_MS, ["energy_wh", "coverage"]),
        ("energy_1h", end_ms - 31 * DAY_MS, ["energy_wh"]),
        ("energy_15m", end_ms - 2 * DAY_MS, ["energy_wh", "state"]),
    )
    worst, texts = 0.0, []
    for measurement, start_ms, fields in asked:
        times = []
        for _ in range(7):
            began = time.monotonic()
            found = store.read(COMPANY, measurement, {"site": SITE}, start_ms, end_ms, fields)
            times.append((time.monotonic() - began) * 1000)
        count = sum(len(one.frame) for one in found)
        texts.append(f"{measurement} {percentile(times, 0.5):.0f} ms, {count:,} rows")
        worst = max(worst, percentile(times, 0.5))
    return [below(f"the page's slowest query on a year, {kind}", worst, 50, "ms", beside="; ".join(texts))]
