"""Many companies as the collector sees them: entered in a registry, and what their gateways publish."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from merilo import topics, wire
from merilo.ids import GatewayKey
from merilo.instants import to_text
from merilo.reading import Reading
from merilo.site import Company, Site
from merilo_adapters.registry import Registry

DEVICES = 20
QUANTITIES: tuple[str, ...] = (
    "voltage_l1_n_v", "voltage_l2_n_v", "voltage_l3_n_v", "current_l1_a", "current_l2_a", "current_l3_a",
    "active_power_w", "active_power_l1_w", "active_power_l2_w", "active_power_l3_w", "reactive_power_var",
    "apparent_power_va", "power_factor", "power_factor_l1", "power_factor_l2", "power_factor_l3", "frequency_hz",
    "active_energy_import_wh", "active_energy_export_wh", "reactive_energy_import_varh",
)  # fmt: skip
"""Twenty quantities of a three-phase meter."""
VALUES = DEVICES * len(QUANTITIES)
"""Values of one message: one cycle of one gateway."""


@dataclass(slots=True)
class Fleet:
    """Companies with one gateway of twenty devices each; values move as a meter's do, with its digits."""

    companies: int
    seed: int = 1
    keys: list[GatewayKey] = field(init=False)
    _next: list[int] = field(init=False)
    _values: list[list[dict[str, float]]] = field(init=False)

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        self.keys = [GatewayKey(f"co{n:04d}", "hq", "gw1") for n in range(self.companies)]
        self._next = [0] * self.companies
        self._values = [[_start(chance) for _ in range(DEVICES)] for _ in self.keys]

    @property
    def devices_per_gateway(self) -> int:
        """Devices, and so readings of one message."""
        return DEVICES

    def enter(self, registry: Registry, now_ms: int) -> None:
        """Makes companies, sites, gateways, devices and their meters."""
        for key in self.keys:
            registry.add_company(Company(id=key.company, name=key.company, raw_days=None, created_ms=now_ms))
            registry.add_site(Site(company=key.company, id=key.site, name="Head office", zone="Europe/Sofia"), now_ms)
            registry.add_gateway(key, now_ms)
            registry.apply_birth(key, self.birth(now_ms), now_ms)

    def birth(self, now_ms: int, interval_s: float = 10.0) -> wire.Birth:
        """What each gateway says of its devices."""
        quantities = {
            "active_energy_import_wh": wire.BirthQuantity("Wh", "counter", step_wh=10.0),
            "active_power_w": wire.BirthQuantity("W", "gauge"),
        }
        one = wire.BirthDevice(model="SDM630", interval_s=interval_s, max_power_w=40_000.0, quantities=quantities)
        devices = {f"m{n:02d}": one for n in range(DEVICES)}
        return wire.Birth(
            at=to_text(now_ms), boot="b1", epoch=self.epoch(0), software="0", config_hash="0", devices=devices
        )

    @staticmethod
    def epoch(gateway: int) -> str:
        """Name of a gateway's outbox."""
        return f"{gateway:016x}"

    def cycle(self, gateway: int, at_ms: int) -> tuple[str, bytes]:
        """Topic and payload of the next cycle of one gateway."""
        first = self._next[gateway]
        self._next[gateway] += DEVICES
        readings = [
            Reading(device=f"m{n:02d}", at_ms=at_ms + 7 * n, values=_moved(values, at_ms))
            for n, values in enumerate(self._values[gateway])
        ]
        payload = wire.readings_payload(self.epoch(gateway), first, readings)
        return topics.build(self.keys[gateway], "readings"), payload

    def cycles(self, count: int, start_ms: int, step_ms: int = 10_000) -> list[tuple[str, bytes]]:
        """So many messages, gateway by gateway, cycle by cycle."""
        return [self.cycle(n % self.companies, start_ms + n // self.companies * step_ms) for n in range(count)]


def _start(chance: random.Random) -> dict[str, float]:
    found = {}
    for name in QUANTITIES:
        if name.endswith(("wh", "varh")):
            found[name] = float(chance.randrange(10_000, 900_000) * 10)
        elif name.endswith("_v"):
            found[name] = round(chance.uniform(225.0, 240.0), 2)
        elif name.startswith("power_factor"):
            found[name] = round(chance.uniform(0.7, 1.0), 3)
        elif name == "frequency_hz":
            found[name] = 50.01
        else:
            found[name] = round(chance.uniform(1.0, 8_000.0), 2)
    return found


def _moved(values: dict[str, float], at_ms: int) -> dict[str, float]:
    swing = (at_ms // 1000 % 97) / 50.0
    for name in ("active_energy_import_wh", "reactive_energy_import_varh"):
        values[name] += 10.0
    return {
        name: value if name.endswith("h") or name.startswith("power_factor") else round(value + swing, 2)
        for name, value in values.items()
    }


def messages_values(messages: Sequence[tuple[str, bytes]]) -> int:
    """Values in so many messages."""
    return len(messages) * VALUES
