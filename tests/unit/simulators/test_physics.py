"""The company's energy is known exactly: sums over the tree, over time, over clock changes, in any order of asking."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_ms
from merilo_simulators.calendar import is_day_off, local_ms, occupancy, orthodox_easter
from merilo_simulators.noise import smooth, uniform
from merilo_simulators.physics import CIRCUITS, MWMS_PER_MWH, ORIGIN_MS, OUTLET_CIRCUITS, Company, company
from merilo_simulators.truth import example_measures, truth

SEED = 7
WEEK = np.arange(ORIGIN_MS + 60 * DAY_MS, ORIGIN_MS + 67 * DAY_MS, MINUTE_MS, dtype=np.int64)
TREE = {
    "main": ("office", "server_room"),
    "office": ("lighting", "sockets", "hvac"),
    "server_room": ("ups_in", "cooling", "room_aux"),
    "ups_in": ("ups_out", "ups_loss"),
    "ups_out": ("rack_a", "rack_b"),
    "rack_a": OUTLET_CIRCUITS[:4],
    "rack_b": OUTLET_CIRCUITS[4:],
}


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def instants(*texts: str) -> np.ndarray:
    return np.array([at(text) for text in texts], dtype=np.int64)


@pytest.mark.parametrize("whole", TREE)
def test_every_circuit_is_exactly_the_sum_of_its_parts(whole: str) -> None:
    sample = company(SEED).sample(WEEK + 12_345)

    for of in (sample.power_mw, sample.energy_mwms):
        assert np.array_equal(of(whole), np.sum([of(part) for part in TREE[whole]], axis=0))


@pytest.mark.parametrize("whole", ["main", "ups_in", "cooling"])
def test_three_phases_are_exactly_the_whole(whole: str) -> None:
    sample = company(SEED).sample(WEEK + 777)

    phases = [sample.energy_mwms(f"{whole}_{phase}") for phase in ("l1", "l2", "l3")]

    assert np.array_equal(np.sum(phases, axis=0), sample.energy_mwms(whole))


def test_energy_is_the_sum_of_power_times_time() -> None:
    sample = company(SEED).sample(WEEK)

    power, energy = sample.power_mw("main"), sample.energy_mwms("main")

    assert np.array_equal(np.diff(energy), power[:-1] * MINUTE_MS)


def test_energy_within_a_minute_grows_with_its_constant_power() -> None:
    start = int(WEEK[500])

    energy = company(SEED).energy_mwms("hvac", np.array([start, start + 1, start + 59_999, start + MINUTE_MS]))
    power = int(company(SEED).power_mw("hvac", np.array([start]))[0])

    assert (energy - energy[0]).tolist() == [0, power, power * 59_999, power * 60_000]


def test_every_minute_is_a_whole_number_of_milliwatt_hours() -> None:
    sample = company(SEED).sample(WEEK)

    assert all(not (sample.energy_mwms(circuit) % MWMS_PER_MWH).any() for circuit in CIRCUITS if "_l" not in circuit)


@given(offsets=st.lists(st.integers(0, 40 * DAY_MS), min_size=2, max_size=20))
@settings(max_examples=20, deadline=None)
def test_cumulative_energy_never_falls(offsets: list[int]) -> None:
    asked = ORIGIN_MS + np.array(sorted(offsets), dtype=np.int64)

    assert (np.diff(company(SEED).energy_mwms("ups_loss", asked)) >= 0).all()


@given(a=st.integers(0, 30 * DAY_MS), b=st.integers(0, 30 * DAY_MS), c=st.integers(0, 30 * DAY_MS))
@settings(max_examples=20, deadline=None)
def test_truth_of_neighbouring_stretches_adds_up_on_whole_minutes(a: int, b: int, c: int) -> None:
    first, middle, last = sorted(ORIGIN_MS + x // MINUTE_MS * MINUTE_MS for x in (a, b, c))

    whole = truth(SEED, "main", first, last)

    assert whole == truth(SEED, "main", first, middle) + truth(SEED, "main", middle, last)


def test_the_same_seed_gives_the_same_company_in_any_order_of_asking() -> None:
    late, early = WEEK[:10] - 25 * DAY_MS, WEEK[:10] - 55 * DAY_MS
    first, second = Company(3), Company(3)

    assert first.energy_mwms("main", late).tolist() == [
        *second.energy_mwms("main", np.concatenate([early, late]))[10:].tolist()
    ]
    assert first.energy_mwms("main", early).tolist() == second.energy_mwms("main", early).tolist()


def test_another_seed_is_another_company() -> None:
    assert company(SEED).energy_mwms("main", WEEK[-1:]) != company(SEED + 1).energy_mwms("main", WEEK[-1:])


def test_before_the_origin_there_is_no_company() -> None:
    with pytest.raises(ValueError, match="before the company's origin 2024-01-01"):
        company(SEED).energy_mwms("main", np.array([ORIGIN_MS - 1]))


def test_an_unknown_circuit_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'mains': expected one of cooling"):
        truth(SEED, "mains", ORIGIN_MS, ORIGIN_MS)


def test_the_noise_is_splitmix64() -> None:
    # First output of the reference implementation for seed 0: 0xE220A8397B1DCDAF; its upper 53 bits become [-1, 1).
    expected = (0xE220A8397B1DCDAF >> 11) / 2**52 - 1

    assert uniform(0, "", np.array([1])).tolist() == [expected]


def test_smooth_noise_meets_its_independent_values_and_stays_between() -> None:
    ends = uniform(5, "x", np.array([10, 11]))
    between = smooth(5, "x", np.arange(10_000, 11_001, 50), 1000)

    assert between[0] == ends[0]
    assert between[-1] == ends[1]
    assert min(ends) <= between.min() <= between.max() <= max(ends)


def test_local_time_jumps_an_hour_in_march_and_repeats_one_in_october() -> None:
    # Sofia: 31 March 2024 03:00 -> 04:00 and 27 October 2024 04:00 -> 03:00, both at 01:00 UTC.
    found = local_ms(
        instants("2024-03-31T00:59:00", "2024-03-31T01:00:00", "2024-10-27T00:59:00", "2024-10-27T01:00:00")
    )

    assert found.tolist() == [
        at(x) for x in ("2024-03-31T02:59", "2024-03-31T04:00", "2024-10-27T03:59", "2024-10-27T03:00")
    ]


def test_people_come_at_the_same_local_hour_before_and_after_the_clock_change() -> None:
    # Friday in winter time and Tuesday in summer time; 08:15 and 11:00 local.
    winter = occupancy(SEED, instants("2024-03-29T06:15:00", "2024-03-29T09:00:00"))
    summer = occupancy(SEED, instants("2024-04-02T05:15:00", "2024-04-02T08:00:00"))

    assert winter[0] / winter[1] == pytest.approx(summer[0] / summer[1])
    assert 0.4 < summer[0] / summer[1] < 0.6


@pytest.mark.parametrize(("day", "hours"), [("2024-03-31", 23), ("2024-04-01", 24)])
def test_a_local_day_has_the_energy_of_its_hours(day: str, hours: int) -> None:
    midnight = at(day) - (3 if day == "2024-04-01" else 2) * HOUR_MS
    edges = [midnight + hour * HOUR_MS for hour in range(hours + 1)]

    whole = truth(SEED, "main", edges[0], edges[-1])

    assert whole == sum(truth(SEED, "main", a, b) for a, b in pairwise(edges))
    assert local_ms(np.array(edges[-1:]))[0] == at(day) + DAY_MS


@pytest.mark.parametrize("day", [date(2024, 5, 5), date(2025, 4, 20), date(2026, 4, 12), date(2027, 5, 2)])
def test_easter_is_the_orthodox_one(day: date) -> None:
    assert orthodox_easter(day.year) == day


@pytest.mark.parametrize(
    ("day", "off"),
    [
        (date(2024, 5, 3), True),  # Good Friday
        (date(2024, 5, 6), True),  # Easter Monday and St George's Day
        (date(2024, 5, 7), False),
        (date(2024, 3, 3), True),  # Liberation Day, a Sunday
        (date(2024, 3, 4), False),
        (date(2024, 9, 22), True),
    ],
)
def test_nobody_works_on_holidays(day: date, off: bool) -> None:
    assert is_day_off(day) is off


def test_the_company_behaves_like_one() -> None:
    sample = company(SEED).sample(WEEK)
    people = occupancy(SEED, WEEK)

    sockets, it, loss = (sample.power_mw(name) / 1000 for name in ("sockets", "ups_out", "ups_loss"))
    pue = sample.energy_mwms("server_room")[-1] / sample.energy_mwms("ups_out")[-1]

    assert sockets[people > 0.5].min() > sockets[people == 0].max()
    assert np.corrcoef(it, loss)[0, 1] > 0.99
    assert 0.05 < (loss / it).mean() < 0.15
    assert 1.2 < pue < 1.8


def test_cooling_needs_more_power_in_summer() -> None:
    july, january = (ORIGIN_MS + day * DAY_MS + 10 * HOUR_MS + np.arange(0, 7 * DAY_MS, HOUR_MS) for day in (190, 10))

    assert company(SEED).power_mw("cooling", july).mean() > 1.4 * company(SEED).power_mw("cooling", january).mean()
    assert company(SEED).outdoor_c(july).mean() > 18
    assert company(SEED).outdoor_c(january).mean() < 8


def test_every_meter_of_the_site_measures_a_circuit_that_exists() -> None:
    measures = example_measures()

    assert {each.circuit for each in measures} <= set(CIRCUITS)
    assert len({each.meter for each in measures}) == len(measures) == 6 + 3 + 8
