"""Takes batches of messages: raw write, then work table, then acknowledgement. In this order, always.

A crash between any two of these steps ends in a resend by the gateway, and a resend changes nothing: a raw point's
identity is (company, site, gateway, device, instant), all from the topic and the payload's device id.
"""

from __future__ import annotations

import gc
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from merilo import topics, wire
from merilo.errors import PayloadError, StoreError
from merilo.ids import DeviceKey, GatewayKey, RegisterKey
from merilo.instants import DAY_MS, SECOND_MS, floor_ms, to_text
from merilo.ports import Point, Rejected, SeriesStore
from merilo.reading import Reading
from merilo_adapters.registry import ALL, Registry
from merilo_adapters.registry.work import DeadLetter, Work, WorkBatch
from merilo_collector.checksum import MASK, row_hash
from merilo_collector.days import local_day
from merilo_collector.intake import Delivery
from merilo_collector.old_days import WRITTEN, old_before_ms, scope_of
from merilo_collector.ranges import Ranges

log = logging.getLogger(__name__)

FUTURE_MAX_MS = 300 * SECOND_MS
"""Clocks of gateways may be this far ahead; what is newer would overwrite the future."""
LATE_MIN_MS = DAY_MS
LATE_MARGIN_MS = 30 * DAY_MS
"""Readings are taken until 30 days before the raw retention ends: the ledger can always walk again from there."""
LATE_AFTER_MS = 60 * SECOND_MS
"""A reading older than this on arrival counts as late in the day's quality."""
DEVICES_PER_GATEWAY_MAX = 200
"""New devices one gateway may bring: a bound on what a broken payload can create."""
TAIL_MAX = 20_000
"""Newest readings that are remembered by instant, to notice two different ones for one instant."""
DEAD_PAYLOAD_MAX = 65_536
"""Bytes of a message kept with a dead letter."""
WRITERS = 4
"""Companies whose points are written at the same time; more than that a small server's disk does not serve."""


@dataclass(slots=True)
class Taken:
    """One message of readings on its way into the store."""

    delivery: Delivery
    gateway: GatewayKey
    epoch: str
    first: int
    last: int
    readings: list[tuple[int, Reading]]
    """Numbers and readings that go to the store; what is refused on the way moves to ``rejected``."""
    rejected: list[wire.Rejection] = field(default_factory=list)

    def ack(self) -> tuple[str, bytes]:
        """Topic and payload that free exactly this message's numbers at its gateway."""
        ack = wire.Ack(epoch=self.epoch, first=self.first, last=self.last, rejected=tuple(self.rejected))
        return topics.build(self.gateway, "ack"), wire.to_payload(ack)


@dataclass(slots=True)
class Share:
    """What one company gets of a batch."""

    company: str
    messages: list[Taken]
    points: list[Point] = field(default_factory=list)
    owner: list[tuple[Taken, int]] = field(default_factory=list)
    """Message and number of each point."""
    refused: list[tuple[Taken, int, str, str]] = field(default_factory=list)
    """Message, number, reason and detail of what the receiver does not take."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to tell gateways and broker after one batch."""

    acks: list[tuple[str, bytes]]
    """Topic and payload."""
    done: list[Delivery]
    """May be released to the broker."""
    failed: dict[str, str]
    """Company and reason: its messages are neither committed nor acknowledged, its gateways will send them again."""


class Steps:
    """Called between the steps of a batch that brought readings; the fault suite kills the process there."""

    def reached(self, step: str) -> None:
        """One of raw_written, work_committed, acknowledged."""


class Tail:
    """The newest readings by device and instant."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._hashes: dict[tuple[DeviceKey, int], int] = {}

    def put(self, key: tuple[DeviceKey, int], value: int) -> int | None:
        """Remembers a reading's hash; gives what was remembered for that instant before."""
        before = self._hashes.get(key)
        self._hashes[key] = value
        if len(self._hashes) > self._most:
            del self._hashes[next(iter(self._hashes))]
        return before


