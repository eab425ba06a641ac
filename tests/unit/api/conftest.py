"""Installations for the tests of the API: real stores and registries, in memory where there is such a folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from merilo_api.rates import Rates
from unit.api.asking import LOOP, Client
from unit.api.scene import Scene, copied, furnished


def patient() -> Rates:
    """Limits on a clock by which every request comes an hour after the one before."""
    return Rates(count(step=3_600).__next__)


def _folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="session", autouse=True)
def loop() -> Iterator[None]:
    """Closes the requests' loop at the end."""
    yield
    LOOP.close()


@pytest.fixture(scope="session")
def pair_template() -> Iterator[Scene]:
    """Acme and Beta; nobody changes it."""
    with tempfile.TemporaryDirectory(prefix="merilo-api-", dir=_folder()) as made:
        scene = furnished(Path(made))
        yield scene
        scene.close()


@pytest.fixture(scope="session")
def single_template() -> Iterator[Scene]:
    """Acme alone; nobody changes it."""
    with tempfile.TemporaryDirectory(prefix="merilo-api-", dir=_folder()) as made:
        scene = furnished(Path(made), other=False)
        yield scene
        scene.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder."""
    with tempfile.TemporaryDirectory(prefix="merilo-api-", dir=_folder()) as made:
        yield Path(made)


@pytest.fixture
def empty(folder: Path) -> Iterator[Scene]:
    """An installation without a company."""
    scene = Scene.open(folder)
    yield scene
    scene.close()


@pytest.fixture(scope="session")
def pair(pair_template: Scene) -> Client:
    """Asks an installation with two companies."""
    return Client(pair_template, app=pair_template.app(patient()))


@pytest.fixture(scope="session")
def single(single_template: Scene) -> Client:
    """Asks an installation with one company, from the machine itself."""
    return Client(single_template, app=single_template.app(patient()))


@pytest.fixture
def scene(single_template: Scene, folder: Path) -> Iterator[Scene]:
    """Acme alone, to be changed."""
    found = copied(single_template, folder)
    yield found
    found.close()


@pytest.fixture
def two(pair_template: Scene, folder: Path) -> Iterator[Scene]:
    """Acme and Beta, to be changed."""
    found = copied(pair_template, folder)
    yield found
    found.close()
