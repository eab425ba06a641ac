"""``merilo collector …`` and ``merilo books …``."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

collector_app = typer.Typer(help="Take readings from the broker, keep them, acknowledge them.", no_args_is_help=True)
books_app = typer.Typer(help="Turn readings into energy.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option(help="Data folder; else MERILO_DATA.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]


def _start(verbose: bool) -> threading.Event:
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@collector_app.command("run")
def run_collector(data: Data = None, verbose: Verbose = False) -> None:
    """Take readings until told to stop."""
    from merilo_adapters.clock import Clock
    from merilo_adapters.company_stores import CompanyStores
    from merilo_adapters.installation import installation
    from merilo_adapters.mqtt import Broker
    from merilo_adapters.registry import Registry
    from merilo_collector.mqtt_intake import MqttIntake
    from merilo_collector.run_ingest import IngestLoop
    from merilo_collector.steps import ingest_steps

    stop = _start(verbose)
    place = installation(data)
    registry = Registry.open(place.registry_url, actor="collector")
    broker = Broker(
        urls=place.broker_urls,
        login=place.broker_login,
        password=place.secret_password(),
        ca_file=place.broker_ca_file,
    )
    intake = MqttIntake(broker, client_id=place.broker_login or "merilo-collector")
    stores = CompanyStores(place, registry)
    clock = Clock.from_text(place.clock)
    loop = IngestLoop(intake, registry, registry.work(), stores, clock, ingest_steps())
    intake.start()
    try:
        loop.run(stop)
    finally:
        intake.stop()


@books_app.command("run")
def run_books(data: Data = None, verbose: Verbose = False) -> None:
    """Keep the books until told to stop."""
    from merilo_adapters.clock import Clock
    from merilo_adapters.company_stores import CompanyStores
    from merilo_adapters.installation import installation
    from merilo_adapters.registry import Registry
    from merilo_collector.run_books import BooksLoop
    from merilo_collector.steps import books_steps

    stop = _start(verbose)
    place = installation(data)
    registry = Registry.open(place.registry_url, actor="books")
    stores = CompanyStores(place, registry)
    BooksLoop(registry, registry.work(), stores, Clock.from_text(place.clock), books_steps()).run(stop)
