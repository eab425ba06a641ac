"""Gathers what the buses read in one cycle, so that it is stored and sent as one message. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from merilo.instants import floor_ms
from merilo.reading import Reading

BACK_MAX_MS = 1_000
"""A clock that went back by less is corrected in small steps: the reading is stamped right after the one before.
After a larger step the new clock is believed."""
GATHERED_MAX = 4_096
"""Readings of one cycle; with more the cycle is closed early."""


class Cycle:
    """The readings since the last close, and which buses are still at work in this slot.

    Args:
        interval_ms: The gateway's cycle [ms].
        buses: Names of the buses that are waited for.
    """

    def __init__(self, interval_ms: int, buses: Iterable[str] = ()) -> None:
        self._interval_ms = interval_ms
        self._buses = frozenset(buses)
        self._busy: set[str] = set()
        self._slot_ms: int | None = None
        self._readings: list[Reading] = []
        self._last_ms: dict[str, int] = {}

    def add(self, reading: Reading) -> int | None:
        """Takes a reading; instants of one device strictly increase.

        Returns:
            By how much the clock seems to have gone back [ms], None if it did not go back by much.
        """
        before = self._last_ms.get(reading.device)
        stepped: int | None = None
        at_ms = reading.at_ms
        if before is not None and at_ms <= before:
            if before - at_ms < BACK_MAX_MS:
                at_ms = before + 1
            else:
                stepped = before - at_ms
        self._last_ms[reading.device] = at_ms
        if at_ms != reading.at_ms:
            reading = Reading(device=reading.device, at_ms=at_ms, values=reading.values)
        self._readings.append(reading)
        return stepped

    def busy(self, bus: str) -> None:
        """A bus begins to poll."""
        self._busy.add(bus)

    def idle(self, bus: str) -> None:
        """A bus has polled all that was due."""
        self._busy.discard(bus)

    def take(self, now_ms: int) -> list[Reading]:
        """The cycle's readings once it is complete, else nothing.

        A cycle is complete when nobody is at work any more, once in each slot; or when the slot is over.
        """
        slot = floor_ms(now_ms, self._interval_ms)
        if not self._readings:
            return []
        if self._slot_ms is not None and slot == self._slot_ms and len(self._readings) < GATHERED_MAX:
            return []  # this slot's message has gone; the rest belongs to the next
        over = min(r.at_ms for r in self._readings) < slot
        if self._busy and not over and len(self._readings) < GATHERED_MAX:
            return []
        self._slot_ms = slot
        return self.rest()

    def rest(self) -> list[Reading]:
        """Everything that was gathered, complete or not."""
        found = sorted(self._readings, key=lambda r: r.at_ms)
        self._readings = []
        return found
