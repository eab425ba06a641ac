"""Fills an outbox with the past of a simulated company, as an outage of that length would have left it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from merilo.reading import Reading
from merilo_adapters.outbox import Outbox
from merilo_simulators.history import history

CYCLES_PER_COMMIT = 200


def fill(
    path: Path,
    seed: int,
    start_ms: int,
    end_ms: int,
    interval_ms: int,
    progress: Callable[[float], None] = lambda share: None,
) -> int:
    """Appends the readings of [start, end) and gives how many they are.

    Args:
        path: The outbox file; made if it is not there.
        interval_ms: Time between two polls.
        progress: Told the share that is done, 0 to 1.
    """
    outbox = Outbox(path)
    count = 0
    cycles: list[tuple[int, list[Reading]]] = []
    try:
        for device, at_ms, values in history(seed, start_ms, end_ms, interval_ms):
            reading = Reading(device=device, at_ms=at_ms, values=values)
            if cycles and at_ms - cycles[-1][0] < interval_ms // 2:
                cycles[-1][1].append(reading)
            else:
                if len(cycles) >= CYCLES_PER_COMMIT:
                    outbox.append_all(cycles)
                    cycles = []
                    progress((at_ms - start_ms) / (end_ms - start_ms))
                cycles.append((at_ms, [reading]))
            count += 1
        if cycles:
            outbox.append_all(cycles)
    finally:
        outbox.close()
    return count
