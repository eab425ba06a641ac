"""Starts programs by fork from a process that has imported them already.

Killing a program fifty times a minute needs starts that cost no second of imports. The child is a process of its own
that runs the same command line as ``merilo …``; everything but the imported code is new, and SIGKILL takes all of it.

Run as ``python -m faults.nursery``: one JSON request a line on stdin, one process id a line on stdout. At the end of
stdin every child that still lives is killed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

TESTS = Path(__file__).resolve().parents[1]


class Child:
    """One running program."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within this time."""
        return bool(select.select([self._handle], [], [], seconds)[0])

    def kill(self) -> bool:
        """Ends it with SIGKILL and waits; false if it had ended before."""
        alive = not self.wait(0)
        if alive:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        self.wait(10)
        return alive

    def stop(self, seconds: float = 20) -> bool:
        """Asks it to end; whether it did in time. It is killed when it did not."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGTERM)
        return self.wait(seconds) or not self.kill()

    def close(self) -> None:
        """Gives the handle back."""
        os.close(self._handle)


class Nursery:
    """The process that has everything imported."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(TESTS), "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._lock = threading.Lock()
        assert self._out.readline() == "ready\n"

    @property
    def _out(self) -> Any:
        return self._process.stdout

    def start(self, argv: Sequence[str], environment: Mapping[str, str], log: Path, weak: str = "") -> Child:
        """Starts ``merilo`` with these arguments.

        Args:
            environment: Added to this process's own.
            weak: Name of a deliberately weak build, see ``weak.py``.
        """
        request = {"argv": list(argv), "environment": dict(environment), "log": str(log), "weak": weak}
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return Child(int(self._out.readline()))

    def close(self) -> None:
        """Ends it and every child."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._out.close()


def _run(request: Mapping[str, Any]) -> NoReturn:
    """In the child."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for handle, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(handle, target)
    os.environ.update(request["environment"])
    code: object = 1
    try:
        if request["weak"]:
            from faults.weak import BUILDS

            BUILDS[request["weak"]]()
        from merilo_cli.main import main

        main(request["argv"])
    except SystemExit as error:
        code = error.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _serve() -> None:
    import merilo_gateway.commands
    import merilo_gateway.run  # noqa: F401

    assert threading.active_count() == 1, "a process with threads must not fork"
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    living: set[int] = set()
    print("ready", flush=True)
    while line := sys.stdin.readline():
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                living.discard(ended)
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))
        living.add(pid)
        print(pid, flush=True)
    for pid in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
