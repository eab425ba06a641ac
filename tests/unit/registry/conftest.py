"""A registry in a file of its own, with one company, one site and one gateway."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from merilo.site import Company, Site
from merilo_adapters.registry import Registry, Work
from registry_parts import GATEWAY, NOW


def _memory() -> str | None:
    """A folder in memory where there is one: a commit is durable there without waiting for a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder."""
    with tempfile.TemporaryDirectory(prefix="merilo-", dir=_memory()) as made:
        yield Path(made)


@pytest.fixture
def url(folder: Path) -> str:
    """Of a registry that does not exist yet."""
    return f"sqlite:///{folder}/registry.db"


@pytest.fixture(scope="session")
def furnished() -> Iterator[Path]:
    """A registry file with company acme, site hq in Sofia and gateway gw1, to be copied."""
    with tempfile.TemporaryDirectory(prefix="merilo-", dir=_memory()) as made:
        file = Path(made) / "registry.db"
        found = Registry.open(f"sqlite:///{file}")
        found.add_company(Company(id="acme", name="Acme", raw_days=90, created_ms=NOW))
        found.add_site(Site(company="acme", id="hq", name="Head office", zone="Europe/Sofia", country="BG"), NOW)
        found.add_gateway(GATEWAY, NOW)
        found.close()
        yield file


@pytest.fixture
def registry(furnished: Path, folder: Path, url: str) -> Iterator[Registry]:
    """With company acme, site hq in Sofia and gateway gw1."""
    shutil.copy(furnished, folder / "registry.db")
    found = Registry.open(url)
    yield found
    found.close()


@pytest.fixture
def work(registry: Registry) -> Work:
    """The work tables beside it."""
    return registry.work()
