"""A registry in a file of its own, with one company, one site and one gateway."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from merilo.site import Company, Site
from merilo_adapters.registry import Registry, Work
from registry_parts import GATEWAY, NOW, in_memory


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder."""
    with tempfile.TemporaryDirectory(prefix="merilo-", dir=in_memory()) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def furnished() -> Iterator[Path]:
    """A registry file with company acme, site hq in Sofia and gateway gw1, to be copied."""
    with tempfile.TemporaryDirectory(prefix="merilo-", dir=in_memory()) as made:
        file = Path(made) / "registry.db"
        found = Registry.open(f"sqlite:///{file}")
        _furnish(found)
        found.close()
        yield file


@contextmanager
def _postgresql(server: str) -> Iterator[str]:
    """URL of a new database on a PostgreSQL server; gone afterwards."""
    name = f"merilo_{secrets.token_hex(6)}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


def _furnish(found: Registry) -> None:
    found.add_company(Company(id="acme", name="Acme", raw_days=90, created_ms=NOW))
    found.add_site(Site(company="acme", id="hq", name="Head office", zone="Europe/Sofia", country="BG"), NOW)
    found.add_gateway(GATEWAY, NOW)


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """Of a registry that does not exist yet; on PostgreSQL where MERILO_TEST_POSTGRESQL names a server."""
    server = os.environ.get("MERILO_TEST_POSTGRESQL")
    if server is None:
        yield f"sqlite:///{folder}/registry.db"
        return
    with _postgresql(server) as found:
        yield found


@pytest.fixture
def registry(furnished: Path, folder: Path, url: str) -> Iterator[Registry]:
    """With company acme, site hq in Sofia and gateway gw1."""
    if url.startswith("sqlite"):
        shutil.copy(furnished, folder / "registry.db")
    found = Registry.open(url)
    if not url.startswith("sqlite"):
        _furnish(found)
    yield found
    found.close()


@pytest.fixture
def work(registry: Registry) -> Work:
    """The work tables beside it."""
    return registry.work()
