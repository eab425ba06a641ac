"""site.yaml: where 'merilo up' keeps it, and which serial ports it names that this machine does not have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SITE_FILE = "site.yaml"
"""In the data folder: the file that the gateway runs with."""
WHAT_TO_DO = "plug the adapter in, or correct 'device' (ls /dev/serial/by-id)"


def missing_ports(settings: Mapping[str, Any]) -> list[str]:
    """Paths that are not there, of the plain values of site.yaml or gateway.yaml; each once."""
    buses = settings.get("buses")
    paths = [bus.get("device") for bus in buses if isinstance(bus, dict)] if isinstance(buses, list) else []
    return [path for path in dict.fromkeys(paths) if isinstance(path, str) and path and not Path(path).exists()]