class Ingest:
    """Everything between a batch of deliveries and its acknowledgements; no sockets but the store's, no clock."""

    def __init__(
        self,
        registry: Registry,
        work: Work,
        store_of: Callable[[str], SeriesStore],
        *,
        on_readings: Callable[[GatewayKey, Sequence[Reading]], None] = lambda gateway, readings: None,
        on_message: Callable[[topics.Topic, bytes, int], None] = lambda topic, payload, now_ms: None,
        steps: Steps | None = None,
    ) -> None:
        self._registry = registry
        self._work = work
        self._store_of = store_of
        self._on_readings = on_readings
        self._on_message = on_message
        self._steps = steps or Steps()
        self._version = -1
        self._gateways: set[GatewayKey] = set()
        self._late_max_ms: dict[str, int | None] = {}
        self._devices: set[DeviceKey] = set()
        self._zones: dict[tuple[str, str], str] = {}
        self._received: dict[tuple[GatewayKey, str], Ranges] = {}
        self._tail = Tail(TAIL_MAX)
        self._conflicts: list[tuple[DeviceKey, int]] = []
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self._names: dict[tuple[GatewayKey, str], tuple[DeviceKey, RegisterKey, str]] = {}

    def handle(self, batch: Sequence[Delivery], now_ms: int) -> Outcome:
        """Takes one batch. Afterwards everything in ``acks`` is durable in store and work table."""
        with _uncollected():
            return self._handle(batch, now_ms)

    def _handle(self, batch: Sequence[Delivery], now_ms: int) -> Outcome:
        self._refresh()
        work = WorkBatch()
        taken: dict[str, list[Taken]] = defaultdict(list)
        done: list[Delivery] = []
        for delivery in batch:
            try:
                self._sort(delivery, now_ms, taken, done, work)
            except PayloadError as error:
                work.dead.append(_dead(delivery, error.reason, error.detail, now_ms))
                done.append(delivery)
            except Exception as error:  # one message must never stop the others: it becomes a dead letter
                log.exception("message not handled topic=%s", delivery.topic)
                work.dead.append(_dead(delivery, "internal", repr(error)[:500], now_ms))
                done.append(delivery)
        failed: dict[str, str] = {}
        written: list[Taken] = []
        shares = [self._share(company, messages, now_ms) for company, messages in taken.items()]
        for share, found in zip(shares, self._write(shares), strict=True):
            if isinstance(found, StoreError):
                failed[share.company] = str(found)
                continue
            self._settle(share, found, work, now_ms)
            written.extend(share.messages)
        if written:
            self._steps.reached("raw_written")
        for message in written:
            self._note(message, work, now_ms)
        self._work.commit(work)
        if written:
            self._steps.reached("work_committed")
        while self._conflicts:
            key, at_ms = self._conflicts.pop()
            self._registry.add_event("quality", key, at_ms, {"device": key.device}, code="conflict")
        for message in written:
            done.append(message.delivery)
            self._on_readings(message.gateway, [reading for _, reading in message.readings])
        return Outcome([message.ack() for message in written], done, failed)

    def acknowledged(self, outcome: Outcome) -> None:
        """Called when the acknowledgements of a batch have left."""
        if outcome.acks:
            self._steps.reached("acknowledged")

    def _refresh(self) -> None:
        version = self._registry.version()
        if version == self._version:
            return
        self._gateways = {g.key for g in self._registry.gateways() if g.revoked_ms is None}
        companies = self._registry.companies()
        self._late_max_ms = {
            c.id: None if c.raw_days is None else max(LATE_MIN_MS, c.raw_days * DAY_MS - LATE_MARGIN_MS)
            for c in companies
        }
        self._devices = {d.key for c in companies for d in self._registry.devices(c.id)}
        self._zones = {(s.company, s.id): s.zone for s in self._registry.sites()}
        self._names.clear()
        self._version = version

    def _sort(
        self,
        delivery: Delivery,
        now_ms: int,
        taken: dict[str, list[Taken]],
        done: list[Delivery],
        work: WorkBatch,
    ) -> None:
        topic = topics.parse(delivery.topic)
        if topic.gateway not in self._gateways:
            raise PayloadError("unknown_gateway", f"the registry has no gateway {'/'.join(topic.gateway)}")
        if topic.channel != "readings":
            if delivery.payload:  # an empty payload clears a retained message
                self._on_message(topic, delivery.payload, now_ms)
            done.append(delivery)
            return
        message = wire.readings_from(delivery.payload)
        found = Taken(delivery, topic.gateway, message.epoch, message.first, message.last, message.numbered())
        taken[topic.gateway.company].append(found)
        for number, reason, detail in message.rejected:
            self._reject(found, number, reason, detail, work, now_ms)

    def _seen(self, gateway: GatewayKey, epoch: str) -> Ranges:
        found = self._received.get((gateway, epoch))
        if found is None:
            found = self._received[(gateway, epoch)] = Ranges(self._work.received(gateway, epoch))
        return found

    def _share(self, company: str, messages: list[Taken], now_ms: int) -> Share:
        """Parts what can be taken of a company's messages from what the receiver refuses."""
        share = Share(company, messages)
        late_max_ms = self._late_max_ms.get(company)
        earliest_ms = 0 if late_max_ms is None else now_ms - late_max_ms
        latest_ms = now_ms + FUTURE_MAX_MS
        for taken in messages:
            refused = {key.device for key in self._new_devices(taken, now_ms)}
            good: list[tuple[int, Reading]] = []
            for pair in taken.readings:
                number, reading = pair
                if reading.device in refused:
                    detail = f"{reading.device}: this gateway brings too many new devices"
                    share.refused.append((taken, number, "too_many_devices", detail))
                elif not earliest_ms <= reading.at_ms <= latest_ms:
                    share.refused.append((taken, number, *_untimely(reading, now_ms, late_max_ms)))
                else:
                    good.append(pair)
                    share.points.append(Point((*taken.gateway, reading.device), reading.at_ms, reading.values))
                    share.owner.append((taken, number))
            taken.readings = good
        return share

    def _write(self, shares: Sequence[Share]) -> list[list[Rejected] | StoreError]:
        """Writes each company's points, several companies at once: each waits for a disk most of the time."""
        opened: list[SeriesStore | StoreError] = []
        for share in shares:
            try:
                opened.append(self._store_of(share.company))
            except StoreError as error:
                opened.append(error)
        if len(shares) == 1:
            return [_put(shares[0], opened[0])]
        return list(self._writers.map(_put, shares, opened))

    def _settle(self, share: Share, refused: Sequence[Rejected], work: WorkBatch, now_ms: int) -> None:
        """Rejects what receiver and store refused, now that the rest is stored."""
        for taken, number, reason, detail in share.refused:
            self._reject(taken, number, reason, detail, work, now_ms)
        for position, detail in refused:
            taken, number = share.owner[position]
            self._reject(taken, number, "store_refused", detail, work, now_ms)
            taken.readings = [pair for pair in taken.readings if pair[0] != number]

    def _new_devices(self, taken: Taken, now_ms: int) -> list[DeviceKey]:
        """Enters devices never seen before; gives those that are refused."""
        names = {r.device for _, r in taken.readings}
        new = {DeviceKey(*taken.gateway, name) for name in names} - self._devices
        if not new:
            return []
        refused = self._registry.see_devices(sorted(new), now_ms, DEVICES_PER_GATEWAY_MAX)
        self._devices |= new - set(refused)
        return refused

    def _reject(self, taken: Taken, number: int, reason: str, detail: str, work: WorkBatch, now_ms: int) -> None:
        taken.rejected.append(wire.Rejection(number, reason))
        gateway = taken.gateway
        day = to_text(now_ms)[:10]
        work.count(f"{gateway.company}/{gateway.site}/{gateway.gateway}", f"rejected:{reason}:{day}", 1)
        body = taken.delivery.payload[:DEAD_PAYLOAD_MAX]
        work.dead.append(DeadLetter(now_ms, taken.delivery.topic, reason, detail, body, gateway, number))

    def _note(self, taken: Taken, work: WorkBatch, now_ms: int) -> None:
        """Marks in the work table what was written: which devices, which numbers, how many of each day."""
        work.received.append((taken.gateway, taken.epoch, taken.first, taken.last))
        seen = self._seen(taken.gateway, taken.epoch)
        zone = self._zones[taken.gateway.company, taken.gateway.site]
        late_ms, old_ms = now_ms - LATE_AFTER_MS, old_before_ms(now_ms)
        old_scope = scope_of(WRITTEN, taken.gateway.company, now_ms)
        for number, reading in taken.readings:
            key, whole, prefix = self._named(taken.gateway, reading.device)
            at_ms = reading.at_ms
            work.touch(whole, at_ms, at_ms)
            scope = prefix + local_day(at_ms, zone)
            if at_ms < old_ms:
                work.count(old_scope, str(floor_ms(at_ms, DAY_MS)), 1)
            if number in seen:
                work.count(scope, "duplicate", 1)
                continue
            value = row_hash(at_ms, reading.values)
            before = self._tail.put((key, at_ms), value)
            if before is None:
                work.add_sum(key, floor_ms(at_ms, DAY_MS), 1, value)
            elif before != value:
                # Another value for one instant: the last one written stands in the store, and in the sum.
                work.add_sum(key, floor_ms(at_ms, DAY_MS), 0, (value - before) & MASK)
                work.count(scope, "conflicts", 1)
                self._conflicts.append((key, at_ms))
            work.count(scope, "received", 1)
            if at_ms < late_ms:
                work.count(scope, "late", 1)
        seen.add(taken.first, taken.last)

    def _named(self, gateway: GatewayKey, device: str) -> tuple[DeviceKey, RegisterKey, str]:
        """The device's key, the key of all of its registers, and how the names of its counters begin."""
        found = self._names.get((gateway, device))
        if found is None:
            key = DeviceKey(*gateway, device)
            found = self._names[gateway, device] = (key, RegisterKey(*key, ALL), "/".join(key) + "/")
        return found


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keeps Python from searching for cycles: a batch makes a hundred thousand objects and no cycle among them."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def _put(share: Share, store: SeriesStore | StoreError) -> list[Rejected] | StoreError:
    """Writes one company's points; what goes wrong is given back, so that the other companies' writes stand."""
    if isinstance(store, StoreError):
        return store
    try:
        return store.write(share.company, "readings", share.points)
    except StoreError as error:
        return error


def _untimely(reading: Reading, now_ms: int, late_max_ms: int | None) -> tuple[str, str]:
    """Why a reading whose instant is not taken is not: reason and detail."""
    if reading.at_ms > now_ms + FUTURE_MAX_MS:
        return "future", f"{reading.device}: {to_text(reading.at_ms)} is more than 300 s ahead of {to_text(now_ms)}"
    days = (late_max_ms or 0) // DAY_MS
    return "too_late", f"{reading.device}: {to_text(reading.at_ms)} is older than {days} days"


def _dead(delivery: Delivery, reason: str, detail: str, now_ms: int) -> DeadLetter:
    return DeadLetter(
        now_ms, delivery.topic[:500], reason, detail[:500], delivery.payload[:DEAD_PAYLOAD_MAX], None, None
    )
