"""``merilo boards …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Grafana boards: build, check.", no_args_is_help=True)


@app.callback()
def nouns() -> None:
    """Grafana boards: build, check."""


@app.command("build")
def build(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is not current.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the files; else the package's own.")] = None,
    zone: Annotated[str, typer.Option(help="Time zone in which the company's days begin.")] = "Europe/Sofia",
) -> None:
    """Write the board files of both languages, after checking every rule that boards keep."""
    from merilo_dashboards.catalogue import boards
    from merilo_dashboards.files import FOLDER, differing, rendered_files, write
    from merilo_dashboards.lint import faults

    folder = out or FOLDER
    files = rendered_files(boards(), zone)
    wrong = faults(files)
    if check:
        wrong += [f"{line}. Run: merilo boards build" for line in differing(folder, files)]
    for line in wrong:
        typer.echo(line, err=True)
    if wrong:
        raise typer.Exit(1)
    if check:
        typer.echo(f"{len(files)} board files are current", err=True)
        return
    for name in write(folder, files):
        typer.echo(str(folder / name))
