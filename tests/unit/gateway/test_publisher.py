"""The publisher with a session of paper: order, freeing, refusals, commands, events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from random import Random
from typing import Any

from merilo import topics, wire
from merilo.errors import BrokerError
from merilo.ids import GatewayKey
from merilo.instants import to_text
from merilo.reading import Reading
from merilo_adapters.mqtt import LOST, Connected, Message
from merilo_adapters.outbox import Outbox
from merilo_gateway.flow import Flow
from merilo_gateway.keeping import Keeper, Stamp
from merilo_gateway.publisher import Publisher

KEY = GatewayKey("acme", "hq", "gw1")
START = 1_796_083_200_000


class Time:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return START + int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    async def until(self, at_ms: int) -> None:
        raise AssertionError("the publisher waits for nobody's instant")

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class PaperSession:
    """Notes what is published; answers with a reason code, or not at all."""

    def __init__(self) -> None:
        self.connected = True
        self.code: int | None = 0
        self.sent: list[tuple[str, bytes, bool]] = []
        self.dropped: list[str] = []

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> Future[int]:
        if not self.connected:
            raise BrokerError("away")
        assert qos == 1
        self.sent.append((topics.parse(topic).channel, payload, retain))
        future: Future[int] = Future()
        if self.code is not None:
            future.set_result(self.code)
        return future

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)

    def of(self, channel: str) -> list[bytes]:
        return [payload for name, payload, _ in self.sent if name == channel]

    def numbers(self) -> list[tuple[int, int]]:
        found = [wire.readings_from(p) for p in self.of("readings")]
        return [(r.first, r.last) for r in found]


class Rig:
    def __init__(self) -> None:
        self.time = Time()
        self.session = PaperSession()
        self.keeper = Keeper(lambda: Outbox(":memory:"))
        self.publisher = Publisher(
            KEY, self.session, self.keeper, Flow(0.0, Random(1)), self.time,
            boot="b1", compress=False, describe=self.birth, measure=self.health,
        )  # fmt: skip

    def birth(self) -> wire.Birth:
        return wire.Birth(at=to_text(START), boot="b1", epoch=self.keeper.epoch, software="1", config_hash="c")

    async def health(self) -> wire.Health:
        stats = await self.keeper.stats()
        return wire.Health(at=to_text(START), boot="b1", outbox_rows=stats.rows, outbox_age_s=0.0)

    async def store(self, cycles: int, *, live: bool = True) -> None:
        for _ in range(cycles):
            stamp = Stamp(wall_ms=self.time.now_ms(), mono_ns=0, boot="b1", clock="synced")
            reading = Reading(device="main", at_ms=self.time.now_ms(), values={"active_power_w": 1.0})
            span = await self.keeper.append([reading], stamp)
            if live:
                self.publisher.stored(span)
            self.time.seconds += 0.01

    async def step(self) -> None:
        await self.publisher.step()
        for _ in range(3):
            await asyncio.sleep(0)

    async def tell(self, channel: topics.Channel, message: wire.Ack | wire.Resync, verb: str = "") -> None:
        topic = topics.build(KEY, channel, verb)
        await self.publisher.arrived(Message(topic, wire.to_payload(message), 0, False, 0, 1))

    def connect(self) -> None:
        self.publisher.connected(Connected("mqtt://x", 5, False, 1))


def play(scene: Coroutine[Any, Any, None], rig: Rig) -> None:
    async def main() -> None:
        await rig.keeper.open()
        rig.connect()
        await scene

    try:
        asyncio.run(main())
    finally:
        rig.keeper.close()


def test_the_description_goes_before_ready_and_both_are_retained() -> None:
    rig = Rig()

    async def scene() -> None:
        await rig.step()

    play(scene(), rig)

    assert [(name, retain) for name, _, retain in rig.session.sent[:3]] == [
        ("state", True), ("birth", True), ("state", True),
    ]  # fmt: skip
    assert [wire.from_payload(p, wire.State).state for p in rig.session.of("state")] == ["init", "ready"]


def test_the_present_goes_first_then_the_past_oldest_first() -> None:
    rig = Rig()

    async def scene() -> None:
        await rig.store(5, live=False)
        await rig.store(1)
        await rig.step()

    play(scene(), rig)

    assert rig.session.numbers() == [(5, 5), (0, 4)]


def test_what_was_stored_without_a_connection_is_past_and_goes_oldest_first_in_few_messages() -> None:
    rig = Rig()

    async def scene() -> None:
        rig.publisher.lost("test")
        rig.session.connected = False
        await rig.store(50)
        rig.session.connected = True
        rig.connect()
        await rig.store(1)
        await rig.step()

    play(scene(), rig)

    assert rig.session.numbers() == [(50, 50), (0, 49)]


def test_nothing_is_freed_by_the_brokers_answer_and_everything_by_the_collectors() -> None:
    rig = Rig()
    rows: list[int] = []

    async def scene() -> None:
        await rig.store(3)
        await rig.step()
        rows.append((await rig.keeper.stats()).rows)
        await rig.tell("ack", wire.Ack(rig.keeper.epoch, 0, 2))
        rows.append((await rig.keeper.stats()).rows)

    play(scene(), rig)

    assert rows == [3, 0]


def test_what_was_not_acknowledged_goes_again_after_a_while_and_after_a_new_connection() -> None:
    rig = Rig()

    async def scene() -> None:
        await rig.store(1)
        await rig.step()
        await rig.step()
        assert rig.session.numbers() == [(0, 0)]
        rig.time.seconds += 25.1
        await rig.step()
        assert rig.session.numbers() == [(0, 0)] * 2
        rig.publisher.lost("test")
        rig.connect()
        await rig.step()
        assert rig.session.numbers() == [(0, 0)] * 3

    play(scene(), rig)

    assert rig.publisher.counters["resent"] == 1


def test_a_connection_without_acknowledgements_is_dropped_after_30_seconds() -> None:
    rig = Rig()

    async def scene() -> None:
        await rig.store(1)
        await rig.step()
        rig.time.seconds += 30.1
        await rig.step()

    play(scene(), rig)

    assert rig.session.dropped == ["no acknowledgement while readings wait"]


def test_a_refusal_is_told_once_and_the_readings_stay() -> None:
    rig = Rig()
    rows: list[int] = []

    async def scene() -> None:
        await rig.step()
        rig.session.code = 0x87
        await rig.store(2)
        for _ in range(4):
            await rig.step()
            rig.time.seconds += 31
        rows.append((await rig.keeper.stats()).rows)

    play(scene(), rig)

    events = [wire.from_payload(p, wire.GatewayEvent) for p in rig.session.of("event")]
    assert [e.kind for e in events] == ["publish_refused"]
    assert events[0].parameters == {"code": 0x87}
    assert rows == [2]


def test_without_a_connection_nothing_is_published_and_events_wait() -> None:
    rig = Rig()

    async def scene() -> None:
        rig.session.connected = False
        await rig.store(1)
        rig.publisher.event("device_silent", "main", {"reason": "x"})
        await rig.step()
        assert rig.session.sent == []
        rig.session.connected = True
        await rig.step()

    play(scene(), rig)

    assert rig.session.numbers() == [(0, 0)]
    assert [wire.from_payload(p, wire.GatewayEvent).kind for p in rig.session.of("event")] == ["device_silent"]


def test_an_event_whose_connection_was_lost_goes_again() -> None:
    rig = Rig()

    async def scene() -> None:
        rig.session.code = LOST
        rig.publisher.event("clock_step", "", {"seconds": 3.5})
        await rig.step()
        rig.session.code = 0
        await rig.step()

    play(scene(), rig)

    assert len(rig.session.of("event")) == 2


def test_foreign_and_broken_messages_are_counted_and_change_nothing() -> None:
    rig = Rig()

    async def scene() -> None:
        await rig.store(1)
        foreign = topics.build(GatewayKey("acme", "hq", "gw2"), "ack")
        ack = wire.to_payload(wire.Ack(rig.keeper.epoch, 0, 0))
        for topic, payload in (
            (foreign, ack),
            (topics.build(KEY, "ack"), b"{"),
            (topics.build(KEY, "ack"), b""),
            (topics.build(KEY, "cmd", "identify"), b"{}"),
            (topics.build(KEY, "cmd", "resync"), b'{"id":"x","expires":"soon"}'),
            ("a/b", b""),
        ):
            await rig.publisher.arrived(Message(topic, payload, 0, False, 0, 1))
        assert (await rig.keeper.stats()).rows == 1

    play(scene(), rig)

    assert rig.publisher.counters["payloads_bad"] == 6


def test_a_command_is_carried_out_once_answered_and_not_after_it_expired() -> None:
    rig = Rig()

    async def scene() -> None:
        await rig.store(3)
        await rig.step()
        await rig.tell("ack", wire.Ack(rig.keeper.epoch, 0, 2))
        later, before = to_text(START + 60_000), to_text(START - 1)
        command = wire.Resync(id="r1", expires=later, epoch=rig.keeper.epoch, ranges=((1, 1),))
        await rig.tell("cmd", command, "resync")
        await rig.tell("cmd", command, "resync")
        await rig.tell("cmd", wire.Resync(id="r2", expires=before), "resync")
        await rig.step()

    play(scene(), rig)

    assert [json.loads(p) for p in rig.session.of("reply")] == [
        {"v": 1, "id": "r1", "status": "ok", "rows": 1},
        {"v": 1, "id": "r2", "status": "expired"},
    ]
    assert rig.session.numbers()[-1] == (1, 1)


def test_given_up_readings_are_told_as_an_event_that_is_itself_delivered(tmp_path: Path) -> None:
    rig = Rig()
    box = Outbox(tmp_path / "o")
    rig.keeper = Keeper(lambda: box)
    rig.publisher._keeper = rig.keeper

    async def scene() -> None:
        await rig.store(2, live=False)
        box._db.execute("UPDATE cycles SET crc = 0 WHERE id = (SELECT min(id) FROM cycles)")
        await rig.step()
        await asyncio.sleep(0.05)
        await rig.step()
        assert await rig.keeper.gaps() == []

    play(scene(), rig)

    events = [wire.from_payload(p, wire.GatewayEvent) for p in rig.session.of("event")]
    assert [(e.kind, e.parameters) for e in events] == [
        ("rows_dropped", {"epoch": box.epoch, "from": 0, "to": 0, "reason": "damaged"})
    ]


def test_health_goes_out_once_a_minute() -> None:
    rig = Rig()

    async def scene() -> None:
        for _ in range(12):
            await rig.step()
            rig.time.seconds += 10

    play(scene(), rig)

    assert len(rig.session.of("health")) == 2
