"""What a process has cost so far, as the kernel counts it; programs that are started, and stopped by their number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STOP_S = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor time of a process and all its threads [s], from the scheduler's own nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    ended = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return max(total / 1e9, (int(ended[11]) + int(ended[12])) / _TICKS)


def memory_mb(pid: int) -> float:
    """Resident memory of a process [MB]."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has no memory of its own")


def written_bytes(pid: int) -> int:
    """What a process has sent to the disk, pages written back included."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid}: the kernel does not count what it writes")


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits until something is true.

    Raises:
        TimeoutError: It did not become so.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)


@contextmanager
def program(
    name: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Runs a program of this Python, its output in ``<folder>/<name>.log``; gives its process id."""
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=log, stderr=log, env={**os.environ, **(environment or {})}, cwd=_root()
        )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended by itself with {process.returncode}")
    except (TimeoutError, RuntimeError) as error:
        error.add_note((folder / f"{name}.log").read_text(errors="replace")[-1500:])
        raise
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def merilo(*arguments: str) -> list[str]:
    """The arguments that run a command of this installation."""
    return ["-m", "merilo_cli.main", *arguments]


def _root() -> Path:
    return Path(__file__).parents[1]
