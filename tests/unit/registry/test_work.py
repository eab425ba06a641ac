"""Work tables: nothing that was touched, received or counted is lost or counted twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo.ids import DeviceKey, GatewayKey, RegisterKey
from merilo.instants import DAY_MS
from merilo_adapters.registry import Work
from merilo_adapters.registry import work as work_module
from merilo_adapters.registry.work import Checkpoint, DeadLetter, WorkBatch, merged

KEY = RegisterKey("acme", "hq", "gw1", "main", "*")
GATEWAY = GatewayKey("acme", "hq", "gw1")
EPOCH = "0123456789abcdef"


def touched(first_ms: int, last_ms: int, key: RegisterKey = KEY) -> WorkBatch:
    batch = WorkBatch()
    batch.touch(key, first_ms, last_ms)
    return batch


def received(*ranges: tuple[int, int]) -> WorkBatch:
    batch = WorkBatch()
    batch.received.extend((GATEWAY, EPOCH, first, last) for first, last in ranges)
    return batch


def dead(count: int, reason: str = "not_json") -> WorkBatch:
    batch = WorkBatch()
    batch.dead.extend(DeadLetter(n, "merilo/v1/x", reason, "detail", b"\x00\xff", GATEWAY, n) for n in range(count))
    return batch


def test_touched_work_is_widened_to_both_sides(work: Work) -> None:
    work.commit(touched(500, 600))
    work.commit(touched(100, 200))
    work.commit(touched(900, 950))

    [found] = work.pending(10)

    assert found[:3] == (KEY, 100, 950)


def test_what_is_touched_while_work_is_under_way_is_work_of_its_own(work: Work) -> None:
    work.touch(KEY, 1, 2)
    [taken] = work.take([KEY])
    work.commit(touched(3, 4))

    work.finished([KEY])

    assert taken[:3] == (KEY, 1, 2)
    assert [found[:3] for found in work.pending(10)] == [(KEY, 3, 4)]


def test_work_that_a_crashed_pass_had_taken_waits_again_with_what_came_since(work: Work) -> None:
    work.touch(KEY, 100, 200)
    work.take([KEY])
    work.touch(KEY, 50, 60)

    [found] = work.pending(10)

    assert found[:3] == (KEY, 50, 200)
    assert work.take([KEY]) == [found]
    work.finished([KEY])
    assert work.pending(10) == []


def test_finished_work_is_gone_and_taking_nothing_gives_nothing(work: Work) -> None:
    work.touch(KEY, 1, 2)
    work.take([KEY])
    work.finished([KEY])

    assert work.take([KEY]) == []
    assert work.pending_count() == 0


def test_pending_gives_at_most_as_many_as_asked(work: Work) -> None:
    batch = WorkBatch()
    for number in range(5):
        batch.touch(RegisterKey("acme", "hq", "gw1", f"d{number}", "*"), 0, 1)
    work.commit(batch)

    assert [found.key.device for found in work.pending(3)] == ["d0", "d1", "d2"]


def test_received_numbers_in_order_stay_one_range(work: Work) -> None:
    for first in range(0, 1000, 20):
        work.commit(received((first, first + 19)))

    assert work.received(GATEWAY, EPOCH) == [(0, 999)]
    assert work._database.scalar("SELECT count(*) FROM work_received") == 1


def test_a_resent_range_changes_nothing(work: Work) -> None:
    work.commit(received((0, 99)))
    work.commit(received((10, 19), (0, 99)))

    assert work.received(GATEWAY, EPOCH) == [(0, 99)]


def test_live_numbers_before_the_backlog_leave_a_hole_until_it_comes(work: Work) -> None:
    work.commit(received((0, 9)))
    work.commit(received((100, 109)))
    assert work.received(GATEWAY, EPOCH) == [(0, 9), (100, 109)]

    work.commit(received((10, 59)))
    work.commit(received((60, 99)))

    assert work.received(GATEWAY, EPOCH) == [(0, 109)]


def test_epochs_are_apart(work: Work) -> None:
    work.commit(received((0, 9)))

    assert work.received(GATEWAY, "f" * 16) == []
    assert work.epochs(GATEWAY) == [EPOCH]


def test_any_order_and_repetition_of_ranges_gives_the_same_numbers(work: Work) -> None:
    random = Random(7)
    for history in range(8):
        epoch = f"{history:016x}"
        pieces = [(first, first + random.randrange(1, 9)) for first in random.sample(range(200), 30)]
        for piece in [*pieces, *random.sample(pieces, 10)]:
            batch = WorkBatch()
            batch.received.append((GATEWAY, epoch, *piece))
            work.commit(batch)
        numbers = {number for first, last in pieces for number in range(first, last + 1)}
        assert {n for first, last in work.received(GATEWAY, epoch) for n in range(first, last + 1)} == numbers


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))))
def test_merged_ranges_hold_the_same_numbers_apart(ranges: list[tuple[int, int]]) -> None:
    found = merged(ranges)

    assert {n for a, b in found for n in range(a, b + 1)} == {n for a, b in ranges for n in range(a, b + 1)}
    assert all(left[1] + 1 < right[0] for left, right in pairwise(found))


def test_dead_letters_keep_bytes_reason_and_number_and_are_taken_once(work: Work) -> None:
    work.commit(dead(3))

    letters = work.dead_letters(company="acme", reason="not_json")
    assert [letter.at_ms for letter in letters] == [2, 1, 0]
    assert letters[0].payload == b"\x00\xff"
    assert letters[0].gateway == GATEWAY

    taken = work.take_dead([letters[2].number, letters[0].number, 999])
    assert [letter.at_ms for letter in taken] == [0, 2]
    assert [letter.at_ms for letter in work.dead_letters()] == [1]
    assert work.dead_letters(reason="future") == []
    assert work.take_dead([letters[0].number]) == []


def test_a_flood_of_dead_letters_keeps_the_newest_only(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "DEAD_MAX", 50)
    monkeypatch.setattr(work_module, "TRIM_EVERY", 10)

    work.commit(dead(45))
    work.commit(dead(45))

    kept = work.dead_letters(limit=1000)
    assert len(kept) == 50
    assert [letter.at_ms for letter in kept[:2]] == [44, 43]


def test_checksums_add_up_modulo_two_to_the_64(work: Work) -> None:
    device = DeviceKey("acme", "hq", "gw1", "main")
    for checksum in (2**64 - 1, 2**64 - 1, 2**63, 5):
        batch = WorkBatch()
        batch.add_sum(device, DAY_MS, 1, checksum)
        work.commit(batch)

    [found] = work.day_sums("acme", 0, 2 * DAY_MS)

    assert (found.device, found.day_ms, found.count) == (device, DAY_MS, 4)
    assert found.checksum == (2 * (2**64 - 1) + 2**63 + 5) % 2**64
    assert work.day_sums("acme", 0, DAY_MS) == []
    assert work.day_sums("other", 0, 2 * DAY_MS) == []


def test_a_day_can_be_set_to_what_the_store_holds(work: Work) -> None:
    device = DeviceKey("acme", "hq", "gw1", "main")
    batch = WorkBatch()
    batch.add_sum(device, 0, 7, 123)
    work.commit(batch)

    work.set_day_sum(device, 0, 3, 2**64 - 2)

    assert [(s.count, s.checksum) for s in work.day_sums("acme", 0, 1)] == [(3, 2**64 - 2)]


def test_counters_add_up_by_scope_and_name(work: Work) -> None:
    for _ in range(2):
        batch = WorkBatch()
        batch.count("acme/hq/gw1", "late", 2)
        batch.count("acme/hq/gw1", "late", 1)
        batch.count("acme/h_/gw1", "late", 1)
        work.commit(batch)

    assert work.counters("acme/hq") == {("acme/hq/gw1", "late"): 6}
    assert work.counters("acme/h_") == {("acme/h_/gw1", "late"): 2}


def test_a_batch_that_cannot_be_stored_leaves_nothing(work: Work) -> None:
    batch = touched(1, 2)
    batch.dead.append(DeadLetter(1, "t", None, "d", b""))  # type: ignore[arg-type]  # a column that must not be empty

    with pytest.raises(Exception, match="refuses"):
        work.commit(batch)

    assert work.pending(1) == []


def day(t_ms: int, v_ms: int | None = None, blob: bytes = b"x") -> Checkpoint:
    return Checkpoint("day", t_ms, t_ms if v_ms is None else v_ms, blob)


def test_checkpoints_of_a_stretch_are_replaced_and_those_outside_stay(work: Work) -> None:
    work.put_checkpoints(KEY, 0, 1000, [day(100), day(200), day(300)], Checkpoint("head", 350, 350, b"h1"))

    work.put_checkpoints(KEY, 100, 200, [day(150, blob=b"y")], None)

    assert [(p.t_ms, p.blob) for p in work.day_checkpoints(KEY, 0, 1000)] == [(100, b"x"), (150, b"y"), (300, b"x")]
    assert work.head(KEY) == Checkpoint("head", 350, 350, b"h1")


def test_a_new_head_replaces_the_old_one(work: Work) -> None:
    work.put_checkpoints(KEY, 0, 10, [], Checkpoint("head", 350, 350, b"h1"))
    work.put_checkpoints(KEY, 0, 10, [], Checkpoint("head", 340, 360, b"h2"))

    assert work.head(KEY) == Checkpoint("head", 340, 360, b"h2")


def test_the_newest_checkpoint_before_is_certain_before_and_not_too_late(work: Work) -> None:
    work.put_checkpoints(KEY, 0, 999, [day(100), day(200, 900), day(300)], Checkpoint("head", 400, 400, b"h"))

    assert work.newest_before(KEY, 1000, 1000) == Checkpoint("head", 400, 400, b"h")
    assert work.newest_before(KEY, 400, 1000) == day(300)
    assert work.newest_before(KEY, 300, 1000) == day(100)
    assert work.newest_before(KEY, 901, 299) == day(200, 900)
    assert work.newest_before(KEY, 100, 1000) is None


def test_both_ends_of_a_stretch_of_checkpoints_count(work: Work) -> None:
    work.put_checkpoints(KEY, 0, 999, [day(100), day(200)], None)

    assert [p.t_ms for p in work.day_checkpoints(KEY, 100, 200)] == [100, 200]
    work.drop_checkpoints(KEY)
    assert work.day_checkpoints(KEY, 0, 999) == []
    assert work.head(KEY) is None


def best_of(times: int, action: Callable[[], object]) -> float:
    """The shortest of some runs [s of processor time]: what the code costs, however busy the machine is."""
    found = []
    for _ in range(times):
        start = time.process_time()
        action()
        found.append(time.process_time() - start)
    return min(found)


def test_a_batch_of_a_thousand_devices_is_committed_within_its_budget(work: Work, url: str) -> None:
    batch = WorkBatch()
    for number in range(1000):
        batch.touch(RegisterKey("acme", f"s{number % 50}", f"gw{number % 50}", f"d{number}", "*"), 0, 1)

    assert best_of(5, lambda: work.commit(batch)) < (0.015 if url.startswith("sqlite") else 0.5)
