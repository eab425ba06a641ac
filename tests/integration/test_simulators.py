"""Simulated devices on real sockets and a real pseudo-terminal, asked by a master that is not ours: Debian's mbpoll."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS
from merilo_adapters.clock import Clock
from merilo_simulators.devices.netio import message
from merilo_simulators.faults import WireFault
from merilo_simulators.history import history
from merilo_simulators.modbus import crc16
from merilo_simulators.physics import ORIGIN_MS, Company
from merilo_simulators.rtu import Pace, RtuLine
from merilo_simulators.run import Options, Running
from merilo_simulators.site import Site, example_site
from merilo_simulators.tcp import ModbusServer
from merilo_simulators.truth import truth
from real import mosquitto, program

SEED = 7
NOW = ORIGIN_MS + 20 * DAY_MS + 10 * HOUR_MS
AT = np.array([NOW], dtype=np.int64)
FROZEN = Clock(start_ms=NOW, real_start_ms=0, rate=1e-12)
"""A clock that stands still, so that what was asked can be computed."""
WAIT_S = 20.0
"""Longest wait for anything on this machine."""


class Loop:
    """An event loop in a thread: servers run there while the test asks as any other program would."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs one coroutine there and gives its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def close(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def site() -> Site:
    return example_site(SEED)


@contextmanager
def served(loop: Loop, server: ModbusServer | RtuLine) -> Iterator[Any]:
    where = loop.run(server.start())
    try:
        yield where
    finally:
        loop.run(server.stop())


def mbpoll(*arguments: str) -> tuple[int, str]:
    """Runs the foreign master once; gives its exit code and all it said."""
    binary = program("mbpoll", "install Debian's package mbpoll")
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=WAIT_S, check=False)
    return done.returncode, done.stdout + done.stderr


def values(said: str) -> list[str]:
    """The values in mbpoll's output, in order."""
    return re.findall(r"^\[\d+\]:\s+(\S+)", said, flags=re.MULTILINE)


def tcp_request(unit: int, address: int, count: int, transaction: int = 1, function: int = 4) -> bytes:
    return struct.pack(">HHHBBHH", transaction, 0, 6, unit, function, address, count)


def rtu_request(unit: int, address: int, count: int, function: int = 4) -> bytes:
    body = struct.pack(">BBHH", unit, function, address, count)
    return body + crc16(body)


def hear(connection: socket.socket, count: int, timeout_s: float = 5.0) -> bytes:
    """Exactly so many bytes, or fewer where the other side falls silent."""
    connection.settimeout(timeout_s)
    got = b""
    try:
        while len(got) < count and (piece := connection.recv(count - len(got))):
            got += piece
    except TimeoutError:
        pass
    return got


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


