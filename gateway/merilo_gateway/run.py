"""The gateway program: puts the parts together, reads the clock and waits."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Coroutine, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from merilo.instants import DAY_MS, to_text
from merilo.profiles.setup import Setup
from merilo.reading import Reading
from merilo.topics import build, downward_filters
from merilo.wire import Birth, DeviceHealth, Health, to_payload
from merilo_adapters.clock import Clock
from merilo_adapters.mqtt import Connected, Message, Session, Will
from merilo_adapters.outbox import Outbox
from merilo_adapters.outbox_rows import Clock as ClockState
from merilo_gateway.birth import birth
from merilo_gateway.bus import Bus, BusDevice
from merilo_gateway.cycle import Cycle
from merilo_gateway.flow import Flow
from merilo_gateway.keeping import Keeper, Stamp
from merilo_gateway.machine import boot_id, clock_state, cpu_temperature_c, disk_free
from merilo_gateway.modbus import ModbusLine
from merilo_gateway.netio import JsonSource
from merilo_gateway.notify import Notifier
from merilo_gateway.poller import Poller
from merilo_gateway.publisher import Publisher
from merilo_gateway.settings import Settings

log = logging.getLogger(__name__)

WAIT_MAX_S = 1.0
"""Longest sleep in one piece: a step of the clock is noticed after so long."""
STALL_S = 120.0
"""A part that has made no progress for so long is dead: the watchdog is not fed any more."""
UNSYNCED_MAX_S = DAY_MS / 1000
"""Readings of a boot whose clock never becomes right are sent after so long, marked."""
INBOX_MAX = 1_000
"""Acknowledgements and commands that wait to be handled."""


class RealTiming:
    """The program's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        """Wall clock [UTC ms]."""
        return self._clock.now_ms()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def until(self, at_ms: int) -> None:
        """Waits until this instant, at most a second."""
        wait = self._clock.sleep_real_s((at_ms - self._clock.now_ms()) / 1000)
        await asyncio.sleep(min(max(wait, 0.0), WAIT_MAX_S))

    async def sleep(self, seconds: float) -> None:
        """Waits real seconds."""
        await asyncio.sleep(seconds)


