"""Real servers for tests: InfluxDB 1, InfluxDB 2 and mosquitto, each on a free loopback port and its own folder.

A missing program skips the test with the reason; with MERILO_REQUIRE_REAL=1 it fails instead (InfluxDB 2 always
skips, because no Debian package brings it). Servers are ended by their own process id only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

READY_S = 60.0
"""A loaded two-core machine needs seconds, a server that is not up after a minute is broken."""
STOP_S = 30.0
LOOPBACK = "127.0.0.1"
ORG = "merilo"


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def missing(part: str, how: str, *, may_fail: bool = True) -> None:
    """Ends the test because a real part is not there."""
    reason = f"{part} is not on this machine: {how}"
    if may_fail and os.environ.get("MERILO_REQUIRE_REAL") == "1":
        pytest.fail(f"MERILO_REQUIRE_REAL=1, but {reason}")
    pytest.skip(reason)


def program(name: str, how: str) -> str:
    """Path of a server program, also where /usr/sbin is not on the path."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        missing(name, how)
        raise AssertionError("missing() ends the test")
    return found


class Server:
    """A server process that can be stopped, killed and started again on the same folder and port."""

    def __init__(
        self, arguments: list[str], folder: Path, port: int, ready: Callable[[], bool], *, stop_signal: signal.Signals
    ) -> None:
        self.arguments = arguments
        self.folder = folder
        self.port = port
        self.log = folder / "server.log"
        self._ready = ready
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of an HTTP server."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        assert not self.running, "the server is running already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.arguments, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + READY_S
        while not self._ready():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                tail = self.log.read_text(errors="replace")[-2000:]
                pytest.fail(f"{self.arguments[0]} did not come up (exit code {code}):\n{tail}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Ends the server the clean way and waits; gives its exit code."""
        return self._end(self._stop_signal)

    def kill(self) -> int:
        """Ends the server like a crash and waits; gives its exit code."""
        return self._end(signal.SIGKILL)

    def restart(self) -> None:
        """A clean stop and a new start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freezes the process, as a machine that hangs: connections stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(STOP_S)


class InfluxServer(Server):
    """An InfluxDB and its login: a token on 2.x, user and password on 1.x with login, nothing on 1.x without."""

    token: str | None = None
    username: str | None = None
    password: str | None = None
    org: str = ORG
    data: Path
    """Folder that holds the .wal files somewhere below."""


class Broker(Server):
    """A mosquitto."""

    host: str = LOOPBACK


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status) < 300
    except (urllib.error.URLError, OSError):
        return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="merilo-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextmanager
def _run(server: Server) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.kill()


_INFLUX1 = """\
reporting-disabled = true
bind-address = "{loopback}:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
[monitor]
  store-enabled = false
[http]
  bind-address = "{loopback}:{port}"
  auth-enabled = {auth}
  log-enabled = false
[continuous_queries]
  enabled = false
"""


@contextmanager
def influx1(folder: Path | None = None, *, auth: bool = False) -> Iterator[InfluxServer]:
    """A real InfluxDB 1; with `auth` an administrator `admin` exists and everybody must log in."""
    influxd = program("influxd", "install Debian's package influxdb")
    if b" v1." not in subprocess.run([influxd, "version"], capture_output=True, check=False).stdout:
        missing("InfluxDB 1", f"{influxd} is another version")
    with _folder(folder) as place:
        port = free_port()
        config = place / "influxdb.conf"
        text = _INFLUX1.format(loopback=LOOPBACK, rpc=free_port(), port=port, folder=place, auth=str(auth).lower())
        config.write_text(text)
        url = f"http://{LOOPBACK}:{port}/ping"
        arguments = [influxd, "-config", str(config)]
        server = InfluxServer(arguments, place, port, lambda: _answers(url), stop_signal=signal.SIGTERM)
        server.data = place / "wal"
        with _run(server):
            if auth:
                server.username, server.password = "admin", "correct horse"
                made = "CREATE USER admin WITH PASSWORD 'correct horse' WITH ALL PRIVILEGES"
                _post(f"{server.url}/query", f"q={quote(made)}".encode())
            yield server


@contextmanager
def influx2(folder: Path | None = None) -> Iterator[InfluxServer]:
    """A real InfluxDB 2 with organisation, first bucket and operator token of its own."""
    influxd = os.environ.get("MERILO_TEST_INFLUXD2", "")
    if not Path(influxd).is_file():
        missing("InfluxDB 2", "name its server program in MERILO_TEST_INFLUXD2", may_fail=False)
    with _folder(folder) as place:
        port = free_port()
        arguments = [
            influxd,
            f"--bolt-path={place}/influxd.bolt",
            f"--sqlite-path={place}/influxd.sqlite",
            f"--engine-path={place}/engine",
            f"--http-bind-address={LOOPBACK}:{port}",
            "--reporting-disabled",
            "--log-level=info",
        ]
        url = f"http://{LOOPBACK}:{port}/ready"
        server = InfluxServer(arguments, place, port, lambda: _answers(url), stop_signal=signal.SIGINT)
        server.data = place / "engine" / "wal"
        server.token = "operator-token-of-the-tests"
        with _run(server):
            setup = {"username": "admin", "password": "correct horse", "org": ORG, "bucket": "first"}
            _post(f"{server.url}/api/v2/setup", json.dumps(setup | {"token": server.token}).encode())
            yield server


@contextmanager
def mosquitto(*config_lines: str, folder: Path | None = None) -> Iterator[Broker]:
    """A real mosquitto on one loopback listener.

    Args:
        config_lines: Lines after the listener; without any, everybody may connect and nothing is persistent.
        folder: Where it runs, a temporary one if not given.
    """
    binary = program("mosquitto", "install Debian's package mosquitto")
    with _folder(folder) as place:
        port = free_port()
        user = ["user root"] if os.geteuid() == 0 else []
        lines = [f"listener {port} {LOOPBACK}", *user, *(config_lines or ("allow_anonymous true",))]
        config = place / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        arguments = [binary, "-c", str(config)]
        server = Broker(arguments, place, port, lambda: _accepts(port), stop_signal=signal.SIGTERM)
        with _run(server):
            yield server


def _post(url: str, body: bytes) -> bytes:
    kind = "application/json" if body.startswith(b"{") else "application/x-www-form-urlencoded"
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind}, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())
