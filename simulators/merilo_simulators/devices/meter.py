"""A Modbus device of any model: its registers at an instant, and what it answers to a read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from merilo.instants import DAY_MS, QUARTER_MS
from merilo.quantities import QUANTITIES
from merilo_simulators.counters import Counter, Swap, Unavailable, ZeroBurst, mwh, with_faults
from merilo_simulators.counters import is_on as fault_is_on
from merilo_simulators.devices.gauges import GAUGES
from merilo_simulators.devices.image import RANGE, UNAVAILABLE, Cell, Place, Span, Words, put, words
from merilo_simulators.electrical import Sensed, Tap, energy_mwms, reactive_mvarms, sense
from merilo_simulators.faults import FaultBook
from merilo_simulators.noise import Floats, Ints
from merilo_simulators.physics import MWMS_PER_MWH, ORIGIN_MS, Company, Sample

WORDS_MAX = 125
"""Largest read of the Modbus application protocol 1.1b3, sections 6.3 and 6.4."""
_WIDEST = 4
"""Words of the widest form."""
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3

Raw = np.ndarray[tuple[int, ...], np.dtype[np.int64 | np.float32]]


class RefusedError(Exception):
    """The device refuses a request.

    Args:
        code: Modbus exception code.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exception {code}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """The device itself or one of its outlets: where it is clamped on and what it had counted when it was installed."""

    tap: Tap
    offset_wh: int = 0
    """Start value of each phase's counter [Wh], a multiple of the model's step; totals start at the sum of phases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a vendor's documents say about a model."""

    name: str
    vendor: str
    cells: tuple[Cell, ...]
    spans: tuple[Span, ...]
    step_wh: int
    """Counters move in steps of so many Wh (varh)."""
    words_max: int = WORDS_MAX
    too_long: int = ILLEGAL_VALUE
    """Exception code for a read above words_max."""
    even: bool = False
    """Start and count must be even (values of two words); else exception 2."""
    single: Callable[[int, int], int | None] = lambda function, address: None
    """Word that a read of exactly one register gives, where it differs from the image."""
    constants: Callable[[Meter, int], dict[Place, int]] = lambda meter, at_ms: {}
    """Identity and settings at an instant."""
    response_ms: int = 40
    """Typical time from request to answer [ms]."""


