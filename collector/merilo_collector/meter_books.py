"""Meters of a site: decided base rows become 15-minute rows of meters, hours, days, months and daily quality."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from merilo.base_rows import from_frame
from merilo.calendar import Unit, boundaries
from merilo.decisions import Decision, EffectiveRows, decide, widened
from merilo.forming import form
from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import DAY_MS, QUARTER_MS, floor_ms
from merilo.ledger import BaseRows
from merilo.meterrows import MeterRows
from merilo.meters import Scheme
from merilo.rollup import roll
from merilo_collector.book_ports import BookStore, Quality, Report, SiteFacts, Span
from merilo_collector.recompute import FOREVER_MS, Run

MARGIN_MS = DAY_MS
"""Base rows taken on either side of a change first, to see how far decisions reach."""
ROLLED: tuple[tuple[str, Unit], ...] = (("energy_1h", "hour"), ("energy_1d", "day"), ("energy_1mo", "month"))


class MeterBooks:
    """Forms the meters of one site.

    Args:
        registers: Gives every register that was ever walked.
    """

    def __init__(
        self,
        facts: SiteFacts,
        store: BookStore,
        quality: Quality | None,
        registers: Callable[[], Iterable[RegisterKey]],
    ) -> None:
        self._facts = facts
        self._store = store
        self._quality = quality
        self._registers = registers
        self._report = Report()

    def form(self, runs: Sequence[Run], forms: Sequence[Span], until_ms: int, report: Report) -> None:
        """Forms what these runs and spans have changed, and rolls it up; quality comes last."""
        self._report = report
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
        return sorted(key for key in self._registers() if key.device_key in devices)

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
            self._report.add("energy_15m", changed)
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
            self._report.add(measurement, self._store.replace(measurement, series, first_ms, last_ms, frame))

    def _around(
        self, series: dict[str, str], fresh: MeterRows, low_ms: int, high_ms: int, start_ms: int, end_ms: int
    ) -> MeterRows:
        before = self._stored(series, low_ms, start_ms) if low_ms < start_ms else MeterRows.empty()
        after = self._stored(series, end_ms, high_ms) if end_ms < high_ms else MeterRows.empty()
        return MeterRows.concat([part for part in (before, fresh, after) if len(part)])

    def _stored(self, series: dict[str, str], low_ms: int, high_ms: int) -> MeterRows:
        found = self._store.read("energy_15m", series, low_ms, high_ms)
        return MeterRows.from_frame(found[0][1] if found else Frame.empty(), series["role"])


@dataclass(frozen=True, slots=True)
class _Base:
    """Decided rows and the stretch they were decided for."""

    start_ms: int
    end_ms: int
    effective: dict[RegisterKey, EffectiveRows]
