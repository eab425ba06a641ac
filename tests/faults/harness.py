"""One company on the real programs, and the hands that kill them.

Every program is a process of its own on an accelerated clock; what was killed is started again at once, with jitter.
Kills are counted per process and per named gap; a gap counts only where the program itself left the mark file from
within the gap.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from faults.nursery import Child, Nursery
from merilo.ids import GatewayKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, floor_ms
from merilo.reading import Reading
from merilo.site import Company, Site
from merilo_adapters.clock import Clock
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.installation import Installation
from merilo_adapters.mosquitto_files import new_password, password_hash, write_files
from merilo_adapters.outbox import Outbox
from merilo_adapters.registry import Registry
from merilo_adapters.registry.work import Touched
from merilo_cli.broker import broker_program
from merilo_cli.chain import Chain, write_secret
from merilo_cli.demo import gateway_file
from merilo_simulators.counters import Spike, Stuck, ZeroBurst
from merilo_simulators.history import site_history
from merilo_simulators.site import Site as DeviceSite
from merilo_simulators.site import example_site
from real import InfluxServer, Server, free_port

COMPANY, SITE, GATEWAY = "example", "burgas", "gw1"
KEY = GatewayKey(COMPANY, SITE, GATEWAY)
ZONE = "Europe/Sofia"
TOPIC = "netio/pdu1"
DEVICES = ("office", "cooling", "pdu1")
"""Modbus TCP with a meter for each phase, Modbus RTU, and an MQTT strip with outlets: three ways in, seven devices."""
HISTORY_S = 300
INGEST_GAPS = ("raw_written", "work_committed", "acknowledged")
BOOKS_GAPS = ("rows_stored", "meters_stored", "checkpoints_stored")
GAPS = (*INGEST_GAPS, *BOOKS_GAPS)
RATE = 120.0
"""Shown seconds a real second: an hour is half a minute."""
GAPS_WANTED = 2
"""Kills in each named gap."""
ENDED_MAX = 10
"""Programs that end by themselves again and again are broken."""
JITTER_S = (0.02, 0.12)
"""Before a killed program is started again."""


@dataclass(frozen=True, slots=True)
class Life:
    """How one start of a program is to end."""

    seconds: float
    """Killed after so long at the latest."""
    gap: str = ""
    """Killed by itself in this gap, if it gets there in time."""
    number: int = 1
    """The how many-th time it gets there."""


@dataclass
class Kills:
    """What was killed, and how."""

    of: Counter[str] = field(default_factory=Counter)
    """By process, those in gaps included."""
    gaps: Counter[str] = field(default_factory=Counter)
    itself: list[str] = field(default_factory=list)
    """Programs that ended although nobody killed them: name and end of the log."""

    def text(self) -> str:
        """One line for people."""
        processes = " ".join(f"{name}={count}" for name, count in sorted(self.of.items()))
        gaps = " ".join(f"{name}={self.gaps[name]}" for name in GAPS if name in self.gaps)
        return f"kills {processes} | gaps {gaps} | ended by themselves {len(self.itself)}"


def disturbances(site: DeviceSite, middle_ms: int) -> None:
    """A spike, a burst of zeros and a counter that stands still: none of them costs energy."""
    site.meter("office").faults.add(
        Spike(from_ms=middle_ms + 2 * HOUR_MS, until_ms=middle_ms + 2 * HOUR_MS + 20 * MINUTE_MS, wh=10_000_000),
        ZeroBurst(from_ms=middle_ms + 5 * HOUR_MS, until_ms=middle_ms + 5 * HOUR_MS + 30 * MINUTE_MS),
    )
    site.meter("cooling").faults.add(Stuck(from_ms=middle_ms + 3 * HOUR_MS, until_ms=middle_ms + 9 * HOUR_MS))


def undisturbed(site: DeviceSite, middle_ms: int) -> None:
    """Nothing happens."""


class Plant:
    """One installation in a folder.

    Args:
        folder: Empty.
        nursery: Starts the programs.
        store: Series store address; empty: SQLite in the folder.
        token: The store's token, for InfluxDB 2.
        days: Days of history that wait in the gateway's outbox.
        disturb: Lets counters of the devices misbehave; told the site and an instant in the second day of the history.
        holes: Stretches of the history that are held back, see :meth:`late`.
        hole_hours: How long each of them is.
        live: Whether devices answer now; else only history is there.
        backlog_rate: Readings of the backlog that the gateway sends a second; 0: as many as it can.
        weak: Programs that run a deliberately weak build, by name.
        rate: Of the clock.
        interval_s: Between two polls, shown time.
    """

    def __init__(
        self,
        folder: Path,
        nursery: Nursery,
        *,
        store: str = "",
        token: str = "",
        days: int = 3,
        disturb: Callable[[DeviceSite, int], None] = disturbances,
        weak: Mapping[str, str] | None = None,
        rate: float = RATE,
        interval_s: int = 60,
        backlog_rate: int = 0,
        holes: int = 0,
        hole_hours: int = 1,
        live: bool = True,
        seed: int = 1,
    ) -> None:
        self.folder, self.nursery, self.seed, self.token = folder, nursery, seed, token
        self.weak = dict(weak or {})
        real_ms = int(time.time() * 1000)
        # Ten minutes before local midnight of two days ago: local and UTC midnights pass while it runs.
        self.start_ms = floor_ms(real_ms, DAY_MS) - DAY_MS - 2 * HOUR_MS - 10 * MINUTE_MS
        self.clock = Clock(start_ms=self.start_ms, real_start_ms=real_ms, rate=rate)
        self.chain = Chain(folder, lambda text: None, clock=self.clock.to_text(), store=store)
        self.chain.supervisor.programs.clear()
        self.environment = {"MERILO_DATA": str(folder), "MERILO_CLOCK": self.clock.to_text(), "MERILO_STORE": store}
        if token:
            self.environment["MERILO_STORE_TOKEN"] = token
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        self.logs = folder / "log"
        self.running: dict[str, Child] = {}
        self.broker: Server | None = None
        self._interval_s = interval_s
        self._holes: list[list[tuple[int, list[Reading]]]] = [[] for _ in range(holes)]
        self._hole_hours = hole_hours
        self._held: socket.socket | None = None
        self._days, self._disturb, self._backlog_rate, self._live = days, disturb, backlog_rate, live

    # Setting up

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_up(self) -> None:
        registry = self.registry()
        registry.add_company(Company(id=COMPANY, name="Example Ltd", raw_days=90, created_ms=self.start_ms))
        registry.add_site(
            Site(company=COMPANY, id=SITE, name="Burgas", zone=ZONE, country="BG", currency="EUR"), self.start_ms
        )
        login, password = self.chain.login(KEY)
        files = write_files(self.folder / "broker", self.folder, registry.logins())
        write_secret(self.folder / "collector.secret", files.collector_password)
        secret = new_password()
        write_secret(self.folder / "site.password", secret)
        with files.access.open("a") as sink:
            sink.write(f"\nuser site\ntopic readwrite {TOPIC}\n")
        with files.passwords.open("a") as sink:
            sink.write(f"site:{password_hash(secret)}\n")
        self.chain.broker_port = free_port()
        program, _ = broker_program(self.folder / "broker", self.chain.broker_port, files.passwords, files.access)
        self.broker = Server(
            list(program.argv),
            self.folder / "broker",
            self.chain.broker_port,
            self._broker_ready,
            stop_signal=signal.SIGTERM,
        )
        self.broker.start()
        self.environment |= {
            "MERILO_BROKER": f"mqtt://127.0.0.1:{self.chain.broker_port}",
            "MERILO_BROKER_LOGIN": "collector",
            "MERILO_BROKER_PASSWORD_FILE": str(self.folder / "collector.secret"),
        }
        ready = self._devices(secret)
        for part in ("devices", "measures"):
            name = "id" if part == "devices" else "device"
            ready[part] = [one for one in ready[part] if one[name].split("-outlet-")[0] in DEVICES]
        used = {one["bus"] for one in ready["devices"]}
        ready["buses"] = {name: bus for name, bus in ready["buses"].items() if name in used}
        split = {m["device"] for m in ready["measures"] if m["phase"]}
        self.measures = {m["meter"]: m["circuit"] for m in ready["measures"] if m["phase"] or m["device"] not in split}
        """Meter to circuit. A device whose file names meters for its phases has none for its total."""
        if not self._live:
            self.stop("devices")
            self._hold_places(ready["buses"])
        file = gateway_file(self.chain, ready, login, password, self._backlog_rate)
        file.write_text(file.read_text().replace("interval: 10s", f"interval: {self._interval_s}s"))
        self.first_ms = floor_ms(self.start_ms, DAY_MS) - self._days * DAY_MS + HOUR_MS
        if self._days:
            self._fill()
        registry.close()

    def _broker_ready(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.chain.broker_port)) == 0

    def _devices(self, secret: str) -> dict[str, Any]:
        ready = self.folder / "devices.json"
        arguments = [
            "simulators", "run", "--seed", str(self.seed), "--ready", str(ready),
            "--mqtt-host", "127.0.0.1", "--mqtt-port", str(self.chain.broker_port), "--mqtt-topic", TOPIC,
            "--mqtt-user", "site", "--mqtt-interval-s", str(self._interval_s),
        ]  # fmt: skip
        environment = self.environment | {"MERILO_SIMULATORS_MQTT_PASSWORD": secret}
        self.running["devices"] = self.nursery.start(arguments, environment, self.logs / "devices.log")
        assert wait_for(ready.exists, 40), (self.logs / "devices.log").read_text()[-2000:]
        found: dict[str, Any] = json.loads(ready.read_text())
        return found

    def _hold_places(self, buses: Mapping[str, Any]) -> None:
        """Nobody answers where the devices were, whoever else takes ports on this machine."""
        self._held = socket.socket()
        self._held.bind(("127.0.0.1", 0))  # without listening: every connection is refused
        for bus in buses.values():
            if bus["kind"] == "tcp":
                bus["port"] = self._held.getsockname()[1]
            elif bus["kind"] == "rtu":
                bus["path"] = str(self.folder / "no-line")

    def _fill(self) -> None:
        """Leaves the past in the outbox, as an outage of that length would have; some counters misbehave in it."""
        site = example_site(self.seed)
        self._disturb(site, self.first_ms + DAY_MS)
        (self.folder / "gateway").mkdir()
        box = Outbox(self.folder / "gateway" / "outbox.sqlite")
        cycles: dict[int, list[Reading]] = {}
        end_ms = floor_ms(self.start_ms, HISTORY_S * 1000)
        for device, at_ms, values in site_history(site, self.first_ms, end_ms, HISTORY_S * 1000):
            if device.split("-outlet-")[0] not in DEVICES:
                continue
            cycles.setdefault(at_ms, []).append(Reading(device=device, at_ms=at_ms, values=values))
        for number, held_back in enumerate(self._holes):
            from_ms = self.first_ms + 20 * HOUR_MS + number * 7 * HOUR_MS
            for at_ms in [at_ms for at_ms in cycles if from_ms <= at_ms < from_ms + self._hole_hours * HOUR_MS]:
                held_back.append((at_ms, cycles.pop(at_ms)))
        box.append_all(sorted(cycles.items()))
        box.close()

    def late(self) -> None:
        """Puts the next stretch that was held back into the outbox of the gateway, which must not run."""
        box = Outbox(self.folder / "gateway" / "outbox.sqlite")
        box.append_all(self._holes.pop(0))
        box.close()

    def registry(self) -> Registry:
        """The registry, opened anew."""
        return Registry.open(self.chain.registry_url, actor="test")

    def installation(self) -> Installation:
        """Where everything is."""
        return Installation(data=self.folder, store=self.chain.store, store_token=self.token)  # type: ignore[arg-type]

    # Running

    def start(self, name: str, life: Life | None = None) -> tuple[Child, Path | None]:
        """Starts gateway, collector or books; with a gap to die in, also the file that will say so."""
        arguments = {
            "gateway": [
                "gateway",
                "run",
                "-c",
                str(self.folder / "gateway.yaml"),
                "--data",
                str(self.folder / "gateway"),
            ],
            "collector": ["collector", "run"],
            "books": ["books", "run"],
            "api": ["api", "run", "--port", str(self.chain.page_port)],
        }[name]
        environment, mark = dict(self.environment), None
        if life is not None and life.gap:
            mark = self.marks / f"{name}-{time.monotonic_ns()}"
            environment["MERILO_CRASH"] = f"{life.gap}:{life.number}:{mark}"
        child = self.nursery.start(arguments, environment, self.logs / f"{name}.log", self.weak.get(name, ""))
        return child, mark

    def start_all(self, *names: str) -> None:
        """Starts these programs without any plan to kill them."""
        for name in names or ("collector", "books", "gateway"):
            self.running[name] = self.start(name)[0]

    def stop(self, *names: str) -> None:
        """Ends programs the clean way."""
        for name in names:
            child = self.running.pop(name, None)
            if child is not None:
                child.stop()
                child.close()

    def close(self) -> None:
        """Ends everything."""
        for child in self.running.values():
            child.kill()
            child.close()
        self.running.clear()
        if self._held is not None:
            self._held.close()
        if self.broker is not None:
            self.broker.kill()

    def start_api(self) -> None:
        """Starts the API on a free port and waits for it."""
        self.chain.page_port = free_port()
        self.start_all("api")
        assert wait_for(lambda: self.get("/v1/health") is not None, 40), self.log("api")[-2000:]

    def get(self, path: str) -> Any:
        """One answer of the API, None while it cannot be had."""
        return self.chain.get(path)

    def notices(self) -> set[str]:
        """Codes of what the page says of the company."""
        found = self.get("/v1/health") or {"companies": []}
        return {notice["code"] for company in found["companies"] for notice in company["notices"]}

    def now_ms(self) -> int:
        """The shown instant."""
        return self.clock.now_ms()

    def log(self, name: str) -> str:
        """What a program logged."""
        path = self.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Looking in, without disturbing

    def waiting_rows(self) -> int:
        """Cycles that the gateway has not got acknowledged."""
        path = self.folder / "gateway" / "outbox.sqlite"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as db:
            found = int(db.execute("SELECT count(*) FROM waiting").fetchone()[0])
        db.close()
        return found

    def outbox_copy(self) -> Outbox:
        """A copy of what the gateway has counted durable. The gateway must have ended."""
        target = self.folder / "copy"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for part in (self.folder / "gateway").glob("outbox.sqlite*"):
            if not part.name.endswith("ballast"):
                shutil.copy(part, target / part.name)
        return Outbox(target / "outbox.sqlite")


Plan = Callable[[random.Random, Kills], Life]


def any_moment(short_s: tuple[float, float], long_s: tuple[float, float], long_share: float = 0.25) -> Plan:
    """Killed at any moment: mostly soon, sometimes late enough that the whole chain gets something done."""

    def plan(chance: random.Random, kills: Kills) -> Life:
        return Life(chance.uniform(*(long_s if chance.random() < long_share else short_s)))

    return plan


def gap_or(other: Plan, gaps: Sequence[str], patience_s: float, most: int = 3) -> Plan:
    """Some lives end in the gap that was hit least, if the program gets there in time: many until each was hit."""

    def plan(chance: random.Random, kills: Kills) -> Life:
        gap = min(gaps, key=lambda name: (kills.gaps[name], chance.random()))
        if chance.random() > (0.6 if kills.gaps[gap] < GAPS_WANTED else 0.05):
            return other(chance, kills)
        return Life(patience_s, gap, chance.randint(1, most))

    return plan


class Killer:
    """Lets every program live and die by its plan, each in a thread of its own, until told to stop."""

    def __init__(self, plant: Plant, plans: Mapping[str, Plan], seed: int, store: InfluxServer | None = None) -> None:
        self._plant, self._plans, self._seed, self._store = plant, plans, seed, store
        self.kills = Kills()
        self._stop = threading.Event()
        self._store_needed = threading.Event()
        self._errors: list[BaseException] = []

    def run(self, enough: Callable[[Kills], bool], seconds: float) -> Kills:
        """Kills until it is enough or the time is over; afterwards broker and store run and the programs do not."""
        threads = [threading.Thread(target=self._guarded, args=(name,), name=name) for name in self._plans]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough(self.kills) and not self._errors:
            time.sleep(0.1)
        self._stop.set()
        for thread in threads:
            thread.join(60)
        if self._errors:
            raise self._errors[0]
        return self.kills

    def _guarded(self, name: str) -> None:
        chance = random.Random(f"{self._seed}/{name}")
        try:
            if name in ("broker", "store"):
                self._server(name, chance)
            else:
                self._program(name, chance)
        except BaseException as error:  # raised again by run()
            self._errors.append(error)

    def _server(self, name: str, chance: random.Random) -> None:
        server = self._plant.broker if name == "broker" else self._store
        assert server is not None
        while not self._stop.wait(self._plans[name](chance, self.kills).seconds):
            if name == "store" and self._store_needed.is_set():
                continue  # the books are to be killed within their pass, and get there only with a store
            server.kill()
            self.kills.of[name] += 1
            time.sleep(chance.uniform(*JITTER_S))
            server.start()

    def _program(self, name: str, chance: random.Random) -> None:
        while not self._stop.is_set():
            life = self._plans[name](chance, self.kills)
            if name == "books" and life.gap:
                self._store_needed.set()
            child, mark = self._plant.start(name, life)
            end = time.monotonic() + life.seconds
            while time.monotonic() < end and not self._stop.is_set() and not child.wait(0.05):
                pass
            if child.kill():
                self.kills.of[name] += 1
            elif mark is not None and mark.exists():
                self.kills.of[name] += 1
                self.kills.gaps[life.gap] += 1
            else:
                self.kills.itself.append(f"{name}: {self._plant.log(name)[-1500:]}")
                assert len(self.kills.itself) <= ENDED_MAX, self.kills.itself[-1]
            child.close()
            if name == "books":
                self._store_needed.clear()
            time.sleep(chance.uniform(*JITTER_S))


def settled(plant: Plant) -> None:
    """Waits until everything is acknowledged and the books have nothing to do before their next quarter of an hour."""
    registry = plant.registry()
    work = registry.work()

    def due() -> list[Touched]:
        end_ms = floor_ms(plant.now_ms() - 5 * MINUTE_MS, QUARTER_MS)
        return [touched for touched in work.pending(1_000) if touched.first_ms < end_ms]

    done = wait_for(lambda: plant.waiting_rows() == 0 and not due(), 60)
    logs = "\n".join(plant.log(name)[-1500:] for name in ("gateway", "collector", "books"))
    assert done, f"{plant.waiting_rows()} cycles are not acknowledged, the books have {due()[:3]} to do\n{logs}"
    registry.close()


def wait_for(condition: Callable[[], bool], seconds: float, every_s: float = 0.1) -> bool:
    """Waits until something is true; says whether it became so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(every_s)
    return condition()


