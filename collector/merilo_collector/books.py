"""The books of one site: touched registers become base rows, meters, hours, days, months and daily quality.

The order of storing is what makes a crash harmless: base rows, events, meters, roll-ups, quality, then checkpoints,
then the work row goes. Whatever is interrupted is done again from the old checkpoints.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from merilo.base_rows import from_frame, to_frame
from merilo.calendar import Unit, boundaries
from merilo.decisions import Decision, EffectiveRows, decide, widened
from merilo.forming import form
from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import DAY_MS, MINUTE_MS, QUARTER_MS, SECOND_MS, floor_ms
from merilo.ledger import BaseRows, LedgerEvent, RegisterFacts
from merilo.meterrows import MeterRows
from merilo.meters import Scheme
from merilo.rollup import roll
from merilo.schema import ABSENT_TAG
from merilo.site import BookedKind, Site
from merilo_collector.day_checks import Checked, checked, day_of
from merilo_collector.event_rows import ledger_frame
from merilo_collector.recompute import (
    FOREVER_MS,
    Checkpoints,
    Head,
    RawReader,
    Run,
    recompute,
    registers_in,
)

log = logging.getLogger(__name__)

SETTLE_MIN_MS = MINUTE_MS
"""A quarter of an hour is booked this long after its end, so that a row is not first written as a gap."""
SETTLE_MAX_MS = 30 * MINUTE_MS
ARRIVAL_MS = 30 * SECOND_MS
"""A reading may take this long to the store before its quarter of an hour is walked a second time for it."""
MARGIN_MS = DAY_MS
"""Base rows taken on either side of a change first, to see how far decisions reach."""
ROLLED: tuple[tuple[str, Unit], ...] = (("energy_1h", "hour"), ("energy_1d", "day"), ("energy_1mo", "month"))


class BookStore(Protocol):
    """What the books ask of the series store."""

    def read(
        self, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int
    ) -> list[tuple[dict[str, str], Frame]]:
        """Series with these tags and their rows of [start, end)."""
        ...

    def replace(self, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int, frame: Frame) -> int:
        """Makes the range hold exactly these rows; gives how many rows had to change."""
        ...

    def tags(self, measurement: str, tags: Mapping[str, str]) -> list[dict[str, str]]:
        """Tag sets of the series that have these tags."""
        ...


class SiteFacts(Protocol):
    """What the books ask of the registry about one site; one consistent view."""

    site: Site
    scheme: Scheme
    devices: Mapping[DeviceKey, float]
    """Every device and its polling interval [s]."""

    def facts(self, key: RegisterKey) -> Sequence[RegisterFacts]:
        """Dated facts of a register."""
        ...

    def identity(self, key: DeviceKey) -> tuple[int, ...]:
        """Instants at which the device became another one."""
        ...

    def decisions(self) -> Sequence[Decision]:
        """All decisions about registers and meters of the site."""
        ...

    def replace_events(
        self,
        key: RegisterKey,
        after_ms: int,
        to_ms: int,
        events: Sequence[LedgerEvent],
        kind: BookedKind = "ledger",
    ) -> list[int]:
        """Makes these the events of this kind in (after, to]; gives their numbers."""
        ...

    def events(self, key: RegisterKey, after_ms: int, to_ms: int) -> list[LedgerEvent]:
        """Ledger events of a register in (after, to]."""
        ...


class Quality(Protocol):
    """Writes the daily quality of devices."""

    def write(self, devices: Collection[DeviceKey], start_ms: int, end_ms: int, until_ms: int) -> None:
        """Quality of the local days that overlap [start, end)."""
        ...


class Steps:
    """Called between the steps of a pass; the fault suite kills the process there."""

    def reached(self, step: str) -> None:
        """One of rows_stored, meters_stored, checkpoints_stored."""


@dataclass(slots=True)
class Span:
    """What was touched of one device: registers None means all of them; walk False means decisions or meters only."""

    device: DeviceKey
    first_ms: int
    last_ms: int
    registers: frozenset[str] | None = None
    walk: bool = True


@dataclass(slots=True)
class Report:
    """What a pass changed."""

    registers: int = 0
    rows_changed: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    """Rows that had to change, by measurement."""

    def add(self, measurement: str, rows: int) -> None:
        """Counts rows of a measurement."""
        self.rows_changed += rows
        self.changed[measurement] = self.changed.get(measurement, 0) + rows


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
        """After which instant every reading has been walked by this very object, and its day is looked through."""
        self._quality = quality
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
        return floor_ms(now_ms - self._settle_ms(), QUARTER_MS)

    def horizon(self, until_ms: int) -> int:
        """Readings from this instant on are not looked at while rows end at until_ms.

        A reading behind the last row may change it, where a register moves in coarse steps. With a fixed horizon rows
        depend on what was read and not on when the books looked: one that comes late from before the horizon is work,
        and one from behind it waits until the grid moves on.
        """
        return until_ms + self._settle_ms() - ARRIVAL_MS

    def _settle_ms(self) -> int:
        slowest_ms = max((round(2 * s * SECOND_MS) for s in self._facts.devices.values()), default=0)
        return max(SETTLE_MIN_MS, min(slowest_ms, SETTLE_MAX_MS))

    def due(self, span: Span, until_ms: int) -> bool:
        """Whether rows up to until_ms can depend on what was touched."""
        if not span.walk:
            return True
        if any(key.device_key == span.device for key in self._heads):
            return span.first_ms < self.horizon(until_ms)
        return floor_ms(span.first_ms, QUARTER_MS) < until_ms

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
        runs: list[Run] = []
        warned: list[Checked | None] = []
        for _, group in groupby(sorted(items), key=lambda item: item[0].device_key):  # they share what is read
            mine = list(group)
            runs += [self._recompute(key, first_ms, last_ms, until_ms) for key, first_ms, last_ms in mine]
            warned += [self._check(key, first_ms, last_ms, until_ms) for key, first_ms, last_ms in mine]
        for run in runs:
            head = self._heads.get(run.key)
            looked_ms = day_of(head.until_ms, self._facts.site.zone) - 1 if head else -1
            self._walked[run.key] = max(run.walked_after_ms, looked_ms)
        self._heads |= {run.key: run.head for run in runs if run.head is not None}
        self.report.registers += len(runs)
        self._store_rows(runs)
        for one in warned:
            if one is not None:
                self._store_events(one.key, one.begin_ms - 1, one.end_ms - 1, one.events, "check")
        self._form(runs, forms, until_ms)
        self._steps.reached("meters_stored")
        self._store_checkpoints(runs)

    def _recompute(self, key: RegisterKey, first_ms: int, last_ms: int | None, until_ms: int) -> Run:
        facts, identity = self._facts.facts(key), self._facts.identity(key.device_key)
        horizon_ms = self.horizon(until_ms)
        return recompute(key, first_ms, last_ms, until_ms, horizon_ms, facts, self._raw, self._checkpoints, identity)

    def _check(self, key: RegisterKey, first_ms: int, last_ms: int | None, until_ms: int) -> Checked | None:
        """Warnings of the days that were touched, or that have ended since the rows were last lengthened."""
        head = self._heads.get(key)
        if last_ms is None:
            first_ms = head.until_ms if head else first_ms
        end_ms = until_ms - 1 if last_ms is None else last_ms
        facts = self._facts.facts(key)
        return checked(key, first_ms, end_ms, until_ms, self._facts.site.zone, facts, self._raw)

    def _store_rows(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._store_run(run)
        self._steps.reached("rows_stored")

    def _store_checkpoints(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._checkpoints.put(run.key, run.events_after_ms, run.events_to_ms, run.days, run.head)
        self._steps.reached("checkpoints_stored")

    def _store_run(self, run: Run) -> None:
        changed = self._store.replace("register_15m", run.key._asdict(), run.from_ms, run.to_ms, to_frame(run.rows))
        self.report.add("register_15m", changed)
        if run.events_to_ms > run.events_after_ms:
            self._store_events(run.key, run.events_after_ms, run.events_to_ms, run.events, "ledger")

    def _store_events(
        self, key: RegisterKey, after_ms: int, to_ms: int, events: Sequence[LedgerEvent], kind: BookedKind
    ) -> None:
        numbers = self._facts.replace_events(key, after_ms, to_ms, events, kind)
        tags = {
            "company": key.company,
            "site": key.site,
            "kind": kind,
            "meter": ABSENT_TAG,
            "gateway": key.gateway,
            "device": key.device,
            "register": key.register,
        }
        frame = ledger_frame(events, numbers, kind)
        end_ms = to_ms + 1 if to_ms < FOREVER_MS else FOREVER_MS
        self.report.add("events", self._store.replace("events", tags, after_ms + 1, end_ms, frame))

    # Meters

    def _form(self, runs: Sequence[Run], forms: Sequence[Span], until_ms: int) -> None:
        start_ms, end_ms = FOREVER_MS, 0
        for run in runs:
            start_ms, end_ms = min(start_ms, run.from_ms), max(end_ms, run.to_ms)
        for span in forms:
            start_ms = min(start_ms, floor_ms(span.first_ms, QUARTER_MS))
            end_ms = max(end_ms, floor_ms(span.last_ms, QUARTER_MS) + QUARTER_MS)
        if start_ms >= end_ms:
            return
        devices = {run.key.device_key for run in runs} | {span.device for span in forms}
        scheme = self._facts.scheme
        meters = scheme.affected(devices)
        decisions = self._facts.decisions()
        by_hand = [one for one in decisions if one.kind == "set_energy"]
        needed = self._behind(scheme, meters)
        low_ms = start_ms or self._begin(runs, needed, by_hand, min(end_ms, until_ms))
        base = self._base_rows(runs, needed, decisions, low_ms, min(end_ms, until_ms))
        start_ms, end_ms = base.start_ms if start_ms else 0, max(end_ms, base.end_ms)
        rows: dict[str, MeterRows] = {}
        if base.start_ms < base.end_ms:
            rows = form(scheme, base.start_ms, base.end_ms, base.effective, decisions=by_hand)
        for meter in sorted(meters):
            self._store_meter(meter, rows.get(meter, MeterRows.empty()), start_ms, end_ms, until_ms, bool(forms))
        if self._quality is not None:
            self._quality.write(devices, start_ms, min(end_ms, until_ms), until_ms)

    def _begin(
        self, runs: Sequence[Run], needed: Collection[RegisterKey], by_hand: Sequence[Decision], end_ms: int
    ) -> int:
        """The first row that anything behind these meters has: other registers may be older than a new one."""
        fresh = {run.key: run.rows for run in runs if run.from_ms == 0}
        starts = [int(rows.start_ms[0]) for rows in fresh.values() if len(rows)]
        starts += [floor_ms(one.from_ms, QUARTER_MS) for one in by_hand if not one.revoked]
        begin_ms = min([end_ms, *starts])
        for key in needed:
            if key not in fresh:
                stored = self._rows_of(key, None, 0, begin_ms)
                begin_ms = int(stored.start_ms[0]) if len(stored) else begin_ms
        return begin_ms

    def _base_rows(
        self,
        runs: Sequence[Run],
        needed: Collection[RegisterKey],
        decisions: Sequence[Decision],
        start_ms: int,
        end_ms: int,
    ) -> _Base:
        """Decided rows of every register behind these meters, over the stretch that must be formed together."""
        fresh = {run.key: run for run in runs}
        by_register: dict[RegisterKey, list[Decision]] = defaultdict(list)
        for one in decisions:
            if isinstance(one.target, RegisterKey) and one.target in needed:
                by_register[one.target].append(one)
        # The pair of an event can be days long and lie on either side of its instant: all of them are looked at.
        events = {key: self._facts.events(key, -1, FOREVER_MS) for key in by_register}
        margin_ms = MARGIN_MS
        while True:
            wider = (start_ms, end_ms)
            for key, mine in by_register.items():
                rows = self._rows_of(key, None, start_ms - margin_ms, end_ms + margin_ms)
                reach = widened(start_ms, end_ms, rows, events[key], mine)
                wider = (min(wider[0], reach.start_ms), max(wider[1], reach.end_ms))
            if wider == (start_ms, end_ms):
                break
            start_ms, end_ms = wider
            margin_ms *= 2
        found: dict[RegisterKey, EffectiveRows] = {}
        for key in needed:
            mine = by_register.get(key, [])
            pad_ms = MARGIN_MS if mine else 0
            rows = self._rows_of(key, fresh.get(key), start_ms - pad_ms, end_ms + pad_ms)
            found[key] = decide(rows, events.get(key, []), mine, self._facts.facts(key))
        return _Base(start_ms, end_ms, found)

    def _behind(self, scheme: Scheme, meters: Collection[str]) -> list[RegisterKey]:
        devices: set[DeviceKey] = set()
        for low_ms in (0, *scheme.changes_ms):
            for meter in self._with_parts(scheme, meters, low_ms):
                version = scheme.at(meter, low_ms)
                if version is not None and version.device is not None:
                    devices.add(version.device)
        return sorted(key for key in self._heads if key.device_key in devices)

    def _with_parts(self, scheme: Scheme, meters: Collection[str], at_ms: int) -> set[str]:
        found: set[str] = set()
        waiting = list(meters)
        while waiting:
            meter = waiting.pop()
            if meter in found:
                continue
            found.add(meter)
            version = scheme.at(meter, at_ms)
            if version is not None:
                waiting.extend(term.meter for term in scheme.terms(version))
        return found

    def _rows_of(self, key: RegisterKey, run: Run | None, start_ms: int, end_ms: int) -> BaseRows:
        """Base rows of [start, end): those just computed where they reach, the stored ones beside them."""
        if run is not None and run.from_ms <= start_ms and run.to_ms >= end_ms:
            return run.rows.slice(start_ms, end_ms)
        found = self._store.read("register_15m", key._asdict(), start_ms, end_ms)
        return from_frame(found[0][1] if found else Frame.empty())

    def _store_meter(
        self, meter: str, rows: MeterRows, start_ms: int, end_ms: int, until_ms: int, registry_changed: bool
    ) -> None:
        site = self._facts.site
        tags = {"company": site.company, "site": site.id, "meter": meter}
        by_role = rows.by_role()
        others: set[str] = set()
        if registry_changed or start_ms == 0:
            others = {found["role"] for found in self._store.tags("energy_15m", tags)} - by_role.keys()
        for role in sorted(by_role.keys() | others):
            mine = by_role.get(role, MeterRows.empty())
            series = {**tags, "role": role}
            changed = self._store.replace("energy_15m", series, start_ms, end_ms, mine.to_frame())
            self.report.add("energy_15m", changed)
            self._roll(series, mine, start_ms, end_ms, until_ms)
        for role in sorted(self._roles(meter, start_ms, until_ms) - by_role.keys() - others):
            # The running month counts on for a role that the meter had earlier in it.
            self._roll({**tags, "role": role}, MeterRows.empty(), start_ms, end_ms, until_ms)

    def _roles(self, meter: str, start_ms: int, until_ms: int) -> set[str]:
        """Roles that a meter had in the months of [start, until)."""
        scheme, zone = self._facts.scheme, self._facts.site.zone
        if len(scheme.changes_ms) < 2 or start_ms >= until_ms:
            return set()
        begin_ms = int(boundaries("month", zone, start_ms, until_ms).edges_ms[0])
        instants = [begin_ms, *(at_ms for at_ms in scheme.changes_ms if begin_ms < at_ms < until_ms)]
        return {found.role for at_ms in instants if (found := scheme.at(meter, at_ms)) is not None}

    def _roll(self, series: dict[str, str], fresh: MeterRows, start_ms: int, end_ms: int, until_ms: int) -> None:
        """Hours, days and months that overlap the stretch, from its fresh rows and the stored ones around it."""
        zone = self._facts.site.zone
        high_ms = min(end_ms, until_ms)
        low_ms = start_ms
        if start_ms == 0:  # nothing lies before the first row; without any, only what the end cuts remains
            low_ms = int(fresh.start_ms[0]) if len(fresh) else high_ms - 1
        high_ms = max(low_ms + 1, high_ms)
        month = boundaries("month", zone, low_ms, high_ms)
        whole = self._around(series, fresh, int(month.edges_ms[0]), int(month.edges_ms[-1]), start_ms, end_ms)
        for measurement, unit in ROLLED:
            bounds = boundaries(unit, zone, low_ms, high_ms)
            frame = roll(whole, bounds, until_ms)
            first_ms = 0 if start_ms == 0 else int(bounds.edges_ms[0])
            last_ms = FOREVER_MS if end_ms >= FOREVER_MS else int(bounds.edges_ms[-1])
            self.report.add(measurement, self._store.replace(measurement, series, first_ms, last_ms, frame))

    def _around(
        self, series: dict[str, str], fresh: MeterRows, low_ms: int, high_ms: int, start_ms: int, end_ms: int
    ) -> MeterRows:
        before = self._stored(series, low_ms, start_ms) if low_ms < start_ms else MeterRows.empty()
        after = self._stored(series, end_ms, high_ms) if end_ms < high_ms else MeterRows.empty()
        return MeterRows.concat([part for part in (before, fresh, after) if len(part)])

    def _stored(self, series: dict[str, str], low_ms: int, high_ms: int) -> MeterRows:
        found = self._store.read("energy_15m", series, low_ms, high_ms)
        return MeterRows.from_frame(found[0][1] if found else Frame.empty(), series["role"])


def _counts(key: RegisterKey) -> bool:
    return key.register.endswith("_wh")


def _is_power(key: RegisterKey) -> bool:
    return key.register.startswith("active_power")


@dataclass(frozen=True, slots=True)
class _Base:
    """Decided rows and the stretch they were decided for."""

    start_ms: int
    end_ms: int
    effective: dict[RegisterKey, EffectiveRows]
