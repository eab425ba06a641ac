"""A small office whose numbers are known: constant loads, polls on the grid of five minutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from merilo.decisions import Decision
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import HOUR_MS, MINUTE_MS, QUARTER_MS
from merilo.ledger import RegisterFacts
from merilo.site import MeterVersion
from merilo_collector.books import Span
from unit.any_order.world import COMPANY, SITE, Ports, books_of

T0 = 1_767_225_600_000
"""2026-01-01T00:00:00Z: 02:00 in Sofia."""
POLL = 5 * MINUTE_MS
MAIN, SUB = DeviceKey(COMPANY, SITE, "gw1", "main"), DeviceKey(COMPANY, SITE, "gw1", "sub")
IMPORT = "active_energy_import_wh"
POWER = "active_power_w"
MAIN_IMPORT, SUB_IMPORT = RegisterKey(*MAIN, IMPORT), RegisterKey(*SUB, IMPORT)
KILOWATT_ROW_WH = 250.0
"""A quarter of an hour at 1 kW."""


def at(hours: float) -> int:
    """An instant by hours since the start."""
    return T0 + round(hours * HOUR_MS)


def polls(start: float, end: float, first_wh: float = 0.0, power_w: float = 1000.0) -> dict[int, dict[str, float]]:
    """A register at constant load, polled every five minutes of [start, end] hours; it shows first_wh at the start."""
    instants = range(at(start), at(end) + 1, POLL)
    return {t: {IMPORT: round(first_wh + power_w * (t - at(start)) / HOUR_MS)} for t in instants}


def after(start: float, readings: Mapping[int, dict[str, float]]) -> dict[int, dict[str, float]]:
    """Those readings that come after so many hours."""
    return {t: reading for t, reading in readings.items() if t > at(start)}


class Office:
    """A site with a main meter of 1 kW, and what else a test brings."""

    def __init__(self, *meters: MeterVersion) -> None:
        self.ports = Ports.empty({MAIN: 300.0, SUB: 300.0})
        facts = RegisterFacts(step_mwh=1_000, max_power_mw=10_000_000, poll_interval_ms=POLL)
        for device in (MAIN, SUB):
            for name in (IMPORT, POWER):
                self.ports.facts.known[RegisterKey(*device, name)] = [facts]
        self.ports.facts.define(meters or [meter("main", "main", device=MAIN)])

    def take(self, device: DeviceKey, readings: Mapping[int, Mapping[str, float]]) -> Span:
        """Stores readings; gives what they touched."""
        self.ports.raw.write(device, readings)
        return Span(device, min(readings), max(readings))

    def book(self, now_ms: int, *spans: Span) -> None:
        """One round of the books by now."""
        books = books_of(self.ports)
        until_ms = books.until(now_ms)
        if books.behind(until_ms):
            books.advance(until_ms)
        books.correct(spans, until_ms)

    def decide(self, decision: Decision) -> None:
        """Enters a decision."""
        self.ports.facts.decided.append(decision)

    def column(self, measurement: str, field: str, **tags: str) -> dict[int, float | str | None]:
        """One field by instant."""
        found = self.ports.store.read(measurement, {"company": COMPANY, "site": SITE, **tags}, 0, 2**62)
        assert len(found) <= 1, "tags name one series"
        return {t: row.get(field) for _, frame in found for t, row in frame.rows().items()}

    def energy(self, meter: str) -> dict[int, float | str | None]:
        """Energy of a meter by row."""
        return self.column("energy_15m", "energy_wh", meter=meter)


def meter(name: str, role: str, **source: object) -> MeterVersion:
    """A meter for ever, unless said otherwise."""
    what = {"valid_from_ms": 0, "role": role, **source}
    return MeterVersion(company=COMPANY, site=SITE, meter=name, **what)  # type: ignore[arg-type]


def rows(start: float, end: float) -> Iterable[int]:
    """Starts of the quarters of an hour in [start, end) hours."""
    return range(at(start), at(end), QUARTER_MS)