def plans(*names: str, wanted: int) -> dict[str, Plan]:
    """How each process is killed in a kill test: often until it was killed so often, then seldom."""
    soon, late = (0.1, 0.7), (1.2, 2.4)
    every: dict[str, Plan] = {
        "gateway": any_moment((0.2, 0.9), late),
        "broker": any_moment((0.1, 0.9), late, 0.3),
        "store": any_moment((0.05, 0.6), late, 0.2),
        "collector": gap_or(any_moment(soon, late), INGEST_GAPS, 2.0),
        "books": gap_or(any_moment(soon, late, 0.15), BOOKS_GAPS, 8.0, 1),
    }

    def until_wanted(name: str) -> Plan:
        seldom = any_moment((2.0, 4.0), (2.0, 4.0))
        return lambda chance, kills: (every[name] if kills.of[name] < wanted else seldom)(chance, kills)

    return {name: until_wanted(name) if name in ("gateway", "broker", "store") else every[name] for name in names}


def come_to_rest(plant: Plant, before_end: Callable[[], None] = lambda: None) -> None:
    """Lets the chain run undisturbed until everything is acknowledged, then ends it.

    Args:
        before_end: Called while the programs still run and nothing more is read from devices.
    """
    plant.start_all()
    assert wait_for(lambda: plant.waiting_rows() <= 2, 60), f"{plant.waiting_rows()} cycles are not acknowledged"
    plant.stop("devices")
    assert wait_for(lambda: plant.waiting_rows() == 0, 60), f"{plant.waiting_rows()} cycles are not acknowledged"
    before_end()
    for _ in range(3):  # what was half gathered is stored when the gateway ends, and sent at its next start
        plant.stop("gateway")
        if plant.waiting_rows() == 0:
            break
        plant.start_all("gateway")
        assert wait_for(lambda: plant.waiting_rows() == 0, 60), f"{plant.waiting_rows()} cycles are not acknowledged"
    plant.stop("gateway", "collector", "books")


def reconciled(plant: Plant, seconds: float = 60) -> bool:
    """Waits until the store of the plant was compared after its last start, and nothing is missing."""
    registry = plant.registry()
    work, store = registry.work(), CompanyStores(plant.installation(), registry).of(COMPANY)
    scope = f"store/{COMPANY}"

    def done() -> bool:
        noted = work.counters(scope)
        states = [noted.get((scope, name), 0) for name in ("unchecked", "forgotten_days")]
        return noted.get((scope, "started_ms")) == store.started_ms() and states == [0, 0]

    found = wait_for(done, seconds)
    registry.close()
    return found
