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
from merilo_adapters.registry.work import Work
from merilo_collector.book_store import stored_hashes, tags_of
from merilo_collector.checksum import frame_sum

log = logging.getLogger(__name__)

WINDOW_MS = 8 * DAY_MS
"""How far back is checked: the gateways' default grace window and a day."""
RAW_SPARED_MS = 2 * MINUTE_MS
"""The newest minutes are on their way while they are compared."""
ASK_AGAIN_MS = 2 * MINUTE_MS
"""A gateway that was asked gets this long before the day is compared anew."""
RECHECK_MAX = 5
"""After so many fruitless requests what the store has is taken for true, and an event says so."""


@dataclass(slots=True)
class Finding:
    """What a check found in one company."""

    company: str
    raw_days: list[tuple[DeviceKey, int]] = field(default_factory=list)
    """Devices and UTC days whose readings are not all there."""
    book_days: list[BookDay] = field(default_factory=list)
    compared_raw: int = 0
    compared_books: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.raw_days and not self.book_days


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
        self._tries: dict[str, int] = defaultdict(int)

    def minute(self, now_ms: int) -> None:
        """Checks the companies whose store has restarted, whose last check asked for something, and once a day all."""
        for company in self._registry.companies():
            try:
                if self._restarted(company.id):
                    log.warning("store restarted company=%s", company.id)
                    self._due_ms[company.id] = 0
                if now_ms >= self._due_ms.setdefault(company.id, now_ms + HOUR_MS):
                    self._check(company.id, now_ms)
            except StoreError as error:
                log.warning("store not checked company=%s reason=%s", company.id, error)

    def _restarted(self, company: str) -> bool:
        """Whether the store has another start than the one noted; the note is kept in the work tables."""
        started_ms = self._stores.of(company).started_ms()
        if started_ms is None:
            return False
        scope = f"store/{company}"
        noted = self._work.counters(scope).get((scope, "started_ms"))
        if noted is not None and abs(noted - started_ms) < 5_000:
            return False
        self._work.set_counter(scope, "started_ms", started_ms)
        return noted is not None

    def _check(self, company: str, now_ms: int) -> None:
        found = self.check(company, now_ms)
        scope = f"store/{company}"
        self._work.set_counter(scope, "forgotten_days", len(found.raw_days) + len(found.book_days))
        if found.whole:
            self._tries[company] = 0
            self._due_ms[company] = now_ms + DAY_MS
            return
        self._tries[company] += 1
        log.warning(
            "store has forgotten company=%s raw_days=%d book_days=%d",
            company,
            len(found.raw_days),
            len(found.book_days),
        )
        if self._tries[company] > RECHECK_MAX:
            self._give_up(found, now_ms)
            return
        self.ask(found, now_ms)
        self._due_ms[company] = now_ms + ASK_AGAIN_MS

    def check(self, company: str, now_ms: int, from_ms: int | None = None) -> Finding:
        """Compares what was written with what the store has; changes nothing."""
        first_ms = floor_ms(now_ms - WINDOW_MS if from_ms is None else from_ms, DAY_MS)
        found = Finding(company)
        store = self._stores.of(company)
        for noted in self._work.day_sums(company, first_ms, now_ms):
            end_ms = min(noted.day_ms + DAY_MS, now_ms + DAY_MS)
            series = store.read(company, "readings", noted.device._asdict(), noted.day_ms, end_ms)
            count, checksum = frame_sum(series[0].frame) if series else (0, 0)
            found.compared_raw += 1
            if (count, checksum) != (noted.count, noted.checksum) and not self._moving(
                noted.device, noted.day_ms, now_ms, count, noted.count
            ):
                found.raw_days.append((noted.device, noted.day_ms))
        days = self._notes.days(company, first_ms, now_ms + DAY_MS)
        for day, missing in self._compare_books(company, days):
            found.compared_books += 1
            if missing:
                found.book_days.append(day)
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

    def _give_up(self, found: Finding, now_ms: int) -> None:
        """Nobody has these readings any more: take the store for what it is, and say so."""
        store = self._stores.of(found.company)
        for device, day_ms in found.raw_days:
            series = store.read(found.company, "readings", device._asdict(), day_ms, day_ms + DAY_MS)
            count, checksum = frame_sum(series[0].frame) if series else (0, 0)
            self._work.set_day_sum(device, day_ms, count, checksum)
            self._registry.add_event("quality", device, day_ms, {"day": to_text(day_ms)[:10]}, code="readings_lost")
            self._work.touch(RegisterKey(*device, ALL), day_ms, day_ms + DAY_MS - 1)
        self._tries[found.company] = 0
        self._work.set_counter(f"store/{found.company}", "forgotten_days", 0)
        self._due_ms[found.company] = now_ms + DAY_MS
