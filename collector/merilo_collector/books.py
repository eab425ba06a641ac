"""The books of one site: touched registers become base rows, meters, hours, days, months and daily quality.

The order of storing is what makes a crash harmless: base rows, events, meters, roll-ups, quality, then checkpoints,
then the work row goes. Whatever is interrupted is done again from the old checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from merilo.base_rows import to_frame
from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import MINUTE_MS, QUARTER_MS, SECOND_MS, floor_ms
from merilo.schema import ABSENT_TAG
from merilo_collector.book_ports import BookStore, Quality, Report, SiteFacts, Span
from merilo_collector.event_rows import ledger_frame
from merilo_collector.meter_books import MeterBooks
from merilo_collector.recompute import (
    FOREVER_MS,
    Checkpoints,
    Head,
    RawReader,
    Run,
    recompute,
    registers_in,
)

__all__ = ["BookStore", "Report", "SiteBooks", "Span", "Steps"]

SETTLE_MIN_MS = MINUTE_MS
"""A quarter of an hour is booked this long after its end, so that a row is not first written as a gap."""
SETTLE_MAX_MS = 30 * MINUTE_MS


class Steps:
    """Called between the steps of a pass; the fault suite kills the process there."""

    def reached(self, step: str) -> None:
        """One of rows_stored, meters_stored, checkpoints_stored."""


class SiteBooks:
    """Keeps the books of one site."""

    def __init__(
        self,
        facts: SiteFacts,
        store: BookStore,
        raw: RawReader,
        checkpoints: Checkpoints,
        heads: Mapping[RegisterKey, Head],
        quality: Quality | None = None,
        steps: Steps | None = None,
    ) -> None:
        self._facts = facts
        self._store = store
        self._raw = raw
        self._checkpoints = checkpoints
        self._heads = dict(heads)
        self._walked: dict[RegisterKey, int] = {}
        """After which instant every reading has been walked by this very object."""
        self._meters = MeterBooks(facts, store, quality, lambda: self._heads)
        self._steps = steps or Steps()
        self.report = Report()

    @property
    def heads(self) -> dict[RegisterKey, Head]:
        """How far each register's rows reach."""
        return dict(self._heads)

    @property
    def devices(self) -> list[DeviceKey]:
        """Every device of the site."""
        return sorted(self._facts.devices)

    def until(self, now_ms: int) -> int:
        """Grid instant up to which rows are booked by now."""
        slowest_ms = max((round(2 * s * SECOND_MS) for s in self._facts.devices.values()), default=0)
        return floor_ms(now_ms - max(SETTLE_MIN_MS, min(slowest_ms, SETTLE_MAX_MS)), QUARTER_MS)

    def behind(self, until_ms: int) -> bool:
        """Whether some register's rows do not reach until_ms."""
        return any(head.until_ms < until_ms for head in self._heads.values())

    def advance(self, until_ms: int) -> None:
        """Lengthens every register that was ever walked up to until_ms.

        What the clock makes certain may be built on: a device that fell silent after a disturbance is not walked again
        from before it, when those readings have long expired.
        """
        items = [
            (key, max(until_ms, head.anchor.v_ms + 1 if head.anchor else 0), None)
            for key, head in sorted(self._heads.items())
            if head.until_ms < until_ms
        ]
        if items:
            self._pass(items, until_ms, [])

    def correct(self, spans: Iterable[Span], until_ms: int) -> None:
        """Recomputes what was touched before these books were made; afterwards the work rows of these spans may go."""
        touched: dict[RegisterKey, tuple[int, int]] = {}
        forms: list[Span] = []
        for span in spans:
            if not span.walk:
                forms.append(span)
                continue
            for key in self._registers(span):
                if self._walked.get(key, FOREVER_MS) < span.first_ms:
                    continue  # advance has just walked what is new
                first_ms, last_ms = touched.get(key, (span.first_ms, span.last_ms))
                touched[key] = min(first_ms, span.first_ms), max(last_ms, span.last_ms)
        items = [(key, first, last if key in self._heads else None) for key, (first, last) in touched.items()]
        if items or forms:
            self._pass(items, until_ms, forms)

    def _registers(self, span: Span) -> list[RegisterKey]:
        known = {key for key in self._heads if key.device_key == span.device}
        # A register may have appeared: look at what the device said in the touched stretch.
        frame = self._raw.frame(span.device, span.first_ms, span.last_ms + 1)
        said = {RegisterKey(*span.device, name) for name in registers_in(frame)}
        seen = {key for key in known if self._heads[key].anchor is not None}
        found = known | said
        if any(_counts(key) for key in seen | said):
            gone = {key for key in known if _is_power(key)}
            if not any(_counts(key) for key in seen):  # a pass that crashed may have left rows of power and no head
                stored = self._store.tags("register_15m", span.device._asdict())
                gone |= {key for tags in stored if _is_power(key := RegisterKey(**tags))}
            for key in sorted(gone):
                self._forget(key)
            found = {key for key in found if not _is_power(key)}
        return sorted(key for key in found if span.registers is None or key.register in span.registers)

    def _forget(self, key: RegisterKey) -> None:
        """Takes back a power that was walked before the device's counter was known: the counter decides."""
        self._store.replace("register_15m", key._asdict(), 0, FOREVER_MS, Frame.empty())
        self._checkpoints.drop(key)
        self._heads.pop(key, None)

    def _pass(self, items: Sequence[tuple[RegisterKey, int, int | None]], until_ms: int, forms: Sequence[Span]) -> None:
        runs = [self._recompute(key, first_ms, last_ms, until_ms) for key, first_ms, last_ms in items]
        self._heads |= {run.key: run.head for run in runs if run.head is not None}
        self._walked |= {run.key: run.walked_after_ms for run in runs}
        self.report.registers += len(runs)
        self._store_rows(runs)
        self._meters.form(runs, forms, until_ms, self.report)
        self._steps.reached("meters_stored")
        self._store_checkpoints(runs)

    def _recompute(self, key: RegisterKey, first_ms: int, last_ms: int | None, until_ms: int) -> Run:
        facts, identity = self._facts.facts(key), self._facts.identity(key.device_key)
        return recompute(key, first_ms, last_ms, until_ms, facts, self._raw, self._checkpoints, identity)

    def _store_rows(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._store_run(run)
        self._steps.reached("rows_stored")

    def _store_checkpoints(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._checkpoints.put(run.key, run.events_after_ms, run.events_to_ms, run.days, run.head)
        self._steps.reached("checkpoints_stored")

    def _store_run(self, run: Run) -> None:
        tags = run.key._asdict()
        changed = self._store.replace("register_15m", tags, run.from_ms, run.to_ms, to_frame(run.rows))
        self.report.add("register_15m", changed)
        if run.events_to_ms == run.events_after_ms:
            return
        numbers = self._facts.replace_events(run.key, run.events_after_ms, run.events_to_ms, run.events)
        events = {
            "company": run.key.company,
            "site": run.key.site,
            "kind": "ledger",
            "meter": ABSENT_TAG,
            "gateway": run.key.gateway,
            "device": run.key.device,
            "register": run.key.register,
        }
        frame = ledger_frame(run.events, numbers)
        end_ms = run.events_to_ms + 1 if run.events_to_ms < FOREVER_MS else FOREVER_MS
        self.report.add("events", self._store.replace("events", events, run.events_after_ms + 1, end_ms, frame))


def _counts(key: RegisterKey) -> bool:
    return key.register.endswith("_wh")


def _is_power(key: RegisterKey) -> bool:
    return key.register.startswith("active_power")
