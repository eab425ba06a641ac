"""Board files: written per language, compared with what is there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from merilo.calendar import zone_of
from merilo.errors import ConfigError
from merilo_dashboards.board import ZONE, Board
from merilo_dashboards.texts import LANGUAGES, Json

FOLDER = Path(__file__).parent / "boards"
"""Where the committed files lie; the compose file shows them to Grafana."""


def rendered_files(boards: Iterable[Board], zone: str = ZONE) -> dict[str, str]:
    """Path below the folder, and content, of every file.

    Raises:
        ConfigError: No such zone.
    """
    zone_of(zone)
    return {
        f"{language}/{board.uid(language)}.json": as_text(board.json(language, zone))
        for board in boards
        for language in LANGUAGES
    }


def as_text(board: Json) -> str:
    """A board file's text, the same on every machine."""
    return json.dumps(board, ensure_ascii=False, indent=2) + "\n"


def differing(folder: Path, files: dict[str, str]) -> list[str]:
    """What is not as it should be, a line for each file: missing, changed, or not made by any board."""
    found = []
    for name, text in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: missing")
        elif path.read_text(encoding="utf-8") != text:
            found.append(f"{name}: differs from what its board gives now")
    known = {folder / name for name in files}
    for language in LANGUAGES:
        strays = sorted(path for path in (folder / language).glob("*.json") if path not in known)
        found += [f"{path.relative_to(folder)}: no board makes this file" for path in strays]
    return found


def write(folder: Path, files: dict[str, str]) -> list[str]:
    """Writes the files that differ; gives their names.

    Raises:
        ConfigError: The folder cannot be written.
    """
    changed = []
    for name, text in sorted(files.items()):
        path = folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(str(path), f"cannot be written: {error.strerror}", "Name another folder") from error
        changed.append(name)
    return changed
