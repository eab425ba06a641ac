"""What the gateway tells about the machine it runs on, read from the operating system."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from merilo_adapters.outbox_rows import Clock

NOT_BEFORE_MS = 1_764_000_000_000
"""A wall clock before this release (November 2025) is not set."""
_BOARD = Path("/sys/firmware/devicetree/base/model")
_HARDWARE_CLOCK = Path("/sys/class/rtc/rtc0")
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")


def boot_id() -> str:
    """Names this boot of the machine; one of our own where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return str(uuid.uuid4())


def clock_state(now_ms: int, trust: str) -> Clock:
    """Whether the wall clock can be believed.

    A board without a hardware clock starts with the time of its last shutdown or of 1970 and is believed only once its
    time service says so. Every other machine keeps its time while it is off.
    """
    if now_ms < NOT_BEFORE_MS:
        return "unsynced"
    if trust == "trusted" or not _BOARD.exists() or _HARDWARE_CLOCK.exists() or _SYNCHRONISED.exists():
        return "synced"
    return "unsynced"


def cpu_temperature_c() -> float | None:
    """Temperature of the processor [°C], None where it is not told."""
    try:
        return int(_TEMPERATURE.read_text()) / 1000
    except (OSError, ValueError):
        return None


def disk_free(folder: Path) -> float | None:
    """Free share of the disk that holds a folder, 0 to 1."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail / disk.f_blocks if disk.f_blocks else None
