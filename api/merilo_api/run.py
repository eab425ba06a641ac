"""The API process: settings in, a server out."""

from __future__ import annotations

import logging
import socket
import sys
from functools import partial
from pathlib import Path

import uvicorn

from merilo.errors import ConfigError
from merilo_adapters.clock import Clock
from merilo_adapters.company_stores import CompanyStores
from merilo_adapters.installation import installation, usual_data_folder
from merilo_adapters.registry import Registry
from merilo_api.app import create_app
from merilo_api.page.shell import shell_at

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 500
"""Open at once; beyond them a client is asked to come back, so that a flood cannot take the memory."""
HEADERS_MAX = 16_384
"""Bytes of a request's line and headers."""
KEPT_OPEN_S = 10
STOP_S = 5
"""What is under way gets this long when the process is told to stop."""


def serve(data: Path | None, host: str, port: int, *, verbose: bool = False) -> None:
    """Serves until the process is told to stop.

    Raises:
        ConfigError: The address cannot be used.
    """
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    place = installation(data)
    with listening(host, port) as door:
        registry = Registry.open(place.registry_url, actor="api")
        stores, clock = CompanyStores(place, registry), Clock.from_text(place.clock)
        shell = partial(shell_at, place.data, usual_data_folder())
        app = create_app(registry, registry.work(), stores, clock, shell=shell)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            http="h11",  # httptools has no limit for headers
            h11_max_incomplete_event_size=HEADERS_MAX,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEPT_OPEN_S,
            timeout_graceful_shutdown=STOP_S,
        )
        log.info("serving address=%s", shown(door))
        uvicorn.Server(config).run(sockets=[door])
        registry.close()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on the address.

    Raises:
        ConfigError: It cannot.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS_MAX)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError("--host, --port", f"cannot listen on {host}:{port}: {reason}", "Name another port") from None


def shown(door: socket.socket) -> str:
    """The address as a browser takes it."""
    host, port = door.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