@dataclass(slots=True, kw_only=True)
class Meter:
    """One simulated Modbus device; all that it shows is a function of the instant, its settings and its faults.

    Raises:
        ValueError: An installation offset that is not a multiple of the model's step.
    """

    device_id: str
    model: Model
    company: Company
    channels: tuple[Channel, ...]
    serial: int
    unit: int
    faults: FaultBook
    word_order: Literal["big", "little"] = "big"
    """Where the model lets the user choose: order of the words of every value."""
    energy_prefix: Literal["k", "M"] = "k"
    """Where the model lets the user choose: energies in kWh or MWh."""

    def __post_init__(self) -> None:
        for number, channel in enumerate(self.channels):
            if channel.offset_wh % self.model.step_wh:
                raise ValueError(
                    f"device {self.device_id} channel {number}: offset {channel.offset_wh} Wh is not a multiple of "
                    f"the counter's step, {self.model.step_wh} Wh"
                )

    def image(self, at_ms: int) -> dict[Place, int]:
        """Every register at this instant: (function, address) → word."""
        return self._image(at_ms, self.model.cells)

    def read(self, function: int, address: int, count: int, at_ms: int) -> Words:
        """What the device answers to a read of so many registers.

        Raises:
            RefusedError: With the exception code of the model's rules.
        """
        model = self.model
        if not any(span.function == function for span in model.spans):
            raise RefusedError(ILLEGAL_FUNCTION)
        if not 1 <= count <= WORDS_MAX:
            raise RefusedError(ILLEGAL_VALUE)
        if count > model.words_max:
            raise RefusedError(model.too_long)
        inside = any(
            span.function == function and span.start <= address and address + count <= span.end for span in model.spans
        )
        if count == 1:
            alone = model.single(function, address)
            if alone is not None and (inside or not model.even):
                return (alone,)
        if not inside or (model.even and (address % 2 or count % 2)):
            raise RefusedError(ILLEGAL_ADDRESS)
        asked = [
            cell
            for cell in model.cells
            if cell.function == function and cell.address < address + count and cell.address + _WIDEST > address
        ]
        image = self._image(at_ms, asked)
        return tuple(image.get((function, place), 0) for place in range(address, address + count))

    def readings(self, at_ms: Ints) -> list[tuple[int, tuple[str, ...], list[list[float]]]]:
        """What the registers say at these instants, decoded: per channel its number, quantities and their columns.

        Only quantities that Merilo stores; energies in Wh. Unavailable values and outages are the caller's to drop.
        """
        found: dict[int, dict[str, list[float]]] = {}
        # One place for each quantity: copies elsewhere say the same.
        cells = {(cell.channel, cell.quantity): cell for cell in self.model.cells if cell.quantity in QUANTITIES}
        for cell, raw in self._raw(at_ms, cells.values()):
            decoded = raw.astype(np.float64) * (cell.scale * self._prefix(cell))
            found.setdefault(cell.channel, {})[cell.quantity] = decoded.tolist()
        return [(channel, tuple(columns), list(columns.values())) for channel, columns in sorted(found.items())]

    def serial_at(self, at_ms: int) -> int:
        """The serial number of the device that hangs there at this instant."""
        serial = self.serial
        for fault in self.faults.counters:
            if isinstance(fault, Swap) and fault_is_on(fault, at_ms):
                serial = fault.serial
        return serial

    def is_silent(self, at_ms: int) -> bool:
        """Whether nothing can be read at this instant: no supply, or every value "not available"."""
        return any(
            fault.kind in ("outage", "unavailable") and fault_is_on(fault, at_ms) for fault in self.faults.counters
        )

    def _prefix(self, cell: Cell) -> float:
        return 1000.0 if self.energy_prefix == "M" and cell.quantity.endswith(("wh", "varh", "vah")) else 1.0

    def _image(self, at_ms: int, cells: Iterable[Cell]) -> dict[Place, int]:
        gone = any(isinstance(each, Unavailable) and fault_is_on(each, at_ms) for each in self.faults.counters)
        swapped = self.word_order == "little"
        image = self.model.constants(self, at_ms)
        for cell, raw in self._raw(np.array([at_ms], dtype=np.int64), cells):
            low_first = cell.low_first or swapped
            unavailable = UNAVAILABLE[cell.form]
            value = (unavailable[::-1] if low_first else unavailable) if gone else words(raw[0], cell.form, low_first)
            put(image, cell.function, cell.address, value)
        return image

    def _raw(self, at_ms: Ints, cells: Iterable[Cell]) -> list[tuple[Cell, Raw]]:
        sample = self.company.sample(at_ms)
        sensed: dict[int, Sensed] = {}
        dead = np.zeros(at_ms.size, dtype=bool)
        for fault in self.faults.counters:
            if isinstance(fault, ZeroBurst):
                dead |= (at_ms >= fault.from_ms) & (at_ms < fault.until_ms)
        found = []
        for cell in cells:
            if cell.channel not in sensed:
                sensed[cell.channel] = sense(self.company, self.channels[cell.channel].tap, sample, at_ms)
            found.append((cell, self._cell(cell, at_ms, sample, sensed[cell.channel], dead)))
        return found

    def _cell(self, cell: Cell, at_ms: Ints, sample: Sample, sensed: Sensed, dead: np.ndarray) -> Raw:
        scale = cell.scale * self._prefix(cell)
        gauge = GAUGES.get(cell.quantity)
        if gauge is not None:
            value = gauge(sensed)
            if dead.any() and cell.quantity.startswith(("active_power", "reactive_power", "apparent_power", "current")):
                value = np.where(dead, 0.0, value)
            return _form(cell, (-value if cell.opposite else value) / scale)
        if cell.quantity.startswith("active_power_demand"):
            return _form(cell, self._demand_w(cell, at_ms) / scale)
        if cell.quantity == "power_factor_4q":
            return _form(cell, sensed.total_power_factor())
        counter = self._counter(cell.quantity, self.channels[cell.channel], at_ms, sample)
        steps = counter(at_ms) // mwh(self.model.step_wh)
        if cell.form == "f32":
            return _form(cell, steps * self.model.step_wh / scale)
        return _whole(cell, steps * self.model.step_wh // round(scale))

    def _counter(self, quantity: str, channel: Channel, at_ms: Ints, sample: Sample) -> Counter:
        phases = channel.tap.phases
        chosen = next((p for p in range(len(phases)) if f"_l{p + 1}_" in quantity), None)
        circuits = [name for p, each in enumerate(phases) for name in each if chosen in (None, p)]
        offset = mwh(channel.offset_wh) * (len(phases) if chosen is None else 1)

        def energy(t: Ints, reactive: bool) -> Ints:
            here = sample if t is at_ms else self.company.sample(t)
            if reactive:
                return reactive_mvarms(here, circuits) // MWMS_PER_MWH
            return energy_mwms(here, circuits) // MWMS_PER_MWH + offset

        def whole(t: Ints) -> Ints:
            if "_export" in quantity or quantity.endswith(("_t2_wh", "_net_wh")):
                return np.zeros(t.size, dtype=np.int64)
            if quantity.startswith("apparent"):
                return np.hypot(energy(t, False), energy(t, True)).astype(np.int64)
            return energy(t, quantity.startswith("reactive"))

        return with_faults(whole, self.faults.counters)

    def _demand_w(self, cell: Cell, at_ms: Ints) -> Floats:
        """Mean power of the last quarter of an hour, or the largest of those that ended within the last day."""
        circuits = [name for each in self.channels[cell.channel].tap.phases for name in each]
        quarters = DAY_MS // QUARTER_MS if "max" in cell.quantity else 1
        edges = np.maximum(at_ms[:, None] - np.arange(quarters + 1) * QUARTER_MS, ORIGIN_MS)
        energy = energy_mwms(self.company.sample(edges.ravel()), circuits).reshape(edges.shape)
        means = (energy[:, :-1] - energy[:, 1:]) / (1000.0 * QUARTER_MS)
        return np.asarray(means.max(axis=1), dtype=np.float64)


def _form(cell: Cell, value: Floats) -> Raw:
    if cell.form == "f32":
        return value.astype(np.float32)
    return _whole(cell, np.rint(value).astype(np.int64))


def _whole(cell: Cell, value: Ints) -> Raw:
    low, high = RANGE[cell.form]
    return np.clip(value, low, high)
