"""What real InfluxDB servers do to us: refuse, vanish, crash, tear their log."""

from __future__ import annotations

import json
import shutil
import struct
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import real
from merilo.errors import StoreRefusedError, StoreUnavailableError
from merilo.frame import Frame
from merilo.ports import Point
from merilo_adapters.influx_wal import repair_wal
from merilo_adapters.stores import Store, open_store

pytestmark = pytest.mark.real

DEVICE = ("acme", "hq", "gw1", "meter-1")
MAIN = ("acme", "hq", "main", "main")
T0 = 1_735_689_600_000
RAW0 = time.time_ns() // 1_000_000 // 60_000 * 60_000 - 86_400_000
"""Yesterday, inside the retention of raw rows."""

Started = Callable[[], AbstractContextManager[real.InfluxServer]]


@pytest.fixture(params=["influx1", "influx2"])
def started(request: pytest.FixtureRequest) -> Started:
    """A way to start a server of each kind."""
    return {"influx1": real.influx1, "influx2": real.influx2}[request.param]


@contextmanager
def opened(server: real.InfluxServer, **login: str | None) -> Iterator[Store]:
    given = login or {"token": server.token, "username": server.username, "password": server.password}
    store = open_store(server.url, org=server.org, **given)
    yield store
    store.close()


def readings(first: int, count: int) -> list[Point]:
    return [Point(DEVICE, RAW0 + i * 1_000, {"active_power_w": float(i)}) for i in range(first, first + count)]


def stored(store: Store) -> list[float]:
    found = store.read("acme", "readings", {}, RAW0, RAW0 + 86_400_000)
    return found[0].frame.numbers["active_power_w"].tolist() if found else []


