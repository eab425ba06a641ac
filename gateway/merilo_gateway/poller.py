"""When one device is read, and what came of it. Pure: instants come in, decisions go out.

Slots lie on multiples of the interval on the wall clock, so that all gateways of a site measure the same moments. A
stalled gateway skips what it missed. A step of the clock makes neither a burst nor a pause. A silent device is asked
for one block at growing distances, so that it costs the others little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from merilo.instants import MINUTE_MS, floor_ms
from merilo.readplan import Block, Range

PROBE_MAX_MS = MINUTE_MS
"""A device that has been silent for long is asked once in so much time."""
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3
REFUSED_REST_MS = 10 * MINUTE_MS
"""A block that the device refuses for good is asked for again after so much time."""
SPREAD_MAX_MS = 250
"""Blocks whose answers are further apart are two readings: their values are not of one moment."""

Change = Literal["", "silent", "back"]


@dataclass(frozen=True, slots=True)
class Job:
    """One poll that is due."""

    slot_ms: int
    cycle: int
    """Counts polls, for registers that are read in every n-th."""
    probe: bool
    """The device is silent: ask for one block first, and for the others only if it answers."""


@dataclass(slots=True)
class Poller:
    """The schedule of one device."""

    device: str
    interval_ms: int
    start_ms: int
    next_ms: int = 0
    cycle: int = 0
    failures: int = 0
    """Polls in a row that brought nothing at all."""
    polls: int = 0
    polls_failed: int = 0
    last_ms: int | None = None
    """When the last answer arrived [UTC ms]."""
    reason: str = ""
    """Why the last poll failed."""
    latency_s: float | None = None
    avoid: tuple[Range, ...] = ()
    """Holes that this device turned out not to answer."""
    max_words: int | None = None
    _resting: dict[Block, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.next_ms = floor_ms(self.start_ms, self.interval_ms)

    @property
    def silent(self) -> bool:
        """Whether the last poll brought nothing."""
        return self.failures > 0

    def due(self, now_ms: int) -> Job | None:
        """The poll to make now, None if it is not time.

        However many slots were missed, one poll is due; the next lies on the first slot after now.
        """
        if self.next_ms - now_ms > self._pause_ms() + self.interval_ms:  # the clock was set back
            self.next_ms = floor_ms(now_ms, self.interval_ms) + self.interval_ms
        if now_ms < self.next_ms:
            return None
        slot = floor_ms(now_ms, self.interval_ms)
        self.next_ms = slot + self.interval_ms
        job = Job(slot, self.cycle, self.silent)
        self.cycle += 1
        return job

    def answered(self, at_ms: int, latency_s: float) -> Change:
        """Takes note of a poll that brought at least one block."""
        self.polls += 1
        self.last_ms = at_ms
        self.latency_s = latency_s
        self.reason = ""
        change: Change = "back" if self.failures else ""
        self.failures = 0
        return change

    def failed(self, now_ms: int, reason: str) -> Change:
        """Takes note of a poll that brought nothing, and puts the next one off."""
        self.polls += 1
        self.polls_failed += 1
        self.failures += 1
        self.reason = reason
        self.next_ms = floor_ms(now_ms + self._pause_ms(), self.interval_ms) + self.interval_ms
        return "silent" if self.failures == 1 else ""

    def _pause_ms(self) -> int:
        """Extra distance to the next probe: none after the first failure, then doubling up to the limit."""
        if self.failures < 2:
            return 0
        return min(self.interval_ms << min(self.failures - 2, 16), max(PROBE_MAX_MS - self.interval_ms, 0))

    def wanted(self, plan: Sequence[Block], now_ms: int) -> list[Block]:
        """The blocks of a plan that are worth asking for now."""
        return [block for block in plan if self._resting.get(block, 0) <= now_ms]

    def refused(self, block: Block, code: int, holes: Sequence[Range], now_ms: int) -> None:
        """Learns from an exception: leaves out the holes of the block, reads shorter, or lets the block rest.

        Args:
            block: What was asked.
            code: Exception code of the answer.
            holes: Addresses of the block that nobody needs.
            now_ms: Now.
        """
        new = [hole for hole in holes if hole not in self.avoid]
        if code == ILLEGAL_ADDRESS and new:
            self.avoid = (*self.avoid, *new)
        elif code == ILLEGAL_VALUE and block.count > 8:
            self.max_words = block.count // 2
        elif code in (ILLEGAL_ADDRESS, ILLEGAL_VALUE):
            self._resting[block] = now_ms + REFUSED_REST_MS

    def counted(self) -> tuple[int, int]:
        """Polls and failed polls since the last call."""
        found = (self.polls, self.polls_failed)
        self.polls = self.polls_failed = 0
        return found


def holes_of(block: Block, needed: Sequence[Block]) -> list[Range]:
    """The addresses of a block that none of the needed ones covers."""
    used = sorted(
        (max(n.start, block.start), min(n.end, block.end))
        for n in needed
        if n.function == block.function and n.start < block.end and n.end > block.start
    )
    found: list[Range] = []
    at = block.start
    for start, end in used:
        if start > at:
            found.append(Range(at, start - 1, block.function))
        at = max(at, end)
    if at < block.end:
        found.append(Range(at, block.end - 1, block.function))
    return found


def moments(answers: Sequence[tuple[Block, int]]) -> list[tuple[int, list[Block]]]:
    """Blocks that belong to one reading, each group with the instant of its last answer.

    Args:
        answers: Blocks with the instant of their answer [UTC ms], in order.
    """
    found: list[tuple[int, list[Block]]] = []
    began_ms = 0
    for block, at_ms in answers:
        if found and 0 <= at_ms - began_ms <= SPREAD_MAX_MS:
            found[-1] = (at_ms, [*found[-1][1], block])
        else:
            began_ms = at_ms
            found.append((at_ms, [block]))
    return found
