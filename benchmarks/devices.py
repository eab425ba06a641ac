"""Simulated meters as a program of their own, so that what they cost is not counted where a gateway is measured.

``python -m benchmarks.devices tcp 20 5`` (twenty behind each of five ports) or ``… rtu 3 9600``: SDM630 meters at units
1, 2, 3 …; other units stay silent. Prints the ports or the serial port's path, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from merilo_adapters.clock import Clock
from merilo_simulators.devices.meter import Channel, Meter
from merilo_simulators.devices.sdm630 import SDM630
from merilo_simulators.electrical import Tap
from merilo_simulators.faults import FaultBook
from merilo_simulators.physics import company
from merilo_simulators.rtu import Pace, RtuLine
from merilo_simulators.tcp import ModbusServer

RESPONSE_MS = 40
"""Turnaround on a serial line: what panel meters typically need."""


def meters(count: int) -> list[Meter]:
    """So many SDM630 on one simulated company."""
    shared = company(1)
    tap = Tap(phases=(("lighting",), ("sockets",), ("hvac",)))
    return [
        Meter(
            device_id=f"m{unit}", model=SDM630, company=shared, channels=(Channel(tap=tap, offset_wh=100_000 * unit),),
            serial=1000 + unit, unit=unit, faults=FaultBook(unit),
        )
        for unit in range(1, count + 1)
    ]  # fmt: skip


async def _serve(kind: str, count: int, number: int) -> None:
    if kind == "tcp":
        servers = [ModbusServer(meters(count), Clock()) for _ in range(number)]
        print(*[await server.start() for server in servers], flush=True)
    else:
        line = RtuLine(meters(count), Clock(), pace=Pace(baud=number), response_ms=RESPONSE_MS)
        print(await line.start(), flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def served(kind: str, count: int, number: int = 1) -> Iterator[str]:
    """Runs it with so many ports, or at so many baud; gives the ports or the path."""
    command = [sys.executable, "-m", "benchmarks.devices", kind, str(count), str(number)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1], text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        place = process.stdout.readline().strip()
        if not place:
            raise RuntimeError("the simulated meters did not come up")
        yield place
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
