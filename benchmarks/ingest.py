"""Ingest: from a broker's backlog and from live gateways into InfluxDB, everything durable, acknowledged after it is.

The collector runs as its own program. What it costs is what the kernel counts for that program; the rate is counted
from the first message to the last acknowledgement, broker, store and collector sharing the machine.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.fleet import VALUES, Fleet
from benchmarks.machine import cpu_s, memory_mb, merilo, program, wait_for
from benchmarks.servers import Influx, influx, mosquitto
from benchmarks.table import Row, at_least, at_most, below, percentile, shown
from merilo import wire
from merilo.instants import DAY_MS
from merilo.topics import PREFIX
from merilo_adapters.registry import Registry
from real import Broker

COMPANIES = 50
RATE = 40_000
"""Values a second of the live part."""
LIVE_S = 60.0
"""A whole minute: what the collector does once a minute is in it."""
READY_S = 40.0
DRAIN_S = 120.0
WIDE = "max_inflight_messages 1000"
"""A broker that lets the collector take a batch at a time."""
QUEUE = ("allow_anonymous true", "max_queued_messages 0", "max_packet_size 262144")


def now_ms() -> int:
    """Now [UTC ms]."""
    return time.time_ns() // 1_000_000


@dataclass
class Listener:
    """Hears the acknowledgements of all gateways, and when."""

    port: int
    count: int = 0
    at: dict[tuple[str, int], float] = field(default_factory=dict)
    """Epoch and last number of an acknowledged range → when it was heard."""

    def __enter__(self) -> Listener:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="listener")
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", self.port)
        self._client.subscribe(f"{PREFIX}/+/+/+/ack", qos=0)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _heard(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        heard = time.monotonic()
        ack = wire.from_payload(bytes(message.payload), wire.Ack)
        if ack.rejected:
            raise RuntimeError(f"rejected: {ack.rejected[0]}")
        self.at[ack.epoch, ack.last] = heard
        self.count += 1


@dataclass
class Publisher:
    """One connection that publishes for all gateways."""

    port: int
    sent: dict[tuple[str, int], float] = field(default_factory=dict)

    def __enter__(self) -> Publisher:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="publisher")
        self._client.max_inflight_messages_set(500)
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, messages: list[tuple[str, bytes]]) -> None:
        """Publishes and waits until the broker has them."""
        last = None
        for topic, payload in messages:
            last = self._client.publish(topic, payload, qos=1)
        if last is not None:
            last.wait_for_publish(DRAIN_S)

    def send_later(self, topic: str, payload: bytes) -> None:
        """Publishes one, without waiting."""
        self._client.publish(topic, payload, qos=1)


@contextmanager
def chain(*broker_lines: str, companies: int = COMPANIES) -> Iterator[tuple[Path, Fleet, Broker, Influx]]:
    """Broker, store and a registry that knows the fleet."""
    with TemporaryDirectory(prefix="merilo-bench-") as name, mosquitto(*QUEUE, *broker_lines) as broker, influx() as db:
        folder = Path(name)
        fleet = Fleet(companies)
        registry = Registry.open(f"sqlite:///{folder / 'registry.db'}", actor="benchmark")
        fleet.enter(registry, now_ms())
        registry.close()
        store = db.open()
        for key in fleet.keys:
            store.init(key.company, None)
        yield folder, fleet, broker, db


@contextmanager
def collector(folder: Path, broker: Broker, db: Influx, what: str = "collector") -> Iterator[int]:
    """``merilo collector run`` or ``merilo books run``; gives its process id."""
    environment = {**db.environment, "MERILO_BROKER": f"mqtt://127.0.0.1:{broker.port}", "MERILO_DATA": str(folder)}
    with ExitStack() as stack:
        with _joins(broker, "merilo-collector") if what == "collector" else nullcontext():
            pid = stack.enter_context(program(what, merilo(what, "run", "--data", str(folder)), folder, environment))
        yield pid


@contextmanager
def _joins(broker: Broker, client: str) -> Iterator[None]:
    """Waits behind the block until the broker has let this client in."""
    text = f" as {client} "
    before = broker.log.read_text(errors="replace").count(text)
    yield
    wait_for(lambda: broker.log.read_text(errors="replace").count(text) > before, READY_S, f"connection of {client}")


@dataclass(frozen=True)
class Drained:
    """How a backlog went."""

    rate: float
    cpu: float
    """CPU seconds per million values."""
    memory: float
    broker: float
    store: float


def drain(messages: int, *broker_lines: str, companies: int = COMPANIES) -> Drained:
    """A collector that stood still while a backlog grew at the broker, from the moment it goes on."""
    with chain(*broker_lines, companies=companies) as (folder, fleet, broker, db), Listener(broker.port) as listener:
        start = now_ms() - DAY_MS // 4
        with collector(folder, broker, db) as pid, Publisher(broker.port) as publisher:
            publisher.send(fleet.cycles(companies, start))  # makes every database and warms every cache
            wait_for(lambda: listener.count >= companies, READY_S, "the first cycle")
            with _still(pid):
                publisher.send(fleet.cycles(messages, start + 10_000))
            began, pids = time.monotonic(), (pid, broker.pid, db.server.pid)
            spent = [cpu_s(one) for one in pids]
            wait_for(lambda: listener.count >= companies + messages, DRAIN_S, "the backlog")
            million = messages * VALUES / 1e6
            cpu = [(cpu_s(one) - was) / million for one, was in zip(pids, spent, strict=True)]
            took = max(listener.at.values()) - began
            return Drained(million * 1e6 / took, cpu[0], memory_mb(pid), cpu[1], cpu[2])


def drain_naive(messages: int, *broker_lines: str, companies: int = COMPANIES) -> Drained:
    """The same backlog by the short program, which stores without acknowledging anything."""
    with chain(*broker_lines, companies=companies) as (folder, fleet, broker, db):
        db.open().init("naive", None)
        start = now_ms() - DAY_MS // 4
        target = f"{db.server.url}/write?db=merilo-naive&rp=raw&precision=ms"
        arguments = [str(Path(__file__).parent / "naive.py"), str(broker.port), target, db.server.token or ""]
        with _naive(broker, arguments, folder) as pid, Publisher(broker.port) as publisher:
            time.sleep(0.3)  # its subscription is on the way
            publisher.send(fleet.cycles(companies, start))
            wait_for(lambda: _stored(db, start) >= companies, READY_S, "the first cycle of the naive program")
            with _still(pid):
                publisher.send(fleet.cycles(messages, start + 10_000))
            began, spent = time.monotonic(), cpu_s(pid)
            at_ms = start + 10_000 * (messages // fleet.companies)
            wait_for(lambda: _stored(db, at_ms) >= companies, DRAIN_S, "the naive backlog")
            million = messages * VALUES / 1e6
            took = time.monotonic() - began
            return Drained(million * 1e6 / took, (cpu_s(pid) - spent) / million, memory_mb(pid), 0.0, 0.0)


@contextmanager
def _still(pid: int) -> Iterator[None]:
    """Freezes a process; its connections stay open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _naive(broker: Broker, arguments: list[str], folder: Path) -> Iterator[int]:
    with ExitStack() as stack:
        with _joins(broker, "naive"):
            pid = stack.enter_context(program("naive", arguments, folder))
        yield pid


