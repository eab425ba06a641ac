"""Days that have passed: what a gateway would have read from the example site's devices, without any wire."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from merilo.instants import HOUR_MS
from merilo_simulators.physics import company
from merilo_simulators.site import Site, channel_id, example_site

_BLOCK = 2048
"""Instants decoded at once: some megabytes, however long the history is."""

UNREAD = ("_t1_", "_t2_")
"""Parts of names of what devices have and a gateway does not ask for: counters of tariffs."""

Said = tuple[str, int, dict[str, float]]
"""Device id, instant [UTC ms] and values in canonical units."""


def history(seed: int, start_ms: int, end_ms: int, interval_ms: int) -> Iterator[Said]:
    """Readings of every device and outlet in [start, end), one each interval, in order of time.

    Values are what the registers show at that instant: same steps, same float32, same start values as live devices.

    Raises:
        ValueError: A start before the company's origin, or an interval below 1 ms.
    """
    return site_history(example_site(seed), start_ms, end_ms, interval_ms)


def site_history(site: Site, start_ms: int, end_ms: int, interval_ms: int) -> Iterator[Said]:
    """The same for a given site, counter faults of its devices included; a device without supply says nothing.

    Raises:
        ValueError: A start before the company's origin, or an interval below 1 ms.
    """
    if interval_ms < 1:
        raise ValueError(f"interval_ms = {interval_ms} must be at least 1")
    for first_ms in range(start_ms, end_ms, _BLOCK * interval_ms):
        at_ms = np.arange(first_ms, min(end_ms, first_ms + _BLOCK * interval_ms), interval_ms, dtype=np.int64)
        yield from _block(site, at_ms)


def _block(site: Site, at_ms: np.ndarray) -> Iterator[Said]:
    instants = at_ms.tolist()
    devices = []
    for device_id, meter in site.meters.items():
        silent = {at for at in instants if meter.faults.counters and meter.is_silent(at)}
        for channel, names, columns in meter.readings(at_ms):
            read = [i for i, name in enumerate(names) if not any(part in name for part in UNREAD)]
            rows = zip(*(columns[i] for i in read), strict=True)
            devices.append((channel_id(device_id, channel), silent, tuple(names[i] for i in read), rows))
    for at in instants:
        for device_id, silent, names, rows in devices:
            row = next(rows)
            if at not in silent:
                yield device_id, at, dict(zip(names, row, strict=True))


def weather(seed: int, start_ms: int, end_ms: int, interval_ms: int = HOUR_MS) -> Iterator[tuple[int, float]]:
    """Outdoor temperature that drives this company's loads in [start, end): instant [UTC ms] and °C."""
    at_ms = np.arange(start_ms, end_ms, interval_ms, dtype=np.int64)
    yield from zip(at_ms.tolist(), company(seed).outdoor_c(at_ms).tolist(), strict=True)
