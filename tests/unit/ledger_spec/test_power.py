"""Meters without a register: the trapezoid between samples of power, by hand."""

from __future__ import annotations

import pytest

from merilo.ledger import Trace, Walk, walk_power

from .scenes import (
    ESTIMATED,
    HOUR,
    KW,
    KWH,
    METERED,
    MINUTE,
    MISSING,
    QUARTER,
    SECOND,
    T0,
    WH,
    W,
    assert_same,
    facts,
    near,
    rows,
    states,
)
from .truth import Poll


def powered(samples: list[tuple[int, int]], until_s: int, poll_interval_ms: int = MINUTE) -> Walk:
    """Walk samples of (second, power [mW])."""
    polls: list[Poll] = [(T0 + s * SECOND, None, p) for s, p in samples]
    return walk_power(Trace.of(polls), [facts(poll_interval_ms=poll_interval_ms)], T0 + until_s * SECOND)


def test_a_steady_power_gives_metered_rows_without_a_register() -> None:
    walked = powered([(s, 6 * KW) for s in range(0, 7_201, 60)], 7_200)

    found = rows(walked)
    assert [(row.state, row.known_mwh, row.known_ms) for row in found] == [(METERED, 1_500 * WH, QUARTER)] * 8
    assert {row.register_mwh for row in found} == {None}
    assert walked.events == ()


@pytest.mark.parametrize(("watt", "every_s", "row_mwh"), [(1_000, 60, 250_000), (10, 10, 2_500), (1, 1, 250)])
def test_power_is_summed_before_it_is_rounded(watt: int, every_s: int, row_mwh: int) -> None:
    # 16 666.67, 27.78 and 0.278 mWh from sample to sample: rounded one by one they would be 0.002, 0.8 and 100 % wrong.
    walked = powered([(s, watt * W) for s in range(0, 3_601, every_s)], 3_600)

    assert all(near(row.known_mwh, row_mwh) for row in rows(walked)), rows(walked)[0]


def test_a_ramp_is_integrated_by_the_trapezoid() -> None:
    # 1 W more each second: a row k takes (2k + 1) · 405 kWs = (2k + 1) · 112.5 Wh.
    walked = powered([(s, s * W) for s in range(0, 3_601, 60)], 3_600)

    assert all(near(row.known_mwh, (2 * k + 1) * 112_500) for k, row in enumerate(rows(walked)))


@pytest.mark.parametrize(("gap_s", "state"), [(900, METERED), (901, ESTIMATED)])
def test_samples_are_metered_up_to_the_length_of_a_metered_gap(gap_s: int, state: int) -> None:
    walked = powered([*((s, 6 * KW) for s in range(0, 901, 60)), (900 + gap_s, 6 * KW), (2_700, 6 * KW)], 2_700)

    assert states(walked)[:2] == [METERED, state]
    assert all(near(row.known_mwh + row.estimated_mwh, 1_500 * WH) for row in rows(walked))


def test_half_an_hour_without_samples_is_filled_between_its_ends_and_estimated() -> None:
    before = [(s, 6 * KW) for s in range(0, 3_601, 60)]
    after = [(s, 18 * KW) for s in range(5_400, 7_201, 60)]

    walked = powered(before + after, 7_200)

    found = rows(walked)
    assert states(walked) == [METERED] * 4 + [ESTIMATED] * 2 + [METERED] * 2
    # 12 kW on average; a line from end to end gives 2.25 and 3.75 kWh, its mean 3 kWh twice.
    assert [row.known_mwh for row in found] == [1_500 * WH] * 4 + [0] * 2 + [4_500 * WH] * 2
    assert found[4].estimated_mwh + found[5].estimated_mwh == 6 * KWH
    assert 2_250 * WH <= found[4].estimated_mwh <= 3 * KWH


def test_two_hours_without_samples_are_missing() -> None:
    before = [(s, 1 * KW) for s in range(0, 3_601, 60)]
    after = [(s, 3 * KW) for s in range(10_800, 14_401, 60)]

    walked = powered(before + after, 14_400)

    assert states(walked) == [METERED] * 4 + [MISSING] * 8 + [METERED] * 4
    assert all((row.known_mwh, row.estimated_mwh) == (0, 0) for row in rows(walked)[4:12])


def test_rows_after_the_last_sample_are_missing() -> None:
    walked = powered([(s, 6 * KW) for s in range(0, 1_201, 60)], 3_600)

    assert states(walked) == [METERED, MISSING, MISSING, MISSING]
    assert [row.known_mwh for row in rows(walked)] == [1_500 * WH, 500 * WH, 0, 0]


def test_a_walk_of_power_can_be_taken_up_again_at_each_anchor() -> None:
    polls: list[Poll] = [(T0 + s * SECOND, None, (1_000 + s % 977) * W) for s in range(0, 30 * 3_600, 97)]
    until = T0 + 29 * HOUR
    whole = walk_power(Trace.of(polls), [facts()], until)

    assert len(whole.anchors) >= 2
    for anchor in whole.anchors:
        rest = Trace.of([p for p in polls if p[0] >= anchor.t_ms])
        again = walk_power(rest, [facts()], until, anchor=anchor)

        assert again.rows.same(whole.rows.slice(anchor.t_ms // QUARTER * QUARTER, until))
        assert [a for a in again.anchors if a.t_ms > anchor.t_ms] == [a for a in whole.anchors if a.t_ms > anchor.t_ms]


def test_no_sample_gives_no_row() -> None:
    assert_same(powered([], 3_600), powered([], 3_600))
    assert len(powered([], 3_600).rows) == 0
