"""Life signs for the service manager (sd_notify), without a library: one datagram to a socket it names."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager; does nothing where there is none.

    Args:
        environment: With NOTIFY_SOCKET and WATCHDOG_USEC if the service manager wants them.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")
        wanted = environment.get("WATCHDOG_USEC", "")
        self.interval_s = int(wanted) / 2e6 if wanted.isdigit() and int(wanted) else None
        """How often a life sign is due: half of what the service manager waits; None if it does not watch."""

    def tell(self, text: str) -> None:
        """Sends ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1`` or a status line."""
        if not self._path:
            return
        name = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendto(text.encode(), name)
        except OSError as error:
            log.debug("service manager not told reason=%s", error)
