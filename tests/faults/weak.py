"""Deliberately weak builds: each breaks one promise, and the kill test must find it out.

A build is a function that changes the imported code of one program before it runs; nothing here is ever used but by
the fault suite's controls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from merilo import topics, wire
from merilo.errors import PayloadError
from merilo_adapters.mqtt import LOST, REFUSED
from merilo_adapters.registry.work import WorkBatch
from merilo_collector.ingest import Ingest, Outcome
from merilo_collector.intake import Delivery
from merilo_collector.run_ingest import IngestLoop
from merilo_gateway.publisher import Publisher


def freed_on_puback() -> None:
    """The gateway frees its outbox as soon as the broker has a message."""

    async def result(self: Any, future: Any, sent: Any) -> None:
        code = await asyncio.wrap_future(future)
        if code != LOST and code < REFUSED:
            await self._keeper.free(sent.span, self._timing.now_ms())
            self._flow.acknowledged(sent.span, self._timing.monotonic())
            self._wake.set()

    Publisher._result = result  # type: ignore[method-assign]


def acknowledged_before_commit() -> None:
    """Ingest acknowledges and releases what has arrived, and only then writes it."""
    right = IngestLoop._take

    def take(self: Any, batch: Sequence[Delivery]) -> None:
        acks = []
        for delivery in batch:
            try:
                topic = topics.parse(delivery.topic)
                if topic.channel == "readings":
                    found = wire.readings_from(delivery.payload)
                    ack = wire.Ack(epoch=found.epoch, first=found.first, last=found.last)
                    acks.append((topics.build(topic.gateway, "ack"), wire.to_payload(ack)))
            except PayloadError:
                continue
        for name, payload in acks:
            self._intake.publish(name, payload)
        self._intake.release([delivery.receipt for delivery in batch])
        self._ingest.acknowledged(Outcome(acks, [], {}))
        right(self, batch)

    IngestLoop._take = take  # type: ignore[method-assign]


def no_work_table() -> None:
    """Ingest acknowledges after the raw write alone; what the books should do is noted afterwards, if at all."""
    right = IngestLoop._take
    waiting: list[tuple[Any, WorkBatch]] = []
    handle = Ingest.handle

    def handled(self: Any, batch: Sequence[Delivery], now_ms: int) -> Outcome:
        work, commit = self._work, self._work.commit
        work.commit = lambda found: waiting.append((commit, found))
        try:
            return handle(self, batch, now_ms)
        finally:
            work.commit = commit

    def take(self: Any, batch: Sequence[Delivery]) -> None:
        right(self, batch)
        while waiting:
            commit, found = waiting.pop(0)
            commit(found)

    Ingest.handle = handled  # type: ignore[method-assign]
    IngestLoop._take = take  # type: ignore[method-assign]


BUILDS: dict[str, Callable[[], None]] = {
    "freed_on_puback": freed_on_puback,
    "acknowledged_before_commit": acknowledged_before_commit,
    "no_work_table": no_work_table,
}
