"""HTTP to an InfluxDB server: `/ping`, `/query` and the 1.x `/write`, through urllib3.

Nothing of urllib3 leaves this file: what it raises becomes StoreUnavailableError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import urllib3

from merilo.errors import StoreRefusedError, StoreUnavailableError
from merilo_adapters.influx_answers import Answer, answer_of, error_of, error_of_text

CONNECT_S = 5.0
READ_S = 60.0
"""Between two bytes of an answer; the server's own write timeout is 10 s."""
POOL_MAX = 8
"""Connections kept to one server; more threads open short-lived ones."""
CHUNK_ROWS = 10_000
"""Rows of one line of an answer: a year of 15-minute rows never lies in memory as text."""
ERROR_BYTES_MAX = 65_536

Value = int | float | str | bool | None
Parameter = str | int


class Login(NamedTuple):
    """How to log in: a token (2.x), or user and password (1.x), or nothing."""

    token: str | None = None
    username: str | None = None
    password: str | None = None

    def headers(self) -> dict[str, str]:
        """The Authorization header."""
        if self.token is not None:
            return {"Authorization": f"Token {self.token}"}
        if self.username is not None:
            return dict(urllib3.make_headers(basic_auth=f"{self.username}:{self.password or ''}"))
        return {}

    def __repr__(self) -> str:
        return "Login(…)"


class Table(msgspec.Struct):
    """Rows of one series in an answer, or one part of them."""

    name: str = ""
    tags: dict[str, str] = {}
    columns: list[str] = []
    values: list[list[Value]] = []


class _Result(msgspec.Struct):
    series: list[Table] = []
    error: str = ""


class _Chunk(msgspec.Struct):
    results: list[_Result] = []
    error: str = ""


_CHUNKS = msgspec.json.Decoder(_Chunk)


class InfluxHttp:
    """One server. Any number of threads."""

    def __init__(self, url: str, login: Login) -> None:
        self.url = url.rstrip("/")
        self._headers = login.headers()
        self._pool = urllib3.PoolManager(
            maxsize=POOL_MAX, retries=False, timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S)
        )

    def version(self) -> str:
        """What `/ping` says, for example ``2.8.0``.

        Raises:
            StoreUnavailableError: Nobody answers, or a server that is starting.
            StoreRefusedError: Something else than InfluxDB answers.
        """
        with self._request("GET", "/ping", {}) as response:
            found = response.headers.get("X-Influxdb-Version")
            if found:
                return str(found).removeprefix("v")
            answer = answer_of(response.status, response.read(ERROR_BYTES_MAX), response.headers)
        if answer.status >= 400:
            raise error_of(f"{self.url}/ping", answer)
        raise StoreRefusedError(f"{self.url}/ping: expected an InfluxDB, found no header X-Influxdb-Version")

    def query(self, database: str, text: str, parameters: Mapping[str, Parameter]) -> Iterator[Table]:
        """The series of one InfluxQL statement, long ones in several parts; instants in milliseconds.

        Raises:
            StoreUnavailableError: Not answered, or not to the end.
            StoreRefusedError: Refused: login, permission, missing database or policy, syntax.
        """
        fields = {"q": text, "db": database, "epoch": "ms", "chunked": "true", "chunk_size": str(CHUNK_ROWS)}
        if parameters:
            fields["params"] = json.dumps(parameters)
        what = f"query in {database}"
        with self._request("POST", "/query", fields) as response:
            if response.status != 200:
                raise error_of(what, answer_of(response.status, response.read(ERROR_BYTES_MAX), response.headers))
            for line in response:
                if line.strip():
                    yield from _tables(what, line)

    def execute(self, text: str, *, database: str = "", parameters: Mapping[str, Parameter] | None = None) -> None:
        """Runs a statement whose answer has no rows."""
        for _ in self.query(database, text, parameters or {}):
            pass

    def write_v1(self, database: str, policy: str, lines: Sequence[bytes]) -> Answer:
        """One request of line protocol to the 1.x route."""
        path = f"/write?db={database}&rp={policy}&precision=ms"
        with self._request("POST", path, None, b"\n".join(lines)) as response:
            return answer_of(response.status, response.read(ERROR_BYTES_MAX), response.headers)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a small page."""
        with self._request("GET", path, {}) as response:
            return response.status, response.read(ERROR_BYTES_MAX)

    def close(self) -> None:
        """Closes idle connections."""
        self._pool.clear()

    @contextmanager
    def _request(
        self, method: str, path: str, fields: Mapping[str, str] | None, body: bytes | None = None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """One request; the answer is read inside the block."""
        try:
            if fields:
                response = self._pool.request(
                    method,
                    self.url + path,
                    fields=fields,
                    headers=self._headers,
                    encode_multipart=False,
                    preload_content=False,
                    redirect=False,
                )
            else:
                response = self._pool.request(
                    method, self.url + path, body=body, headers=self._headers, preload_content=False, redirect=False
                )
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailableError(f"{self.url}: {error}") from error
        whole = False
        try:
            yield response
            response.drain_conn()
            whole = True
        except urllib3.exceptions.HTTPError as error:
            raise StoreUnavailableError(f"{self.url}: the answer broke off: {error}") from error
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()


def _tables(what: str, line: bytes) -> list[Table]:
    try:
        chunk = _CHUNKS.decode(line)
    except msgspec.DecodeError as error:
        raise StoreUnavailableError(f"{what}: expected JSON of InfluxQL, found {line[:80]!r}: {error}") from error
    found: list[Table] = []
    for result in (_Result(error=chunk.error), *chunk.results):
        if result.error:
            raise error_of_text(what, result.error)
        found += result.series
    return found
