"""The cheapest set of block reads that covers given registers, exactly.

Registers are sorted by address; a plan is a partition of that list into runs, one block each. Every run that the rules
allow is priced with the line's time model and a dynamic programme over the list picks the cheapest partition, then the
fewest reads, then the fewest neighbours of equal length: a late answer on a serial line carries no number, and a wrong
length is what shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from merilo.bustime import Line, read_ms

WORDS_MAX = 125
"""Words of one read: the Modbus application protocol (V1.1b3, 6.3 and 6.4) allows no more."""
ADDRESS_MAX = 0xFFFF

Holes = Literal["strict", "listed", "free"]
"""strict: only registers that touch share a block. listed: also across holes inside one readable range.
free: across every hole that is not forbidden."""
HOLES: tuple[Holes, ...] = ("strict", "listed", "free")


class Block(NamedTuple):
    """One read."""

    function: int
    """Modbus function code, 3 (holding) or 4 (input)."""
    start: int
    """0-based address of the first word on the wire."""
    count: int  # type: ignore[assignment]  # the trade's word; nobody counts the items of a block
    """Words."""

    @property
    def end(self) -> int:
        """Address after the last word."""
        return self.start + self.count


class Span(NamedTuple):
    """Words that must come in one answer: a register, or registers that mean something only together."""

    function: int
    start: int
    count: int  # type: ignore[assignment]  # as in Block
    alone: bool = False
    """Read by itself with exactly this length: the words mean something else inside a longer read."""


class Range(NamedTuple):
    """Addresses first to last, both included, of one function or of both."""

    first: int
    last: int
    function: int | None = None

    def applies(self, function: int) -> bool:
        """Whether the range speaks of this function."""
        return self.function is None or self.function == function


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRules:
    """What a device accepts as one read.

    Raises:
        ValueError: A limit or multiple that no device can have.
    """

    max_words: int = WORDS_MAX
    start_multiple: int = 1
    count_multiple: int = 1
    holes: Holes = "strict"
    readable: tuple[Range, ...] = ()
    """Ranges whose holes the device answers; used by ``listed``."""
    forbidden: tuple[Range, ...] = ()
    """Never part of a read."""
    barriers: tuple[Range, ...] = ()
    """No read goes from below ``first`` to ``first`` or beyond (``last`` is the same address)."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_words <= WORDS_MAX:
            raise ValueError(f"max_words {self.max_words}: expected 1 to {WORDS_MAX}")
        if not (1 <= self.start_multiple <= WORDS_MAX and 1 <= self.count_multiple <= self.max_words):
            raise ValueError("start and count multiples: expected 1 to the most words of one read")


class UnreadableError(ValueError):
    """No read that the rules allow covers a register."""


def plan(spans: Iterable[Span], rules: ReadRules, line: Line) -> tuple[Block, ...]:
    """The cheapest reads that cover all spans, ordered by function and address; every function is planned on its own.

    Raises:
        UnreadableError: The rules allow no read for one of the spans.
    """
    blocks: list[Block] = []
    wanted = sorted(set(spans))
    for function in sorted({span.function for span in wanted}):
        together = [s for s in wanted if s.function == function and not s.alone]
        blocks += _partition(together, rules, line)
        blocks += [_single(s, rules) for s in wanted if s.function == function and s.alone]
    return tuple(sorted(blocks))


def cost_ms(blocks: Iterable[Block], line: Line) -> float:
    """Time that the reads take one after another [ms]."""
    return sum(read_ms(block.count, line) for block in blocks)


def _single(span: Span, rules: ReadRules) -> Block:
    block = Block(span.function, span.start, span.count)
    if span.count > rules.max_words or not _is_allowed(block, rules):
        raise UnreadableError(_unreadable(span, rules))
    return block


class _Best(NamedTuple):
    """The best way to cover the first so many spans, ending in a block of this length."""

    cost: int
    reads: int
    equal: int
    """Neighbours of equal length."""
    block: Block | None
    before: _Best | None

    def after(self, block: Block, cost: int) -> _Best:
        equal = self.equal + (self.block is not None and self.block.count == block.count)
        return _Best(self.cost + cost, self.reads + 1, equal, block, self)

    @property
    def rank(self) -> tuple[int, int, int]:
        return self.cost, self.reads, self.equal


def _partition(spans: Sequence[Span], rules: ReadRules, line: Line) -> list[Block]:
    fixed, word = line.fixed_ns, line.word_ns
    # Two ways per prefix are enough: the best, and the best whose last block has another length.
    ways: list[list[_Best]] = [[_Best(0, 0, 0, None, None)]]
    ways += [[] for _ in spans]
    for first in range(len(spans)):
        before = ways[first]
        for past, block in _blocks_from(spans, first, rules):
            cost = fixed + word * block.count
            _keep(ways[past], min((way.after(block, cost) for way in before), key=lambda w: w.rank))
        if not ways[first + 1]:  # what no block covers alone, no longer block covers either
            raise UnreadableError(_unreadable(spans[first], rules))
    blocks: list[Block] = []
    way: _Best | None = ways[-1][0]
    while way is not None and way.block is not None:
        blocks.append(way.block)
        way = way.before
    return blocks


def _keep(ways: list[_Best], new: _Best) -> None:
    """Keeps the best way and the best of another last length, best first."""
    ways.append(new)
    ways.sort(key=lambda w: w.rank)
    first = ways[0].block
    for other in ways[1:]:
        if first is not None and other.block is not None and other.block.count != first.count:
            ways[1:] = [other]
            return
    ways[1:] = []


def _blocks_from(spans: Sequence[Span], first: int, rules: ReadRules) -> Iterable[tuple[int, Block]]:
    """All allowed blocks whose first span is this one: the number of the span after it, and the block."""
    end = spans[first].start
    for past in range(first, len(spans)):
        span = spans[past]
        if span.start > end and not _may_cross(Range(end, span.start - 1, span.function), rules):
            return
        end = max(end, span.start + span.count)
        if end - spans[first].start > rules.max_words:
            return
        block = _aligned(span.function, spans[first].start, end, rules)
        if block is not None:
            yield past + 1, block


def _may_cross(hole: Range, rules: ReadRules) -> bool:
    if rules.holes == "free":
        return True
    return rules.holes == "listed" and any(
        r.applies(hole.function or 0) and r.first <= hole.first and hole.last <= r.last for r in rules.readable
    )


def _aligned(function: int, start: int, end: int, rules: ReadRules) -> Block | None:
    """The shortest block over [start, end) that starts and counts as the device wants, None if there is none."""
    for begin in range(start - start % rules.start_multiple, -1, -rules.start_multiple):
        count = end - begin + -(end - begin) % rules.count_multiple
        if count > rules.max_words:
            return None
        block = Block(function, begin, count)
        if _is_allowed(block, rules):
            return block
    return None


def _is_allowed(block: Block, rules: ReadRules) -> bool:
    """Whether the block keeps inside the address space and off forbidden ranges and barriers."""
    if block.end > ADDRESS_MAX + 1:
        return False
    if any(b.applies(block.function) and block.start < b.first < block.end for b in rules.barriers):
        return False
    return not any(r.applies(block.function) and r.first < block.end and block.start <= r.last for r in rules.forbidden)


def _unreadable(span: Span, rules: ReadRules) -> str:
    last = span.start + span.count - 1
    return (
        f"function {span.function} address {span.start}..{last}: no allowed read covers it (at most {rules.max_words} "
        f"words, start a multiple of {rules.start_multiple}, count a multiple of {rules.count_multiple}, off forbidden "
        "ranges and barriers)"
    )
