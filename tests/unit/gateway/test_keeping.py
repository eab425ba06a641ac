"""Where the disk fails, memory takes over and the readings still leave."""

from __future__ import annotations

import asyncio
from pathlib import Path

from merilo.errors import OutboxError
from merilo.reading import Reading
from merilo_adapters.outbox import Outbox, Span
from merilo_gateway.keeping import Keeper, Stamp

START = 1_796_083_200_000
STAMP = Stamp(wall_ms=START, mono_ns=0, boot="b1", clock="synced")


def reading(n: int) -> Reading:
    return Reading(device="main", at_ms=START + n, values={"active_power_w": float(n)})


class BrokenOutbox(Outbox):
    """A disk that stops to take writes on command."""

    broken = False

    def append_all(self, *arguments: object, **named: object) -> int:
        if self.broken:
            raise OutboxError("disk I/O error")
        return super().append_all(*arguments, **named)  # type: ignore[arg-type]


def test_a_disk_that_cannot_be_opened_is_told_and_tried_again(tmp_path: Path) -> None:
    attempts: list[int] = []
    durable: list[bool] = []

    def opened() -> Outbox:
        attempts.append(1)
        if len(attempts) < 3:
            raise OutboxError("read-only file system")
        return Outbox(tmp_path / "o")

    keeper = Keeper(opened)

    async def scene() -> None:
        await keeper.open()
        durable.append(keeper.durable)
        first = await keeper.append([reading(0)], STAMP)
        second = await keeper.append([reading(1)], STAMP)
        assert first.epoch != second.epoch
        durable.append(keeper.durable)
        assert (await keeper.stats()).rows == 2
        for _ in range(2):
            batch = await keeper.waiting(65536)
            assert batch is not None
            await keeper.free(batch.span, START)
        assert await keeper.waiting(65536) is None

    asyncio.run(scene())
    keeper.close()

    assert durable == [False, True]
    news = keeper._news
    assert any("not durable" in line for line in news)
    assert any("durable again" in line for line in news)


def test_a_disk_that_fails_in_the_middle_loses_nothing_that_waits(tmp_path: Path) -> None:
    box = BrokenOutbox(tmp_path / "o")
    keeper = Keeper(lambda: box)
    spans: list[Span] = []
    durable: list[bool] = []

    async def scene() -> None:
        await keeper.open()
        spans.append(await keeper.append([reading(0)], STAMP))
        box.broken = True
        spans.append(await keeper.append([reading(1)], STAMP))
        durable.append(keeper.durable)
        box.broken = False
        spans.append(await keeper.append([reading(2)], STAMP))
        durable.append(keeper.durable)
        sent: list[float] = []
        while (batch := await keeper.waiting(65536)) is not None:
            sent += [r.values["active_power_w"] for r in batch.readings]
            await keeper.free(batch.span, START)
        assert sorted(sent) == [0.0, 1.0, 2.0]

    asyncio.run(scene())
    keeper.close()

    assert durable == [False, True]
    assert spans[0].epoch == spans[2].epoch != spans[1].epoch
