"""Data to stdout, talk to stderr; tables for people, JSON lines for programs; questions only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from merilo.errors import ConfigError
from merilo_cli.words import word


class ArgumentError(ConfigError):
    """An argument or option of a command is wrong."""


Row = Mapping[str, Any]


def show(rows: Iterable[Row], columns: Sequence[str], *, as_json: bool, empty: str = "nothing") -> None:
    """Prints rows: as JSON lines with all their keys, or as a table of some columns with headings in words."""
    found = list(rows)
    if as_json:
        for row in found:
            print(json.dumps(row, ensure_ascii=False, default=str))
        return
    if not found:
        say(word(empty))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(word(column), overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in found:
        table.add_row(*(_cell(row[column]) for column in columns))
    # Piped output is never cut to a width that nobody sees.
    Console(width=None if sys.stdout.isatty() else 1_000, markup=False, highlight=False).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return word("yes" if value else "no")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return " ".join(f"{name}={item}" for name, item in value.items()) or "-"
    return str(value) or "-"


def show_one(row: Row, *, as_json: bool) -> None:
    """Prints one thing: as one JSON object, or a line per key."""
    if as_json:
        print(json.dumps(row, ensure_ascii=False, default=str))
        return
    width = max(len(word(name)) for name in row)
    for name, value in row.items():
        print(f"{word(name):<{width}}  {_cell(value)}")


def say(text: str) -> None:
    """Talk: to stderr, and not at all with --quiet."""
    if not os.environ.get("MERILO_QUIET"):
        print(text, file=sys.stderr)


def sure(question: str, yes: bool) -> None:
    """Asks before something that cannot be undone; without a terminal it must have been said.

    Raises:
        ArgumentError: There is no terminal to ask on, and ``--yes`` was not given.
        SystemExit: The answer was no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ArgumentError("--yes", f"expected, because there is no terminal to ask on: {question}")
    print(f"{question} [{word('yes_no')}] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes", "д", "да"):
        say(word("unchanged"))
        sys.exit(1)
