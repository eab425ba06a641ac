"""``merilo api …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Serve the API and the page.", no_args_is_help=True)


@app.callback()
def nouns() -> None:
    """Serve the API and the page."""


@app.command("run")
def run(
    data: Annotated[Path | None, typer.Option(help="Data folder; else MERILO_DATA.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback every request needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8080,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    """Serve until told to stop."""
    from merilo_api.run import serve

    serve(data, host, port, verbose=verbose)


@app.command("openapi")
def openapi() -> None:
    """Print the description of the API (OpenAPI 3.1)."""
    import tempfile

    from merilo_adapters.clock import Clock
    from merilo_adapters.company_stores import CompanyStores
    from merilo_adapters.installation import installation
    from merilo_adapters.registry import Registry
    from merilo_api.app import create_app
    from merilo_api.openapi import committed

    with tempfile.TemporaryDirectory(prefix="merilo-") as folder:
        place = installation(Path(folder))
        registry = Registry.open(f"sqlite:///{folder}/registry.db")
        app = create_app(registry, registry.work(), CompanyStores(place, registry), Clock())
        print(committed(app), end="")
        registry.close()
