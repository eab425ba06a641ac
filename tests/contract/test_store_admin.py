"""Set-up and life signs of every store."""

from __future__ import annotations

from uuid import uuid4

import pytest

from merilo.ports import Point
from merilo_adapters.stores import Store

pytestmark = pytest.mark.real

T0 = 1_735_689_600_000
MAIN = ("acme", "hq", "main", "main")


@pytest.fixture
def new() -> str:
    """A company that nobody made yet."""
    return f"n{uuid4().hex[:12]}"


def accepts_old_raw(store: Store, company: str) -> bool:
    return store.write(company, "power_1m", [Point(MAIN, T0, {"power_mean_w": 1.0})]) == []


class TestInit:
    def test_the_first_call_says_what_it_made_and_the_second_does_nothing(self, store: Store, new: str) -> None:
        said = store.init(new, 90)

        assert said
        assert all("created" in line and new in line for line in said)
        assert any("90 d" in line for line in said)
        assert store.init(new, 90) == []
        assert store.write(new, "energy_15m", [Point(MAIN, T0, {"energy_wh": 1.0})]) == []

    def test_a_dry_run_says_the_same_and_makes_nothing(self, store: Store, new: str) -> None:
        told = store.init(new, 90, dry_run=True)
        again = store.init(new, 90, dry_run=True)
        done = store.init(new, 90)

        assert told == again
        assert [line.replace("would create", "created") for line in told] == done

    def test_another_retention_is_repaired_and_the_data_stay(self, store: Store, new: str) -> None:
        store.init(new, 90)
        store.write(new, "energy_15m", [Point(MAIN, T0, {"energy_wh": 1.0})])
        assert not accepts_old_raw(store, new)

        told = store.init(new, None, dry_run=True)
        before = accepts_old_raw(store, new)
        done = store.init(new, None)

        assert len(told) == len(done) == 1
        assert "for ever" in done[0]
        assert not before
        assert accepts_old_raw(store, new)
        assert store.init(new, None) == []
        assert len(store.read(new, "energy_15m", {}, T0, T0 + 1)) == 1

    def test_a_short_retention_can_be_set_and_widened(self, store: Store, new: str) -> None:
        store.init(new, 1)
        assert store.init(new, 1) == []

        assert len(store.init(new, 400)) == 1
        assert store.init(new, 400) == []

    def test_a_retention_below_one_day_is_refused(self, store: Store, new: str) -> None:
        with pytest.raises(ValueError, match="raw_days = 0"):
            store.init(new, 0)

    def test_the_database_of_aggregates_can_be_made(self, store: Store) -> None:
        store.init("programme", None)

        assert store.init("programme", None) == []


class TestLifeSigns:
    def test_the_kind_names_the_engine_and_its_version(self, store: Store) -> None:
        engine, version = store.kind().split()

        assert engine in ("sqlite", "influxdb")
        assert version[0].isdigit()

    def test_the_start_time_stays_while_the_server_runs(self, store: Store) -> None:
        first = store.started_ms()

        assert store.started_ms() == first
        assert (first is None) == store.kind().startswith("sqlite")

    def test_a_closed_store_can_be_used_again(self, store: Store, company: str) -> None:
        store.close()

        assert store.tags(company, "energy_15m", {}) == []
