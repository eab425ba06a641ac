"""What an InfluxDB server's answers mean, with bodies as 1.6.7, 1.13 and 2.8 send them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.errors import StoreError, StoreRefusedError, StoreUnavailableError
from merilo_adapters.influx_answers import Answer, LineWriter, answer_of, error_of, error_of_text, outcome

PARTIAL = '{"error":"partial write: points beyond retention policy dropped=2"}\n'


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (204, "", "done"),
        (200, '{"results":[]}', "done"),
        (400, PARTIAL, "bad"),
        (400, '{"code":"invalid","message":"unable to parse \'m a=\': missing field value"}', "bad"),
        (422, '{"code":"unprocessable entity","message":"failure writing points: dropped=1"}', "bad"),
        (413, '{"error":"Request Entity Too Large"}', "big"),
    ],
)
def test_an_answer_that_leaves_something_to_do_says_what(status: int, body: str, expected: str) -> None:
    assert outcome("write", answer_of(status, body, {})) == expected


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, '{"code":"unauthorized","message":"unauthorized access"}', StoreRefusedError),
        (403, '{"code":"forbidden","message":"insufficient permissions for write"}', StoreRefusedError),
        (404, '{"code":"not found","message":"no dbrp mapping found"}', StoreRefusedError),
        (404, '{"error":"database not found: \\"merilo-zz\\""}', StoreRefusedError),
        (500, '{"error":"retention policy not found: nope"}', StoreRefusedError),
        (405, "", StoreRefusedError),
        (302, "<html>Sign in</html>", StoreRefusedError),
        (429, "", StoreUnavailableError),
        (500, '{"error":"timeout"}', StoreUnavailableError),
        (500, '{"code":"internal error","message":"engine is closed"}', StoreUnavailableError),
        (502, "<html>Bad Gateway</html>", StoreUnavailableError),
        (503, '{"error":"service unavailable"}', StoreUnavailableError),
        (504, "", StoreUnavailableError),
        (200, '{"error":"database not found: merilo-zz"}', StoreRefusedError),
    ],
)
def test_an_answer_that_fails_the_request_names_who_can_cure_it(status: int, body: str, kind: type[StoreError]) -> None:
    with pytest.raises(kind, match="write of readings"):
        outcome("write of readings", answer_of(status, body, {}))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("database not found: merilo-beta", StoreRefusedError),
        ("retention policy not found: raw", StoreRefusedError),
        ("default retention policy not set for: merilo-acme", StoreRefusedError),
        ("insufficient permissions", StoreRefusedError),
        ("error authorizing query: user not authorized to execute statement", StoreRefusedError),
        ("error parsing query: found FOO, expected SELECT", StoreRefusedError),
        ("query timeout", StoreUnavailableError),
        ("max-concurrent-queries limit exceeded(1, 1)", StoreUnavailableError),
        ("query interrupted", StoreUnavailableError),
        ("engine is closed", StoreUnavailableError),
    ],
)
def test_an_error_inside_a_success_is_told_by_its_text(text: str, kind: type[StoreError]) -> None:
    assert type(error_of_text("query", text)) is kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "86400"}, 600.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 25 Nov 2026 02:20:03 GMT", "Date": "Wed, 25 Nov 2026 02:19:03 GMT"}, 60.0),
        ({"Retry-After": "Wed, 25 Nov 2026 02:20:03 GMT"}, None),
        ({}, None),
    ],
)
def test_the_pause_that_a_server_asks_for_is_passed_on_up_to_ten_minutes(
    headers: dict[str, str], seconds: float | None
) -> None:
    error = error_of("write", answer_of(503, "", headers))

    assert isinstance(error, StoreUnavailableError)
    assert error.retry_after_s == seconds


@settings(max_examples=40)
@given(st.integers(100, 599), st.binary(max_size=200), st.text(max_size=30))
def test_any_answer_is_done_work_left_or_one_of_our_errors(status: int, body: bytes, wish: str) -> None:
    answer = answer_of(status, body, {"Retry-After": wish})
    try:
        result = outcome("write", answer)
    except StoreError:
        return

    assert result in ("done", "bad", "big")


class Door:
    """Takes lines like a server of one generation: refuses some of them, and counts requests."""

    def __init__(self, bad: set[bytes], *, generation: int, counts: bool, limit: int = 10**9) -> None:
        self.bad = bad
        self.generation = generation
        self.counts = counts
        self.limit = limit
        self.stored: set[bytes] = set()
        self.requests = 0

    def send(self, lines: Sequence[bytes]) -> Answer:
        self.requests += 1
        if len(lines) > self.limit:
            return Answer(413, "Request Entity Too Large")
        refused = [line for line in lines if line in self.bad]
        if not refused:
            self.stored.update(lines)
            return Answer(204, "")
        if self.generation == 1 or self.counts:
            self.stored.update(set(lines) - self.bad)
        dropped = f" dropped={len(refused)}" if self.counts else ""
        return Answer(422 if self.generation == 2 and self.counts else 400, f"cannot take {refused[0]!r}{dropped}")


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("counts", [True, False])
@given(size=st.integers(1, 70), data=st.data())
def test_all_good_lines_are_stored_and_each_bad_one_comes_back_with_its_own_reason(
    generation: int, counts: bool, size: int, data: st.DataObject
) -> None:
    bad = data.draw(st.sets(st.integers(0, size - 1)))
    lines = [b"line %d" % i for i in range(size)]
    door = Door({lines[i] for i in bad}, generation=generation, counts=counts)

    rejected = LineWriter("write", door.send).write(lines, first=100)

    assert [r.position - 100 for r in rejected] == sorted(bad)
    assert door.stored == set(lines) - door.bad
    if not counts:
        assert all(repr(lines[r.position - 100]) in r.reason for r in rejected)


@pytest.mark.parametrize("position", [0, 1, 2_500, 4_998, 4_999])
def test_one_bad_line_of_5000_is_found_with_two_requests_a_level_at_most(position: int) -> None:
    lines = [b"%d" % i for i in range(5_000)]
    door = Door({lines[position]}, generation=2, counts=False)

    rejected = LineWriter("write", door.send).write(lines)

    assert [r.position for r in rejected] == [position]
    assert door.requests <= 1 + 2 * math.ceil(math.log2(5_000))


def test_a_batch_that_is_refused_as_a_whole_costs_one_request() -> None:
    lines = [b"%d" % i for i in range(5_000)]
    door = Door(set(lines), generation=2, counts=True)

    assert len(LineWriter("write", door.send).write(lines)) == 5_000
    assert door.requests == 1


def test_a_body_that_is_too_big_is_halved_until_it_fits() -> None:
    lines = [b"%d" % i for i in range(1_000)]
    door = Door(set(), generation=1, counts=True, limit=100)

    assert LineWriter("write", door.send).write(lines) == []
    assert door.stored == set(lines)


def test_one_line_that_is_too_big_alone_comes_back() -> None:
    door = Door(set(), generation=1, counts=True, limit=0)

    rejected = LineWriter("write", door.send).write([b"huge"])

    assert [r.position for r in rejected] == [0]
    assert "Too Large" in rejected[0].reason
