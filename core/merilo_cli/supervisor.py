"""Starts programs as processes, keeps them running, and stops them in the reverse order."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from merilo.errors import MeriloError

log = logging.getLogger(__name__)

PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 30.0
"""A program that ends is started again after this pause, doubled each time it ends soon."""
STABLE_S = 30.0
STOP_MAX_S = 10.0
"""A program that has not ended this long after it was asked to is killed."""
TAIL_LINES = 8


_PR_SET_PDEATHSIG = 1
"""prctl(2)."""
_LIBC = ctypes.CDLL(None)


class StartError(MeriloError):
    """A program did not come up."""


@dataclass(slots=True)
class Program:
    """One process."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    keep: bool = True
    """Whether it is started again when it ends."""
    stop_signal: int = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    log_file: Path | None = None
    started: float = 0.0
    pause_s: float = PAUSE_MIN_S
    next_start: float = 0.0
    restarts: int = 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None


def merilo(*arguments: str) -> list[str]:
    """The command line that runs this same installation."""
    return [sys.executable, "-m", "merilo_cli.main", *arguments]


class Supervisor:
    """The programs of one machine, in the order they depend on each other."""

    def __init__(self, log_folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = log_folder
        self._environment = {**os.environ, **environment}
        self.programs: list[Program] = []
        log_folder.mkdir(parents=True, exist_ok=True)

    def start(self, program: Program, ready: Callable[[], bool] | None = None, timeout_s: float = 30.0) -> Program:
        """Starts a program and waits until it is ready.

        Raises:
            StartError: It ended, or was not ready in time; the message carries the end of its log.
        """
        program.log_file = self._folder / f"{program.name}.log"
        self.programs.append(program)
        self._spawn(program)
        end = time.monotonic() + timeout_s
        while ready is not None and not ready():
            if not program.running:
                raise StartError(f"{program.name} ended with code {self._code(program)}: {self.tail(program)}")
            if time.monotonic() > end:
                raise StartError(f"{program.name} was not ready within {timeout_s:.0f} s: {self.tail(program)}")
            time.sleep(0.05)
        return program

    def watch(self) -> list[str]:
        """Starts again what has ended and is due; says what it did."""
        said, now = [], time.monotonic()
        for program in self.programs:
            if program.running or not program.keep:
                continue
            if program.process is not None:
                lasted = now - program.started
                program.pause_s = PAUSE_MIN_S if lasted > STABLE_S else min(program.pause_s * 2, PAUSE_MAX_S)
                program.next_start = now + program.pause_s
                said.append(f"{program.name} ended with code {self._code(program)}: {self.tail(program, 2)}")
                program.process = None
            elif now >= program.next_start:
                program.restarts += 1
                self._spawn(program)
                said.append(f"{program.name} started again")
        return said

    def stop(self, program: Program) -> None:
        """Asks a program to end, waits, and kills it when it does not."""
        program.keep = False
        process = program.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(program.stop_signal)
        try:
            process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            log.warning("program killed name=%s reason=did not end within %s s", program.name, STOP_MAX_S)
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        """Ends everything, the last started first."""
        for program in reversed(self.programs):
            self.stop(program)

    def tail(self, program: Program, lines: int = TAIL_LINES) -> str:
        """The end of a program's log."""
        if program.log_file is None or not program.log_file.exists():
            return "no log"
        text = program.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n".join(text[-lines:]) or "nothing in its log"

    def _spawn(self, program: Program) -> None:
        assert program.log_file is not None
        with program.log_file.open("ab") as sink:
            # A session of its own: Ctrl-C reaches this process alone, which then stops the others in order.
            program.process = subprocess.Popen(
                list(program.argv),
                env={**self._environment, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        program.started = time.monotonic()

    def _code(self, program: Program) -> int | None:
        return program.process.poll() if program.process else None


def _end_with_parent() -> None:
    """In the child: asks Linux for SIGTERM when the supervisor dies, whatever ends it: nothing is orphaned."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
