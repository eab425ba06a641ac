"""Answers that no healthy server gives on demand, by a small HTTP server with the bodies of real ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from merilo.errors import ConfigError, StoreRefusedError, StoreUnavailableError
from merilo.frame import Frame
from merilo.ports import Point
from merilo_adapters.stores import Store, open_store

T0 = 1_735_689_600_000
MAIN = ("acme", "hq", "main", "main")
TAGS = {"company": "acme", "site": "hq", "meter": "main", "role": "main"}
POINTS = [Point(MAIN, T0 + i, {"energy_wh": float(i)}) for i in range(8)]

Reply = tuple[int, dict[str, str], bytes]


class Handler(BaseHTTPRequestHandler):
    """Answers by the server's script and remembers what came."""

    protocol_version = "HTTP/1.1"
    server: Stub

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path = self.path.split("?")[0]
        if path == "/ping":
            status, headers, said = 204, {"X-Influxdb-Version": self.server.version}, b""
        else:
            self.server.seen.append((path, body))
            status, headers, said = self.server.reply(path, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if headers.get("Transfer-Encoding") != "chunked":
            self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
        self.close_connection = headers.get("Transfer-Encoding") == "chunked"

    def log_message(self, *_: object) -> None:
        pass


class Stub(ThreadingHTTPServer):
    """A server that answers as told."""

    daemon_threads = True
    WRITES: ClassVar[dict[str, str]] = {"1.6.7": "/write", "v2.8.0": "/api/v2/write"}

    def __init__(self, version: str, reply: Callable[[str, bytes], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.version = version
        self.reply = reply
        self.seen: list[tuple[str, bytes]] = []

    @property
    def written(self) -> list[int]:
        """Lines of each write request."""
        return [len(body.splitlines()) for path, body in self.seen if path == self.WRITES[self.version]]


@contextmanager
def answering(version: str, reply: Callable[[str, bytes], Reply]) -> Iterator[tuple[Store, Stub]]:
    stub = Stub(version, reply)
    thread = threading.Thread(target=stub.serve_forever, args=(0.01,))
    thread.start()
    store = open_store(f"http://127.0.0.1:{stub.server_port}", token="secret-token")
    try:
        yield store, stub
    finally:
        store.close()
        stub.shutdown()
        thread.join()
        stub.server_close()


def always(status: int, body: bytes, **headers: str) -> Callable[[str, bytes], Reply]:
    return lambda _path, _body: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


VERSIONS = pytest.mark.parametrize("version", ["1.6.7", "v2.8.0"])


@VERSIONS
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_said_and_only_then(version: str, status: int) -> None:
    body = b'{"code":"too many requests","message":"org has exceeded limited write rate"}'
    with answering(version, always(status, body, Retry_After="17")) as (store, stub):
        with pytest.raises(StoreUnavailableError) as caught:
            store.write("acme", "energy_15m", POINTS)

        assert caught.value.retry_after_s == 17.0
        assert str(status) in str(caught.value)
        assert stub.written == [8]


@VERSIONS
def test_a_server_error_is_passing_unless_it_names_the_policy(version: str) -> None:
    with (
        answering(version, always(500, b'{"error":"timeout"}')) as (store, _),
        pytest.raises(StoreUnavailableError, match="timeout"),
    ):
        store.write("acme", "energy_15m", POINTS)
    with (
        answering(version, always(500, b'{"error":"retention policy not found: autogen"}')) as (store, _),
        pytest.raises(StoreRefusedError, match="retention policy not found"),
    ):
        store.write("acme", "energy_15m", POINTS)


@VERSIONS
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"code":"unauthorized","message":"unauthorized access"}'),
        (403, b'{"code":"forbidden","message":"insufficient permissions for write"}'),
        (404, b'{"code":"not found","message":"bucket \\"merilo-acme\\" not found"}'),
    ],
)
def test_a_refusal_stops_and_never_shows_the_token(version: str, status: int, body: bytes) -> None:
    with answering(version, always(status, body)) as (store, stub):
        for verb in (
            lambda: store.write("acme", "energy_15m", POINTS),
            lambda: store.read("acme", "energy_15m", {}, T0, T0 + 1),
            lambda: store.tags("acme", "energy_15m", {}),
            lambda: store.init("acme", 90),
        ):
            with pytest.raises(StoreRefusedError) as caught:
                verb()
            assert "secret-token" not in str(caught.value) + repr(caught.value.__cause__) + repr(store.__dict__)
        assert stub.written == [8]


