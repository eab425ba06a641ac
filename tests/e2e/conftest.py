"""A real browser on a real server, with everything that it asks for and complains of written down.

The browser is given back after the last test of each file: while it runs, its loop occupies the thread.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

import real
from e2e.serving import served
from unit.api.scene import Scene, furnished

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's browser."""
    if not Path(CHROMIUM).exists():
        real.missing("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[ExitStack]:
    """Closes servers and installations at the end."""
    with ExitStack() as stack:
        yield stack


def installation(stack: ExitStack, make: Callable[[Path], Scene]) -> Scene:
    """An installation in a folder of its own."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="merilo-e2e-", dir=place))
    scene = make(Path(folder))
    stack.callback(scene.close)
    return scene


@pytest.fixture(scope="module")
def acme(servers: ExitStack) -> str:
    """Address of an installation with one company."""
    scene = installation(servers, lambda folder: furnished(folder, other=False))
    return servers.enter_context(served(scene.app()))


@pytest.fixture(scope="module")
def both(servers: ExitStack) -> tuple[str, Scene]:
    """Address of an installation with two companies, and its keys."""
    scene = installation(servers, furnished)
    return servers.enter_context(served(scene.app())), scene


@dataclass(slots=True)
class Seen:
    """What a page asked for and complained of."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Visit:
    """One window of the browser."""

    page: Page
    seen: Seen
    context: BrowserContext

    def open(self, address: str, *, charts: bool = True) -> Page:
        """Opens an address and waits for what its scripts draw."""
        self.page.goto(address, wait_until="load")
        if charts:
            self.page.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=20_000)
        return self.page


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens windows; at the end nothing may have left this machine, and nothing may have been complained of."""
    opened: list[Visit] = []

    def make(**options: Any) -> Visit:
        context = chromium.new_context(**{"reduced_motion": "reduce", "locale": "en-GB", **options})
        page, seen = context.new_page(), Seen()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: _complain(seen, message))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("requestfailed", lambda request: seen.complaints.append(f"failed: {request.url}"))
        opened.append(Visit(page, seen, context))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()
        foreign = [url for url in one.seen.requests if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]
        assert not foreign
        assert not one.seen.complaints


def _complain(seen: Seen, message: Any) -> None:
    # A refused form and a store that is away are answers with a status; the browser notes them by itself.
    if message.type in ("error", "warning") and "status of 4" not in message.text and "status of 5" not in message.text:
        seen.complaints.append(f"{message.type}: {message.text}")
