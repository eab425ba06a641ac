"""From the outbox to the broker: the present first, then the past; freed only when the collector has it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

from merilo.errors import BrokerError, OutboxError, PayloadError
from merilo.ids import GatewayKey
from merilo.instants import to_ms, to_text
from merilo.topics import build, parse
from merilo.wire import Ack, Birth, GatewayEvent, Health, Resync, State, from_payload, readings_payload, to_payload
from merilo_adapters.mqtt import LOST, REFUSED, UNHEARD, Connected, Message
from merilo_adapters.outbox import Batch, Gap, Span
from merilo_gateway.flow import Flow, Lane, Sent
from merilo_gateway.keeping import Keeper
from merilo_gateway.ports import Timing

log = logging.getLogger(__name__)

EVENTS_MAX = 1_000
"""Events that wait for a connection; the oldest go first."""
COMMANDS_REMEMBERED = 32
"""Commands whose repetition is noticed."""
IDLE_S = 0.5
"""How long the publisher sleeps at most: timeouts are looked at that often."""
HEALTH_S = 60.0
PACKET_BYTES = 256
"""Of a packet around its payload: topic, numbers, properties."""
TRIM_S = 600.0


class Session(Protocol):
    """What the publisher needs of the broker session."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        ...

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> Future[int]:
        """Sends one message; raises BrokerError without a connection."""
        ...

    def drop(self, reason: str) -> None:
        """Ends the connection; a new one is made."""
        ...


