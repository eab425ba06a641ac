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

dead_app = typer.Typer(help="What was not taken: list it, take it again.", no_args_is_help=True)
collector_app.add_typer(dead_app, name="dead")

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


Reason = Annotated[str, typer.Option(help="Only letters with this reason.")]
Limit = Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=20_000)]


@dead_app.command("list")
def list_dead(
    data: Data = None,
    reason: Reason = "",
    limit: Limit = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Messages and readings that were not taken, with the reason, newest first."""
    import json

    from merilo.instants import to_text
    from merilo_adapters.installation import installation
    from merilo_adapters.registry import Registry

    work = Registry.open(installation(data).registry_url, actor="collector").work()
    for letter in work.dead_letters(reason=reason or None, limit=limit):
        body = {
            "number": letter.number,
            "at": to_text(letter.at_ms),
            "reason": letter.reason,
            "detail": letter.detail,
            "topic": letter.topic,
            "seq": letter.seq,
            "bytes": len(letter.payload),
        }
        if as_json:
            print(json.dumps(body, ensure_ascii=False))
        else:
            print(f"{letter.number:>6}  {body['at']}  {letter.reason:<16} {letter.topic}: {letter.detail}")


@dead_app.command("replay")
def replay_dead(
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers of letters; else all that match.")] = None,
    data: Data = None,
    reason: Reason = "",
    limit: Limit = 20_000,
) -> None:
    """Take dead letters again, for example after a gateway was registered; exit code 1 when some are refused anew."""
    from merilo_adapters.clock import Clock
    from merilo_adapters.company_stores import CompanyStores
    from merilo_adapters.installation import installation
    from merilo_adapters.registry import Registry
    from merilo_collector.dead import replay
    from merilo_collector.ingest import Ingest

    place = installation(data)
    registry = Registry.open(place.registry_url, actor="collector")
    work = registry.work()
    letters = work.dead_letters(reason=reason or None, numbers=numbers or None, limit=limit)
    ingest = Ingest(registry, work, CompanyStores(place, registry).of)
    found = replay(ingest, work, letters, Clock.from_text(place.clock).now_ms())
    print(f"taken {found.taken}, refused again {found.refused}, store away {found.waiting}")
    raise typer.Exit(0 if not found.refused and not found.waiting else 1)
