"""An InfluxDB 2.x server: buckets, written, cleaned and set up through influxdb-client.

Only its synchronous calls are used, with our own lines: its batching writer drops what the server does not take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.bucket import Bucket
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.rest import ApiException

from merilo.errors import StoreRefusedError, StoreUnavailableError
from merilo.ids import PROGRAMME
from merilo.instants import from_ms, to_ms
from merilo.schema import Measurement, Policy, database
from merilo_adapters.influx_answers import Answer, answer_of, error_of
from merilo_adapters.influx_http import CONNECT_S, POOL_MAX, READ_S, InfluxHttp
from merilo_adapters.influx_policies import Retention

_MS: Any = "ms"
"""The library's constants of this type are plain strings, its annotation says otherwise."""
PAGE = 100
"""Buckets asked for at a time; the server gives no more."""


class _Ready(msgspec.Struct):
    started: datetime


def bucket_name(name: str, policy: str) -> str:
    """The bucket that InfluxQL sees as this database and policy without any mapping of ours."""
    return name if policy == "autogen" else f"{name}/{policy}"


class Influx2Server:
    """What only a 2.x server does this way."""

    def __init__(self, http: InfluxHttp, token: str | None, org: str) -> None:
        self._http = http
        self._org = org
        self._client = InfluxDBClient(
            url=http.url,
            token=token or "",
            org=org,
            timeout=(int(CONNECT_S * 1000), int(READ_S * 1000)),
            connection_pool_maxsize=POOL_MAX,
        )
        self._write = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, company: str, policy: Policy, lines: Sequence[bytes]) -> Answer:
        """One request of line protocol."""
        bucket = bucket_name(database(company), policy)
        try:
            with _translated(f"write to {bucket}"):
                self._write.write(bucket=bucket, org=self._org, record=b"\n".join(lines), write_precision=_MS)
        except _AnsweredError as error:
            return error.answer
        return Answer(204, "")

    def delete(
        self, company: str, measurement: Measurement, tags: Mapping[str, str], first_ms: int, last_ms: int
    ) -> None:
        """Deletes the series' points from the first to the last instant, both included."""
        bucket = bucket_name(database(company), measurement.policy)
        conditions = {"_measurement": measurement.name, **tags}
        predicate = " AND ".join(f'{name}="{value}"' for name, value in conditions.items())
        with _raised(f"delete in {bucket}"):
            self._client.delete_api().delete(
                from_ms(first_ms), from_ms(last_ms), predicate, bucket=bucket, org=self._org
            )

    def companies(self) -> int:
        """How many companies have a bucket here that this token may see."""
        with _raised("list buckets"):
            buckets: Any = self._client.buckets_api()
            names = [str(bucket.name) for bucket in buckets.find_buckets_iter(limit=PAGE, org=self._org)]
        return sum(n.startswith(database("")) and "/" not in n and n != database(PROGRAMME) for n in names)

    def retentions(self, name: str) -> dict[str, Retention]:
        """Policies of a database, each a bucket; empty where there is none."""
        found = {}
        for policy in ("autogen", "raw"):
            bucket = self._bucket(bucket_name(name, policy))
            if bucket is not None:
                rule = next(iter(bucket.retention_rules or []), None)
                found[policy] = Retention(
                    int(rule.every_seconds or 0) if rule else 0,
                    int(rule.shard_group_duration_seconds or 0) if rule else 0,
                )
        return found

    def create(self, name: str, policy: Policy, retention: Retention) -> None:
        """Makes the bucket; one that another program has just made is taken as it is."""
        bucket = bucket_name(name, policy)
        try:
            with _raised(f"create {bucket}"):
                self._client.buckets_api().create_bucket(
                    bucket_name=bucket, retention_rules=_rule(retention), org=self._org
                )
        except StoreRefusedError:
            if self._bucket(bucket) is None:
                raise

    def alter(self, name: str, policy: Policy, retention: Retention) -> None:
        """Gives an existing bucket another retention."""
        bucket = self._bucket(bucket_name(name, policy))
        if bucket is None:
            raise StoreRefusedError(f"change {bucket_name(name, policy)}: the bucket is not there any more")
        bucket.retention_rules = [_rule(retention)]
        with _raised(f"change {bucket.name}"):
            self._client.buckets_api().update_bucket(bucket)

    def started_ms(self) -> int | None:
        """When the server started; None where its ready page is closed."""
        status, body = self._http.get("/ready")
        try:
            return to_ms(msgspec.json.decode(body, type=_Ready).started) if status == 200 else None
        except msgspec.DecodeError:
            return None

    def close(self) -> None:
        """Closes idle connections."""
        self._client.api_client.rest_client.pool_manager.clear()

    def _bucket(self, name: str) -> Bucket | None:
        with _raised(f"look for {name}"):
            buckets: Any = self._client.buckets_api()
            found: Bucket | None = buckets.find_bucket_by_name(name)
        return found


def _rule(retention: Retention) -> BucketRetentionRules:
    rules: Any = BucketRetentionRules
    made: BucketRetentionRules = rules(
        type="expire", every_seconds=retention.kept_s, shard_group_duration_seconds=retention.shard_s
    )
    return made


class _AnsweredError(Exception):
    """The server answered, but not with a success."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turns what influxdb-client and urllib3 raise into an answer or into StoreUnavailableError."""
    try:
        yield
    except ApiException as error:
        if not error.status:
            raise StoreUnavailableError(f"{what}: {error.reason}") from error
        raise _AnsweredError(answer_of(int(error.status), error.body, error.headers or {})) from error
    except urllib3.exceptions.HTTPError as error:
        raise StoreUnavailableError(f"{what}: {error}") from error


@contextmanager
def _raised(what: str) -> Iterator[None]:
    """The same for calls that must succeed: every other answer is an error of ours."""
    try:
        with _translated(what):
            yield
    except _AnsweredError as error:
        raise error_of(what, error.answer) from error
