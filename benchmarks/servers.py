"""Real servers to measure against: the ones the tests use, and what a program needs to find them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from merilo_adapters.influx_http import Login
from merilo_adapters.influx_store import InfluxStore
from real import ORG, InfluxServer, influx1, influx2, mosquitto

__all__ = ["Influx", "influx", "mosquitto"]

NAME_OF_2 = "MERILO_TEST_INFLUXD2"
"""Names the server program of an InfluxDB 2; without it Debian's InfluxDB 1 is measured."""


@dataclass(frozen=True, slots=True)
class Influx:
    """A running InfluxDB."""

    server: InfluxServer
    kind: str
    """For people: ``InfluxDB 2.8.0``."""

    def open(self) -> InfluxStore:
        """A store on it."""
        return InfluxStore(self.server.url, Login(token=self.server.token), ORG)

    @property
    def environment(self) -> dict[str, str]:
        """How a program of ours finds it."""
        found = {"MERILO_STORE": self.server.url}
        return found | ({"MERILO_STORE_TOKEN": self.server.token} if self.server.token else {})


@contextmanager
def influx() -> Iterator[Influx]:
    """An empty InfluxDB: 2.x where its program is named, else 1.x."""
    named = Path(os.environ.get(NAME_OF_2, "")).is_file()
    with influx2() if named else influx1() as server:
        kind = InfluxStore(server.url, Login(token=server.token), ORG).kind()
        yield Influx(server, kind.replace("influxdb", "InfluxDB"))