def _stored(db: Influx, at_ms: int) -> int:
    """In how many companies the last device of this cycle is stored."""
    time.sleep(0.03)
    found = db.open().read("naive", "readings", {"device": "m19"}, at_ms, at_ms + 10_000, ["frequency_hz"])
    return len(found)


@dataclass(frozen=True)
class Lag:
    """How long gateways waited for their acknowledgements."""

    p50_ms: float
    p99_ms: float
    largest_ms: float
    rate: float
    cpu: float
    """CPU seconds per million values."""
    books_cpu: float
    """Share of one processor."""


def live(seconds: float, *broker_lines: str) -> Lag:
    """Fifty companies publish in turn, evenly, while the books run."""
    with chain(*broker_lines) as (folder, fleet, broker, db), Listener(broker.port) as listener:
        with collector(folder, broker, db) as pid, collector(folder, broker, db, "books") as books:
            with Publisher(broker.port) as publisher:
                publisher.send(fleet.cycles(fleet.companies, now_ms() - 3_600_000))
                wait_for(lambda: listener.count >= fleet.companies, READY_S, "the first cycle")
                time.sleep(1.0)
                spent = (cpu_s(pid), cpu_s(books))
                sent = _evenly(fleet, publisher, seconds)
                wait_for(lambda: all(name in listener.at for name in sent), DRAIN_S, "the last acknowledgement")
            cpu = (cpu_s(pid) - spent[0], cpu_s(books) - spent[1])
        lags = [(listener.at[name] - at) * 1000 for name, at in sent.items()]
        values = len(sent) * VALUES
        took = max(listener.at[name] for name in sent) - min(sent.values())
        return Lag(
            percentile(lags, 0.5),
            percentile(lags, 0.99),
            max(lags),
            values / took,
            cpu[0] / values * 1e6,
            cpu[1] / took,
        )


