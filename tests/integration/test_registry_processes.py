"""Several processes on one file: nobody is turned away, nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from merilo.site import Company, Site
from merilo_adapters.registry import Registry
from registry_parts import GATEWAY, MAIN, NOW

INGEST = """
import sys
from merilo.ids import RegisterKey, GatewayKey
from merilo_adapters.registry import Work
from merilo_adapters.registry.work import WorkBatch
work = Work.open(sys.argv[1])
for n in range(60):
    batch = WorkBatch()
    for device in range(20):
        batch.touch(RegisterKey("acme", "hq", "gw1", f"d{device}", "*"), n, n + 1)
    batch.received.append((GatewayKey("acme", "hq", "gw1"), sys.argv[2], n * 20, n * 20 + 19))
    batch.count("acme", "rows", 20)
    work.commit(batch)
"""

BOOKS = """
import sys
from merilo_adapters.registry import Work
work = Work.open(sys.argv[1])
done = 0
for n in range(60):
    taken = work.take([touched.key for touched in work.pending(3)])
    work.finished([touched.key for touched in taken])
    done += len(taken)
print(done)
"""

PEOPLE = """
import sys
from merilo.ids import MeterKey
from merilo_adapters.registry import Registry
registry = Registry.open(sys.argv[1])
for n in range(30):
    registry.set_meter(MeterKey("acme", "hq", "main"), from_ms=0, at_ms=n, role=("it", "pdu")[n % 2])
"""

OPEN = """
import sys
from merilo_adapters.registry import Registry
print(Registry.open(sys.argv[1]).version())
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a registry with one gateway and one device."""
    url = f"sqlite:///{tmp_path}/registry.db"
    registry = Registry.open(url)
    registry.add_company(Company(id="acme", name="Acme"))
    registry.add_site(Site(company="acme", id="hq", name="hq", zone="Europe/Sofia"))
    registry.add_gateway(GATEWAY)
    registry.see_devices([MAIN], NOW)
    registry.close()
    return url


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*processes: subprocess.Popen[str]) -> list[str]:
    found = [process.communicate(timeout=60) for process in processes]
    assert [(process.returncode, err) for process, (_, err) in zip(processes, found, strict=True)] == [(0, "")] * len(
        processes
    )
    return [out for out, _ in found]


def test_ingest_books_and_people_write_at_once_and_nothing_is_lost(url: str) -> None:
    registry = Registry.open(url)
    before = registry.version()

    ended(start(INGEST, url, "a" * 16), start(INGEST, url, "b" * 16), start(BOOKS, url), start(PEOPLE, url))

    work = registry.work()
    assert work.counters("acme") == {("acme", "rows"): 2 * 60 * 20}
    assert work.received(GATEWAY, "a" * 16) == work.received(GATEWAY, "b" * 16) == [(0, 1199)]
    assert registry.version() == before + 30
    registry.close()


def test_two_processes_that_open_a_new_registry_at_once_make_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"

    assert ended(start(OPEN, url), start(OPEN, url), start(OPEN, url)) == ["1\n"] * 3
