"""Deliberately weak builds: each breaks one promise, and the kill test must find it out.

A build is a function that changes the imported code of one program before it runs; nothing here is ever used but by
the fault suite's controls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from merilo import topics, wire
from merilo.errors import PayloadError
from merilo_adapters.mqtt import LOST, REFUSED
from merilo_adapters.registry.work import WorkBatch
from merilo_collector.ingest import Outcome
from merilo_collector.intake import Delivery
from merilo_collector.run_ingest import IngestLoop
from merilo_gateway.publisher import Publisher

LEFT_S = 0.1
"""Until an acknowledgement has left the process: the kill that follows comes too late for it."""


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
        time.sleep(LEFT_S if acks else 0.0)
        self._ingest.acknowledged(Outcome(acks, [], {}))
        right(self, batch)

    IngestLoop._take = take  # type: ignore[method-assign]


def no_work_table() -> None:
    """Ingest acknowledges after the raw write alone; what the books should do is noted afterwards, if at all."""

    def take(self: Any, batch: Sequence[Delivery]) -> None:
        work = self._ingest._work
        commit = work.commit
        notes: list[WorkBatch] = []
        work.commit = notes.append
        try:
            outcome = self._ingest.handle(batch, self._clock.now_ms())
        finally:
            work.commit = commit
        for topic, payload in outcome.acks:
            self._intake.publish(topic, payload)
        self._intake.release([delivery.receipt for delivery in outcome.done])
        time.sleep(LEFT_S if outcome.acks else 0.0)
        self._ingest.acknowledged(outcome)
        for found in notes:
            commit(found)

    IngestLoop._take = take  # type: ignore[method-assign]


BUILDS: dict[str, Callable[[], None]] = {
    "freed_on_puback": freed_on_puback,
    "acknowledged_before_commit": acknowledged_before_commit,
    "no_work_table": no_work_table,
}
