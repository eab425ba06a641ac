"""What may leave, and when a connection is not believed any more. Time is an argument."""

from __future__ import annotations

import random

import pytest

from merilo.wire import MESSAGE_MAX
from merilo_adapters.outbox import Span
from merilo_gateway.flow import BACKLOG_MAX, LIMIT_MIN, LIVE_MAX, Flow


@pytest.fixture
def flow() -> Flow:
    found = Flow(400.0, random.Random(1))
    found.connected(0.0)
    return found


def span(first: int, last: int | None = None) -> Span:
    return Span("e" * 16, first, first if last is None else last)


def test_at_most_four_backlog_messages_wait_for_an_acknowledgement(flow: Flow) -> None:
    sent = 0
    for second in range(100):
        if flow.room("backlog", float(second) / 10):
            flow.sent(span(sent), "backlog", second / 10)
            sent += 1

    assert sent == BACKLOG_MAX
    assert flow.room("live", 10.0)


def test_an_acknowledgement_makes_room_for_the_next_message(flow: Flow) -> None:
    for n in range(LIVE_MAX):
        flow.sent(span(n), "live", 0.0)
    assert not flow.room("live", 1.0)

    flow.acknowledged(span(0, 1), 1.0)

    assert flow.room("live", 1.0)
    assert [s.first for s in flow.under_way] == list(range(2, LIVE_MAX))


def test_the_backlog_keeps_its_rate_over_a_minute() -> None:
    flow = Flow(400.0, random.Random(1))
    flow.connected(0.0)
    readings = 0
    for tick in range(600):
        now = tick / 10
        while flow.room("backlog", now):
            flow.sent(span(readings, readings + 99), "backlog", now)
            flow.acknowledged(span(readings, readings + 99), now)
            readings += 100

    assert 0.95 * 24_000 <= readings <= 1.02 * 24_000


def test_rate_0_means_no_bound() -> None:
    flow = Flow(0.0, random.Random(1))
    flow.connected(0.0)
    for n in range(1000):
        assert flow.room("backlog", 0.0)
        flow.sent(span(n * 1000, n * 1000 + 999), "backlog", 0.0)
        flow.acknowledged(span(n * 1000, n * 1000 + 999), 0.0)


def test_what_is_not_acknowledged_may_go_again_after_20_seconds_with_jitter(flow: Flow) -> None:
    for n in range(4):
        flow.sent(span(n), "backlog", 0.0)

    assert flow.expire(14.9) == 0
    assert flow.expire(25.1) == 4
    assert not flow.under_way


def test_no_acknowledgement_for_30_seconds_means_that_the_connection_is_dead(flow: Flow) -> None:
    assert not flow.stuck(1000.0)  # nothing waits
    flow.sent(span(0), "live", 100.0)

    assert not flow.stuck(120.0)
    flow.expire(130.0)
    assert flow.stuck(130.1)


def test_an_acknowledgement_in_time_starts_the_30_seconds_anew(flow: Flow) -> None:
    flow.sent(span(0), "live", 0.0)
    flow.sent(span(1), "live", 0.0)
    flow.acknowledged(span(0), 20.0)

    assert not flow.stuck(40.0)
    flow.acknowledged(span(1), 41.0)
    assert not flow.stuck(1000.0)


def test_a_new_connection_sends_everything_again(flow: Flow) -> None:
    flow.sent(span(0), "live", 0.0)

    flow.lost()
    flow.connected(5.0)

    assert not flow.under_way
    assert not flow.stuck(100.0)


def test_a_broker_that_hangs_up_on_long_messages_gets_shorter_ones(flow: Flow) -> None:
    limits = []
    for n in range(8):
        flow.connected(float(n))
        flow.sent(span(n), "backlog", float(n))
        flow.lost()
        limits.append(flow.limit_bytes)

    assert limits[0] == MESSAGE_MAX // 2
    assert limits[-1] == LIMIT_MIN


def test_a_connection_that_took_something_does_not_shorten_messages(flow: Flow) -> None:
    flow.taken(flow.sent(span(0), "live", 0.0))
    flow.sent(span(1), "live", 0.0)

    flow.lost()

    assert flow.limit_bytes == MESSAGE_MAX


def test_the_brokers_own_limit_counts(flow: Flow) -> None:
    flow.connected(0.0, maximum_bytes=10_000)

    assert flow.limit_bytes == 10_000


def test_after_a_refusal_nothing_leaves_for_half_a_minute(flow: Flow) -> None:
    flow.refused(flow.sent(span(0), "live", 0.0), 0.0)

    assert not flow.room("live", 29.0)
    assert flow.room("live", 30.1)
    assert not flow.under_way


def test_without_a_subscriber_the_pauses_grow_and_an_acknowledgement_ends_that(flow: Flow) -> None:
    now, pauses = 0.0, []
    for n in range(7):
        flow.unheard(flow.sent(span(n), "live", now), now)
        waited = next(s for s in range(1, 60) if flow.room("live", now + s))
        pauses.append(waited)
        now += waited

    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    flow.acknowledged(span(0), now)
    flow.unheard(flow.sent(span(9), "live", now), now)
    assert flow.room("live", now + 1)
