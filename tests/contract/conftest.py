"""The stores under contract: the embedded one, and real InfluxDB servers of both generations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

import real
from merilo_adapters.stores import Store, open_store

STORES = ("sqlite", "influx1", "influx2")


def _opened(kind: str, folder: str, stack: ExitStack) -> Store:
    if kind == "sqlite":
        return open_store(f"sqlite:///{folder}/store")
    if kind == "influx2" and os.environ.get("MERILO_TEST_INFLUX_URL"):
        return open_store(
            os.environ["MERILO_TEST_INFLUX_URL"],
            token=os.environ.get("MERILO_TEST_INFLUX_TOKEN"),
            org=os.environ.get("MERILO_TEST_INFLUX_ORG", real.ORG),
        )
    server = stack.enter_context(real.influx1() if kind == "influx1" else real.influx2())
    return open_store(server.url, token=server.token, org=server.org)


@pytest.fixture(scope="session", params=STORES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Every store in turn."""
    with ExitStack() as stack:
        opened = _opened(request.param, str(tmp_path_factory.mktemp("store")), stack)
        yield opened
        opened.close()


@pytest.fixture
def company(store: Store) -> str:
    """A company of its own for each test, raw kept for 90 days."""
    name = f"t{uuid4().hex[:12]}"
    store.init(name, 90)
    return name