class Gateway:
    """One running gateway.

    Args:
        settings: What to do.
        data: Folder of the outbox.
        environment: For the service manager and the clock.
    """

    def __init__(self, settings: Settings, data: Path, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._data = data
        self._timing = RealTiming(Clock.from_text(environment.get("MERILO_CLOCK")))
        self._accelerated = bool(environment.get("MERILO_CLOCK"))
        self._boot = boot_id()
        self._notifier = Notifier(environment)
        self._setups: dict[str, Setup] = {}
        self._spoken: set[str] = set()
        self._stopping = asyncio.Event()
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(INBOX_MAX)
        self._flush = asyncio.Event()
        model = settings.model
        self._keeper = Keeper(
            lambda: Outbox(data / "outbox.sqlite", size_bytes=model.outbox.size, grace_ms=model.outbox.grace)
        )
        self._buses = [self._bus(number) for number in range(len(model.buses))]
        self._sources = {
            source.id: JsonSource(
                device=source.id, profile=settings.models[source.id], interval_ms=source.interval, sink=self
            )
            for source in model.mqtt_in
        }
        self._listeners = [self._listener(source.id, source.topic) for source in model.mqtt_in]
        self._cycle = Cycle(model.interval, [bus.name for bus in self._buses])
        self._session = self._make_session()
        self._publisher = Publisher(
            settings.key,
            self._session,
            self._keeper,
            Flow(model.outbox.backlog_rate, random.Random()),  # noqa: S311  # jitter is no secret
            self._timing,
            boot=self._boot,
            compress=model.uplink == "metered",
            describe=self._describe,
            measure=self._measure,
        )
        self._stores = 0
        self._began = time.monotonic()
        self._clock_was: ClockState | None = None
        self._stamped = (0, 0)
        self._progress: dict[str, tuple[int, float]] = {}

    def _bus(self, number: int) -> Bus:
        model = self._settings.model.buses[number]
        now_ms = self._timing.now_ms()
        devices = [
            BusDevice(
                device=device.id,
                unit=device.unit,
                model=self._settings.models[device.id],
                poller=Poller(device.id, device.interval or self._settings.model.interval, now_ms),
                ct_ratio=device.ct_ratio,
            )
            for device in model.devices
        ]
        return Bus(
            self._settings.bus_name(number), model.endpoint, ModbusLine(model.endpoint), devices, self, self._timing
        )

    def _listener(self, name: str, topic: str) -> Session:
        source = self._sources[name]

        def arrived(message: Message) -> None:
            self._loop.call_soon_threadsafe(self._take_json, source, message)

        return Session(
            self._settings.sources[name],
            client_id=f"{self._settings.client_id}-{name}"[:64],
            on_message=arrived,
            subscriptions=[(topic, 1)],
        )

    def _take_json(self, source: JsonSource, message: Message) -> None:
        if source.arrived(message.payload, retained=message.retain, now_ms=self._timing.now_ms()):
            self._flush.set()

    def _make_session(self) -> Session:
        key = self._settings.key

        def will() -> Will:
            return Will(build(key, "state"), to_payload(self._publisher.state("lost")))

        return Session(
            self._settings.broker,
            client_id=self._settings.client_id,
            on_message=self._on_message,
            subscriptions=[(name, 0) for name in downward_filters(key)],
            on_connected=self._on_connected,
            on_lost=self._on_lost,
            will=will,
        )

    # Life

    async def run(self) -> None:
        """Runs until it is told to stop."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        await self._keeper.open()
        for session in (self._session, *self._listeners):
            session.start()
        work: list[Coroutine[Any, Any, None]] = [bus.run() for bus in self._buses]
        work += [self._publisher.run(), self._answer(), self._store_cycles(), self._watch()]
        tasks = [loop.create_task(one) for one in work]
        stop = loop.create_task(self._stopping.wait())
        self._notifier.tell("READY=1")
        log.info(
            "gateway running gateway=%s epoch=%s data=%s", "/".join(self._settings.key), self._keeper.epoch, self._data
        )
        try:
            done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stop}:
                task.result()  # a part that ended by itself ended by an error: the process ends with it
        finally:
            await self._end([*tasks, stop])

    async def _end(self, tasks: list[asyncio.Task[Any]]) -> None:
        self._notifier.tell("STOPPING=1")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        rest = self._cycle.rest()
        if rest:
            await self._keeper.append(rest, self._stamp())
        await self._publisher.goodbye()
        for session in (*self._listeners, self._session):
            await asyncio.to_thread(session.stop)
        self._keeper.close()
        log.info("gateway ended")

    # What sources tell (Sink)

    def reading(self, reading: Reading) -> None:
        """One reading."""
        if reading.device not in self._spoken:
            self._spoken.add(reading.device)
            self._publisher.changed()
        stepped = self._cycle.add(reading)
        if stepped is not None:
            self.event("clock_step", reading.device, {"back_s": stepped / 1000})

    def busy(self, source: str) -> None:
        """A source begins a round."""
        self._cycle.busy(source)

    def idle(self, source: str) -> None:
        """A source has done all that was due."""
        self._cycle.idle(source)
        self._flush.set()

    def event(self, kind: str, device: str, parameters: Mapping[str, str | float | int | bool]) -> None:
        """Something changed."""
        self._publisher.event(kind, device, parameters)

    def identified(self, device: str, setup: Setup) -> None:
        """A polled device said what it is."""
        self._setups[device] = setup
        self._publisher.changed()

    def described(self, device: str) -> None:
        """What is known of a publishing device has changed."""
        self._publisher.changed()

    # Storing

    async def _store_cycles(self) -> None:
        while True:
            self._flush.clear()
            await self._look_at_clock()
            for source in self._sources.values():
                source.look(self._timing.now_ms())
            readings = self._cycle.take(self._timing.now_ms())
            if readings:
                span = await self._keeper.append(readings, self._stamp())
                self._stores += 1
                self._publisher.stored(span)
            for line in self._keeper.news():
                self.event("outbox", "", {"text": line})
            try:
                await asyncio.wait_for(self._flush.wait(), 0.1 if self._accelerated else WAIT_MAX_S)
            except TimeoutError:
                continue

    def _stamp(self) -> Stamp:
        now_ms = self._timing.now_ms()
        state: ClockState = "synced" if self._accelerated else clock_state(now_ms, self._settings.model.clock)
        return Stamp(wall_ms=now_ms, mono_ns=time.monotonic_ns(), boot=self._boot, clock=state)

    async def _look_at_clock(self) -> None:
        """Notices steps of the wall clock, and lets held readings go when it becomes right."""
        stamp = self._stamp()
        mono_ms = stamp.mono_ns // 1_000_000
        if self._stamped != (0, 0) and not self._accelerated:
            step = (stamp.wall_ms - self._stamped[0]) - (mono_ms - self._stamped[1])
            if abs(step) > 1_000:
                log.warning("clock stepped seconds=%.3f", step / 1000)
                self.event("clock_step", "", {"seconds": step / 1000})
        self._stamped = (stamp.wall_ms, mono_ms)
        if stamp.clock == "synced" and self._clock_was != "synced":
            rows = await self._keeper.right_clock(stamp)
            if rows:
                log.info("clock right, readings released rows=%s", rows)
        elif stamp.clock == "unsynced" and time.monotonic() - self._began > UNSYNCED_MAX_S:
            await self._keeper.give_up_clock(stamp)
        self._clock_was = stamp.clock

    # Telling

    def _channels(self) -> dict[str, frozenset[str]]:
        """The channels that each polled device has given a value for."""
        return {
            name: frozenset(d.removeprefix(f"{name}-") for d in self._spoken if d.startswith(f"{name}-"))
            for name in self._settings.models
        }

    def _describe(self) -> Birth:
        return birth(
            self._settings.model,
            self._settings.models,
            self._setups,
            self._channels() | {name: source.channels for name, source in self._sources.items()},
            {name: source.texts for name, source in self._sources.items()},
            now_ms=self._timing.now_ms(),
            boot=self._boot,
            epoch=self._keeper.epoch,
            software=software(),
            config_hash=self._settings.config_hash,
        )

    async def _measure(self) -> Health:
        stats = await self._keeper.stats()
        now_ms = self._timing.now_ms()
        age = (now_ms - stats.oldest_ms) / 1000 if stats.oldest_ms is not None else 0.0
        clock = self._stamp().clock
        return Health(
            at=to_text(now_ms),
            boot=self._boot,
            outbox_rows=stats.rows,
            outbox_age_s=max(age, 0.0),
            outbox_bytes=stats.bytes,
            evicted=stats.evicted,
            clock="unknown" if clock == "unsynced" else clock,
            cpu_temperature_c=cpu_temperature_c(),
            disk_free=disk_free(self._data),
            mqtt_reconnects=max(self._session.connects - 1, 0),
            version=software(),
            config_hash=self._settings.config_hash,
            devices={d.device: _device_health(d.poller, now_ms) for bus in self._buses for d in bus.devices}
            | {name: _source_health(source, now_ms) for name, source in self._sources.items()},
            counters=dict(self._publisher.counters),
        )

    # The session's threads

    def _on_message(self, message: Message) -> None:
        self._loop.call_soon_threadsafe(self._take_in, message)

    def _take_in(self, message: Message) -> None:
        if not self._inbox.full():  # what is left out is sent again
            self._inbox.put_nowait(message)

    async def _answer(self) -> None:
        """Takes acknowledgements and commands one after another, in the order they came."""
        while True:
            await self._publisher.arrived(await self._inbox.get())

    def _on_connected(self, facts: Connected) -> None:
        self._loop.call_soon_threadsafe(self._publisher.connected, facts)

    def _on_lost(self, reason: str) -> None:
        self._loop.call_soon_threadsafe(self._publisher.lost, reason)

    # Watching

    async def _watch(self) -> None:
        """Feeds the watchdog while every part makes progress."""
        interval = self._notifier.interval_s or STALL_S / 4
        while True:
            stalled = self._stalled(time.monotonic())
            if stalled:
                log.error("no progress part=%s", ", ".join(stalled))
            else:
                self._notifier.tell("WATCHDOG=1")
            await asyncio.sleep(min(interval, STALL_S / 4))

    def _stalled(self, now: float) -> list[str]:
        counts = {bus.name: bus.rounds for bus in self._buses} | {"publisher": self._publisher.steps}
        for name, count in counts.items():
            if self._progress.get(name, (-1, now))[0] != count:
                self._progress[name] = (count, now)
        stalled = [name for name, (_, since) in self._progress.items() if now - since > STALL_S]
        return stalled if self._session.alive else [*stalled, "broker session"]


def _device_health(poller: Poller, now_ms: int) -> DeviceHealth:
    polls, failed = poller.counted()
    return DeviceHealth(
        up=not poller.silent and poller.last_ms is not None,
        polls=polls,
        polls_failed=failed,
        latency_s=poller.latency_s,
        age_s=(now_ms - poller.last_ms) / 1000 if poller.last_ms is not None else None,
        reason=poller.reason,
    )


def _source_health(source: JsonSource, now_ms: int) -> DeviceHealth:
    found = DeviceHealth(
        up=not source.silent and source.last_ms is not None,
        polls=source.messages,
        polls_failed=source.refused,
        age_s=(now_ms - source.last_ms) / 1000 if source.last_ms is not None else None,
        reason=source.reason,
    )
    source.messages = source.refused = 0
    return found


def software() -> str:
    """Version of the program."""
    try:
        return version("merilo")
    except PackageNotFoundError:
        return "0"


def run(settings: Settings, data: Path) -> None:
    """Runs the gateway until SIGTERM or SIGINT.

    Raises:
        Exception: A part failed by an error of ours; the service manager starts the process anew.
    """

    async def main() -> None:
        await Gateway(settings, data, os.environ).run()

    asyncio.run(main())
