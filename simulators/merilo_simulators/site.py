"""The example company wired up: which device hangs where, on which bus, and what it was told at installation."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from merilo_simulators.devices.em340 import EM340
from merilo_simulators.devices.iem3155 import IEM3155
from merilo_simulators.devices.meter import Channel, Meter, Model
from merilo_simulators.devices.netio import NETIO
from merilo_simulators.devices.sdm630 import SDM630
from merilo_simulators.electrical import Tap
from merilo_simulators.faults import FaultBook
from merilo_simulators.physics import OUTLET_CIRCUITS, Company, company

Bus = Literal["line", "panel", "rack", "mqtt"]
"""line: RS-485 as RTU; panel: Modbus TCP gateway in the distribution board; rack: the strip's own Modbus TCP port."""

_MAIN = Tap(
    phases=(
        ("lighting", "room_aux", "ups_in_l1", "cooling_l1"),
        ("sockets", "ups_in_l2", "cooling_l2"),
        ("hvac", "ups_in_l3", "cooling_l3"),
    )
)
_OFFICE = Tap(phases=(("lighting",), ("sockets",), ("hvac",)))
_UPS = Tap(phases=(("ups_in_l1",), ("ups_in_l2",), ("ups_in_l3",)))
_COOLING = Tap(phases=(("cooling_l1",), ("cooling_l2",), ("cooling_l3",)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One device and the bus it is reached on."""

    bus: Bus
    meter: Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The devices of one simulated company."""

    seed: int
    company: Company
    placed: tuple[Placed, ...]

    def on(self, bus: Bus) -> list[Meter]:
        """The devices on one bus."""
        return [each.meter for each in self.placed if each.bus == bus]

    def meter(self, device_id: str) -> Meter:
        """One device.

        Raises:
            ValueError: The site has no such device.
        """
        found = self.meters.get(device_id)
        if found is None:
            raise ValueError(f"device {device_id!r}: expected one of {', '.join(self.meters)}")
        return found

    @property
    def meters(self) -> Mapping[str, Meter]:
        """All devices by id."""
        return {each.meter.device_id: each.meter for each in self.placed}


def channel_id(device_id: str, channel: int) -> str:
    """The id under which an outlet is a device of its own; channel 0 is the device."""
    return f"{device_id}-outlet-{channel}" if channel else device_id


def example_site(seed: int) -> Site:
    """Office and server room of Example Ltd, Burgas: six devices; serial numbers and start values follow the seed."""
    shared = company(seed)
    drawn = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def placed(bus: Bus, device_id: str, model: Model, unit: int, *taps: Tap) -> Placed:
        offsets = [drawn.randrange(20_000, 9_000_000) // 100 * 100 for _ in taps]
        if len(taps) > 1:  # a strip's own counter is the sum of its outlets'
            offsets[0] = sum(offsets[1:])
        channels = tuple(Channel(tap=tap, offset_wh=offset) for tap, offset in zip(taps, offsets, strict=True))
        serial = drawn.randrange(10_000_000, 99_999_999)
        faults = FaultBook(drawn.randrange(1 << 32))
        return Placed(
            bus=bus,
            meter=Meter(
                device_id=device_id,
                model=model,
                company=shared,
                channels=channels,
                serial=serial,
                unit=unit,
                faults=faults,
            ),
        )

    strip_taps = []
    for outlets in (OUTLET_CIRCUITS[:4], OUTLET_CIRCUITS[4:]):
        each = [Tap(phases=((circuit,),), supply="ups") for circuit in outlets]
        strip_taps.append([Tap(phases=(outlets,), supply="ups"), *each])
    return Site(
        seed=seed,
        company=shared,
        placed=(
            placed("line", "main", SDM630, 1, _MAIN),
            placed("panel", "office", SDM630, 1, _OFFICE),
            placed("panel", "ups", IEM3155, 2, _UPS),
            placed("line", "cooling", EM340, 2, _COOLING),
            placed("mqtt", "pdu1", NETIO, 1, *strip_taps[0]),
            placed("rack", "pdu2", NETIO, 1, *strip_taps[1]),
        ),
    )
