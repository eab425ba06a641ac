"""The application: routes, problems, limits; put together from values that run.py gives."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from merilo import __version__
from merilo_adapters.clock import Clock
from merilo_adapters.registry import Registry
from merilo_adapters.registry.work import Work
from merilo_adapters.stores import Store
from merilo_api import catalogue, energy, health, now, numbers, openapi, problems
from merilo_api.limits import Door
from merilo_api.page import routes as page
from merilo_api.page.shell import Here, Shell
from merilo_api.rates import Rates


class Stores(Protocol):
    """Gives the series store of a company."""

    def of(self, company: str) -> Store:
        """The store, ready to be read."""
        ...


class Application(FastAPI):
    """FastAPI behind our own door, so that nothing gets round it: not even a failure of the framework."""

    door: Door | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of the server."""
        if self.door is None or scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        await self.door(scope, receive, send)


def create_app(
    registry: Registry, work: Work, stores: Stores, clock: Clock, rates: Rates | None = None, shell: Here = Shell
) -> Application:
    """The API and the page of one installation.

    Args:
        rates: Counts requests; None: by the monotonic clock.
        shell: What commands must name on this machine; asked anew for each request.
    """
    app = Application(
        title="Merilo",
        version=__version__,
        summary="Energy of offices and server rooms, with the state of every interval.",
        description=openapi.ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        openapi_tags=openapi.TAGS,
    )
    app.state.registry, app.state.work, app.state.stores, app.state.clock = registry, work, stores, clock
    app.state.rates = rates if rates is not None else Rates()
    app.state.shell = shell
    problems.install(app)
    for part in (catalogue, energy, numbers, now, health, openapi, page):
        app.include_router(part.router)
    page.mount(app)
    openapi.describe(app)
    app.door = Door(partial(FastAPI.__call__, app), app.state.rates)
    return app
