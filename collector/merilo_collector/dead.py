"""Dead letters: what was not taken, and taking it again once the reason is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from merilo_adapters.registry.work import DeadLetter, Work
from merilo_collector.ingest import Ingest
from merilo_collector.intake import Delivery

BATCH = 100
"""Letters handed to ingest at a time."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of letters that were taken again."""

    taken: int
    """Messages that are stored now."""
    refused: int
    """Messages that became dead letters once more, with the reason of today."""
    waiting: int
    """Messages whose store is away: their letters stay."""


def replay(ingest: Ingest, work: Work, letters: Sequence[DeadLetter], now_ms: int) -> Replayed:
    """Hands the messages of these letters to ingest as if they had just come; repeating it changes nothing.

    Several letters of one message (one for each refused reading) are one delivery.
    """
    by_message: dict[tuple[str, bytes], list[int]] = {}
    for letter in letters:
        by_message.setdefault((letter.topic, letter.payload), []).append(letter.number)
    taken = refused = waiting = 0
    messages = list(by_message.items())
    for start in range(0, len(messages), BATCH):
        part = messages[start : start + BATCH]
        deliveries = [Delivery(topic, payload, None) for (topic, payload), _ in part]
        before = {letter.number for letter in work.dead_letters(limit=20_000)}
        outcome = ingest.handle(deliveries, now_ms)
        done = {id(delivery) for delivery in outcome.done}
        gone = [
            n for delivery, (_, numbers) in zip(deliveries, part, strict=True) if id(delivery) in done for n in numbers
        ]
        new = [letter for letter in work.dead_letters(limit=20_000) if letter.number not in before]
        again = {(letter.topic, letter.payload) for letter in new}
        work.take_dead(gone)
        refused += len(again)
        waiting += len(deliveries) - len(done)
        taken += len(done) - len(again)
    return Replayed(taken, refused, waiting)
