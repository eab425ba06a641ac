"""The outbox behind one worker thread, with memory where the disk fails: a write to a card must not stop a bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from merilo.errors import OutboxError
from merilo.reading import Reading
from merilo_adapters.outbox import Batch, Gap, Outbox, Span, Stats
from merilo_adapters.outbox_rows import Clock

log = logging.getLogger(__name__)
T = TypeVar("T")

RING_BYTES = 32 << 20
"""Memory for readings while the disk cannot be written: hours of 20 devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The clocks at one moment."""

    wall_ms: int
    mono_ns: int
    boot: str
    clock: Clock


class Keeper:
    """Stores, gives and frees readings; all methods may be awaited from the event loop.

    Args:
        opened: Opens the outbox on disk.
    """

    def __init__(self, opened: Callable[[], Outbox]) -> None:
        self._opened = opened
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._disk: Outbox | None = None
        self._ring: Outbox | None = None
        self._reason = ""
        self._news: list[str] = []

    @property
    def epoch(self) -> str:
        """Epoch of what is stored next."""
        box = self._disk or self._ring
        return box.epoch if box is not None else ""

    @property
    def durable(self) -> bool:
        """Whether the last cycle went to the disk."""
        return not self._reason

    def news(self) -> list[str]:
        """What had to be repaired or went wrong since the last call, one line each."""
        news, self._news = self._news, []
        for box in (self._disk, self._ring):
            if box is not None:
                news += box.findings
                box.findings = []
        return news

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def open(self) -> None:
        """Opens the outbox; where that is impossible, memory takes its place and :attr:`durable` is false."""
        await self._do(self._try_disk)

    def _try_disk(self) -> Outbox | None:
        if self._disk is None:
            try:
                self._disk = self._opened()
            except OutboxError as error:
                self._failed(error)
        return self._disk

    def _failed(self, error: OutboxError) -> None:
        if not self._reason:
            log.error("outbox not durable reason=%s", error)
            self._news.append(f"outbox not durable: {error}")
        self._reason = str(error)
        if self._ring is None:
            self._ring = Outbox(":memory:", size_bytes=RING_BYTES)

    async def append(self, readings: Sequence[Reading], stamp: Stamp) -> Span:
        """Stores one cycle; gives its numbers. Durable when it returns, unless :attr:`durable` says no."""

        def store(box: Outbox) -> Span:
            first = box.append(
                readings, wall_ms=stamp.wall_ms, mono_ns=stamp.mono_ns, boot=stamp.boot, clock=stamp.clock
            )
            return Span(box.epoch, first, first + len(readings) - 1)

        def work() -> Span:
            disk = self._try_disk()
            if disk is not None:
                try:
                    span = store(disk)
                except OutboxError as error:
                    self._failed(error)
                else:
                    if self._reason:
                        log.info("outbox durable again file=%s", disk.path)
                        self._news.append("outbox durable again")
                        self._reason = ""
                    return span
            if self._ring is None:
                self._ring = Outbox(":memory:", size_bytes=RING_BYTES)
            return store(self._ring)

        return await self._do(work)

    def _boxes(self) -> list[Outbox]:
        return [box for box in (self._disk, self._ring) if box is not None]

    async def waiting(
        self, limit_bytes: int, *, newest_first: bool = False, skip: Collection[Span] = ()
    ) -> Batch | None:
        """The next message to send, see :meth:`Outbox.waiting`."""

        def work() -> Batch | None:
            boxes = self._boxes()
            for box in reversed(boxes) if newest_first else boxes:
                try:
                    if (batch := box.waiting(limit_bytes, newest_first=newest_first, skip=skip)) is not None:
                        return batch
                except OutboxError as error:
                    self._failed(error)
            return None

        return await self._do(work)

    async def free(self, span: Span, now_ms: int) -> int:
        """Takes an acknowledgement; gives how many cycles need not be sent any more."""

        def work() -> int:
            count = 0
            for box in self._boxes():
                try:
                    count += box.free(span.epoch, span.first, span.last, now_ms)
                except OutboxError as error:
                    self._failed(error)
            return count

        return await self._do(work)

    async def resync(self, epoch: str, ranges: Sequence[tuple[int, int]], since_ms: int | None) -> int:
        """Makes stored cycles wait again; gives how many.

        Raises:
            OutboxError: The disk refused.
        """
        return await self._do(lambda: sum(b.resync(epoch, ranges, since_ms=since_ms) for b in self._boxes()))

    async def right_clock(self, stamp: Stamp) -> int:
        """Corrects what was stored before the clock was right, and lets it go; gives how many cycles.

        Raises:
            OutboxError: The disk refused.
        """

        def work() -> int:
            return sum(
                box.stamp(stamp.boot, stamp.wall_ms, stamp.mono_ns) + box.release(stamp.boot, stamp.wall_ms)
                for box in self._boxes()
            )

        return await self._do(work)

    async def give_up_clock(self, stamp: Stamp) -> int:
        """Lets go what was stored under a clock that will not become right.

        Raises:
            OutboxError: The disk refused.
        """
        return await self._do(
            lambda: sum(box.release(stamp.boot, stamp.wall_ms, also_this=True) for box in self._boxes())
        )

    async def trim(self, now_ms: int) -> None:
        """Deletes acknowledged cycles whose grace is over."""

        def work() -> None:
            for box in self._boxes():
                try:
                    box.trim(now_ms)
                except OutboxError as error:
                    self._failed(error)

        await self._do(work)

    async def stats(self) -> Stats:
        """How full it is, disk and memory together."""

        def work() -> Stats:
            found: list[Stats] = []
            for box in self._boxes():
                try:
                    found.append(box.stats())
                except OutboxError as error:
                    self._failed(error)
            oldest = [s.oldest_ms for s in found if s.oldest_ms is not None]
            return Stats(
                sum(s.rows for s in found),
                min(oldest, default=None),
                sum(s.bytes for s in found),
                sum(s.reserve_rows for s in found),
                sum(s.evicted for s in found),
            )

        return await self._do(work)

    async def gaps(self) -> list[Gap]:
        """What was given up and not yet told."""

        def work() -> list[Gap]:
            try:
                return self._disk.gaps() if self._disk is not None else []
            except OutboxError as error:
                self._failed(error)
                return []

        return await self._do(work)

    async def gap_delivered(self, gap: Gap) -> None:
        """Forgets a gap record."""

        def work() -> None:
            if self._disk is not None:
                try:
                    self._disk.gap_delivered(gap)
                except OutboxError as error:
                    self._failed(error)

        await self._do(work)

    def close(self) -> None:
        """Waits for what is being written and closes the file."""
        self._worker.shutdown(wait=True)
        for box in self._boxes():
            box.close()
