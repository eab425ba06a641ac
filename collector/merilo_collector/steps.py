"""Named instants between the steps of a commit, where the fault suite ends the process.

``MERILO_CRASH=<step>:<number>:<file>`` ends the process with SIGKILL when the step is reached for the n-th time, once:
the file is made first, and its presence disarms the switch. Without the variable nothing of it is there.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from merilo_collector import books, ingest

VARIABLE = "MERILO_CRASH"


class Crash:
    """Ends the process when a step is reached often enough."""

    def __init__(self, step: str, number: int, mark: Path) -> None:
        self._step, self._number, self._mark = step, number, mark

    def reached(self, step: str) -> None:
        """See the ports."""
        if step != self._step or self._mark.exists():
            return
        self._number -= 1
        if self._number <= 0:
            self._mark.write_text(step, encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)


def _crash() -> Crash | None:
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    step, number, mark = text.split(":", 2)
    return Crash(step, int(number), Path(mark))


class _IngestCrash(ingest.Steps):
    def __init__(self, crash: Crash) -> None:
        self.reached = crash.reached  # type: ignore[method-assign]


class _BooksCrash(books.Steps):
    def __init__(self, crash: Crash) -> None:
        self.reached = crash.reached  # type: ignore[method-assign]


def ingest_steps() -> ingest.Steps | None:
    """The switch for ingest, None in normal life."""
    crash = _crash()
    return _IngestCrash(crash) if crash else None


def books_steps() -> books.Steps | None:
    """The switch for the books, None in normal life."""
    crash = _crash()
    return _BooksCrash(crash) if crash else None
