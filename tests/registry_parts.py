"""Places and birth messages that the registry's tests share."""

from __future__ import annotations

import os

from merilo import wire
from merilo.ids import DeviceKey, GatewayKey, RegisterKey
from merilo.instants import DAY_MS, to_text

NOW = 20_417 * DAY_MS
"""2025-11-25T00:00Z: on the 15-minute grid."""
GATEWAY = GatewayKey("acme", "hq", "gw1")
MAIN = DeviceKey(*GATEWAY, "main")
IMPORT = "active_energy_import_wh"
MAIN_IMPORT = RegisterKey(*MAIN, IMPORT)


def in_memory() -> str | None:
    """A folder in memory where there is one: a commit is durable there without waiting for a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def birth(devices: dict[str, wire.BirthDevice], at_ms: int = NOW) -> wire.Birth:
    """A birth message of the gateway."""
    return wire.Birth(
        at=to_text(at_ms), boot="b1", epoch="0123456789abcdef", software="0.1.0", config_hash="c1", devices=devices
    )


def counter(step_wh: float | None = 10.0, rollover_wh: float | None = None) -> dict[str, wire.BirthQuantity]:
    """An import register and a power."""
    return {
        IMPORT: wire.BirthQuantity("Wh", "counter", step_wh=step_wh, rollover_wh=rollover_wh),
        "active_power_w": wire.BirthQuantity("W", "gauge"),
    }
