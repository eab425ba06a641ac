"""Anchors: where a walk can be taken up again, and from when on that is certain."""

from __future__ import annotations

from merilo.ledger import Anchor, Walk

from .scenes import DAY, HOUR, KW, KWH, MINUTE, QUARTER, T0, both, changed, facts, steady
from .truth import Poll

WRAP = 10_000 * KWH


def wrapping(wraps_at_ms: int, end_ms: int, every_ms: int = QUARTER) -> list[Poll]:
    """6 kW whose register reaches its modulus at that instant."""
    first = WRAP - 6 * KWH * (wraps_at_ms - T0) // HOUR
    polls = steady(T0, end_ms, every_ms, first, 6 * KW)
    return [(at, shown % WRAP, power) for at, shown, power in polls if shown is not None]


def wrapped(polls: list[Poll], until_ms: int) -> Walk:
    """Walk them with a known modulus."""
    return both(polls, facts(poll_interval_ms=QUARTER, rollover_mwh=WRAP), until_ms)


def at(walked: Walk, t_ms: int) -> Anchor:
    """The anchor at that instant."""
    found = [anchor for anchor in walked.anchors if anchor.t_ms == t_ms]
    assert found, [(anchor.t_ms - T0) / HOUR for anchor in walked.anchors]
    return found[0]


def test_a_day_s_first_level_and_the_newest_level_are_the_anchors_of_a_calm_register() -> None:
    walked = both(steady(T0, T0 + DAY + 2 * HOUR, MINUTE, 0, 6 * KW), facts(), T0 + DAY + 2 * HOUR)

    assert at(walked, T0 + DAY).v_ms == T0 + DAY
    assert walked.anchors[-1] == walked.head
    assert walked.head is not None
    assert walked.head.t_ms == walked.head.v_ms == T0 + DAY + 2 * HOUR
    assert {anchor.t_ms for anchor in walked.anchors} <= {T0, T0 + DAY, T0 + DAY + 2 * HOUR}


def test_an_anchor_is_a_level_not_the_last_poll_that_saw_it() -> None:
    polls = [*steady(T0, T0 + HOUR, MINUTE, 0, 6 * KW), *steady(T0 + HOUR, T0 + 2 * HOUR, MINUTE, 6 * KWH, 0)[1:]]

    walked = both(polls, facts(), T0 + 2 * HOUR)

    assert walked.head is not None
    assert walked.head.t_ms == T0 + HOUR


def test_after_a_rollover_nothing_is_certain_for_a_day() -> None:
    walked = wrapped(wrapping(T0 + 10 * HOUR, T0 + 20 * HOUR), T0 + 20 * HOUR)

    # A return before 10:00 of the next day would still undo it: the head waits at the level before.
    assert walked.head is not None
    assert walked.head.t_ms == walked.head.v_ms == T0 + 10 * HOUR - QUARTER


def test_a_day_s_first_anchor_after_a_rollover_is_certain_a_day_after_the_rollover() -> None:
    walked = wrapped(wrapping(T0 + 23 * HOUR, T0 + 3 * DAY), T0 + 3 * DAY)

    assert at(walked, T0 + DAY).v_ms == T0 + 23 * HOUR + DAY
    assert at(walked, T0 + 2 * DAY).v_ms == T0 + 2 * DAY
    assert walked.head is not None
    assert walked.head.t_ms == walked.head.v_ms == T0 + 3 * DAY


def test_a_reading_of_power_alone_passes_the_time_that_makes_a_level_certain() -> None:
    polls = wrapping(T0 + 10 * HOUR, T0 + 12 * HOUR)
    wrap_ms = T0 + 10 * HOUR
    early = wrapped([*polls, (wrap_ms + DAY - 1, None, 6 * KW)], T0 + 12 * HOUR)
    late = wrapped([*polls, (wrap_ms + DAY, None, 6 * KW)], T0 + 12 * HOUR)

    assert early.head is not None
    assert early.head.t_ms == wrap_ms - QUARTER
    assert late.head is not None
    assert (late.head.t_ms, late.head.v_ms) == (T0 + 12 * HOUR, wrap_ms + DAY)


def test_after_a_return_the_level_is_certain_at_once() -> None:
    polls = changed(steady(T0, T0 + 2 * HOUR, MINUTE, 500 * KWH, 6 * KW), T0 + HOUR, T0 + HOUR + 1, lambda r: 10 * r)

    walked = both(polls, facts(), T0 + 2 * HOUR)

    assert walked.head is not None
    assert walked.head.t_ms == walked.head.v_ms == T0 + 2 * HOUR


def test_while_a_break_is_undecided_the_head_waits_at_the_level_before_it() -> None:
    polls = steady(T0, T0 + HOUR, MINUTE, 500 * KWH, 6 * KW)
    polls += [(T0 + HOUR + MINUTE, 900 * KWH, None), (T0 + HOUR + 2 * MINUTE, 900 * KWH, None)]

    walked = both(polls, facts(), T0 + HOUR)

    assert walked.head is not None
    assert walked.head.t_ms == T0 + HOUR
