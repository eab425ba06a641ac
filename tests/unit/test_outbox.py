"""The outbox on disk: numbers, acknowledgements, reserve, room, clocks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merilo.errors import OutboxError
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS
from merilo.quantities import QUANTITIES
from merilo.reading import Reading
from merilo.wire import MESSAGE_MAX, readings_from, readings_payload
from merilo_adapters.outbox import Outbox, Span
from merilo_adapters.outbox_rows import from_columns, message_bytes, to_columns

START = 1_796_083_200_000  # 2026-12-01T00:00:00Z
GAUGES = {"active_power_w": 1810.0, "voltage_l1_n_v": 231.2, "current_l1_a": 7.9, "frequency_hz": 50.01}


def cycle(number: int, devices: int = 2, *, start: int = START) -> list[Reading]:
    return [
        Reading(
            device=f"d{k}",
            at_ms=start + number * 10_000 + k,
            values={
                "active_power_w": (number * 7919 + k * 104_729) % 20_011 / 7,
                "voltage_l1_n_v": 225 + (number * 31 + k * 17) % 97 / 9,
                "current_l1_a": (number * 6547 + k * 811) % 9973 / 501,
                "frequency_hz": 50 + (number * 13 + k) % 11 / 100,
                "active_energy_import_wh": 1000.0 * k + number,
            },
        )
        for k in range(devices)
    ]


def fill(box: Outbox, cycles: int, devices: int = 2, first: int = 0) -> None:
    for number in range(first, first + cycles, 10):
        some = range(number, min(number + 10, first + cycles))
        box.append_all([(START + n * 10_000, cycle(n, devices)) for n in some])


def drain(box: Outbox) -> list[tuple[str, int, Reading]]:
    """Takes and acknowledges everything that waits."""
    found: list[tuple[str, int, Reading]] = []
    for _ in range(100_000):
        batch = box.waiting()
        if batch is None:
            return found
        found += [(batch.epoch, batch.first + n, reading) for n, reading in enumerate(batch.readings)]
        box.free(batch.epoch, batch.first, batch.last, START)
    raise AssertionError("the outbox does not become empty")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a folder: these tests are about logic, and a disk makes them slow."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="merilo-") as made:
        yield Path(made)


@pytest.fixture
def box(folder: Path) -> Iterator[Outbox]:
    found = Outbox(folder / "outbox.sqlite")
    yield found
    found.close()


class TestNumbers:
    def test_readings_are_numbered_without_holes_across_cycles_and_reopening(self, folder: Path) -> None:
        box = Outbox(folder / "o")
        firsts = [box.append(cycle(n, 3), wall_ms=START) for n in range(2)]
        epoch = box.epoch
        box.close()

        again = Outbox(folder / "o")

        assert firsts == [0, 3]
        assert (again.epoch, again.append(cycle(2, 3), wall_ms=START)) == (epoch, 6)
        assert [n for _, n, _ in drain(again)] == list(range(9))
        again.close()

    def test_a_number_is_never_given_twice_even_after_everything_was_freed_and_forgotten(self, folder: Path) -> None:
        box = Outbox(folder / "o", grace_ms=1000)
        fill(box, 5)
        drain(box)
        box.trim(START + DAY_MS)
        box.close()

        again = Outbox(folder / "o")

        assert again.append(cycle(9), wall_ms=START) == 10
        again.close()

    def test_every_new_file_has_an_epoch_of_its_own(self, folder: Path) -> None:
        epochs = set()
        for n in range(4):
            box = Outbox(folder / str(n))
            epochs.add(box.epoch)
            box.close()

        assert len(epochs) == 4
        assert all(len(e) == 16 and int(e, 16) >= 0 for e in epochs)

    def test_a_cycle_without_readings_is_refused(self, box: Outbox) -> None:
        with pytest.raises(OutboxError, match="at least one"):
            box.append([], wall_ms=START)

    def test_several_cycles_are_stored_in_one_go_with_their_own_clocks(self, box: Outbox) -> None:
        first = box.append_all([(START + n * 10_000, cycle(n)) for n in range(300)])

        assert first == 0
        assert [r for _, _, r in drain(box)] == [r for n in range(300) for r in cycle(n)]


class TestSending:
    def test_oldest_first_joins_cycles_and_newest_first_gives_the_last_cycle(self, box: Outbox) -> None:
        fill(box, 4)

        oldest, newest = box.waiting(), box.waiting(newest_first=True)

        assert oldest is not None
        assert newest is not None
        assert (oldest.first, oldest.last) == (0, 7)
        assert (newest.first, newest.last) == (6, 7)
        assert list(newest.readings) == cycle(3)

    def test_what_is_under_way_is_left_out(self, box: Outbox) -> None:
        fill(box, 4)

        batch = box.waiting(skip=[Span(box.epoch, 0, 1), Span(box.epoch, 4, 5)])

        assert batch is not None
        assert (batch.first, batch.last) == (2, 3)
        assert box.waiting(skip=[Span(box.epoch, 0, 7)]) is None

    @pytest.mark.parametrize("limit", [2_048, 16_384, MESSAGE_MAX])
    def test_no_message_is_longer_than_the_limit(self, box: Outbox, limit: int) -> None:
        fill(box, 30, devices=20)

        seen = 0
        while (batch := box.waiting(limit)) is not None:
            payload = readings_payload(batch.epoch, batch.first, batch.readings, clock=batch.clock)
            assert len(payload) <= limit
            assert batch.first == seen
            seen = batch.last + 1
            box.free(batch.epoch, batch.first, batch.last, START)

        assert seen == 600

    def test_a_reading_that_is_longer_than_the_limit_goes_alone(self, box: Outbox) -> None:
        fill(box, 2, devices=1)

        batch = box.waiting(10)

        assert batch is not None
        assert (batch.first, batch.last) == (0, 0)

    @given(values=st.dictionaries(st.sampled_from(sorted(QUANTITIES)), st.floats(0, 1e6), min_size=1, max_size=30))
    @settings(max_examples=60, deadline=None)
    def test_the_size_of_a_reading_is_never_guessed_too_small(self, values: dict[str, float]) -> None:
        readings = [Reading(device="d" * 32, at_ms=START + n, values=values) for n in range(3)]

        one, three = (len(readings_payload("0" * 16, 10**12, r)) for r in (readings[:1], readings))

        assert (three - one) / 2 <= message_bytes(readings[0])

    @given(
        cycles=st.lists(
            st.lists(
                st.tuples(
                    st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True),
                    st.dictionaries(st.sampled_from(sorted(QUANTITIES)), st.floats(-1e9, 1e9), min_size=1, max_size=4),
                ),
                min_size=1,
                max_size=4,
            ),
            min_size=1,
            max_size=6,
        )
    )
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_what_was_stored_comes_out_and_passes_the_wire(
        self, cycles: list[list[tuple[str, dict[str, float]]]]
    ) -> None:
        box = Outbox(":memory:")
        given_readings = []
        for n, found in enumerate(cycles):
            readings = [Reading(device=d, at_ms=START + n * 1000 + k, values=v) for k, (d, v) in enumerate(found)]
            box.append(readings, wall_ms=START + n * 1000)
            given_readings += readings

        batch = box.waiting()

        assert batch is not None
        assert list(batch.readings) == given_readings
        parsed = readings_from(readings_payload(batch.epoch, batch.first, batch.readings))
        assert parsed.last == batch.last
        box.close()


class TestAcknowledgements:
    def test_an_ack_frees_exactly_its_range(self, box: Outbox) -> None:
        fill(box, 5)

        freed = box.free(box.epoch, 2, 5, START)

        assert freed == 2
        assert [n for _, n, _ in drain(box)] == [0, 1, 6, 7, 8, 9]

    def test_an_ack_of_another_epoch_frees_nothing(self, box: Outbox) -> None:
        fill(box, 2)

        assert box.free("0" * 16, 0, 3, START) == 0
        assert box.stats().rows == 2

    def test_half_a_cycle_can_be_acknowledged_and_the_other_half_later(self, box: Outbox) -> None:
        fill(box, 2, devices=4)

        assert box.free(box.epoch, 0, 1, START) == 0
        left = box.waiting()
        assert left is not None
        assert (left.first, left.last) == (2, 7)
        assert box.free(box.epoch, 3, 3, START) == 0
        assert box.free(box.epoch, 2, 2, START) == 1
        assert [n for _, n, _ in drain(box)] == [4, 5, 6, 7]

    @pytest.mark.parametrize(("first", "last"), [(5, 2), (-3, -1), (10**13, 10**14), (0, 2**63 - 1)])
    def test_strange_ranges_do_no_harm(self, box: Outbox, first: int, last: int) -> None:
        fill(box, 2)

        box.free(box.epoch, first, last, START)

        assert box.append(cycle(2), wall_ms=START) == 4

    def test_a_second_ack_changes_nothing(self, box: Outbox) -> None:
        fill(box, 2)

        assert box.free(box.epoch, 0, 3, START) == 2
        assert box.free(box.epoch, 0, 3, START) == 0
        assert box.stats().reserve_rows == 2


class TestReserve:
    def test_ranges_that_a_store_forgot_wait_again(self, box: Outbox) -> None:
        fill(box, 5)
        drain(box)

        rows = box.resync(box.epoch, [(3, 4), (8, 8)])

        assert rows == 3
        assert [n for _, n, _ in drain(box)] == [2, 3, 4, 5, 8, 9]

    def test_everything_since_an_instant_or_all_waits_again(self, box: Outbox) -> None:
        fill(box, 5)
        drain(box)

        assert box.resync(since_ms=START + 30_000) == 2
        assert box.resync() == 3
        assert len(drain(box)) == 10

    def test_ranges_of_another_epoch_are_not_there(self, box: Outbox) -> None:
        fill(box, 2)
        drain(box)

        assert box.resync("0" * 16, [(0, 3)]) == 0

    def test_the_reserve_is_kept_for_the_grace_window_and_no_longer(self, folder: Path) -> None:
        box = Outbox(folder / "o", grace_ms=7 * DAY_MS)
        fill(box, 3)
        drain(box)

        assert box.trim(START + 7 * DAY_MS) == 0
        assert box.trim(START + 7 * DAY_MS + 1) == 2  # the newest row stays: it holds the number
        box.close()

    def test_what_waits_is_never_deleted_by_age(self, folder: Path) -> None:
        box = Outbox(folder / "o", grace_ms=1)
        fill(box, 3)

        box.trim(START + 3650 * DAY_MS)

        assert len(drain(box)) == 6
        box.close()


SMALL = 262_144


class TestRoom:
    def test_the_file_keeps_to_its_limit(self, folder: Path) -> None:
        box = Outbox(folder / "o", size_bytes=SMALL)

        fill(box, 1500, devices=5)

        assert (folder / "o").stat().st_size <= SMALL
        box.close()

    def test_acknowledged_rows_go_before_any_that_wait(self, folder: Path) -> None:
        box = Outbox(folder / "o", size_bytes=SMALL)
        fill(box, 300, devices=5)
        for _ in range(3):
            drain(box)
            fill(box, 300, devices=5, first=300)
        assert box.stats().reserve_rows < 900

        waiting = [r for _, _, r in drain(box)]

        assert waiting == [r for n in range(300, 600) for r in cycle(n, 5)]
        assert box.gaps() == []
        box.close()

    def test_gauges_are_thinned_to_a_quarter_of_an_hour_and_every_counter_stays(self, folder: Path) -> None:
        box = Outbox(folder / "o", size_bytes=SMALL)
        cycles = 700
        fill(box, cycles, devices=5)

        found = drain(box)

        counters = {(r.device, r.values["active_energy_import_wh"]) for _, _, r in found}
        assert counters == {(f"d{k}", 1000.0 * k + n) for k in range(5) for n in range(cycles)}
        thin = [r for _, _, r in found if "active_power_w" not in r.values]
        assert thin
        first_of_quarter = {(r.device, r.at_ms // QUARTER_MS) for _, _, r in found if r.values.keys() >= GAUGES.keys()}
        assert first_of_quarter == {
            (f"d{k}", (START + n * 10_000) // QUARTER_MS) for k in range(5) for n in range(cycles)
        }
        gaps = box.gaps()
        assert {g.reason for g in gaps} == {"gauges_thinned"}
        assert gaps[0].first == 0
        assert box.stats().evicted == 0
        box.close()

    def test_counters_are_thinned_after_all_gauges_and_the_oldest_goes_last(self, folder: Path) -> None:
        box = Outbox(folder / "o", size_bytes=SMALL // 4)
        fill(box, 5_000, devices=2)

        found = drain(box)
        reasons = {g.reason for g in box.gaps()}

        assert {"gauges_thinned", "counters_thinned"} <= reasons
        newest = [r for _, _, r in found if r.at_ms >= START + 4_990 * 10_000]
        assert newest == [r for n in range(4_990, 5_000) for r in cycle(n)]
        box.close()

    def test_every_number_that_does_not_come_lies_in_a_gap_record(self, folder: Path) -> None:
        box = Outbox(folder / "o", size_bytes=SMALL // 4)
        fill(box, 2000, devices=5)
        total = box.next_number

        seen = {n for _, n, _ in drain(box)}
        lost = set(range(total)) - seen

        assert lost
        assert box.stats().evicted == len(lost)
        ranges = [(g.first, g.last) for g in box.gaps()]
        assert all(any(low <= n <= high for low, high in ranges) for n in lost)
        box.close()

    def test_a_gap_record_is_kept_until_delivered_and_also_if_it_grew_meanwhile(self, folder: Path) -> None:
        box = Outbox(folder / "o", size_bytes=SMALL)
        fill(box, 700, devices=5)
        before = box.gaps()[0]

        fill(box, 300, devices=5, first=700)
        box.gap_delivered(before)
        after = box.gaps()

        assert after[0].last > before.last
        box.gap_delivered(after[0])
        assert after[0] not in box.gaps()
        box.close()

    def test_partly_acknowledged_rows_keep_only_what_is_left_when_they_are_thinned(self, folder: Path) -> None:
        box = Outbox(folder / "o", size_bytes=SMALL)
        fill(box, 10, devices=5)
        box.free(box.epoch, 0, 2, START)

        fill(box, 700, devices=5, first=10)

        assert [n for _, n, _ in drain(box)][:2] == [3, 4]
        box.close()


class TestClocks:
    def test_rows_of_an_unset_clock_are_held_and_stamped_once_it_is_set(self, box: Outbox) -> None:
        wrong = 5_000  # 1970
        readings = [Reading(device="d0", at_ms=wrong + 100, values=GAUGES)]
        box.append(readings, wall_ms=wrong + 200, mono_ns=60 * 10**9, boot="b1", clock="unsynced")
        assert box.waiting() is None

        held = box.stamp("b1", START, 90 * 10**9)  # 30 s later the clock is right

        batch = box.waiting()
        assert held == 1
        assert batch is not None
        assert batch.clock == "synced"
        assert batch.readings[0].at_ms == START - 30_000 - 100

    def test_two_unset_stretches_of_one_boot_are_each_corrected_by_the_monotonic_clock(self, box: Outbox) -> None:
        for mono_s, wall in ((10, 1_000), (20, 900_000)):  # the wrong clock even jumped between them
            reading = Reading(device="d0", at_ms=wall, values=GAUGES)
            box.append([reading], wall_ms=wall, mono_ns=mono_s * 10**9, boot="b1", clock="unsynced")

        box.stamp("b1", START, 30 * 10**9)

        batch = box.waiting()
        assert batch is not None
        assert [r.at_ms for r in batch.readings] == [START - 20_000, START - 10_000]

    def test_a_boot_that_never_knew_the_time_goes_out_marked_between_its_neighbours(self, box: Outbox) -> None:
        box.append(cycle(0), wall_ms=START)
        box.append([Reading(device="d0", at_ms=7, values=GAUGES)], wall_ms=8, mono_ns=0, boot="b1", clock="unsynced")
        box.append([Reading(device="d0", at_ms=START + HOUR_MS, values=GAUGES)], wall_ms=START + HOUR_MS, boot="b2")

        assert box.release("b2", START + 2 * HOUR_MS) == 1

        found = []
        while (batch := box.waiting()) is not None:
            found.append((batch.clock, batch.readings[0].at_ms))
            box.free(batch.epoch, batch.first, batch.last, START)
        assert [clock for clock, _ in found] == ["synced", "unknown", "synced"]
        assert START <= found[1][1] <= START + HOUR_MS

    def test_rows_of_the_present_boot_stay_held_unless_it_is_given_up(self, box: Outbox) -> None:
        box.append(cycle(0), wall_ms=START, boot="b1", clock="unsynced")

        assert box.release("b1", START) == 0
        assert box.waiting() is None
        assert box.release("b1", START + 1, also_this=True) == 1
        assert box.waiting() is not None


class TestRows:
    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_any_changed_byte_of_a_row_is_noticed(self, data: st.DataObject) -> None:
        box = Outbox(":memory:")
        box.append(cycle(0), wall_ms=START)
        columns = list(box._db.execute("SELECT * FROM cycles").fetchone())  # the stored row as it lies there
        box.close()
        column = data.draw(st.integers(0, 9))
        value = columns[column]
        if isinstance(value, bytes):
            at = data.draw(st.integers(0, len(value) - 1))
            columns[column] = value[:at] + bytes([value[at] ^ (1 << data.draw(st.integers(0, 7)))]) + value[at + 1 :]
        elif isinstance(value, str):
            columns[column] = value + "x"
        else:
            columns[column] = value ^ (1 << data.draw(st.integers(0, 40)))

        with pytest.raises(OutboxError):
            from_columns(columns)

    def test_a_row_survives_its_columns(self, box: Outbox) -> None:
        box.append(cycle(3, 5), wall_ms=START, mono_ns=12, boot="b", clock="synced")

        row = from_columns(box._db.execute("SELECT * FROM cycles").fetchone())

        assert from_columns(to_columns(row)) == row
        assert [r for _, r in row.readings] == cycle(3, 5)


class TestDamage:
    def test_a_damaged_row_is_set_aside_and_the_others_are_delivered(self, folder: Path) -> None:
        box = Outbox(folder / "o")
        fill(box, 3)
        box._db.execute("UPDATE cycles SET body = zeroblob(100) WHERE id = (SELECT min(id) + 2 FROM cycles)")

        numbers = [n for _, n, _ in drain(box)]

        assert numbers == [0, 1, 4, 5]
        assert [(g.first, g.last, g.reason) for g in box.gaps()] == [(2, 3, "damaged")]
        box.close()

    def test_numbering_goes_on_in_a_new_epoch_when_the_last_row_is_damaged(self, folder: Path) -> None:
        box = Outbox(folder / "o")
        fill(box, 3)
        epoch = box.epoch
        box._db.execute("UPDATE cycles SET crc = crc + 1 WHERE id = (SELECT max(id) FROM cycles)")
        box.close()

        again = Outbox(folder / "o")

        assert again.epoch != epoch
        assert again.append(cycle(3), wall_ms=START) == 0
        assert [(e == epoch, n) for e, n, _ in drain(again)] == [
            (True, 0),
            (True, 1),
            (True, 2),
            (True, 3),
            (False, 0),
            (False, 1),
        ]
        assert again.findings
        again.close()

    def test_a_file_that_is_no_database_is_set_aside_and_the_start_succeeds(self, folder: Path) -> None:
        path = folder / "o"
        path.write_bytes(b"this is not a database, it is a letter to my aunt" * 100)

        box = Outbox(path)

        assert box.append(cycle(0), wall_ms=START) == 0
        assert (folder / "o.damaged-1").exists()
        assert "damaged" in box.findings[0]
        box.close()

    def test_a_folder_that_cannot_be_made_is_said_with_its_path(self, folder: Path) -> None:
        (folder / "file").write_text("")

        with pytest.raises(OutboxError, match="file"):
            Outbox(folder / "file" / "o")
