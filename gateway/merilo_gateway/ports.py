"""What the parts of the gateway ask of each other and of the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from merilo.profiles.setup import Setup
from merilo.reading import Reading
from merilo.readplan import Block
from merilo.registers import Missing


class Timing(Protocol):
    """Clocks and waiting; an accelerated clock runs through here."""

    def now_ms(self) -> int:
        """Wall clock [UTC ms]."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; real ones, also where the wall clock is accelerated."""
        ...

    async def until(self, at_ms: int) -> None:
        """Waits until about this instant; returns early now and then, so that a step of the clock is noticed."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits real seconds."""
        ...


class Line(Protocol):
    """One bus."""

    async def read(
        self, unit: int, block: Block, *, timeout_s: float, gap_s: float = 0.0, worst_s: float = 0.0
    ) -> tuple[int, ...]:
        """The words of one block; raises a DeviceError."""
        ...

    async def close(self) -> None:
        """Lets go of the port."""
        ...


class Sink(Protocol):
    """Takes what sources bring."""

    def reading(self, reading: Reading) -> None:
        """One reading, in order of its device."""
        ...

    def busy(self, source: str) -> None:
        """The source begins a round."""
        ...

    def idle(self, source: str) -> None:
        """The source has done all that was due."""
        ...

    def event(self, kind: str, device: str, parameters: Mapping[str, str | float | int | bool]) -> None:
        """Something changed."""
        ...

    def identified(self, device: str, setup: Setup) -> None:
        """A polled device said what it is."""
        ...

    def described(self, device: str) -> None:
        """What is known of a publishing device has changed."""
        ...


def told(missing: Sequence[Missing]) -> str:
    """Missing values in one line: ``voltage_l1_n_v not_a_number, …``; at most ten."""
    shown = [f"{m.channel + ' ' if m.channel else ''}{m.quantity} {m.reason}" for m in missing[:10]]
    return ", ".join(shown) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
