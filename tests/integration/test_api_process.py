"""The API as a process of its own: it starts on an empty folder, answers, and stops when it is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from merilo.site import Company, Site
from merilo_adapters.registry import Registry
from real import free_port

READY_S = 60.0


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MERILO_")}
    return {**kept, "MERILO_DATA": str(folder)}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "merilo_cli.main", "api", "run", *arguments]


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that answers, and its address."""
    port = free_port()
    process = subprocess.Popen(
        command("--port", str(port), *arguments), env=environment(folder), stderr=subprocess.PIPE, text=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                get(f"{address}/healthz")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(READY_S)
        if process.stderr is not None:
            process.stderr.close()


def get(address: str, **headers: str) -> tuple[int, str]:
    """Status and body."""
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
        return answer.status, answer.read().decode()


def body(address: str, **headers: str) -> Any:
    return json.loads(get(address, **headers)[1])


def test_it_serves_an_empty_folder_and_stops_when_told(tmp_path: Path) -> None:
    with running(tmp_path) as (process, address):
        assert "There is no company yet." in get(f"{address}/")[1]
        assert body(f"{address}/v1/companies") == {"companies": [], "next": None}
        process.send_signal(signal.SIGTERM)

        assert process.wait(READY_S) in (0, -signal.SIGTERM)


def test_what_the_registry_learns_is_seen_without_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as (_, address):
        registry = Registry.open(f"sqlite:///{tmp_path / 'registry.db'}")
        registry.add_company(Company(id="acme", name="Acme Ltd"))
        registry.add_site(Site(company="acme", id="hq", name="Head office", zone="Europe/Sofia"))
        assert "No gateway yet." in get(f"{address}/")[1]

        registry.add_company(Company(id="beta", name="Beta AD"))
        _, text = registry.add_key("acme", ["read:series"], "test")
        registry.close()

        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{address}/v1/companies")
        refused.value.close()
        assert refused.value.code == 401
        found = body(f"{address}/v1/companies", Authorization=f"Bearer {text}")
        assert [one["id"] for one in found["companies"]] == ["acme"]


def test_a_port_that_is_taken_is_told_as_a_wrong_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            command("--port", str(port)), env=environment(tmp_path), capture_output=True, text=True, timeout=READY_S
        )

    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_header_without_end_is_refused_and_the_others_are_served(tmp_path: Path) -> None:
    with running(tmp_path) as (_, address):
        port = int(address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
            slow.sendall(b"a" * 70_000)
            assert get(f"{address}/healthz") == (200, "ok\n")
            answer = slow.recv(100)
    assert answer.startswith(b"HTTP/1.1 400")
