"""Which days are looked through, and what is said of them."""

from __future__ import annotations

import numpy as np

from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS
from merilo.ledger import RegisterFacts
from merilo_collector.day_checks import checked

KEY = RegisterKey("acme", "hq", "gw1", "m1", "active_energy_import_wh")
ZONE = "Europe/Sofia"
MIDNIGHT = 1_748_725_200_000
"""2025-06-01 00:00 in Sofia, three hours ahead of UTC."""
FACTS = (RegisterFacts(step_mwh=10_000, max_power_mw=50_000_000, poll_interval_ms=MINUTE_MS),)


class Minutely:
    """A meter whose register counts 6 kW, in steps of 100 Wh where 10 Wh are stated, beside a power of 5 kW."""

    def frame(self, key: DeviceKey, start_ms: int, end_ms: int) -> Frame:
        """Readings from two days before the midnight to two days behind it."""
        at_ms = np.arange(MIDNIGHT - 2 * DAY_MS, MIDNIGHT + 2 * DAY_MS, MINUTE_MS)
        whole = Frame(
            at_ms,
            {
                KEY.register: (at_ms - at_ms[0]) // MINUTE_MS * 100.0,
                "active_power_w": np.full(len(at_ms), 5_000.0),
            },
        )
        return whole.between(start_ms, end_ms)


def test_a_local_day_is_looked_through_once_it_is_over() -> None:
    noon = MIDNIGHT - 12 * HOUR_MS

    assert checked(KEY, noon, noon, MIDNIGHT - 15 * MINUTE_MS, ZONE, FACTS, Minutely()) is None

    found = checked(KEY, noon, noon, MIDNIGHT, ZONE, FACTS, Minutely())
    assert found is not None
    assert (found.begin_ms, found.end_ms) == (MIDNIGHT - DAY_MS, MIDNIGHT)
    said = [(event.kind, event.at_ms) for event in found.events]
    assert said == [("register_power_mismatch", MIDNIGHT - DAY_MS), ("step_mismatch", MIDNIGHT - 1)]
    # 23 h 59 min of 5 kW; the divisor of rises of 100 Wh
    assert [event.estimated_mwh for event in found.events] == [119_916_667, 100_000]


def test_every_day_of_a_touched_stretch_is_looked_through_and_none_beside_it() -> None:
    found = checked(KEY, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 2 * DAY_MS, ZONE, FACTS, Minutely())

    assert found is not None
    assert (found.begin_ms, found.end_ms) == (MIDNIGHT - DAY_MS, MIDNIGHT + DAY_MS)
    assert len(found.events) == 4


def test_warnings_of_days_whose_readings_have_expired_are_left_alone() -> None:
    found = checked(KEY, MIDNIGHT - 10 * DAY_MS, MIDNIGHT, MIDNIGHT + DAY_MS, ZONE, FACTS, Minutely())

    assert found is not None
    assert (found.begin_ms, found.end_ms) == (MIDNIGHT - 2 * DAY_MS, MIDNIGHT + DAY_MS)


def test_a_power_has_no_register_to_compare_with() -> None:
    power = KEY._replace(register="active_power_w")

    assert checked(power, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 2 * DAY_MS, ZONE, FACTS, Minutely()) is None
