"""``merilo gateway``: run, read, check. Data go to stdout, talk to stderr."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from merilo.errors import ConfigError, MeriloError

app = typer.Typer(name="gateway", no_args_is_help=True, help="Poll devices, keep readings through outages, publish.")

OK, FINDING, USAGE, CONFIGURATION, UNREACHABLE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
T = TypeVar("T")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The gateway's file.", show_default=True)]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder for the outbox. [default: MERILO_DATA]")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def _end(code: int, text: str = "") -> NoReturn:
    if text:
        typer.echo(text, err=True)
    raise typer.Exit(code)


def _guarded(work: Callable[[], T]) -> T:
    """Runs a command; what is expected to go wrong becomes a text and an exit code."""
    try:
        return work()
    except ConfigError as error:
        _end(CONFIGURATION, str(error))
    except KeyboardInterrupt:
        _end(INTERRUPTED)
    except MeriloError as error:
        _end(UNREACHABLE, str(error))


def _log(verbose: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


@app.command()
def run(
    config: ConfigOption = Path("gateway.yaml"),
    data: DataOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything.")] = False,
) -> None:
    """Poll, store, publish, until SIGTERM."""
    from merilo_gateway.run import run as run_gateway
    from merilo_gateway.settings import data_folder, load_settings

    _log(verbose)
    _guarded(lambda: run_gateway(load_settings(config, os.environ), data_folder(data, os.environ)))


@app.command()
def read(
    device: Annotated[str, typer.Argument(help="Id of the device in the file.")],
    config: ConfigOption = Path("gateway.yaml"),
    raw: Annotated[bool, typer.Option("--raw", help="Words and registers beside the values.")] = False,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until interrupted.")] = False,
) -> None:
    """Read one device now: needs neither broker nor store."""
    from merilo_gateway.probe import read_once, rows_text
    from merilo_gateway.settings import load_settings

    def work() -> int:
        settings = load_settings(config, os.environ, secrets=False)
        while True:
            found = asyncio.run(read_once(settings, device))
            if as_json:
                typer.echo(json.dumps(found.as_dict(raw=raw)))
            else:
                typer.echo(rows_text(found, raw=raw))
            if not watch:
                return PARTIAL if found.missing else OK

    _end(_guarded(work))


@app.command()
def check(
    config: ConfigOption = Path("gateway.yaml"),
    as_json: JsonOption = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only the file: ask no device and no broker.")] = False,
) -> None:
    """Check the file and its bus time, then ask every device and the broker."""
    from merilo_gateway.checking import check_all

    def work() -> int:
        findings = check_all(config, os.environ, offline=offline)
        for finding in findings.lines:
            typer.echo(json.dumps(finding.as_dict()) if as_json else finding.text())
        return findings.exit_code

    _end(_guarded(work))
