"""Block plans: against tables computed by another program, and against every possible partition of small maps."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo.bustime import Line, SerialLine, TcpLine, read_ms
from merilo.readplan import ADDRESS_MAX, WORDS_MAX, Block, Holes, Range, ReadRules, Span, UnreadableError, cost_ms, plan

CASES = Path(__file__).parents[1] / "cases" / "plans"
LINE = SerialLine(baud=9600, response_ms=40)

# The 52 values that mbmd reads of an SDM630: float32 input registers.
SDM630 = [
    Span(4, address, 2)
    for address in (*range(0, 35, 2), 52, 56, 60, 62, 66, *range(70, 79, 2), 234, 236, 238, 248, *range(342, 381, 2))
]
SDM630_CORE = [Span(4, a, 2) for a in (*range(0, 18, 2), 30, 32, 34, 52, 56, 60, 62, 70, 72, 74)]


def _maps() -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    with (CASES / "maps.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            span = Span(int(row["function"]), int(row["address"]), int(row["words"]))
            found.setdefault(row["map"], []).append(span)
    return found


def _expected() -> list[dict[str, str]]:
    with (CASES / "expected.csv").open(newline="") as file:
        return list(csv.DictReader(file))


MAPS = _maps()


@pytest.mark.parametrize("row", _expected(), ids=lambda row: row["map"])
def test_plans_of_public_maps_need_no_more_reads_and_no_more_time_than_the_table(row: dict[str, str]) -> None:
    spans = MAPS[row["map"]]
    limit = int(row["max_words"])

    assert len(spans) == int(row["registers"])
    assert cost_ms([Block(*span[:3]) for span in spans], LINE) == pytest.approx(float(row["single_ms"]), abs=0.51)
    holes: tuple[Holes, Holes] = ("strict", "free")
    for policy in holes:
        blocks = plan(spans, ReadRules(max_words=limit, holes=policy), LINE)
        assert len(blocks) == int(row[f"{policy}_reads"]), policy
        assert cost_ms(blocks, LINE) == pytest.approx(float(row[f"{policy}_ms"]), abs=0.51), policy


@pytest.mark.parametrize(("baud", "single", "contiguous", "best"), [(9600, 3190, 731, 455), (19_200, 2635, 546, 287),
                                                                    (38_400, 2401, 460, 206)])  # fmt: skip
def test_52_values_of_an_sdm630_come_in_three_reads(baud: int, single: float, contiguous: float, best: float) -> None:
    line = SerialLine(baud=baud, response_ms=40)
    even = ReadRules(max_words=80, start_multiple=2, count_multiple=2, holes="free")

    blocks = plan(SDM630, even, line)

    assert len(SDM630) == 52
    assert cost_ms([Block(*span[:3]) for span in SDM630], line) == pytest.approx(single, abs=0.51)
    strict = plan(SDM630, ReadRules(max_words=80), line)
    assert len(strict) == 9
    assert cost_ms(strict, line) == pytest.approx(contiguous, abs=0.51)
    assert blocks == (Block(4, 0, 80), Block(4, 234, 16), Block(4, 342, 40))
    assert cost_ms(blocks, line) == pytest.approx(best, abs=0.51)


@pytest.mark.parametrize(("baud", "expected"), [(9600, 216), (19_200, 128), (38_400, 85)])
def test_the_core_of_an_sdm630_is_one_read_of_76_words(baud: int, expected: float) -> None:
    line = SerialLine(baud=baud, response_ms=40)

    blocks = plan(SDM630_CORE, ReadRules(max_words=80, holes="free"), line)

    assert blocks == (Block(4, 0, 76),)
    assert cost_ms(blocks, line) == pytest.approx(expected, abs=0.51)


@pytest.mark.parametrize(
    ("baud", "response_ms", "words"),  # words that cost as much as a second request
    [(2400, 20, 10.7), (9600, 5, 10.7), (9600, 40, 27.5), (19_200, 40, 46.6), (38_400, 10, 29.1), (115_200, 10, 74)],
)
def test_a_hole_is_read_through_only_while_that_is_cheaper(baud: int, response_ms: float, words: float) -> None:
    line = SerialLine(baud=baud, response_ms=response_ms)
    free = ReadRules(holes="free")
    below, above = math.ceil(words) - 1, math.ceil(words + 0.1)

    assert len(plan([Span(3, 0, 2), Span(3, 2 + below, 2)], free, line)) == 1
    assert len(plan([Span(3, 0, 2), Span(3, 2 + above, 2)], free, line)) == 2


def test_functions_are_planned_apart_and_equal_spans_once() -> None:
    spans = [Span(4, 0, 2), Span(3, 0, 2), Span(4, 2, 2), Span(4, 0, 2)]

    assert plan(spans, ReadRules(), LINE) == (Block(3, 0, 2), Block(4, 0, 4))
    assert plan([], ReadRules(), LINE) == ()


def test_a_register_that_must_be_read_alone_never_shares_a_block() -> None:
    spans = [Span(4, 10, 2), Span(4, 11, 1, alone=True), Span(4, 12, 2)]
    rules = ReadRules(holes="free", start_multiple=2, count_multiple=2)

    assert plan(spans, rules, LINE) == (Block(4, 10, 4), Block(4, 11, 1))


def test_the_word_limit_holds_at_the_limit_and_one_past_it() -> None:
    spans = [Span(3, n, 1) for n in range(20)]

    assert len(plan(spans, ReadRules(max_words=20), LINE)) == 1
    assert len(plan(spans, ReadRules(max_words=19), LINE)) == 2
    assert plan([Span(3, 0, 4)], ReadRules(max_words=4), LINE) == (Block(3, 0, 4),)
    with pytest.raises(UnreadableError, match=r"function 3 address 0\.\.3.*at most 3"):
        plan([Span(3, 0, 4)], ReadRules(max_words=3), LINE)
    assert plan([Span(3, 0, 4, alone=True)], ReadRules(max_words=4), LINE) == (Block(3, 0, 4),)
    with pytest.raises(UnreadableError):
        plan([Span(3, 0, 4, alone=True)], ReadRules(max_words=3), LINE)


def test_starts_and_counts_are_widened_to_the_device_s_multiples() -> None:
    assert plan([Span(4, 7, 2)], ReadRules(start_multiple=2, count_multiple=2), LINE) == (Block(4, 6, 4),)
    assert plan([Span(4, 7, 1)], ReadRules(start_multiple=4, count_multiple=1), LINE) == (Block(4, 4, 4),)


def test_at_the_end_of_the_address_space_a_block_is_widened_downwards() -> None:
    rules = ReadRules(count_multiple=4)

    assert plan([Span(4, ADDRESS_MAX - 3, 4)], rules, LINE) == (Block(4, ADDRESS_MAX - 3, 4),)
    assert plan([Span(4, ADDRESS_MAX - 1, 2)], rules, LINE) == (Block(4, ADDRESS_MAX - 3, 4),)
    assert plan([Span(4, ADDRESS_MAX, 1)], ReadRules(), LINE) == (Block(4, ADDRESS_MAX, 1),)
    with pytest.raises(UnreadableError):
        plan([Span(4, ADDRESS_MAX, 2)], ReadRules(), LINE)


def test_a_device_that_can_only_start_at_0_and_ends_early_is_unreadable() -> None:
    for rules in (ReadRules(count_multiple=4, forbidden=(Range(1, 3),)),
                  ReadRules(count_multiple=2, forbidden=(Range(1, 1),))):  # fmt: skip
        with pytest.raises(UnreadableError):
            plan([Span(4, 0, 1)], rules, LINE)


def test_listed_holes_are_crossed_inside_one_range_and_function_only() -> None:
    spans = [Span(4, 0, 2), Span(4, 4, 2), Span(4, 8, 2), Span(3, 0, 2), Span(3, 4, 2)]
    rules = ReadRules(holes="listed", readable=(Range(2, 5, 4), Range(0, 5, 2)))

    assert plan(spans, rules, LINE) == (Block(3, 0, 2), Block(3, 4, 2), Block(4, 0, 6), Block(4, 8, 2))


def test_a_range_counts_both_ends() -> None:
    spans = [Span(4, 0, 2), Span(4, 4, 2)]

    assert len(plan(spans, ReadRules(holes="listed", readable=(Range(2, 3),)), LINE)) == 1
    assert len(plan(spans, ReadRules(holes="listed", readable=(Range(2, 2),)), LINE)) == 2
    assert len(plan(spans, ReadRules(holes="free", forbidden=(Range(3, 3),)), LINE)) == 2
    assert len(plan(spans, ReadRules(holes="free", forbidden=(Range(6, 9),)), LINE)) == 1
    assert len(plan(spans, ReadRules(holes="free", forbidden=(Range(3, 3, 3),)), LINE)) == 1


def test_a_forbidden_range_over_a_register_is_an_error() -> None:
    with pytest.raises(UnreadableError, match="forbidden"):
        plan([Span(4, 0, 2)], ReadRules(forbidden=(Range(1, 1),)), LINE)
    with pytest.raises(UnreadableError):
        plan([Span(4, 0, 2, alone=True)], ReadRules(forbidden=(Range(1, 1),)), LINE)


def test_a_barrier_parts_registers_that_touch() -> None:
    spans = [Span(4, 0, 2), Span(4, 2, 2)]

    assert len(plan(spans, ReadRules(barriers=(Range(2, 2),)), LINE)) == 2
    assert len(plan(spans, ReadRules(barriers=(Range(2, 2, 3),)), LINE)) == 1
    assert len(plan(spans, ReadRules(barriers=(Range(4, 4),)), LINE)) == 1
    assert len(plan([spans[0]], ReadRules(barriers=(Range(2, 2),), count_multiple=2), LINE)) == 1
    with pytest.raises(UnreadableError):
        plan([spans[0]], ReadRules(barriers=(Range(1, 1),)), LINE)


def test_registers_that_overlap_share_a_read() -> None:
    spans = [Span(4, 0, 8), Span(4, 2, 2), Span(4, 6, 4)]

    assert plan(spans, ReadRules(), LINE) == (Block(4, 0, 10),)


def test_neighbours_differ_in_length_where_that_costs_nothing() -> None:
    spans = [Span(4, n, 1) for n in range(8)]

    blocks = plan(spans, ReadRules(max_words=4 + 1), LINE)  # 4 + 4 and 5 + 3 cost the same

    assert len(blocks) == 2
    assert blocks[0].count != blocks[1].count


@pytest.mark.parametrize("forced", [1, 2, 3, 4, 5])
def test_a_block_of_forced_length_makes_its_neighbours_differ(forced: int) -> None:
    eight = [Span(4, n, 1) for n in range(100, 108)]  # 3 + 5, 4 + 4 and 5 + 3 cost the same
    before = [Span(4, 100 - forced, forced)]
    after = [Span(4, 108, forced)]
    rules = ReadRules(max_words=5, barriers=(Range(100, 100), Range(108, 108)))

    for spans in (before + eight, eight + after, before + eight + after):
        counts = [block.count for block in plan(spans, rules, LINE)]
        wanted = 1 if (forced in (3, 5) and len(counts) == 4) else 0  # 3 + 5 between two of 3 or of 5
        assert sum(one == other for one, other in itertools.pairwise(counts)) == wanted, counts


def test_three_equal_costing_blocks_alternate_in_length() -> None:
    spans = [Span(4, n, 1) for n in range(12)]

    blocks = plan(spans, ReadRules(max_words=5), LINE)

    assert len(blocks) == 3
    assert all(one.count != other.count for one, other in itertools.pairwise(blocks))


def test_of_two_plans_that_cost_the_same_the_one_with_fewer_reads_is_taken() -> None:
    free_requests = TcpLine(round_trip_ms=0, word_us=1)

    assert plan([Span(4, n, 1) for n in range(8)], ReadRules(), free_requests) == (Block(4, 0, 8),)


@pytest.mark.parametrize("words", [0, 126])
def test_word_limits_that_the_protocol_cannot_have_are_refused(words: int) -> None:
    with pytest.raises(ValueError, match="max_words"):
        ReadRules(max_words=words)


def test_word_limits_at_the_ends_are_taken() -> None:
    assert ReadRules(max_words=1).max_words == 1
    assert ReadRules(max_words=125).max_words == 125


@pytest.mark.parametrize(("start", "count", "most"), [(0, 1, 10), (1, 0, 10), (WORDS_MAX + 1, 1, 10), (1, 11, 10)])
def test_multiples_that_no_device_can_have_are_refused(start: int, count: int, most: int) -> None:
    with pytest.raises(ValueError, match="multiples"):
        ReadRules(max_words=most, start_multiple=start, count_multiple=count)


def test_multiples_at_the_ends_are_taken() -> None:
    assert ReadRules(max_words=10, start_multiple=125, count_multiple=10).count_multiple == 10
    assert ReadRules(max_words=10, start_multiple=1, count_multiple=1).start_multiple == 1


def _allowed(block: Block, spans: Sequence[Span], rules: ReadRules) -> bool:
    """The rules once more, word by word."""
    words = range(block.start, block.start + block.count)
    defined = {a for s in spans for a in range(s.start, s.start + s.count)}
    first, past = min(defined), max(defined) + 1
    if block.count > rules.max_words or block.start % rules.start_multiple or block.count % rules.count_multiple:
        return False
    if any(r.first <= word <= r.last for r in rules.forbidden for word in words):
        return False
    if any(b.first - 1 in words and b.first in words for b in rules.barriers):
        return False
    holes = _runs(a for a in range(first, past) if a not in defined)
    if rules.holes == "strict":
        return not holes
    if rules.holes == "listed":
        return all(any(r.first <= h[0] and h[-1] <= r.last for r in rules.readable) for h in holes)
    return True


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def _groupings(items: Sequence[Span]) -> Iterator[list[list[Span]]]:
    """Every way to part the items into groups, not only into neighbours."""
    if not items:
        yield []
        return
    for rest in _groupings(items[1:]):
        yield [[items[0]], *rest]
        for n in range(len(rest)):
            yield [*rest[:n], [items[0], *rest[n]], *rest[n + 1 :]]


def _rank(blocks: Sequence[Block], line: Line) -> list[int]:
    """Cost [µs], reads, and neighbours of equal length."""
    equal = sum(one.count == other.count for one, other in itertools.pairwise(sorted(blocks)))
    return [round(sum(read_ms(b.count, line) for b in blocks) * 1000), len(blocks), equal]


def _best(spans: Sequence[Span], rules: ReadRules, line: Line) -> list[int]:
    """Rank of the best of all groupings, each group read by its shortest allowed block; empty if there is none."""
    found: list[list[int]] = []
    blocks: dict[tuple[Span, ...], Block | None] = {}
    for grouping in _groupings(spans):
        taken: list[Block] = []
        for group in map(tuple, grouping):
            if group not in blocks:
                start, past = min(s.start for s in group), max(s.start + s.count for s in group)
                options = [
                    Block(4, begin, count)
                    for begin in range(start + 1)
                    for count in range(past - begin, rules.max_words + 1)
                    if _allowed(Block(4, begin, count), group, rules)
                ]
                blocks[group] = min(options, key=lambda b: b.count, default=None)
            block = blocks[group]
            if block is None:
                break
            taken.append(block)
        else:
            found.append(_rank(taken, line))
    return min(found, default=[])


small_ranges = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda ends: Range(ends[0], sum(ends)))
small_rules = st.builds(
    ReadRules,
    max_words=st.integers(4, 16),
    start_multiple=st.integers(1, 3),
    count_multiple=st.integers(1, 3),
    holes=st.sampled_from(["strict", "listed", "free"]),
    readable=st.tuples(small_ranges),
    forbidden=st.lists(small_ranges, max_size=1).map(tuple),
    barriers=st.lists(st.integers(1, 30).map(lambda at: Range(at, at)), max_size=1).map(tuple),
)
small_maps = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 4)).map(lambda at: Span(4, *at)), min_size=1, max_size=6, unique=True
)
lines = st.sampled_from(
    [
        SerialLine(baud=2400, response_ms=5),
        SerialLine(baud=9600, response_ms=5),
        TcpLine(),
        TcpLine(word_us=900),
        TcpLine(round_trip_ms=0),
    ]
)


@settings(max_examples=150, deadline=None)
@given(small_maps, small_rules, lines)
def test_no_grouping_whatever_is_cheaper_than_the_plan(spans: list[Span], rules: ReadRules, line: Line) -> None:
    best = _best(sorted(spans), rules, line)

    try:
        blocks = plan(spans, rules, line)
    except UnreadableError:
        assert best == []
        return
    assert _rank(blocks, line) == best
    for span in spans:
        home = [b for b in blocks if b.start <= span.start and span.start + span.count <= b.end]
        assert home
    for block in blocks:
        inside = [s for s in spans if block.start <= s.start and s.start + s.count <= block.end]
        assert inside