class Port:
    """The master's side of the serial line, opened like any serial port."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def ask(self, request: bytes, expected: int, timeout_s: float = 5.0) -> tuple[bytes, float]:
        """Sends and hears so many bytes; gives them and the seconds until the last one."""
        start = time.monotonic()
        os.write(self.fd, request)
        got = b""
        while len(got) < expected and time.monotonic() - start < timeout_s:
            try:
                got += os.read(self.fd, expected - len(got))
            except BlockingIOError:
                time.sleep(0.0005)
        return got, time.monotonic() - start

    def close(self) -> None:
        os.close(self.fd)


# --- a foreign master ---


@pytest.mark.real
def test_mbpoll_reads_the_meters_of_a_tcp_gateway(loop: Loop, site: Site) -> None:
    with served(loop, ModbusServer(site.on("panel"), FROZEN)) as port:
        common = ["-m", "tcp", "-p", str(port), "-0", "-1", "127.0.0.1"]
        float_code, floats = mbpoll("-a", "1", "-t", "3:float", "-B", "-r", "12", "-c", "3", *common)
        long_code, longs = mbpoll("-a", "2", "-t", "4:hex", "-r", "3203", "-c", "4", *common)

    company = Company(SEED)
    at = [company.power_mw(name, AT)[0] / 1000 for name in ("lighting", "sockets", "hvac")]
    offset = 3 * site.meter("ups").channels[0].offset_wh
    true_wh = truth(SEED, "ups_in", ORIGIN_MS, NOW) // 1000 + offset
    assert float_code == long_code == 0, floats + longs
    assert [float(value) for value in values(floats)] == pytest.approx(at, rel=1e-5)
    assert int("".join(word.removeprefix("0x") for word in values(longs)), 16) == true_wh


@pytest.mark.real
def test_mbpoll_reads_two_meters_on_one_serial_line(loop: Loop, site: Site, tmp_path: Path) -> None:
    link = tmp_path / "line"
    with served(loop, RtuLine(site.on("line"), FROZEN, link=link)) as path:
        assert str(link.readlink()) == path
        common = ["-m", "rtu", "-b", "9600", "-P", "none", "-0", "-1", path]
        main_code, main = mbpoll("-a", "1", "-t", "3:float", "-B", "-r", "52", "-c", "1", *common)
        cooling_code, cooling = mbpoll("-a", "2", "-t", "3:int", "-r", "40", "-c", "1", *common)
        model_code, model = mbpoll("-a", "2", "-t", "3", "-r", "11", "-c", "1", *common)

    company = Company(SEED)
    assert main_code == cooling_code == model_code == 0, main + cooling + model
    assert float(values(main)[0]) == pytest.approx(company.power_mw("main", AT)[0] / 1000, rel=1e-5)
    assert int(values(cooling)[0]) == pytest.approx(company.power_mw("cooling", AT)[0] / 100, abs=0.5)
    assert values(model) == ["341"]
    assert not link.exists()


@pytest.mark.real
def test_mbpoll_sees_refusals_and_silence(loop: Loop, site: Site) -> None:
    with served(loop, RtuLine(site.on("line"), FROZEN)) as path:
        common = ["-m", "rtu", "-b", "9600", "-P", "none", "-0", "-1", "-o", "0.3", path]
        _, odd = mbpoll("-a", "1", "-t", "3", "-r", "1", "-c", "2", *common)
        _, nobody = mbpoll("-a", "99", "-t", "3", "-r", "0", "-c", "2", *common)

    assert "Illegal data address" in odd
    assert "timed out" in nobody


# --- units that are not there ---


def test_an_unknown_unit_on_tcp_is_silent_or_a_gateway_exception(loop: Loop, site: Site) -> None:
    with served(loop, ModbusServer(site.on("panel"), FROZEN, unknown="exception")) as port, connected(port) as line:
        line.sendall(tcp_request(99, 52, 2, transaction=7))
        assert hear(line, 9) == struct.pack(">HHHBBB", 7, 0, 3, 99, 0x84, 0x0B)
    with served(loop, ModbusServer(site.on("panel"), FROZEN, unknown="silent")) as port, connected(port) as line:
        line.sendall(tcp_request(99, 52, 2) + tcp_request(1, 52, 2, transaction=8))
        assert hear(line, 13)[:2] == struct.pack(">H", 8)


# --- faults, proven injected and seen on the wire ---


def plain(framing: str) -> tuple[bytes, int]:
    if framing == "tcp":
        return tcp_request(1, 52, 2), 13
    return rtu_request(1, 52, 2), 9


def one_byte_differs(right: bytes, got: bytes) -> bool:
    return [a != b for a, b in zip(right, got, strict=True)].count(True) == 1


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
@pytest.mark.parametrize(
    ("fault", "changed"),
    [
        (WireFault(kind="short", times=1), lambda right, got: len(got) == len(right) - 2),
        (WireFault(kind="wrong_unit", times=1), lambda right, got: got != right and len(got) == len(right)),
        (WireFault(kind="wrong_function", times=1), lambda right, got: got != right and len(got) == len(right)),
        (WireFault(kind="silent", times=1), lambda right, got: got == b""),
        (WireFault(kind="exception", code=6, times=1), lambda right, got: b"\x84\x06" in got),
        (WireFault(kind="garbage", times=1), lambda right, got: len(got) == 23 and got != right),
        (WireFault(kind="garbage_words", times=1), lambda right, got: got != right and len(got) == len(right)),
        (
            WireFault(kind="bad_crc", times=1),
            lambda right, got: sum(a != b for a, b in zip(got, right, strict=True)) == 1,
        ),
        (WireFault(kind="twin", times=1), lambda right, got: got.startswith(right) and len(got) == 2 * len(right)),
        (WireFault(kind="twin_mixed", times=1), lambda right, got: got != right and len(got) == len(right)),
    ],
    ids=lambda value: value.kind if isinstance(value, WireFault) else "",
)
def test_a_wire_fault_is_seen_on_the_wire_counted_and_over(
    loop: Loop, site: Site, framing: Any, fault: WireFault, changed: Callable[[bytes, bytes], bool]
) -> None:
    meter = site.meter("office")
    request, length = plain(framing)
    with served(loop, ModbusServer([meter], FROZEN, framing=framing)) as port, connected(port) as line:
        line.sendall(request)
        right = hear(line, length)
        meter.faults.add(fault)
        line.sendall(request)
        got = hear(line, 64, timeout_s=0.15)
        line.sendall(request)
        after = hear(line, length)

    assert changed(right, got)
    assert after == right
    assert meter.faults.injected == {fault.kind: 1}


def test_an_answer_later_than_the_timeout_meets_the_next_request_on_rtu(loop: Loop, site: Site) -> None:
    meter = site.meter("main")
    with served(loop, RtuLine([meter], FROZEN)) as path:
        port = Port(path)
        try:
            power, _ = port.ask(rtu_request(1, 52, 2), 9)
            meter.faults.add(WireFault(kind="late", ms=300, times=1))
            nothing, _ = port.ask(rtu_request(1, 52, 2), 9, timeout_s=0.1)
            time.sleep(0.3)
            stale, _ = port.ask(rtu_request(1, 70, 2), 9)
        finally:
            port.close()

    assert nothing == b""
    assert stale == power  # asked for the frequency, got the power: what a master must defend itself against
    assert meter.faults.injected == {"late": 1}


def test_a_late_answer_on_tcp_does_not_hold_up_the_others(loop: Loop, site: Site) -> None:
    site.meter("office").faults.add(WireFault(kind="late", ms=200, times=1))
    with served(loop, ModbusServer(site.on("panel"), FROZEN)) as port, connected(port) as line:
        line.sendall(tcp_request(1, 52, 2, transaction=1) + tcp_request(2, 3059, 2, transaction=2, function=3))
        first, second = hear(line, 13), hear(line, 13)

    assert [struct.unpack(">H", each[:2])[0] for each in (first, second)] == [2, 1]


# --- the serial line's time and life ---


@pytest.mark.parametrize(("baud", "response_ms"), [(9600, 0), (9600, 40), (38400, 0)])
def test_a_paced_line_takes_the_time_its_characters_take(loop: Loop, site: Site, baud: int, response_ms: int) -> None:
    # 8 characters out, 3.5 characters (1.75 ms above 19200 baud) or the turnaround, 5 + 2 · 40 characters back.
    character_s = 10 / baud
    gap_s = 3.5 * character_s if baud <= 19200 else 0.00175
    expected_s = 8 * character_s + max(response_ms / 1000, gap_s) + (5 + 80) * character_s
    line = RtuLine(site.on("line"), FROZEN, pace=Pace(baud=baud), response_ms=response_ms)
    with served(loop, line) as path:
        port = Port(path)
        try:
            taken = [port.ask(rtu_request(1, 0, 40), 85) for _ in range(5)]
        finally:
            port.close()

    assert all(len(got) == 85 and crc16(got[:-2]) == got[-2:] for got, _ in taken)
    assert min(seconds for _, seconds in taken) == pytest.approx(expected_s, rel=0.1)


def test_an_adapter_that_is_pulled_out_comes_back_under_its_link(loop: Loop, site: Site, tmp_path: Path) -> None:
    link = tmp_path / "by-id"
    line = RtuLine(site.on("line"), FROZEN, link=link)
    with served(loop, line):
        port = Port(str(link))
        loop.run(line.stop())
        with pytest.raises(termios.error, match="Input/output error"):
            termios.tcgetattr(port.fd)
        port.close()
        assert not link.exists()

        loop.run(line.start())
        again = Port(str(link))
        try:
            got, _ = again.ask(rtu_request(1, 52, 2), 9)
        finally:
            again.close()

    assert len(got) == 9


def test_a_line_drops_what_nobody_reads_and_goes_on(loop: Loop, site: Site) -> None:
    line = RtuLine(site.on("line"), FROZEN)
    with served(loop, line) as path:
        port = Port(path)
        try:
            for _ in range(60):
                port.ask(rtu_request(1, 0, 80), 0)
                time.sleep(0.002)
            deadline = time.monotonic() + WAIT_S
            while not line.dropped and time.monotonic() < deadline:
                port.ask(rtu_request(1, 0, 80), 0)
                time.sleep(0.002)
            termios.tcflush(port.fd, termios.TCIFLUSH)
            time.sleep(0.1)
            termios.tcflush(port.fd, termios.TCIFLUSH)
            got, _ = port.ask(rtu_request(1, 52, 2), 9)
        finally:
            port.close()

    assert line.dropped > 0
    assert len(got) == 9
    assert crc16(got[:-2]) == got[-2:]


# --- the strip on a broker ---


@pytest.mark.real
def test_a_strip_publishes_its_message_and_retains_nothing(loop: Loop) -> None:
    got: list[tuple[str, bytes, bool]] = []
    arrived, subscribed = threading.Event(), threading.Event()

    def take(client: Client, userdata: object, told: Any) -> None:
        got.append((told.topic, told.payload, told.retain))
        arrived.set()

    with mosquitto() as broker:
        options = Options(seed=SEED, clock=FROZEN, mqtt_host=broker.host, mqtt_port=broker.port)
        running = Running(options)
        client = Client(CallbackAPIVersion.VERSION2)
        client.on_message = take
        client.on_subscribe = lambda *_: subscribed.set()
        client.connect(broker.host, broker.port)
        client.subscribe("netio/#")
        client.loop_start()
        try:
            assert subscribed.wait(WAIT_S)
            loop.run(running.start())
            assert arrived.wait(WAIT_S)
        finally:
            loop.run(running.stop())
            client.disconnect()
            client.loop_stop()

    assert got[0] == ("netio/pdu1", message(example_site(SEED).meter("pdu1"), NOW), False)


# --- the whole site as a program ---


@pytest.fixture
def program_run(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any], Path]]:
    ready = tmp_path / "ready.json"
    clock = f"{NOW}:{time.time_ns() // 1_000_000}:1"
    command = [sys.executable, "-c", "from merilo_simulators.commands import app; app()"]
    arguments = ["run", "--site", "example", "--seed", str(SEED), "--ready", str(ready), "--clock", clock]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + WAIT_S
        while not ready.exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else b""
            assert time.monotonic() < deadline, "the simulators did not become ready"
            time.sleep(0.02)
        yield process, json.loads(ready.read_text()), ready
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT_S)


def control(told: dict[str, Any], **request: Any) -> dict[str, Any]:
    with socket.create_connection((told["control"]["host"], told["control"]["port"]), timeout=WAIT_S) as line:
        line.sendall(json.dumps(request).encode() + b"\n")
        return dict(json.loads(line.makefile().readline()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_example_site_says_where_everything_is_and_stops_cleanly(
    program_run: tuple[subprocess.Popen[bytes], dict[str, Any], Path], number: signal.Signals
) -> None:
    process, told, ready = program_run

    devices = {device["id"]: device for device in told["devices"]}
    assert {name: device["bus"] for name, device in devices.items()} == {
        "main": "line",
        "office": "panel",
        "ups": "panel",
        "cooling": "line",
        "pdu2": "rack",
    }
    assert Path(told["buses"]["line"]["path"]).exists()
    assert told["seed"] == SEED
    with connected(told["buses"]["rack"]["port"]) as line:
        line.sendall(tcp_request(1, 300, 10))
        assert len(hear(line, 29)) == 29

    process.send_signal(number)

    assert process.wait(WAIT_S) == 0
    assert not ready.exists()


def test_faults_and_buses_are_switched_in_a_running_program(
    program_run: tuple[subprocess.Popen[bytes], dict[str, Any], Path],
) -> None:
    _, told, _ = program_run
    port = told["buses"]["panel"]["port"]

    control(told, do="add", device="office", fault={"kind": "exception", "code": 6, "times": 1})
    with connected(port) as line:
        line.sendall(tcp_request(1, 52, 2) + tcp_request(1, 52, 2))
        refused, right = hear(line, 9), hear(line, 13)
    counted = control(told, do="injected")["injected"]

    assert refused[7:] == b"\x84\x06"
    assert len(right) == 13
    assert counted["office"] == {"exception": 1}

    control(told, do="stop", bus="panel")
    with pytest.raises(ConnectionRefusedError):
        connected(port)
    assert control(told, do="start", bus="panel")["bus"] == str(port)
    connected(port).close()

    assert control(told, do="start", bus="line")["bus"].startswith("/dev/pts/")


# --- speed ---


def test_a_month_of_every_circuit_and_a_day_of_history_are_made_within_their_budget() -> None:
    company = Company(SEED)
    start = time.process_time()
    month = np.arange(ORIGIN_MS, ORIGIN_MS + 30 * DAY_MS, MINUTE_MS, dtype=np.int64)
    sample = company.sample(month)
    for circuit in ("main", "office", "server_room", "ups_in", "ups_out", "cooling", "lighting", "sockets", "hvac"):
        sample.energy_mwms(circuit)
    month_s = time.process_time() - start

    start = time.process_time()
    count = sum(1 for _ in history(SEED, NOW, NOW + DAY_MS, 10_000))
    per_s = count / (time.process_time() - start)

    assert month_s < 1.0
    assert per_s > 100_000
