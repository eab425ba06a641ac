"""What is due once a minute: live power, life signs, reported events, and whether the store has restarted.

A turn does a few companies and goes back to the readings that wait: fifty companies' rows, written one after another,
would keep every gateway from its acknowledgement for seconds.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Sequence

from merilo.errors import StoreError
from merilo.ids import DeviceKey, GatewayKey
from merilo.instants import DAY_MS, MINUTE_MS, QUARTER_MS, floor_ms
from merilo.ports import SeriesStore
from merilo.reading import Reading
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.registry import Registry
from merilo_adapters.registry.work import Work
from merilo_collector.event_rows import reported_point
from merilo_collector.health import HealthLane
from merilo_collector.live import LiveLane, LiveMeter
from merilo_collector.live_meters import live_meters
from merilo_collector.reconcile import Reconciler

log = logging.getLogger(__name__)

TURN_S = 0.02
"""A turn begins no further company after this long."""


class Minutes:
    """Keeps the live lane and the life signs between two minutes, and writes them company by company.

    Args:
        now_ms: The minute of this instant is under way and not written.
    """

    def __init__(
        self, registry: Registry, work: Work, stores: CompanyStores, reconciler: Reconciler, now_ms: int
    ) -> None:
        self._registry = registry
        self._work = work
        self._stores = stores
        self._reconciler = reconciler
        self._live = LiveLane()
        self.health = HealthLane()
        """Life signs of gateways and devices."""
        self._minute_ms = floor_ms(now_ms, MINUTE_MS)
        self._waiting: deque[str] = deque()
        self._gateways: dict[str, list[GatewayKey]] = {}
        self._expired_ms: dict[str, int] = {}
        self._meters: dict[str, tuple[tuple[int, int], list[LiveMeter]]] = {}

    @property
    def busy(self) -> bool:
        """Whether companies wait for their minute."""
        return bool(self._waiting)

    def read(self, gateway: GatewayKey, readings: Sequence[Reading], now_ms: int) -> None:
        """Takes readings that are stored."""
        self._live.add(((DeviceKey(*gateway, r.device), r) for r in readings), now_ms)
        for reading in readings:
            self.health.read(gateway, reading.device, reading.at_ms, now_ms)

    def turn(self, now_ms: int) -> None:
        """Does companies that wait for as long as a turn lasts, one at least."""
        minute_ms = floor_ms(now_ms, MINUTE_MS)
        if minute_ms > self._minute_ms:
            self._minute_ms = minute_ms
            self._begin()
        end = time.monotonic() + TURN_S
        while self._waiting:
            self._company(self._waiting.popleft(), now_ms)
            if time.monotonic() >= end:
                return

    def _begin(self) -> None:
        gateways = defaultdict(list)
        for gateway in self._registry.gateways():
            if gateway.revoked_ms is None:
                gateways[gateway.key.company].append(gateway.key)
        self._gateways = gateways
        waiting = set(self._waiting)
        self._waiting.extend(one.id for one in self._registry.companies() if one.id not in waiting)

    def _company(self, company: str, now_ms: int) -> None:
        try:
            store = self._stores.of(company)
            gateways = self._gateways.get(company)
            if gateways:
                self._write(company, store, gateways, now_ms)
            self._mirror(company, store)
        except StoreError as error:
            log.warning("live lane not written company=%s reason=%s", company, error)
        self._expire(company, now_ms)
        self._reconciler.minute(company, now_ms)

    def _write(self, company: str, store: SeriesStore, gateways: list[GatewayKey], now_ms: int) -> None:
        store.write(company, "power_1m", self._live.rows(company, self._meters_of(company, now_ms), now_ms))
        found, devices = self.health.rows(gateways, now_ms)
        store.write(company, "gateway_health", found)
        store.write(company, "device_health", devices)

    def _meters_of(self, company: str, now_ms: int) -> list[LiveMeter]:
        """The registry's live meters; definitions begin and end on quarters of an hour."""
        valid = (self._registry.version(), floor_ms(now_ms, QUARTER_MS))
        known = self._meters.get(company)
        if known is None or known[0] != valid:
            known = self._meters[company] = (valid, live_meters(self._registry, company, now_ms))
        return known[1]

    def _mirror(self, company: str, store: SeriesStore) -> None:
        """Copies what gateways and programs reported into the company's store, where boards find it."""
        scope = f"events/{company}"
        last = self._work.counters(scope).get((scope, "mirrored"), 0)
        found = self._registry.events_after(company, last)
        if found:
            store.write(company, "events", [reported_point(event) for event in found])
            self._work.set_counter(scope, "mirrored", found[-1].number)

    def _expire(self, company: str, now_ms: int) -> None:
        """Once a day has stores that cannot do it themselves delete raw readings beyond their company's retention."""
        day_ms = floor_ms(now_ms, DAY_MS)
        if day_ms == self._expired_ms.get(company):
            return
        self._expired_ms[company] = day_ms
        try:
            gone = self._stores.of(company).expire(company, now_ms)
        except StoreError as error:
            log.warning("raw readings not expired company=%s reason=%s", company, error)
            return
        if gone:
            log.info("raw readings expired company=%s rows=%d", company, gone)
