"""The application: routes, problems, limits; put together from values that run.py gives."""

from __future__ import annotations

from typing import Protocol

from fastapi import FastAPI

from merilo import __version__
from merilo_adapters.clock import Clock
from merilo_adapters.registry import Registry
from merilo_adapters.registry.work import Work
from merilo_adapters.stores import Store
from merilo_api import catalogue, health, numbers, problems
from merilo_api.limits import Limits
from merilo_api.page import routes as page


class Stores(Protocol):
    """Gives the series store of a company."""

    def of(self, company: str) -> Store:
        """The store, ready to be read."""
        ...


def create_app(registry: Registry, work: Work, stores: Stores, clock: Clock) -> FastAPI:
    """The API and the page of one installation."""
    app = FastAPI(
        title="Merilo",
        version=__version__,
        description="Energy of offices and server rooms, with the state of every interval.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.registry, app.state.work, app.state.stores, app.state.clock = registry, work, stores, clock
    problems.install(app)
    for router in (health.router, catalogue.router, numbers.router, page.router):
        app.include_router(router)
    page.mount(app)
    app.add_middleware(Limits)
    return app
