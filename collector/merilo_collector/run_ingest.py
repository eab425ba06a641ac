"""The ingest process: the only place of it that reads the clock and waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from merilo import topics, wire
from merilo.ids import GatewayKey
from merilo.reading import Reading
from merilo_adapters.clock import Clock
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.registry import Registry
from merilo_adapters.registry.work import Work
from merilo_collector.ingest import Ingest, Steps
from merilo_collector.intake import Delivery, Intake
from merilo_collector.minutes import Minutes
from merilo_collector.reconcile import Reconciler

log = logging.getLogger(__name__)

HOLD_MAX_S = 30.0
"""A store that is away holds its company's messages this long; then the broker's window is worth more to the others."""
PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 30.0
WAIT_S = 0.25
"""Longest sleep of the loop: the minute tasks are at most this late."""


@dataclass(slots=True)
class Held:
    """Deliveries of companies whose store is away."""

    deliveries: list[Delivery] = field(default_factory=list)
    since: float = 0.0
    next_try: float = 0.0
    pause_s: float = PAUSE_MIN_S
    reason: str = ""


class IngestLoop:
    """Takes batches until told to stop; once a minute writes the live lane and the life signs."""

    def __init__(
        self,
        intake: Intake,
        registry: Registry,
        work: Work,
        stores: CompanyStores,
        clock: Clock,
        steps: Steps | None = None,
    ) -> None:
        self._intake = intake
        self._registry = registry
        self._work = work
        self._stores = stores
        self._clock = clock
        self._held = Held()
        self._reconciler = Reconciler(registry, work, stores, intake.publish)
        self._minutes = Minutes(registry, work, stores, self._reconciler, clock.now_ms())
        self._ingest = Ingest(
            registry,
            work,
            stores.of,
            on_readings=self._on_readings,
            on_message=self._on_message,
            steps=steps,
        )
        self.given_back = 0
        """Deliveries released without a commit because a store stayed away; their gateways send them again."""

    def run(self, stop: threading.Event) -> None:
        """Works until stopped; what is not committed then stays with the gateways."""
        while not stop.is_set():
            self.once()

    def once(self, wait_s: float = WAIT_S) -> int:
        """One batch and what is due; gives the number of deliveries handled."""
        batch = self._intake.batch(0.0 if self._reconciler.busy or self._minutes.busy else wait_s)
        batch = self._retry() + batch
        if batch:
            self._take(batch)
        self._minutes.turn(self._clock.now_ms())
        self._reconciler.step()
        return len(batch)

    def _take(self, batch: Sequence[Delivery]) -> None:
        now_ms = self._clock.now_ms()
        outcome = self._ingest.handle(batch, now_ms)
        for topic, payload in outcome.acks:
            self._intake.publish(topic, payload)
        self._ingest.acknowledged(outcome)
        self._intake.release([delivery.receipt for delivery in outcome.done])
        done = {id(delivery) for delivery in outcome.done}
        self._hold([delivery for delivery in batch if id(delivery) not in done], outcome.failed)

    def _hold(self, left: list[Delivery], failed: dict[str, str]) -> None:
        held, now = self._held, time.monotonic()
        if not left:
            if held.reason and not held.deliveries:
                log.info("store is back after_s=%.0f", now - held.since)
                self._held = Held()
            return
        if not held.reason:
            held.since = now
            log.warning("store away companies=%s reason=%s", sorted(failed), next(iter(failed.values())))
        held.reason = next(iter(failed.values()), "unknown")
        held.deliveries.extend(left)
        held.next_try = now + held.pause_s
        held.pause_s = min(held.pause_s * 2, PAUSE_MAX_S)
        if now - held.since > HOLD_MAX_S:
            self.given_back += len(held.deliveries)
            self._intake.release([delivery.receipt for delivery in held.deliveries])
            held.deliveries.clear()

    def _retry(self) -> list[Delivery]:
        held = self._held
        if not held.deliveries or time.monotonic() < held.next_try:
            return []
        found, held.deliveries = held.deliveries, []
        return found

    def _on_readings(self, gateway: GatewayKey, readings: Sequence[Reading]) -> None:
        self._minutes.read(gateway, readings, self._clock.now_ms())

    def _on_message(self, topic: topics.Topic, payload: bytes, now_ms: int) -> None:
        gateway = topic.gateway
        if topic.channel == "state":
            self._minutes.health.state(gateway, wire.from_payload(payload, wire.State), now_ms)
        elif topic.channel == "health":
            self._minutes.health.health(gateway, wire.from_payload(payload, wire.Health), now_ms)
        elif topic.channel == "birth":
            self._registry.apply_birth(gateway, wire.from_payload(payload, wire.Birth), now_ms)
        elif topic.channel == "event":
            event = wire.from_payload(payload, wire.GatewayEvent)
            self._registry.add_gateway_event(gateway, event, now_ms)
