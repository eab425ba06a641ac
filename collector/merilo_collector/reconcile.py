"""Does the store still have what was written? Checked after every restart of a store, and once a day.

Raw readings: count and checksum of each device and day against what ingest noted; what is missing is asked for again
from its gateway, which keeps acknowledged readings for a grace window. Books: a hash of each stored row against what
the store gives; what differs is computed again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from merilo import topics, wire
from merilo.errors import StoreError
from merilo.ids import DeviceKey, GatewayKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, floor_ms, to_text
from merilo.schema import MEASUREMENTS
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.registry import ALL, FORM, Registry
from merilo_adapters.registry.bookkeeping import BookDay, Bookkeeping
from merilo_adapters.registry.work import Work
from merilo_collector.book_store import stored_hashes, tags_of
from merilo_collector.checksum import frame_sum
from merilo_collector.old_days import BOOKED, WINDOW_MS, WRITTEN, old_before_ms, scope_of

log = logging.getLogger(__name__)

LOOK_AGAIN_MS = 2 * MINUTE_MS
"""What was found missing is compared anew after this time."""
ASK_MIN_MS = 2 * MINUTE_MS
ASK_MAX_MS = HOUR_MS
"""Gateways are asked again only when nothing came meanwhile, after a pause that doubles: each request makes them send
everything once more, which takes an hour at their bounded rate."""
GIVE_UP_MS = WINDOW_MS
"""A gateway can be away for days and still have everything. After this time what the store has is taken for true, and
an event says so."""
COMPARED_TIMES = 3
"""Books are written, and other collectors write, while they are compared: what differs is looked at again before it
counts."""


@dataclass(slots=True)
class Finding:
    """What a check found in one company."""

    company: str
    raw_days: list[tuple[DeviceKey, int]] = field(default_factory=list)
    """Devices and UTC days whose readings are not all there."""
    book_days: list[BookDay] = field(default_factory=list)
    compared_raw: int = 0
    compared_books: int = 0
    readings_missing: int = 0
    """At least so many readings."""

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.raw_days and not self.book_days


@dataclass(slots=True)
class Refill:
    """A store that is being filled again."""

    left: Finding
    since_ms: int
    ask_ms: int = 0
    """When to ask again, unless something comes."""
    pause_ms: int = ASK_MIN_MS


class Reconciler:
    """Notices that a store has forgotten, and has it filled again."""

    def __init__(
        self,
        registry: Registry,
        work: Work,
        stores: CompanyStores,
        publish: Callable[[str, bytes], None],
    ) -> None:
        self._registry = registry
        self._work = work
        self._notes = Bookkeeping(work)
        self._stores = stores
        self._publish = publish
        self._due_ms: dict[str, int] = {}
        self._refills: dict[str, Refill] = {}
        self._running: dict[str, Iterator[None]] = {}

    @property
    def busy(self) -> bool:
        """Whether a check is under way: :meth:`step` has something to do."""
        return bool(self._running)

    def step(self) -> None:
        """Compares one device and day, or one series of the books: readings do not wait for a whole check."""
        for company, steps in list(self._running.items()):
            try:
                next(steps)
            except StopIteration:
                del self._running[company]
            except StoreError as error:
                del self._running[company]  # it is still due and begins anew
                log.warning("store not checked company=%s reason=%s", company, error)
            return

    def minute(self, company: str, now_ms: int) -> None:
        """Begins to check a company if its store has restarted, if its last check asked for another, and once a day."""
        try:
            if self._restarted(company):
                log.warning("store restarted company=%s", company)
                self._due_ms[company] = 0
                self._refills.pop(company, None)
                self._running.pop(company, None)
            if company not in self._due_ms:
                self._due_ms[company] = self._first_due_ms(company, now_ms)
            if now_ms >= self._due_ms[company] and company not in self._running:
                self._running[company] = self._check(company, now_ms)
        except StoreError as error:
            log.warning("store not checked company=%s reason=%s", company, error)

    def _first_due_ms(self, company: str, now_ms: int) -> int:
        """At once where this program ended before a check was done or a store was whole again."""
        scope = f"store/{company}"
        noted = self._work.counters(scope)
        left = noted.get((scope, "unchecked"), 0) or noted.get((scope, "forgotten_days"), 0)
        return 0 if left else now_ms + HOUR_MS

    def _restarted(self, company: str) -> bool:
        """Whether the store has another start than the one noted; the note is kept in the work tables.

        Both kinds of server tell the instant of their start, not how long ago it was: any difference is a restart.
        """
        started_ms = self._stores.of(company).started_ms()
        if started_ms is None:
            return False
        scope = f"store/{company}"
        noted = self._work.counters(scope).get((scope, "started_ms"))
        if noted == started_ms:
            return False
        if noted is not None:
            self._work.set_counter(scope, "unchecked", 1)
        self._work.set_counter(scope, "started_ms", started_ms)
        return noted is not None

    def _check(self, company: str, now_ms: int) -> Iterator[None]:
        refill = self._refills.get(company)
        found = Finding(company)
        raw, books = (refill.left.raw_days, refill.left.book_days) if refill else self._noted(company, now_ms, None)
        yield from self._compare(found, raw, books)
        self._conclude(found, refill, now_ms)

    def _conclude(self, found: Finding, refill: Refill | None, now_ms: int) -> None:
        company = found.company
        scope = f"store/{company}"
        self._work.set_counter(scope, "forgotten_days", len(found.raw_days) + len(found.book_days))
        if found.whole:
            if refill is not None:
                log.warning("store is whole again company=%s", company)
            self._done(company, now_ms)
            return
        self._due_ms[company] = now_ms + LOOK_AGAIN_MS
        if refill is None:
            refill = self._refills[company] = Refill(found, now_ms)
            log.warning(
                "store has forgotten company=%s raw_days=%d book_days=%d",
                company,
                len(found.raw_days),
                len(found.book_days),
            )
        elif found.readings_missing < refill.left.readings_missing or len(found.book_days) < len(refill.left.book_days):
            refill.pause_ms = ASK_MIN_MS  # it comes: asking again would only begin anew
            refill.ask_ms = now_ms + refill.pause_ms
        refill.left = found
        if now_ms - refill.since_ms > GIVE_UP_MS:
            self._give_up(found)
            self._done(company, now_ms)
        elif now_ms >= refill.ask_ms:
            self.ask(found, now_ms)
            refill.ask_ms = now_ms + refill.pause_ms
            refill.pause_ms = min(refill.pause_ms * 2, ASK_MAX_MS)

    def _done(self, company: str, now_ms: int) -> None:
        self._refills.pop(company, None)
        self._due_ms[company] = now_ms + DAY_MS
        for name in ("forgotten_days", "unchecked"):
            self._work.set_counter(f"store/{company}", name, 0)
        for kind in (WRITTEN, BOOKED):
            self._work.forget_counters(f"{kind}/{company}/", scope_of(kind, company, now_ms - WINDOW_MS))

    def check(self, company: str, now_ms: int, from_ms: int | None = None) -> Finding:
        """Compares what was written with what the store has; changes nothing.

        Args:
            from_ms: First day; None for the window. Older days are compared where they were written within it.
        """
        found = Finding(company)
        for _ in self._compare(found, *self._noted(company, now_ms, from_ms)):
            pass
        return found

    def _noted(
        self, company: str, now_ms: int, from_ms: int | None
    ) -> tuple[list[tuple[DeviceKey, int]], list[BookDay]]:
        """What was written and is to be compared: devices and days of raw readings, series and days of the books."""
        first_ms = old_before_ms(now_ms) if from_ms is None else floor_ms(from_ms, DAY_MS)
        raw_old, books_old = (self._old_days(kind, company) for kind in (WRITTEN, BOOKED))
        raw = [
            (noted.device, noted.day_ms)
            for noted in self._work.day_sums(company, min([first_ms, *raw_old]), now_ms)
            if noted.day_ms >= first_ms or noted.day_ms in raw_old
        ]
        books = [
            day
            for day in self._notes.days(company, min([first_ms, *books_old]), now_ms + DAY_MS)
            if day.day_ms >= first_ms or day.day_ms in books_old
        ]
        return raw, books

    def _old_days(self, kind: str, company: str) -> set[int]:
        return {int(name) for _, name in self._work.counters(f"{kind}/{company}/")}

    def _compare(
        self, found: Finding, raw: Iterable[tuple[DeviceKey, int]], books: Iterable[BookDay]
    ) -> Iterator[None]:
        """Compares in small steps; what differs goes into ``found``."""
        for device, day_ms in raw:
            missing = min(self._raw_missing(device, day_ms) for _ in range(COMPARED_TIMES))
            found.compared_raw += 1
            if missing:
                found.raw_days.append((device, day_ms))
                found.readings_missing += missing
            yield
        by_series: dict[tuple[str, str], list[BookDay]] = defaultdict(list)
        for day in books:
            by_series[day.measurement, day.series].append(day)
        for days in by_series.values():
            found.compared_books += len(days)
            for _ in range(COMPARED_TIMES):
                days = self._books_missing(found.company, days)
                if not days:
                    break
            found.book_days += days
            yield

    def _raw_missing(self, device: DeviceKey, day_ms: int) -> int:
        """At least how many of a device's readings of one day the store has not; 0 when everything is there."""
        sums = self._work.day_sums(device.company, day_ms, day_ms + 1)
        noted = next((one for one in sums if one.device == device), None)
        if noted is None:
            return 0
        store = self._stores.of(device.company)
        series = store.read(device.company, "readings", device._asdict(), day_ms, day_ms + DAY_MS)
        count, checksum = frame_sum(series[0].frame) if series else (0, 0)
        if (count, checksum) == (noted.count, noted.checksum) or count > noted.count:
            return 0  # more than was noted is not forgotten: a crash came between writing and noting it
        return max(noted.count - count, 1)

    def _books_missing(self, company: str, days: list[BookDay]) -> list[BookDay]:
        """Days of one series whose rows are not as they were stored."""
        measurement, series = days[0].measurement, days[0].series
        noted = self._notes.rows(company, days)
        first_ms, last_ms = days[0].day_ms, days[-1].day_ms + DAY_MS
        stored = self._stores.of(company).read(company, measurement, tags_of(measurement, series), first_ms, last_ms)
        there = stored_hashes(stored[0].frame) if stored else {}
        return [day for day in days if noted.get(day, {}) != there.get(day.day_ms, {})]

    def ask(self, found: Finding, now_ms: int) -> None:
        """Asks gateways for the missing readings again, and marks the missing book rows to be computed again."""
        since: dict[GatewayKey, int] = {}
        for device, day_ms in found.raw_days:
            gateway = device.gateway_key
            since[gateway] = min(day_ms, since.get(gateway, day_ms))
        for gateway, first_ms in since.items():
            command = wire.Resync(
                id=f"resync-{now_ms}",
                expires=to_text(now_ms + HOUR_MS),
                since=to_text(first_ms),
            )
            self._publish(topics.build(gateway, "cmd", "resync"), wire.to_payload(command))
        for key, first_ms, last_ms in self._affected(found):
            self._work.touch(key, first_ms, last_ms)

    def _affected(self, found: Finding) -> Iterable[tuple[RegisterKey, int, int]]:
        """The work that brings the missing book rows back: walks for base rows and events, forms for the rest."""
        for day in found.book_days:
            tags = tags_of(day.measurement, day.series)
            last_ms = day.day_ms + DAY_MS - 1
            if "device" in MEASUREMENTS[day.measurement].tags and tags["device"] != "-":
                device = DeviceKey(tags["company"], tags["site"], tags["gateway"], tags["device"])
                walk = day.measurement in ("register_15m", "events")
                yield RegisterKey(*device, ALL if walk else FORM), day.day_ms, last_ms
                continue
            for version in self._registry.meters(tags["company"], tags["site"]):
                if version.meter == tags.get("meter") and version.device is not None:
                    yield RegisterKey(*version.device, FORM), day.day_ms, last_ms
                elif version.meter == tags.get("meter"):
                    for other in self._registry.meters(tags["company"], tags["site"]):
                        if other.device is not None:
                            yield RegisterKey(*other.device, FORM), day.day_ms, last_ms

    def _give_up(self, found: Finding) -> None:
        """Nobody has these readings any more: take the store for what it is, and say so."""
        store = self._stores.of(found.company)
        for device, day_ms in found.raw_days:
            series = store.read(found.company, "readings", device._asdict(), day_ms, day_ms + DAY_MS)
            count, checksum = frame_sum(series[0].frame) if series else (0, 0)
            self._work.set_day_sum(device, day_ms, count, checksum)
            self._registry.add_event("quality", device, day_ms, {"day": to_text(day_ms)[:10]}, code="readings_lost")
            self._work.touch(RegisterKey(*device, ALL), day_ms, day_ms + DAY_MS - 1)