def http(server: real.InfluxServer, path: str, body: bytes) -> int:
    headers = {"Authorization": f"Token {server.token}"} if server.token else {}
    request = urllib.request.Request(server.url + path, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def test_a_type_conflict_comes_back_and_the_others_are_stored(started: Started) -> None:
    with started() as server, opened(server) as store:
        store.init("acme", 90)
        store.write("acme", "readings", [Point(("acme", "hq", "gw1", "other"), RAW0, {"frequency_hz": 1.0})])
        foreign = f"readings,company=acme,site=hq,gateway=gw1,device=meter-1 active_power_w=1i {RAW0 - 1}"
        http(server, "/write?db=merilo-acme&rp=raw&precision=ms", foreign.encode())
        points = readings(0, 64)
        good = [Point(DEVICE, RAW0 + i, {"frequency_hz": float(i)}) for i in range(64)]
        mixed = [p for pair in zip(good, points, strict=True) for p in pair]

        rejected = store.write("acme", "readings", mixed)

        assert [r.position for r in rejected] == list(range(1, 128, 2))
        assert all("type" in r.reason for r in rejected)
        found = store.read("acme", "readings", {"device": "meter-1"}, RAW0, RAW0 + 86_400_000, ["frequency_hz"])
        assert found[0].frame.numbers["frequency_hz"].tolist() == [float(i) for i in range(64)]


def test_a_wrong_login_is_refused_in_every_verb(started: Started) -> None:
    with real.influx1(auth=True) if started is real.influx1 else started() as server:
        with opened(server) as store:
            store.init("acme", 90)
        wrong: list[dict[str, str | None]] = [{"token": "wrong"}, {"username": None}]
        if server.username:
            wrong = [
                {"username": "admin", "password": "wrong"},
                {"username": "nobody", "password": "x"},
                {"token": None},
            ]
        for login in wrong:
            with opened(server, **login) as store:
                with pytest.raises(StoreRefusedError):
                    store.write("acme", "readings", readings(0, 3))
                with pytest.raises(StoreRefusedError):
                    store.read("acme", "readings", {}, RAW0, RAW0 + 1)
                with pytest.raises(StoreRefusedError):
                    store.tags("acme", "readings", {})
                with pytest.raises(StoreRefusedError):
                    store.init("beta", 90)
        with opened(server) as store:
            assert stored(store) == []


def test_a_read_only_token_reads_and_cannot_write_or_delete() -> None:
    with real.influx2() as server, opened(server) as operator:
        operator.init("acme", 90)
        operator.write("acme", "readings", readings(0, 3))
        with opened(server, token=_read_token(server)) as store:
            assert stored(store) == [0.0, 1.0, 2.0]
            with pytest.raises(StoreRefusedError, match="403"):
                store.write("acme", "readings", readings(3, 1))
            tags = dict(zip(("company", "site", "gateway", "device"), DEVICE, strict=True))
            with pytest.raises(StoreRefusedError, match="403"):
                store.replace("acme", "readings", tags, RAW0, RAW0 + 86_400_000, Frame.empty())
        assert stored(operator) == [0.0, 1.0, 2.0]


def _read_token(server: real.InfluxServer) -> str:
    def ask(path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {server.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(server.url + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    buckets = ask("/api/v2/buckets?limit=100")["buckets"]
    assert isinstance(buckets, list)
    own = [b for b in buckets if b["name"].startswith("merilo-acme")]
    assert len(own) == 2
    org = own[0]["orgID"]
    rights = [{"action": "read", "resource": {"type": "buckets", "id": bucket["id"], "orgID": org}} for bucket in own]
    return str(ask("/api/v2/authorizations", {"orgID": org, "permissions": rights})["token"])


def test_a_policy_that_is_missing_is_refused_and_not_retried_for_ever(started: Started) -> None:
    with started() as server, opened(server) as store:
        if server.token:
            http(server, "/api/v2/buckets", json.dumps({"orgID": _org(server), "name": "merilo-acme"}).encode())
        else:
            http(server, "/query", b'q=CREATE DATABASE "merilo-acme"')

        with pytest.raises(StoreRefusedError, match="not found"):
            store.write("acme", "readings", readings(0, 1))
        with pytest.raises(StoreRefusedError, match="not found"):
            store.read("acme", "readings", {}, RAW0, RAW0 + 1)


def _org(server: real.InfluxServer) -> str:
    headers = {"Authorization": f"Token {server.token}"}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/api/v2/orgs", headers=headers)) as answer:
        return str(json.load(answer)["orgs"][0]["id"])


def test_a_server_that_is_down_is_unavailable_and_one_that_returns_is_used_again(started: Started) -> None:
    with started() as server, opened(server) as store:
        store.init("acme", 90)
        store.write("acme", "readings", readings(0, 1))
        server.stop()

        with pytest.raises(StoreUnavailableError):
            store.write("acme", "readings", readings(1, 1))
        with pytest.raises(StoreUnavailableError):
            store.read("acme", "readings", {}, RAW0, RAW0 + 1)
        with pytest.raises(StoreUnavailableError):
            store.started_ms()
        with pytest.raises(StoreUnavailableError):
            store.kind()

        server.start()
        assert store.write("acme", "readings", readings(1, 1)) == []
        assert stored(store) == [0.0, 1.0]


def test_nothing_is_asked_before_the_first_call() -> None:
    store = open_store(f"http://127.0.0.1:{real.free_port()}", token="t")

    with pytest.raises(StoreUnavailableError):
        store.kind()


def test_something_else_than_influxdb_is_refused() -> None:
    with real.mosquitto() as broker:
        store = open_store(f"http://127.0.0.1:{broker.port}", token="t")
        with pytest.raises((StoreRefusedError, StoreUnavailableError)):
            store.kind()
        store.close()


def test_a_restart_shows_in_the_start_time(started: Started) -> None:
    with started() as server, opened(server) as store:
        before = store.started_ms()
        server.restart()
        after = store.started_ms()

        now = time.time_ns() // 1_000_000
        assert before is not None
        assert after is not None
        assert now - 120_000 < before < after <= now


def test_the_clean_stop_signal_ends_the_server_with_exit_code_0(started: Started) -> None:
    with started() as server, opened(server) as store:
        store.init("acme", 90)
        store.write("acme", "readings", readings(0, 100))

        code = server.stop()

        assert code == 0
        server.start()
        assert len(stored(store)) == 100


def test_a_kill_loses_no_acknowledged_write(started: Started) -> None:
    with started() as server, opened(server) as store:
        store.init("acme", 90)
        for round_ in range(3):
            for part in range(20):
                assert store.write("acme", "readings", readings(round_ * 1000 + part * 50, 50)) == []
            assert server.kill() == -9
            server.start()

        assert stored(store) == [float(i) for i in range(3000)]


def test_rows_deleted_by_a_replace_stay_deleted_after_a_kill(started: Started) -> None:
    tags = dict(zip(("company", "site", "meter", "role"), MAIN, strict=True))
    with started() as server, opened(server) as store:
        store.init("acme", 90)
        store.write("acme", "energy_15m", [Point(MAIN, T0 + i, {"energy_wh": 1.0}) for i in range(10)])
        store.replace("acme", "energy_15m", tags, T0, T0 + 5, Frame.empty())
        server.kill()
        server.start()

        found = store.read("acme", "energy_15m", {}, T0, T0 + 100)
        assert found[0].frame.at_ms.tolist() == [T0 + i for i in range(5, 10)]


@pytest.mark.parametrize("repaired", [False, True], ids=["left-alone", "repaired"])
def test_a_torn_log_loses_later_writes_unless_it_is_repaired_before_the_start(started: Started, repaired: bool) -> None:
    with started() as server, opened(server) as store:
        store.init("acme", 90)
        assert store.write("acme", "readings", readings(0, 1000)) == []
        server.kill()
        newest = max(server.data.rglob("*.wal"), key=lambda path: path.stat().st_mtime_ns)
        with newest.open("ab") as log:
            log.write(b"\x01" + struct.pack(">I", 900) + b"\x5a" * 300)

        said = repair_wal(server.data) if repaired else []
        server.start()
        assert store.write("acme", "readings", readings(1000, 1000)) == []
        server.restart()

        assert len(stored(store)) == (2000 if repaired else 1000)
        assert [("cut 305 bytes" in line, str(newest) in line) for line in said] == [(True, True)] * repaired


def test_a_sound_log_is_left_as_it_is(started: Started, tmp_path: Path) -> None:
    with started() as server, opened(server) as store:
        store.init("acme", 90)
        tags = dict(zip(("company", "site", "gateway", "device"), DEVICE, strict=True))
        for part in range(30):
            store.write("acme", "readings", readings(part * 37, 37))
            store.replace("acme", "readings", tags, RAW0 + part * 37_000, RAW0 + part * 37_000 + 1, Frame.empty())
            shutil.copytree(server.data, tmp_path / str(part))
        server.kill()

        logs = [path for path in tmp_path.rglob("*.wal") if path.stat().st_size]
        sizes = [path.stat().st_size for path in logs]
        assert len(logs) >= 30
        assert repair_wal(tmp_path) == []
        assert repair_wal(server.data) == []
        assert [path.stat().st_size for path in logs] == sizes
