"""``merilo store …``: databases and retention, comparison with what was written, recomputation."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from merilo.errors import ConfigError
from merilo.instants import DAY_MS, QUARTER_MS, floor_ms, to_ms, to_text

if TYPE_CHECKING:
    from merilo_adapters.installation import Installation
    from merilo_adapters.registry import Registry

app = typer.Typer(help="The series store: databases, comparison, recomputation.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option(help="Data folder; else MERILO_DATA.")]
Company = Annotated[str, typer.Option(help="Only this company; else all.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a company.")]
FINDING = 1


def _open(data: Path | None) -> tuple[Installation, Registry]:
    from merilo_adapters.installation import installation
    from merilo_adapters.registry import Registry

    place = installation(data)
    return place, Registry.open(place.registry_url, actor="store")


def _companies(registry: Registry, wanted: str) -> list[str]:
    found = [company.id for company in registry.companies()]
    if wanted and wanted not in found:
        raise ConfigError("--company", f"no company {wanted!r}", f"One of {', '.join(found) or 'none yet'}")
    return [wanted] if wanted else found


def _now_ms(place: Installation) -> int:
    from merilo_adapters.clock import Clock

    return Clock.from_text(place.clock).now_ms()


@app.command("init")
def init(
    data: Data = None,
    company: Company = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Make each company's database, policies and retention; repeatable."""
    from merilo_adapters.company_stores import CompanyStores

    place, registry = _open(data)
    stores = CompanyStores(place, registry)
    for name in _companies(registry, company):
        record = registry.company(name)
        store = stores.bare(name)
        done = store.init(name, record.raw_days, dry_run=dry_run)
        for line in done or ["nothing to do"]:
            print(f"{name}: {line}")


@app.command("check")
def check(
    data: Data = None,
    company: Company = "",
    since: Annotated[str, typer.Option("--from", help="First day, RFC 3339; else the last 8 days.")] = "",
    mend: Annotated[
        bool, typer.Option("--mend", help="Mark what is missing to be computed and asked for again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare what was written with what the store has; exit code 1 when something is missing."""
    from merilo_adapters.company_stores import CompanyStores
    from merilo_collector.reconcile import Reconciler

    place, registry = _open(data)
    reconciler = Reconciler(registry, registry.work(), CompanyStores(place, registry), lambda topic, payload: None)
    now_ms = _now_ms(place)
    from_ms = to_ms(_instant("--from", since)) if since else None
    whole = True
    for name in _companies(registry, company):
        found = reconciler.check(name, now_ms, from_ms)
        whole &= found.whole
        body = {
            "company": name,
            "compared": {"raw_device_days": found.compared_raw, "book_series_days": found.compared_books},
            "missing_raw": [["/".join(device), to_text(day)[:10]] for device, day in found.raw_days],
            "missing_books": [[d.measurement, d.series, to_text(d.day_ms)[:10]] for d in found.book_days],
        }
        if as_json:
            print(json.dumps(body))
        else:
            print(
                f"{name}: {found.compared_raw} device-days and {found.compared_books} series-days compared, "
                f"{len(found.raw_days)} and {len(found.book_days)} differ"
            )
        if mend and not found.whole:
            reconciler.ask(found, now_ms)
            registry.work().set_counter(f"store/{name}", "forgotten_days", len(found.raw_days) + len(found.book_days))
            print(
                f"{name}: marked; the running collector asks the gateways, the running books compute", file=sys.stderr
            )
    raise typer.Exit(0 if whole else FINDING)


@app.command("recompute")
def recompute(
    start: Annotated[str, typer.Option("--from", help="First instant, RFC 3339 with offset.")],
    end: Annotated[str, typer.Option("--to", help="Last instant; else now.")] = "",
    data: Data = None,
    company: Company = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be walked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Walk raw readings again and replace what differs; says how many rows changed."""
    from merilo_adapters.company_stores import CompanyStores
    from merilo_collector.run_books import BooksLoop

    place, registry = _open(data)
    now_ms = _now_ms(place)
    first_ms = floor_ms(to_ms(_instant("--from", start)), QUARTER_MS)
    last_ms = to_ms(_instant("--to", end)) if end else now_ms
    if last_ms <= first_ms:
        raise ConfigError("--to", f"expected an instant after {start}, found {end or 'now'}")
    stores = CompanyStores(place, registry)
    from merilo_adapters.clock import Clock

    loop = BooksLoop(registry, registry.work(), stores, Clock.from_text(place.clock))
    for name in _companies(registry, company):
        record = registry.company(name)
        if record.raw_days is not None and first_ms < now_ms - record.raw_days * DAY_MS + DAY_MS:
            day = to_text(now_ms - (record.raw_days - 1) * DAY_MS)[:10]
            raise ConfigError(
                "--from",
                f"readings of {name} are kept for {record.raw_days} days",
                f"Recompute from {day} at the earliest",
            )
        for site in registry.sites(name):
            devices = registry.devices(name, site.id)
            if dry_run:
                span = f"{to_text(first_ms)} to {to_text(last_ms)}"
                print(f"{name}/{site.id}: would walk {len(devices)} devices from {span}")
                continue
            began = time.monotonic()
            report = loop.again(site, first_ms, last_ms, now_ms)
            body = {
                "company": name,
                "site": site.id,
                "registers": report.registers,
                "rows_changed": report.rows_changed,
                "changed": report.changed,
                "seconds": round(time.monotonic() - began, 2),
            }
            print(
                json.dumps(body)
                if as_json
                else f"{name}/{site.id}: {report.registers} registers, {report.rows_changed} rows changed"
            )


def _instant(option: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(option, f"{text!r} is not an instant", "Write 2026-11-01T00:00:00+02:00") from None
    if found.tzinfo is None:
        raise ConfigError(option, f"{text!r} has no offset", "Write 2026-11-01T00:00:00+02:00")
    return found
