"""The API process: settings in, a server out."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn

from merilo.errors import ConfigError
from merilo_adapters.clock import Clock
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.installation import installation
from merilo_adapters.registry import Registry
from merilo_api.app import create_app


def serve(data: Path | None, host: str, port: int, *, verbose: bool = False) -> None:
    """Serves until the process is told to stop.

    Raises:
        ConfigError: The address cannot be used.
    """
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    place = installation(data)
    registry = Registry.open(place.registry_url, actor="api")
    app = create_app(registry, registry.work(), CompanyStores(place, registry), Clock.from_text(place.clock))
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, timeout_keep_alive=10)
    server = uvicorn.Server(config)
    try:
        server.run()
    except OSError as error:
        raise ConfigError("--port", f"cannot listen on {host}:{port}: {error.strerror}", "Name another port") from None
    if not server.started:
        raise ConfigError("--port", f"cannot listen on {host}:{port}", "Name another port")