@VERSIONS
def test_a_body_that_is_too_large_is_halved(version: str) -> None:
    def reply(_path: str, body: bytes) -> Reply:
        return (413, {}, b'{"error":"Request Entity Too Large"}') if len(body.splitlines()) > 2 else (204, {}, b"")

    with answering(version, reply) as (store, stub):
        assert store.write("acme", "energy_15m", POINTS) == []
        assert stub.written == [8, 4, 2, 2, 4, 2, 2]


@VERSIONS
def test_a_bad_line_is_isolated_and_an_outage_on_the_way_is_an_outage(version: str) -> None:
    status = 400 if version.startswith("1") else 422

    def reply(_path: str, body: bytes) -> Reply:
        if b" energy_wh=5.0 " in body:
            return status, {}, b'{"code":"x","message":"partial write: field type conflict dropped=1"}'
        return 204, {}, b""

    with answering(version, reply) as (store, stub):
        rejected = store.write("acme", "energy_15m", POINTS)

        assert [(r.position, r.reason) for r in rejected] == [(5, "partial write: field type conflict dropped=1")]
        assert stub.written == [8, 4, 2, 1, 1, 2]

    answers: Iterator[Reply] = iter([(status, {}, b'{"message":"partial write"}'), (503, {}, b"")])
    with (
        answering(version, lambda _path, _body: next(answers)) as (store, _),
        pytest.raises(StoreUnavailableError),
    ):
        store.write("acme", "energy_15m", POINTS)


@VERSIONS
def test_an_error_in_a_success_is_an_error(version: str) -> None:
    said = b'{"results":[{"statement_id":0,"error":"database not found: merilo-acme"}]}\n'
    with answering(version, always(200, said)) as (store, _):
        with pytest.raises(StoreRefusedError, match="database not found"):
            store.read("acme", "energy_15m", {}, T0, T0 + 1)
        with pytest.raises(StoreRefusedError, match="database not found"):
            store.tags("acme", "energy_15m", {})
        with pytest.raises(StoreRefusedError, match="database not found"):
            store.replace("acme", "energy_15m", TAGS, T0, T0 + 1, Frame.empty())


@VERSIONS
def test_an_error_after_the_first_part_of_an_answer_is_an_error(version: str) -> None:
    part = (
        b'{"results":[{"statement_id":0,"series":[{"name":"energy_15m","tags":{"company":"acme","site":"hq",'
        b'"meter":"main","role":"main"},"columns":["time","energy_wh"],"values":[[1735689600000,1]],"partial":true}],'
        b'"partial":true}]}\n'
    )
    late = b'{"results":[{"statement_id":0,"error":"query timeout"}]}\n'
    with (
        answering(version, always(200, part + late)) as (store, _),
        pytest.raises(StoreUnavailableError, match="query timeout"),
    ):
        store.read("acme", "energy_15m", {}, T0, T0 + 1)
    broken = b"%x\r\n%s\r\n40\r\nhalf" % (len(part), part)
    with (
        answering(version, always(200, broken, Transfer_Encoding="chunked")) as (store, _),
        pytest.raises(StoreUnavailableError, match="broke off"),
    ):
        store.read("acme", "energy_15m", {}, T0, T0 + 1)


@VERSIONS
@pytest.mark.parametrize("body", [b"{}", b"{}\n", b""])
def test_an_answer_without_results_is_an_empty_one(version: str, body: bytes) -> None:
    with answering(version, always(200, body)) as (store, _):
        assert store.read("acme", "energy_15m", {}, T0, T0 + 1) == []
        assert store.tags("acme", "energy_15m", {}) == []


@VERSIONS
@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"[1]", b'{"results": 5}', b"\xff\xfe"])
def test_an_answer_in_another_form_is_no_answer(version: str, body: bytes) -> None:
    with answering(version, always(200, body)) as (store, _), pytest.raises(StoreUnavailableError, match="expected"):
        store.read("acme", "energy_15m", {}, T0, T0 + 1)


@pytest.mark.parametrize("version", ["3.1.0", "v0.9"])
def test_another_generation_is_refused_by_name(version: str) -> None:
    with answering(version, always(200, b"{}")) as (store, stub):
        with pytest.raises(StoreRefusedError, match="expected InfluxDB 1 or 2"):
            store.write("acme", "energy_15m", POINTS)
        assert stub.seen == []


@pytest.mark.parametrize(
    "url",
    ["", "sqlite://", "sqlite:///", "postgresql://x", "http://", "influx", "http://user:secret@host:8086", "/tmp/x"],
)
def test_an_address_that_is_none_says_what_to_write_and_never_shows_a_login(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url)

    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_two_kinds_of_login_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="both"):
        open_store("http://localhost:8086", token="t", username="u", password="p")
