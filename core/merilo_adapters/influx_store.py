"""The series store on InfluxDB 1.x and 2.x: one language to read, two ways to write."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from merilo.errors import ConfigError, StoreRefusedError, StoreUnavailableError
from merilo.frame import Frame, Series
from merilo.ports import Point, Rejected, Replaced
from merilo.schema import Measurement, Policy, database
from merilo_adapters.frames import difference, select
from merilo_adapters.influx1_server import Influx1Server
from merilo_adapters.influx_answers import Answer, LineWriter
from merilo_adapters.influx_http import InfluxHttp, Login
from merilo_adapters.influx_lines import batches, frame_lines, point_lines
from merilo_adapters.influx_policies import PolicyServer, set_up
from merilo_adapters.influx_rows import parsed_key, series_of, show_series
from merilo_adapters.influx_rows import select as select_text
from merilo_adapters.points import (
    AT_MAX_MS,
    check_company,
    check_frame,
    clean_points,
    measurement_named,
    wanted_fields,
    wanted_tags,
    whole_tags,
)

INSTALL_HINT = "Install merilo[collector] or merilo[api]"


class Server(PolicyServer, Protocol):
    """What differs between the kinds of servers."""

    def write(self, company: str, policy: Policy, lines: Sequence[bytes]) -> Answer:
        """One request of line protocol, instants in milliseconds."""
        ...

    def delete(
        self, company: str, measurement: Measurement, tags: Mapping[str, str], first_ms: int, last_ms: int
    ) -> None:
        """Deletes the series' points from the first to the last instant, both included."""
        ...

    def started_ms(self) -> int | None:
        """When the server started."""
        ...

    def close(self) -> None:
        """Closes idle connections."""
        ...


class InfluxStore:
    """Series store and its set-up on one InfluxDB server; its kind is found out at the first call.

    Args:
        url: Address of the server, without a login in it.
        login: Token for 2.x, user and password for 1.x.
        org: Organisation of a 2.x server.
    """

    def __init__(self, url: str, login: Login, org: str) -> None:
        self._http = InfluxHttp(url, login)
        self._login = login
        self._org = org
        self._found: Server | None = None
        self._lock = threading.Lock()

    def write(self, company: str, measurement: str, points: Sequence[Point]) -> list[Rejected]:
        """See `merilo.ports.SeriesStore.write`."""
        check_company(company)
        meant = measurement_named(measurement)
        lines = point_lines(meant, clean_points(meant, points))
        return self._write(company, meant, lines)

    def read(
        self,
        company: str,
        measurement: str,
        tags: Mapping[str, str],
        start_ms: int,
        end_ms: int,
        fields: Sequence[str] | None = None,
    ) -> list[Series]:
        """See `merilo.ports.SeriesStore.read`."""
        check_company(company)
        meant = measurement_named(measurement)
        wanted, chosen = wanted_tags(meant, tags), wanted_fields(meant, fields)
        start_ms, end_ms = max(start_ms, 0), min(end_ms, AT_MAX_MS + 1)
        if wanted is None or start_ms >= end_ms:
            return []
        text, bound = select_text(company, meant, wanted, start_ms, end_ms, chosen)
        return series_of(meant, self._http.query(database(company), text, bound), chosen)

    def replace(
        self, company: str, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int, frame: Frame
    ) -> Replaced:
        """See `merilo.ports.SeriesStore.replace`.

        A field cannot be deleted, so the stretch from the first to the last point that loses one (or is gone) is
        deleted in one statement and written whole. A crash between the two leaves a gap: repeat the call.
        """
        check_company(company)
        meant = measurement_named(measurement)
        values = whole_tags(meant, tags)
        check_frame(meant, frame, start_ms, end_ms)
        found = self.read(company, measurement, tags, start_ms, end_ms)
        old = found[0].frame if found else Frame.empty()
        change = difference(old, frame)
        to_write = change.changed
        lost = np.flatnonzero(change.lost)
        if len(lost):
            first, last = int(old.at_ms[lost[0]]), int(old.at_ms[lost[-1]])
            to_write = to_write | ((frame.at_ms >= first) & (frame.at_ms <= last))
            with self._server() as server:
                server.delete(company, meant, dict(zip(meant.tags, values, strict=True)), first, last)
        rejected = self._write(company, meant, frame_lines(meant, values, select(frame, to_write)))
        if rejected:
            at = int(frame.at_ms[to_write][rejected[0].position])
            raise StoreRefusedError(
                f"replace in {measurement}: {len(rejected)} rows not taken, the one at {at}: {rejected[0].reason}"
            )
        return Replaced(len(lost), int(to_write.sum()))

    def tags(self, company: str, measurement: str, tags: Mapping[str, str]) -> list[dict[str, str]]:
        """See `merilo.ports.SeriesStore.tags`."""
        check_company(company)
        meant = measurement_named(measurement)
        wanted = wanted_tags(meant, tags)
        if wanted is None:
            return []
        text, bound = show_series(company, meant, wanted)
        keys = (str(row[0]) for table in self._http.query(database(company), text, bound) for row in table.values)
        found = {tuple(parsed.values()) for parsed in (parsed_key(meant, key) for key in keys) if parsed is not None}
        return [dict(zip(meant.tags, values, strict=True)) for values in sorted(found)]

    def init(self, company: str, raw_days: int | None, *, dry_run: bool = False) -> list[str]:
        """See `merilo.ports.StoreAdmin.init`."""
        check_company(company)
        with self._server() as server:
            return set_up(server, company, raw_days, dry_run=dry_run)

    def started_ms(self) -> int | None:
        """See `merilo.ports.StoreAdmin.started_ms`."""
        with self._server() as server:
            return server.started_ms()

    def kind(self) -> str:
        """For example ``influxdb 2.8.0``."""
        return f"influxdb {self._http.version()}"

    def expire(self, company: str, now_ms: int) -> int:
        """Nothing: the server drops whole shard groups by itself."""
        return 0

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()
        if self._found is not None:
            self._found.close()

    def _write(self, company: str, measurement: Measurement, lines: Sequence[bytes]) -> list[Rejected]:
        if not lines:
            return []
        rejected: list[Rejected] = []
        with self._server() as server:
            what = f"write of {measurement.name} to {database(company)}"
            writer = LineWriter(what, lambda part: server.write(company, measurement.policy, part))
            for first, part in batches(lines):
                rejected += writer.write(part, first)
        return rejected

    @contextmanager
    def _server(self) -> Iterator[Server]:
        """The server by its kind; asked again after an outage, because an upgrade changes the kind."""
        with self._lock:
            if self._found is None:
                self._found = self._detected()
            found = self._found
        try:
            yield found
        except StoreUnavailableError:
            with self._lock:
                self._found = None
            raise

    def _detected(self) -> Server:
        version = self._http.version()
        major = version.split(".", 1)[0]
        if major == "1":
            return Influx1Server(self._http)
        if major == "2":
            try:
                from merilo_adapters.influx2_server import Influx2Server  # heavy, and only 2.x needs it
            except ModuleNotFoundError as error:
                raise ConfigError(
                    "store", f"{error.name} is not installed", "Install merilo[collector] or merilo[api]"
                ) from error
            return Influx2Server(self._http, self._login.token, self._org)
        raise StoreRefusedError(
            f"{self._http.url}: expected InfluxDB 1 or 2, found {version}, which cannot delete rows or read a year"
        )
