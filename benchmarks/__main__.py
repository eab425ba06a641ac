"""``python -m benchmarks [name …] [--quick] [--markdown FILE]``: one run, one table."""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import platform
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.table import Row, load, markdown, screen

NAMES = {
    "planner": "Read planner",
    "polling": "Polling a serial line",
    "gateway": "Gateway program",
    "ingest": "Ingest",
    "books": "Books and stores",
}
"""What can be measured, in the order it runs."""
TIME_MAX_S = 1_200
"""A run that takes longer hangs: it ends and says where."""
REPORT = Path("build") / "benchmarks.md"


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Any of {', '.join(NAMES)}; all if none is named.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes: two minutes instead of ten.")] = False,
    markdown_file: Annotated[Path, typer.Option("--markdown", help="Where the table goes as Markdown.")] = REPORT,
) -> None:
    """Measure Merilo on this machine and compare with its targets. Real programs, loopback only."""
    chosen = names or list(NAMES)
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}: expected any of {', '.join(NAMES)}")
    logging.basicConfig(level=logging.ERROR)
    faulthandler.dump_traceback_later(TIME_MAX_S, exit=True)
    talk, began = Console(stderr=True), time.monotonic()
    found: dict[str, list[Row]] = {}
    columns = (SpinnerColumn(), BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=talk) as progress:
        task = progress.add_task("", total=len(chosen))
        for name in chosen:
            title = NAMES[name]

            def say(step: str, title: str = title) -> None:
                progress.update(task, description=f"{title}: {step}")

            say("starting")
            module = importlib.import_module(f"benchmarks.{name}")
            found[name] = module.run(quick, say)
            progress.advance(task)
    text = _head(quick) + "\n".join(markdown(NAMES[name], rows) for name, rows in found.items())
    markdown_file.parent.mkdir(parents=True, exist_ok=True)
    markdown_file.write_text(text, encoding="utf-8")
    console = Console()
    for name, rows in found.items():
        screen(console, NAMES[name], rows)
    rows = [row for part in found.values() for row in part]
    missed = [row.name for row in rows if row.ok is False]
    targets = sum(row.ok is not None for row in rows)
    talk.print(f"{targets - len(missed)} of {targets} targets met in {time.monotonic() - began:.0f} s; {markdown_file}")
    for name in missed:
        talk.print(f"missed: {name}")
    if load() > 3:
        talk.print(
            f"This machine is busy (load {load():.1f}): times by the clock say little; run again when it is idle."
        )


def _head(quick: bool) -> str:
    size = "quick sizes" if quick else "full sizes"
    cores = len(os.sched_getaffinity(0))
    return f"Measured {time.strftime('%Y-%m-%d')}, {cores} cores, Python {platform.python_version()}, {size}.\n\n"


if __name__ == "__main__":
    typer.run(main)
