"""An InfluxDB 1.x server: databases with policies, `/write`, and InfluxQL for everything else."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from merilo.errors import StoreRefusedError
from merilo.ids import PROGRAMME
from merilo.instants import to_ms
from merilo.schema import Measurement, Policy, database
from merilo_adapters.influx_answers import Answer
from merilo_adapters.influx_http import InfluxHttp
from merilo_adapters.influx_policies import Retention
from merilo_adapters.influx_rows import NS_PER_MS, tag_condition

log = logging.getLogger(__name__)

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_STARTED = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?.*")


class Influx1Server:
    """What only a 1.x server does this way."""

    def __init__(self, http: InfluxHttp) -> None:
        self._http = http

    def write(self, company: str, policy: Policy, lines: Sequence[bytes]) -> Answer:
        """One request of line protocol."""
        return self._http.write_v1(database(company), policy, lines)

    def delete(
        self, company: str, measurement: Measurement, tags: Mapping[str, str], first_ms: int, last_ms: int
    ) -> None:
        """Deletes the series' points from the first to the last instant, both included.

        A 1.x DELETE cannot name a policy and acts on all; a measurement lives in one policy only.
        """
        condition, bound = tag_condition(tags)
        bound |= {"first": first_ms * NS_PER_MS, "last": last_ms * NS_PER_MS}
        text = f'DELETE FROM "{measurement.name}" WHERE {condition} AND time >= $first AND time <= $last'  # noqa: S608 - names are the schema's
        self._http.execute(text, database=database(company), parameters=bound)

    def companies(self) -> int:
        """How many companies have a database here."""
        names = (str(row[0]) for table in self._http.query("", "SHOW DATABASES", {}) for row in table.values)
        return sum(name.startswith(database("")) and name != database(PROGRAMME) for name in names)

    def retentions(self, name: str) -> dict[str, Retention]:
        """Policies of a database; empty where there is no such database."""
        found: dict[str, Retention] = {}
        try:
            for table in self._http.query(name, f'SHOW RETENTION POLICIES ON "{name}"', {}):
                for row in table.values:
                    cells = dict(zip(table.columns, row, strict=True))
                    kept, shard = _seconds(cells["duration"]), _seconds(cells["shardGroupDuration"])
                    found[str(cells["name"])] = Retention(kept, shard)
        except StoreRefusedError as error:
            if "database not found" in str(error):
                return {}
            raise
        return found

    def create(self, name: str, policy: Policy, retention: Retention) -> None:
        """Makes the policy, and the database where it is missing."""
        kept, shard = _literal(retention.kept_s), _literal(retention.shard_s)
        if policy == "autogen":
            self._http.execute(f'CREATE DATABASE "{name}" WITH DURATION {kept} SHARD DURATION {shard} NAME "{policy}"')
        else:
            self._http.execute(
                f'CREATE RETENTION POLICY "{policy}" ON "{name}" DURATION {kept} REPLICATION 1 SHARD DURATION {shard}'
            )

    def alter(self, name: str, policy: Policy, retention: Retention) -> None:
        """Gives an existing policy another retention."""
        kept, shard = _literal(retention.kept_s), _literal(retention.shard_s)
        self._http.execute(f'ALTER RETENTION POLICY "{policy}" ON "{name}" DURATION {kept} SHARD DURATION {shard}')

    def started_ms(self) -> int | None:
        """When the server started; None where the login may not ask."""
        try:
            for table in self._http.query("", "SHOW DIAGNOSTICS", {}):
                if table.name == "system" and table.values:
                    cells = dict(zip(table.columns, table.values[0], strict=True))
                    return _started_ms(str(cells.get("started", "")))
        except StoreRefusedError as error:
            log.debug("start time not told reason=%s", error)
        return None

    def close(self) -> None:
        """Nothing of its own to close."""


def _seconds(text: object) -> int:
    """Seconds of a duration as 1.x writes it: ``2160h0m0s``, ``0s``."""
    found = _DURATION.fullmatch(str(text))
    if found is None:
        raise StoreRefusedError(f"retention: expected a duration like 168h0m0s, found {text!r}")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _literal(seconds: int) -> str:
    return "INF" if seconds == 0 else f"{seconds}s"


def _started_ms(text: str) -> int | None:
    """Milliseconds of an RFC 3339 instant in UTC with any number of decimals."""
    found = _STARTED.fullmatch(text)
    if found is None:
        return None
    decimals = (found[3] or ".0")[:7]
    return to_ms(datetime.fromisoformat(f"{found[1]}T{found[2]}{decimals:0<7}+00:00"))
