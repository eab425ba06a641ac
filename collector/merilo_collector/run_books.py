"""The books process: what is new becomes energy. A slow or crashing pass never stops ingest."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from merilo.errors import StoreError
from merilo.site import Site
from merilo_adapters.clock import Clock
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.registry import ALL, FORM, Registry
from merilo_adapters.registry.bookkeeping import Bookkeeping
from merilo_adapters.registry.work import Touched, Work
from merilo_collector.book_store import CompanyBookStore
from merilo_collector.books import Report, SiteBooks, Span, Steps
from merilo_collector.checkpoints import StoreReader, WorkCheckpoints
from merilo_collector.quality import DailyQuality
from merilo_collector.recompute import Head
from merilo_collector.site_facts import RegistryFacts

log = logging.getLogger(__name__)

PENDING_MAX = 5_000
"""Rows of work looked at in one round."""
PAUSE_S = 1.0
"""Between two looks at the work table."""
RETRY_S = 10.0
"""After a store was away or a pass failed."""

_heads = msgspec.msgpack.Decoder(Head)


class BooksLoop:
    """Keeps the books of every site."""

    def __init__(
        self, registry: Registry, work: Work, stores: CompanyStores, clock: Clock, steps: Steps | None = None
    ) -> None:
        self._registry = registry
        self._work = work
        self._notes = Bookkeeping(work)
        self._stores = stores
        self._clock = clock
        self._steps = steps
        self._failed: dict[tuple[str, str], float] = {}
        self.passes = 0

    def run(self, stop: threading.Event) -> None:
        """Works until stopped."""
        while not stop.is_set():
            if not self.once():
                stop.wait(PAUSE_S)

    def once(self) -> bool:
        """One round over all sites; gives whether anything was done."""
        now_ms = self._clock.now_ms()
        waiting: dict[tuple[str, str], list[Touched]] = defaultdict(list)
        for touched in self._work.pending(PENDING_MAX):
            waiting[touched.key.company, touched.key.site].append(touched)
        done = False
        for site in self._registry.sites():
            key = (site.company, site.id)
            if time.monotonic() < self._failed.get(key, 0.0):
                continue
            try:
                done |= self.site(site, waiting.get(key, []), now_ms) is not None
                self._failed.pop(key, None)
            except StoreError as error:
                self._failed[key] = time.monotonic() + RETRY_S
                log.warning("books wait site=%s reason=%s", "/".join(key), error)
            except Exception:  # one site must never stop the others; its work rows stay
                self._failed[key] = time.monotonic() + RETRY_S
                log.exception("books of a site failed site=%s", "/".join(key))
        return done

    def site(self, site: Site, waiting: Sequence[Touched], now_ms: int) -> Report | None:
        """One pass over one site; None when nothing was due."""
        books, until_ms = self._books(site, now_ms)
        moved = books.behind(until_ms)
        due = [touched for touched in waiting if books.due(_span(touched), until_ms)]
        if not moved and not due:
            return None
        began = time.monotonic()
        # Taken before anything is read: what is touched from here on is a row of its own and not skipped as walked.
        taken = self._work.take(touched.key for touched in due) if due else []
        if moved:
            books.advance(until_ms)
        if taken:
            books.correct([_span(touched) for touched in taken], until_ms)
            self._work.finished(touched.key for touched in taken)
        self.passes += 1
        log.info(
            "books site=%s/%s registers=%d rows_changed=%d until_ms=%d seconds=%.2f",
            site.company,
            site.id,
            books.report.registers,
            books.report.rows_changed,
            until_ms,
            time.monotonic() - began,
        )
        return books.report

    def again(self, site: Site, first_ms: int, last_ms: int, now_ms: int) -> Report:
        """Walks every device of a site again over a stretch, whatever the work table says."""
        books, until_ms = self._books(site, now_ms)
        if books.behind(until_ms):
            books.advance(until_ms)
        report = books.report = Report()
        books.correct([Span(device, first_ms, last_ms) for device in books.devices], until_ms)
        return report

    def _books(self, site: Site, now_ms: int) -> tuple[SiteBooks, int]:
        heads = {key: _heads.decode(point.blob) for key, point in self._notes.heads(site.company, site.id).items()}
        facts = RegistryFacts(self._registry, site)
        store = CompanyBookStore(site.company, self._stores.of(site.company), self._notes, now_ms)
        quality = DailyQuality(site, store, self._registry, self._work, facts.devices)
        raw = StoreReader(self._stores.of)
        books = SiteBooks(facts, store, raw, WorkCheckpoints(self._work), heads, quality, self._steps)
        return books, books.until(now_ms)


def _span(touched: Touched) -> Span:
    key = touched.key
    registers = None if key.register in (ALL, FORM) else frozenset({key.register})
    return Span(key.device_key, touched.first_ms, touched.last_ms, registers, walk=key.register != FORM)
