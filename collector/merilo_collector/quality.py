"""Daily quality of each device: what was expected, what came, how much of the day is known, what happened."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Protocol, get_args

import numpy as np

from merilo.base_rows import from_frame
from merilo.calendar import Boundaries, boundaries
from merilo.frame import Frame
from merilo.ids import DeviceKey
from merilo.instants import DAY_MS, QUARTER_MS
from merilo.ledger import BRIDGED, BaseRows
from merilo.meters import registers_of
from merilo.schema import EVENT_COUNTERS
from merilo.site import BookedKind, Event, EventKind, Site
from merilo_collector.book_store import FAR_MS
from merilo_collector.books import BookStore
from merilo_collector.days import local_day

DAYS_MAX = 4_000
"""Local days of one pass; a longer stretch is a mistake."""


class Happened(Protocol):
    """What quality asks of the registry."""

    def events(
        self,
        company: str,
        from_ms: int,
        to_ms: int,
        *,
        kinds: Sequence[EventKind] | None = None,
        limit: int = 1_000,
        **place: str,
    ) -> list[Event]:
        """Events that meet [from_ms, to_ms) of one place."""
        ...


class Counted(Protocol):
    """What quality asks of the work tables."""

    def counters(self, scope_prefix: str = "") -> dict[tuple[str, str], int]:
        """Counters whose scope begins so, by scope and name."""
        ...


class DailyQuality:
    """Satisfies the port Quality."""

    def __init__(
        self,
        site: Site,
        store: BookStore,
        registry: Happened,
        work: Counted,
        devices: Mapping[DeviceKey, float],
    ) -> None:
        self._site = site
        self._store = store
        self._registry = registry
        self._work = work
        self._intervals = devices

    def write(self, devices: Collection[DeviceKey], start_ms: int, end_ms: int, until_ms: int) -> None:
        """Writes the local days that overlap [start, end) and have begun before ``until_ms``."""
        for device in sorted(devices):
            self._device(device, start_ms, min(end_ms, until_ms), until_ms)

    def _device(self, device: DeviceKey, start_ms: int, end_ms: int, until_ms: int) -> None:
        found = self._stored(device, start_ms, FAR_MS if start_ms == 0 else end_ms)
        if not found:
            return
        first_ms = max(start_ms, min(int(rows.start_ms[0]) for rows in found.values()))
        if first_ms >= end_ms or (end_ms - first_ms) // DAY_MS > DAYS_MAX:
            return
        days = boundaries("day", self._site.zone, first_ms, end_ms)
        whole = self._stored(device, int(days.edges_ms[0]), int(days.edges_ms[-1]))
        numbers = self._numbers(device, whole, days, until_ms)
        frame = Frame(days.edges_ms[:-1], numbers)
        begin_ms = int(days.edges_ms[0]) if start_ms else 0  # nothing lies before the first row
        self._store.replace("quality_1d", device._asdict(), begin_ms, int(days.edges_ms[-1]), frame)

    def _stored(self, device: DeviceKey, start_ms: int, end_ms: int) -> dict[str, BaseRows]:
        found = self._store.read("register_15m", device._asdict(), start_ms, end_ms)
        return {tags["register"]: from_frame(frame) for tags, frame in found if len(frame)}

    def _numbers(
        self, device: DeviceKey, registers: Mapping[str, BaseRows], days: Boundaries, until_ms: int
    ) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
        n = len(days)
        expected = days.intervals(until_ms).astype(np.float64)
        known, estimated, energy = np.zeros(n), np.zeros(n), np.zeros(n)
        gap_s = np.zeros(n)
        for i, (low_ms, high_ms) in enumerate(pairwise(days.edges_ms.tolist())):
            chosen = _chosen({name: rows.slice(low_ms, high_ms) for name, rows in registers.items()})
            covered = [set(rows.start_ms[rows.state >= BRIDGED].tolist()) for rows in chosen]
            known[i] = len(set.intersection(*covered)) if covered else 0
            for rows in chosen:
                estimated[i] += rows.estimated_mwh.sum()
                energy[i] += rows.known_mwh.sum() + rows.estimated_mwh.sum()
                gap = np.where(rows.has_register, rows.before_ms + rows.after_ms, QUARTER_MS) / 1000.0
                gap_s[i] = max(gap_s[i], gap.max())
        interval_s = self._intervals.get(device, 10.0)
        numbers = {
            "coverage": np.divide(known, expected, out=np.zeros(n), where=expected > 0),
            "estimated_share": np.divide(estimated, energy, out=np.zeros(n), where=energy > 0),
            "expected": np.round(expected * QUARTER_MS / 1000.0 / interval_s),
            "gap_max_s": gap_s,
        }
        numbers |= self._delivery(device, days)
        numbers |= self._happened(device, days)
        return numbers

    def _delivery(self, device: DeviceKey, days: Boundaries) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
        names = ("received", "late", "duplicate", "rejected", "conflicts")
        found = {name: np.zeros(len(days)) for name in names}
        prefix = "/".join(device) + "/"
        labels = [local_day(int(edge), self._site.zone) for edge in days.edges_ms[:-1]]
        position = {f"{prefix}{label}": index for index, label in enumerate(labels)}
        scopes = self._work.counters(prefix) if len(days) > 2 else _few(self._work, position)
        for (scope, name), value in scopes.items():
            if scope in position and name in found:
                found[name][position[scope]] = float(value)
        return found

    def _happened(self, device: DeviceKey, days: Boundaries) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
        found = {name: np.zeros(len(days)) for name in EVENT_COUNTERS}
        low, high = int(days.edges_ms[0]), int(days.edges_ms[-1])
        events = self._registry.events(
            device.company,
            low,
            high,
            kinds=get_args(BookedKind),
            limit=20_000,
            site=device.site,
            gateway=device.gateway,
            device=device.device,
        )
        for event in events:
            if not low <= event.at_ms < high:
                continue
            day = int(np.searchsorted(days.edges_ms, event.at_ms, "right")) - 1
            for name in {event.code, str(event.parameters.get("detail", ""))} & found.keys():
                found[name][day] += 1.0
        return found


def _chosen(day: Mapping[str, BaseRows]) -> list[BaseRows]:
    """The registers that make a device's total on one day: a better one may have come later."""
    there = {name: rows for name, rows in day.items() if len(rows)}
    names = registers_of(there.keys()).imports or tuple(sorted(there))[:1]
    return [there[name] for name in names]


def _few(work: Counted, position: Mapping[str, int]) -> dict[tuple[str, str], int]:
    return {key: value for scope in position for key, value in work.counters(scope).items()}
