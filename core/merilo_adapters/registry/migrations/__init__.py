"""Steps from one schema of the registry to the next. A step that a release carried is never edited again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Steps:
    """A folder of steps and the schema they lead to."""

    head: str
    folder: Path


HEAD = "0001"
"""The schema of this release; known without loading the migration library, which most starts do not need."""
STEPS = Steps(HEAD, Path(__file__).parent)
