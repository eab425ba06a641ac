"""Faults of one device: on the wire and in its counters, switched while it runs, decided by seed, each one counted."""

from __future__ import annotations

import random
from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import Literal, get_args

from merilo_simulators.counters import CounterFault, is_on

WireKind = Literal[
    "late",  # the right answer, ms (to ms_max) later
    "short",  # fewer registers than asked, in a valid frame
    "wrong_unit",  # the frame names another unit
    "wrong_function",  # the frame names another function
    "silent",  # no answer
    "exception",  # an exception with this code
    "garbage",  # random bytes instead of a frame
    "garbage_words",  # a valid frame with random registers
    "bad_crc",  # checksum flipped; on TCP, which has none, the protocol number of the header
    "twin",  # a second device with the same address answers too, directly behind the first
    "twin_mixed",  # both at once: the bytes on the line are the AND of the two frames
]
WIRE_KINDS: tuple[WireKind, ...] = get_args(WireKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFault:
    """One way in which answers go wrong, while it is switched on.

    Raises:
        ValueError: A share outside (0, 1], a negative delay, or an exception without a code.
    """

    kind: WireKind
    share: float = 1.0
    """Share of the answers it strikes, above 0."""
    times: int | None = None
    """Strikes at most so often; None: without limit."""
    from_ms: int | None = None
    until_ms: int | None = None
    """From which and until which instant of the clock [UTC ms], the end excluded; None: open."""
    ms: int = 0
    ms_max: int = 0
    """Delay of a late answer in real time [ms]: drawn from ms to ms_max where ms_max is larger."""
    code: int = 0
    """Exception code, 1 to 255."""

    def __post_init__(self) -> None:
        if self.kind not in WIRE_KINDS:
            raise ValueError(f"fault kind {self.kind!r}: expected one of {', '.join(WIRE_KINDS)}")
        if not 0 < self.share <= 1:
            raise ValueError(f"fault {self.kind}: share = {self.share} is outside (0, 1]")
        if self.kind == "late" and not 0 < self.ms <= max(self.ms, self.ms_max):
            raise ValueError(f"fault late: ms = {self.ms} must be above 0")
        if self.kind == "exception" and not 1 <= self.code <= 255:
            raise ValueError(f"fault exception: code = {self.code} is outside 1..255")


@dataclass(slots=True)
class FaultBook:
    """The faults of one device and how often each kind struck."""

    seed: int
    wire: list[WireFault] = field(default_factory=list)
    counters: list[CounterFault] = field(default_factory=list)
    injected: Tally[str] = field(default_factory=Tally)
    """Kind → how often it changed something that was sent; what happens once to a counter counts once."""
    _struck: Tally[int] = field(default_factory=Tally)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable, not secret

    def add(self, *faults: WireFault | CounterFault) -> None:
        """Switches faults on."""
        for fault in faults:
            self._struck.pop(id(fault), None)  # an id may have belonged to a fault that is gone
            if isinstance(fault, WireFault):
                self.wire.append(fault)
            else:
                self.counters.append(fault)

    def clear_wire(self, kind: WireKind | None = None) -> None:
        """Switches wire faults off, all or those of one kind. Counters keep their past."""
        self.wire = [fault for fault in self.wire if kind is not None and fault.kind != kind]

    def strike(self, at_ms: int) -> WireFault | None:
        """The wire fault that strikes the answer of this instant, counted; the first that is listed and drawn."""
        for fault in self.wire:
            within = (fault.from_ms is None or at_ms >= fault.from_ms) and (
                fault.until_ms is None or at_ms < fault.until_ms
            )
            spent = fault.times is not None and self._struck[id(fault)] >= fault.times
            if within and not spent and self._random.random() < fault.share:
                self._struck[id(fault)] += 1
                self.injected[fault.kind] += 1
                return fault
        return None

    def delay_ms(self, fault: WireFault) -> int:
        """How late a late answer is [ms]."""
        return self._random.randint(fault.ms, fault.ms_max) if fault.ms_max > fault.ms else fault.ms

    def noise(self, length: int) -> bytes:
        """Random bytes of this length."""
        return self._random.randbytes(length)

    def is_out(self, at_ms: int) -> bool:
        """Whether the device has no supply at this instant."""
        return any(fault.kind == "outage" and is_on(fault, at_ms) for fault in self.counters)

    def note_counters(self, at_ms: int) -> None:
        """Counts the counter faults that an answer of this instant shows (or, in an outage, withholds)."""
        for fault in self.counters:
            if is_on(fault, at_ms) and not (hasattr(fault, "at_ms") and self._struck[id(fault)]):
                self._struck[id(fault)] += 1
                self.injected[fault.kind] += 1
