"""Sums from stored days give the envelopes that all 15-minute rows give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.envelope import energy_sum
from merilo.frame import Series
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS
from merilo.ports import SeriesStore
from merilo_adapters.sqlite_store import SqliteStore
from merilo_api.sums import EnergyRows, by_meter, merged, summed
from unit.api.scene import BOOKED, FIRST, NOW, ZONE, Scene, at, rows, states, write_meter

TAGS = {"company": "acme", "site": "hq"}


class Counted:
    """A store that counts the rows it gives."""

    def __init__(self, store: SeriesStore) -> None:
        self._store = store
        self.rows = 0

    def read(
        self, company: str, measurement: str, tags: dict[str, str], start: int, end: int, fields: Sequence[str] | None
    ) -> list[Series]:
        found = self._store.read(company, measurement, tags, start, end, fields)
        self.rows += sum(len(one.frame) for one in found)
        return found


def both(scene: Scene, meters: list[str], start_ms: int, end_ms: int) -> tuple[object, object]:
    """The envelope by days, and by all quarters of an hour."""
    site = scene.registry.site("acme", "hq")
    short = EnergyRows(scene.store, site).read(start_ms, end_ms, NOW)
    found = scene.store.read("acme", "energy_15m", TAGS, start_ms, end_ms)
    whole = {meter: merged(frames) for meter, frames in by_meter(found).items()}
    until = BOOKED if end_ms > BOOKED else None
    return (
        summed(short, meters, start_ms, end_ms, ZONE, NOW),
        energy_sum(whole, start_ms, end_ms, ZONE, meters, until_ms=until),
    )


@settings(max_examples=30, deadline=None)
@given(
    start=st.integers(0, (BOOKED - FIRST) // QUARTER_MS - 1),
    length=st.integers(1, 4_000),
    meters=st.sampled_from([["main"], ["servers"], ["main", "office"], ["main", "servers", "office"]]),
)
def test_days_and_quarters_of_an_hour_agree(single_template: Scene, start: int, length: int, meters: list[str]) -> None:
    start_ms = FIRST + start * QUARTER_MS

    by_days, by_quarters = both(single_template, meters, start_ms, start_ms + length * QUARTER_MS)

    assert by_days == by_quarters


def test_a_gap_of_more_than_a_day_over_midnight_is_found(folder: Path, single_template: Scene) -> None:
    store = SqliteStore(folder, now_ms=lambda: NOW)
    store.init("acme", 90)
    starts, _ = states()
    state = np.where((starts >= at(10, 20)) & (starts < at(11, 21)), 0, 3)  # 25 h
    write_meter(store, "acme", "hq", "main", "main", rows(lambda hour: 1_000, state))
    found = EnergyRows(store, single_template.registry.site("acme", "hq")).read(at(1), at(25), NOW)

    envelope = summed(found, ["main"], at(1), at(25), ZONE, NOW)

    assert (envelope.label, envelope.warnings) == ("partial", ("missing_stretch",))


def test_a_meter_whose_role_changed_at_noon_counts_once(folder: Path, single_template: Scene) -> None:
    store = SqliteStore(folder, now_ms=lambda: NOW)
    store.init("acme", 90)
    _, state = states()
    whole = rows(lambda hour: 1_000, np.full(len(state), 3))
    write_meter(store, "acme", "hq", "main", "other", whole.between(FIRST, at(10, 12)))
    write_meter(store, "acme", "hq", "main", "main", whole.between(at(10, 12), BOOKED))
    found = EnergyRows(store, single_template.registry.site("acme", "hq")).read(at(1), at(25), NOW)

    envelope = summed(found, ["main"], at(1), at(25), ZONE, NOW)

    assert (envelope.value, envelope.coverage) == (24 * 24_000.0, 1.0)


def test_a_whole_month_reads_few_rows(single_template: Scene) -> None:
    store = Counted(single_template.store)
    site = single_template.registry.site("acme", "hq")

    EnergyRows(store, site).read(at(1, month=10), at(1), NOW)  # type: ignore[arg-type]  # reads only

    # 31 days of three meters; the newest one in full.
    assert store.rows == 3 * (31 + 96)


def test_a_day_that_was_booked_while_it_ran_is_read_in_full(folder: Path, single_template: Scene) -> None:
    """Its coverage speaks of the hours until then: the books were stopped at noon and 12 hours are not known."""
    store = SqliteStore(folder, now_ms=lambda: NOW)
    store.init("acme", 90)
    _, state = states()
    whole = rows(lambda hour: 1_000, np.full(len(state), 3))
    write_meter(store, "acme", "hq", "main", "main", whole.between(FIRST, at(20, 12)))
    found = EnergyRows(store, single_template.registry.site("acme", "hq")).read(at(16), at(21), NOW)

    envelope = summed(found, ["main"], at(16), at(21), ZONE, NOW)

    assert envelope.value == 4.5 * 24_000.0
    assert envelope.coverage == pytest.approx(4.5 / 5)


def test_a_period_of_the_future_has_no_rows(single_template: Scene) -> None:
    site = single_template.registry.site("acme", "hq")

    assert EnergyRows(single_template.store, site).read(NOW + DAY_MS, NOW + 9 * DAY_MS, NOW) == {}
    assert EnergyRows(single_template.store, site).read(NOW + HOUR_MS, NOW + DAY_MS, NOW) == {}