def _evenly(fleet: Fleet, publisher: Publisher, seconds: float) -> dict[tuple[str, int], float]:
    """Publishes RATE values a second; gives when each message left, by epoch and last number."""
    step = VALUES / RATE
    began = time.monotonic()
    sent: dict[tuple[str, int], float] = {}
    made = [fleet.cycle(n % fleet.companies, now_ms() + round(n * step * 1000)) for n in range(int(seconds / step))]
    counts = [n // fleet.companies for n in range(len(made))]
    began = time.monotonic()
    for n, (topic, payload) in enumerate(made):
        wait = began + n * step - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        last = (counts[n] + 2) * fleet.devices_per_gateway - 1
        sent[fleet.epoch(n % fleet.companies), last] = time.monotonic()
        publisher.send_later(topic, payload)
    return sent


def run(quick: bool, say: Callable[[str], None]) -> list[Row]:
    """Backlog against the naive program, and lag at a steady rate, each with a wide and a default broker window."""
    messages, companies = (1_000, 10) if quick else (4_000, COMPANIES)
    say("backlog, naive program")
    naive = drain_naive(messages, WIDE, companies=companies)
    say("backlog, collector")
    ours = drain(messages, WIDE, companies=companies)
    against = f"naive in this run {naive.rate:,.0f}: {ours.rate / naive.rate:.2f} ×; Telegraf elsewhere 264,000"
    rows = [
        at_least("backlog into InfluxDB, durable", ours.rate, 200_000, "values/s", beside=against),
        at_most(
            "its CPU per million values", ours.cpu, 2.0, "s", beside=f"naive {naive.cpu:.2f}; Telegraf elsewhere 4.0"
        ),
        shown("its memory", ours.memory, "MB"),
        shown("broker and store beside it", ours.broker + ours.store, "s per million", beside=_share(ours)),
    ]
    windows = [("default window of 20", ())] if quick else [("window 1,000", (WIDE,)), ("default window of 20", ())]
    if not quick:
        say("backlog, default broker window")
        narrow = drain(messages)
        beside = f"{narrow.cpu:.2f} s CPU per million"
        rows.append(shown("the same, 20 messages in flight", narrow.rate, "values/s", beside=beside))
    for name, lines in windows:
        say(f"live, {name}")
        lag = live(6.0 if quick else LIVE_S, *lines)
        beside = (
            f"p50 {lag.p50_ms:.0f}, largest {lag.largest_ms:,.0f} ms; Telegraf elsewhere 67/135;"
            f" {lag.cpu:.2f} CPU s per million, books {100 * lag.books_cpu:.0f} % of a processor"
        )
        rows.append(below(f"publish to ack, p99, {name}", lag.p99_ms, 500, "ms", beside=beside))
        rows.append(shown("values meanwhile", lag.rate, "values/s"))
    return rows


def _share(drained: Drained) -> str:
    whole = drained.cpu + drained.broker + drained.store
    return f"of {whole:.1f} s: store {drained.store:.1f}, collector {drained.cpu:.1f}, broker {drained.broker:.1f}"
