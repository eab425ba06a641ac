"""Does the store still have what was written? Checked after every restart of a store, and once a day.

Raw readings: count and checksum of each device and day against what ingest noted; what is missing is asked for again
from its gateway, which keeps acknowledged readings for a grace window. Books: a hash of each stored row against what
the store gives; what differs is computed again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from merilo import topics, wire
from merilo.errors import StoreError
from merilo.ids import DeviceKey, GatewayKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, floor_ms, to_text
from merilo.schema import MEASUREMENTS
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.registry import ALL, FORM, Registry
from merilo_adapters.registry.bookkeeping import BookDay, Bookkeeping
from merilo_adapters.registry.work import DaySum, Work
from merilo_collector.book_store import stored_hashes, tags_of
from merilo_collector.checksum import frame_sum
from merilo_collector.old_days import BOOKED, WINDOW_MS, WRITTEN, old_before_ms, scope_of

log = logging.getLogger(__name__)

RAW_SPARED_MS = 2 * MINUTE_MS
"""The newest minutes are on their way while they are compared."""
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
"""Books are written while they are compared: what differs is looked at again before it counts."""


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

    def minute(self, now_ms: int) -> None:
        """Checks the companies whose store has restarted, whose last check asked for something, and once a day all."""
        for company in self._registry.companies():
            try:
                if self._restarted(company.id):
                    log.warning("store restarted company=%s", company.id)
                    self._due_ms[company.id] = 0
                    self._refills.pop(company.id, None)
                if now_ms >= self._due_ms.setdefault(company.id, self._first_due_ms(company.id, now_ms)):
                    self._check(company.id, now_ms)
            except StoreError as error:
                log.warning("store not checked company=%s reason=%s", company.id, error)

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

    def _check(self, company: str, now_ms: int) -> None:
        refill = self._refills.get(company)
        found = self.check(company, now_ms) if refill is None else self._again(refill.left, now_ms)
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
        first_ms = old_before_ms(now_ms) if from_ms is None else floor_ms(from_ms, DAY_MS)
        raw_old, books_old = (self._old_days(kind, company) for kind in (WRITTEN, BOOKED))
        sums = [
            noted
            for noted in self._work.day_sums(company, min([first_ms, *raw_old]), now_ms)
            if noted.day_ms >= first_ms or noted.day_ms in raw_old
        ]
        days = [
            day
            for day in self._notes.days(company, min([first_ms, *books_old]), now_ms + DAY_MS)
            if day.day_ms >= first_ms or day.day_ms in books_old
        ]
        return self._compare(company, sums, days, now_ms)

    def _again(self, left: Finding, now_ms: int) -> Finding:
        """Compares only what was missing."""
        wanted = set(left.raw_days)
        instants = [day_ms for _, day_ms in left.raw_days]
        sums = self._work.day_sums(left.company, min(instants), max(instants) + 1) if instants else []
        mine = [noted for noted in sums if (noted.device, noted.day_ms) in wanted]
        return self._compare(left.company, mine, left.book_days, now_ms)

    def _old_days(self, kind: str, company: str) -> set[int]:
        return {int(name) for _, name in self._work.counters(f"{kind}/{company}/")}

    def _compare(self, company: str, sums: Iterable[DaySum], days: Iterable[BookDay], now_ms: int) -> Finding:
        found = Finding(company)
        store = self._stores.of(company)
        for noted in sums:
            end_ms = min(noted.day_ms + DAY_MS, now_ms + DAY_MS)
            series = store.read(company, "readings", noted.device._asdict(), noted.day_ms, end_ms)
            count, checksum = frame_sum(series[0].frame) if series else (0, 0)
            found.compared_raw += 1
            if (count, checksum) == (noted.count, noted.checksum) or count > noted.count:
                continue  # more than was noted is not forgotten: a crash came between writing and noting it
            if not self._moving(noted.device, noted.day_ms, now_ms, count, noted.count):
                found.raw_days.append((noted.device, noted.day_ms))
                found.readings_missing += max(noted.count - count, 1)
        days = list(days)
        found.compared_books = len(days)
        for _ in range(COMPARED_TIMES):
            days = [day for day, missing in self._compare_books(company, days) if missing]
        found.book_days = days
        return found

    def _moving(self, device: DeviceKey, day_ms: int, now_ms: int, count: int, noted: int) -> bool:
        """Today's day of a live device grows while it is compared: compare once more, both sides now."""
        if now_ms - day_ms > DAY_MS + RAW_SPARED_MS:
            return False
        again = next((s for s in self._work.day_sums(device.company, day_ms, day_ms + 1) if s.device == device), None)
        series = self._stores.of(device.company).read(
            device.company, "readings", device._asdict(), day_ms, day_ms + DAY_MS
        )
        found = frame_sum(series[0].frame) if series else (0, 0)
        return again is not None and (found == (again.count, again.checksum) or found[0] >= again.count)

    def _compare_books(self, company: str, days: Iterable[BookDay]) -> Iterable[tuple[BookDay, bool]]:
        by_series: dict[tuple[str, str], list[BookDay]] = defaultdict(list)
        for day in days:
            by_series[day.measurement, day.series].append(day)
        store = self._stores.of(company)
        for (measurement, series), mine in by_series.items():
            noted = self._notes.rows(company, mine)
            tags = tags_of(measurement, series)
            first_ms, last_ms = mine[0].day_ms, mine[-1].day_ms + DAY_MS
            stored = store.read(company, measurement, tags, first_ms, last_ms)
            there = stored_hashes(stored[0].frame) if stored else {}
            for day in mine:
                yield day, noted.get(day, {}) != there.get(day.day_ms, {})

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