class Publisher:
    """Publishes for one gateway. All methods run on the event loop.

    Args:
        gateway: Whose topics.
        session: The connection.
        keeper: The outbox.
        flow: Decides what may leave.
        timing: Clock and waiting.
        boot: Names the boot of the machine.
        compress: zlib, for metered links.
        describe: Makes the birth message.
        measure: Makes the health message.
    """

    def __init__(
        self,
        gateway: GatewayKey,
        session: Session,
        keeper: Keeper,
        flow: Flow,
        timing: Timing,
        *,
        boot: str,
        compress: bool,
        describe: Callable[[], Birth],
        measure: Callable[[], Awaitable[Health]],
    ) -> None:
        self._gateway = gateway
        self._session = session
        self._keeper = keeper
        self._flow = flow
        self._timing = timing
        self._boot = boot
        self._compress = compress
        self._describe = describe
        self._measure = measure
        self._wake = asyncio.Event()
        self._fresh: Span | None = None
        self._events: deque[tuple[GatewayEvent, Gap | None]] = deque(maxlen=EVENTS_MAX)
        self._commands: deque[str] = deque(maxlen=COMMANDS_REMEMBERED)
        self._online = False
        self._introduced = False
        self._birth_due = False
        self._refusing = False
        self._health_at = 0.0
        self._trim_at = 0.0
        self._waiting: set[asyncio.Task[None]] = set()
        self._gaps_told: set[tuple[int, int]] = set()
        self.counters: dict[str, int] = dict.fromkeys(
            ("acks", "acks_unknown", "rejected", "resent", "publishes_refused", "payloads_bad", "resyncs", "stuck"), 0
        )
        self.steps = 0
        """Turns of the loop: the sign that the publisher is alive."""

    # What others tell

    def stored(self, span: Span) -> None:
        """A cycle is in the outbox. Without a connection, or behind others that cannot leave, it is backlog."""
        if not self._online:
            return
        if self._fresh is None or self._fresh.epoch != span.epoch or not self._flow.room("live", self._now()):
            self._fresh = span
        else:
            self._fresh = Span(span.epoch, self._fresh.first, span.last)
        self._wake.set()

    def _now(self) -> float:
        return self._timing.monotonic()

    def event(self, kind: str, device: str, parameters: Mapping[str, str | float | int | bool]) -> None:
        """Something happened; it is told as soon as there is a connection."""
        found = GatewayEvent(at=to_text(self._timing.now_ms()), kind=kind, device=device, parameters=dict(parameters))
        self._events.append((found, None))
        self._wake.set()

    def changed(self) -> None:
        """A device said what it is: the description is published anew."""
        self._birth_due = True
        self._wake.set()

    def connected(self, facts: Connected) -> None:
        """There is a new connection."""
        limit = None if facts.maximum_bytes is None else facts.maximum_bytes - PACKET_BYTES
        self._flow.connected(self._now(), limit)
        self._online = True
        self._introduced = False
        self._wake.set()

    def lost(self, _reason: str) -> None:
        """The connection is gone."""
        self._flow.lost()
        self._online = False
        self._fresh = None

    async def arrived(self, message: Message) -> None:
        """Takes an acknowledgement or a command."""
        try:
            topic = parse(message.topic)
            if topic.gateway != self._gateway:
                raise PayloadError("topic", f"expected {self._gateway}, found {topic.gateway}")
            if topic.channel == "ack":
                await self._acknowledged(from_payload(message.payload, Ack))
            elif topic.channel == "cmd" and topic.verb == "resync":
                await self._resync(from_payload(message.payload, Resync))
            else:
                raise PayloadError("topic", f"expected ack or cmd/resync, found {message.topic[:200]!r}")
        except (PayloadError, OutboxError) as error:
            self.counters["payloads_bad"] += 1
            log.warning("message not taken topic=%s reason=%s", message.topic[:200], error)

    # The loop

    async def run(self) -> None:
        """Publishes for ever."""
        while True:
            await self.step()
            try:
                await asyncio.wait_for(self._wake.wait(), IDLE_S)
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def step(self) -> None:
        """Does what can be done now."""
        self.steps += 1
        now = self._now()
        if now >= self._trim_at:
            self._trim_at = now + TRIM_S
            await self._keeper.trim(self._timing.now_ms())
        if not self._online or not self._session.connected:
            return
        try:
            if not self._introduced:
                self._introduce()
            if self._birth_due:
                self._birth_due = False
                self._send("birth", to_payload(self._describe()), retain=True)
            await self._readings(now)
            await self._gaps()
            self._tell_events()
            if now >= self._health_at:
                self._health_at = now + HEALTH_S
                self._send("health", to_payload(await self._measure()))
        except BrokerError as error:
            log.debug("not published reason=%s", error)

    async def goodbye(self) -> None:
        """Publishes that the gateway ends on purpose."""
        if not self._session.connected:
            return
        try:
            future = self._session.publish(
                build(self._gateway, "state"), to_payload(self.state("disconnected")), retain=True
            )
            await asyncio.wait_for(asyncio.wrap_future(future), 2.0)
        except (TimeoutError, BrokerError) as error:
            log.debug("goodbye not heard reason=%s", error)

    def state(self, state: str) -> State:
        """The life sign."""
        return State(state=state, at=to_text(self._timing.now_ms()), boot=self._boot)  # type: ignore[arg-type]

    def _introduce(self) -> None:
        """Description first, then ``ready``: who sees ready can rely on the description."""
        topic = build(self._gateway, "state")
        self._session.publish(topic, to_payload(self.state("init")), retain=True)
        self._session.publish(build(self._gateway, "birth"), to_payload(self._describe()), retain=True)
        self._session.publish(topic, to_payload(self.state("ready")), retain=True)
        self._birth_due = False
        self._introduced = True

    def _send(self, channel: str, payload: bytes, *, retain: bool = False) -> Future[int]:
        return self._session.publish(build(self._gateway, channel), payload, retain=retain)  # type: ignore[arg-type]

    # Readings

    async def _readings(self, now: float) -> None:
        self.counters["resent"] += self._flow.expire(now)
        if self._flow.stuck(now):
            self.counters["stuck"] += 1
            self._session.drop("no acknowledgement while readings wait")
            return
        while self._fresh is not None and self._flow.room("live", now):
            batch = await self._keeper.waiting(self._flow.limit_bytes, newest_first=True, skip=self._flow.under_way)
            fresh = self._fresh
            if batch is None or fresh is None or batch.epoch != fresh.epoch or batch.first < fresh.first:
                self._fresh = None
                break
            self._publish(batch, "live", now)
        while self._flow.room("backlog", now):
            batch = await self._keeper.waiting(self._flow.limit_bytes, skip=self._flow.under_way)
            if batch is None:
                break
            self._publish(batch, "backlog", now)

    def _publish(self, batch: Batch, lane: Lane, now: float) -> None:
        payload = readings_payload(batch.epoch, batch.first, batch.readings, clock=batch.clock, compress=self._compress)
        future = self._send("readings", payload)
        sent = self._flow.sent(batch.span, lane, now)
        self._follow(self._result(future, sent))

    async def _result(self, future: Future[int], sent: Sent) -> None:
        code = await asyncio.wrap_future(future)
        if code == LOST:
            return
        if code < REFUSED:
            self._refusing = False
            if code == UNHEARD:
                self._flow.unheard(sent, self._now())
            else:
                self._flow.taken(sent)
            return
        self._flow.refused(sent, self._now())
        self.counters["publishes_refused"] += 1
        if not self._refusing:
            self._refusing = True
            log.error("publish refused topic=%s code=%#04x", build(self._gateway, "readings"), code)
            self.event("publish_refused", "", {"code": code})

    def _follow(self, work: Awaitable[None]) -> None:
        async def watched() -> None:
            await work

        task = asyncio.get_running_loop().create_task(watched())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _acknowledged(self, ack: Ack) -> None:
        span = Span(ack.epoch, ack.first, ack.last)
        self._flow.acknowledged(span, self._now())
        freed = await self._keeper.free(span, self._timing.now_ms())
        self.counters["acks"] += 1
        self.counters["acks_unknown"] += not freed
        if ack.rejected:
            self.counters["rejected"] += len(ack.rejected)
            log.warning("readings rejected count=%s reason=%s", len(ack.rejected), ack.rejected[0].reason)
        self._wake.set()

    async def _resync(self, command: Resync) -> None:
        if command.id in self._commands:
            return
        self._commands.append(command.id)
        try:
            expires_ms = to_ms(datetime.fromisoformat(command.expires))
            since_ms = to_ms(datetime.fromisoformat(command.since)) if command.since else None
        except (ValueError, TypeError) as error:
            raise PayloadError("schema", f"resync: expected instants with offset, {error}") from error
        answer: dict[str, object] = {"v": 1, "id": command.id}
        if expires_ms < self._timing.now_ms():
            answer |= {"status": "expired"}
        else:
            rows = await self._keeper.resync(command.epoch, command.ranges, since_ms)
            self.counters["resyncs"] += 1
            log.info("resync rows=%s", rows)
            answer |= {"status": "ok", "rows": rows}
        self._wake.set()
        try:
            self._session.publish(build(self._gateway, "reply", "resync"), json.dumps(answer).encode())
        except BrokerError as error:
            log.debug("reply not sent reason=%s", error)

    # Events

    async def _gaps(self) -> None:
        for gap in await self._keeper.gaps():
            if (gap.number, gap.last) in self._gaps_told:
                continue
            self._gaps_told.add((gap.number, gap.last))
            parameters = {"epoch": gap.epoch, "from": gap.first, "to": gap.last, "reason": gap.reason}
            found = GatewayEvent(at=to_text(self._timing.now_ms()), kind="rows_dropped", parameters=parameters)  # type: ignore[arg-type]
            self._events.append((found, gap))

    def _tell_events(self) -> None:
        while self._events:
            event, gap = self._events.popleft()
            try:
                future = self._send("event", to_payload(event))
            except BrokerError:
                self._events.appendleft((event, gap))
                raise
            self._follow(self._told(future, event, gap))

    async def _told(self, future: Future[int], event: GatewayEvent, gap: Gap | None) -> None:
        code = await asyncio.wrap_future(future)
        if code == LOST:
            self._events.append((event, gap))
        elif gap is not None and code < REFUSED:
            await self._keeper.gap_delivered(gap)
            self._gaps_told.discard((gap.number, gap.last))
