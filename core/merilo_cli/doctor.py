"""``merilo doctor``: this installation, live: every finding with what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from merilo.errors import ConfigError, MeriloError, StoreError
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_text
from merilo_cli.site_file import SITE_FILE, WHAT_TO_DO, missing_ports

if TYPE_CHECKING:
    from merilo_adapters.installation import Installation
    from merilo_adapters.registry import Registry

DISK_MIN = 0.10
"""Share of the disk that should be free."""
WAITING_MAX = 2_000
"""Rows of work that wait: more means that the books do not run or do not keep up."""
SILENT_MS = 5 * MINUTE_MS
FINDING = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    found: str
    step: str = ""
    """What to do; beside what is good only where it is a step that waits, as for a new device."""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False) -> None:
    """Look at disk, registry, store, broker, gateways, books and what was dropped; exit code 1 with a finding."""
    from merilo_adapters.installation import installation

    place = installation()
    found = list(examine(place))
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        for one in found:
            print(
                f"{'ok     ' if one.good else 'FINDING'}  {one.what}: {one.found}"
                + (f"\n         → {one.step}" if one.step else "")
            )
    raise typer.Exit(0 if all(one.good for one in found) else FINDING)


def examine(place: Installation) -> Iterator[Finding]:
    """Everything that can be seen from this machine, one finding after the other."""
    from merilo_adapters.clock import Clock
    from merilo_adapters.company_stores import CompanyStores
    from merilo_adapters.registry import Registry

    now_ms = Clock.from_text(place.clock).now_ms()
    yield _disk(place.data)
    yield _rights(place.data)
    try:
        registry = Registry.open(place.registry_url, actor="doctor")
    except MeriloError as error:
        yield Finding("registry", False, str(error), "Check MERILO_REGISTRY and the data folder's owner")
        return
    companies = registry.companies()
    yield Finding(
        "registry",
        bool(companies),
        f"{len(companies)} companies at {place.registry_url.split('@')[-1]}",
        "" if companies else 'merilo company add acme --name "Acme Ltd"',
    )
    yield from _ports(place.data)
    yield _broker(place)
    yield _waiting(registry)
    yield from _dropped(registry, now_ms)
    stores = CompanyStores(place, registry)
    for company in companies:
        yield from _guarded(f"store of {company.id}", lambda name=company.id: _company(registry, stores, name, now_ms))  # type: ignore[misc]


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except StoreError as error:
        yield Finding(what, False, str(error), "Start the store; gateways keep their readings meanwhile")


def _disk(data: Path) -> Finding:
    usage = shutil.disk_usage(data)
    free = usage.free / usage.total
    step = "" if free >= DISK_MIN else f"Free space below {data}, or shorten raw retention"
    return Finding("disk", free >= DISK_MIN, f"{free:.0%} free of {usage.total / 1e9:.0f} GB", step)


def _rights(data: Path) -> Finding:
    open_files = [
        path.name
        for path in data.glob("*.password")
        if path.stat().st_mode & 0o077 and path.stat().st_uid == os.getuid()
    ]
    if not os.access(data, os.W_OK):
        return Finding("data folder", False, f"{data} cannot be written", "Run as the user who owns it")
    if open_files:
        return Finding("secrets", False, f"others may read {', '.join(open_files)}", f"chmod 600 {data}/*.password")
    return Finding("data folder", True, str(data))


def _ports(data: Path) -> Iterator[Finding]:
    """Serial ports of the gateway that 'merilo up' runs from this folder."""
    file = data / SITE_FILE
    if not file.exists():
        return
    from merilo_adapters.yaml_file import load_yaml

    try:
        settings = load_yaml(file).data
    except ConfigError as error:
        yield Finding("gateway's file", False, str(error), f"merilo gateway check -c {file} --offline")
        return
    for path in missing_ports(settings) if isinstance(settings, dict) else ():
        yield Finding("serial port", False, f"{path} is not there", WHAT_TO_DO.capitalize())


def _broker(place: Installation) -> Finding:
    try:
        from merilo_adapters.mqtt import Broker, Session
    except ModuleNotFoundError:
        return Finding("broker", True, "not looked at: paho-mqtt is not installed here")
    try:
        login = place.broker_login
        password = place.secret_password()
        if not login and (place.data / "collector.password").exists():
            login, password = "collector", (place.data / "collector.password").read_text(encoding="utf-8").strip()
        broker = Broker(urls=place.broker_urls, login=login, password=password, ca_file=place.broker_ca_file)
    except (ConfigError, OSError) as error:
        return Finding("broker", False, str(error), "Check MERILO_BROKER and its password file")
    session = Session(broker, client_id="merilo-doctor", on_message=lambda message: None)
    session.start()
    end = time.monotonic() + 5.0
    while time.monotonic() < end and not session.connected:
        time.sleep(0.05)
    good, reason = session.connected, session.last_reason
    session.stop(1.0)
    urls = ", ".join(place.broker_urls)
    return Finding(
        "broker", good, urls if good else f"{urls}: {reason}", "" if good else "Start mosquitto, check login"
    )


def _waiting(registry: Registry) -> Finding:
    waiting = registry.work().pending_count()
    good = waiting <= WAITING_MAX
    return Finding("books", good, f"{waiting} rows of work wait", "" if good else "Is 'merilo books run' running?")


def _dropped(registry: Registry, now_ms: int) -> Iterator[Finding]:
    letters = registry.work().dead_letters(limit=1_000)
    recent = [letter for letter in letters if letter.at_ms > now_ms - DAY_MS]
    reasons: dict[str, int] = {}
    for letter in recent:
        reasons[letter.reason] = reasons.get(letter.reason, 0) + 1
    text = ", ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items())) or "nothing in the last day"
    yield Finding("not taken", not recent, text, "merilo collector dead list" if recent else "")


def _company(registry: Registry, stores: object, company: str, now_ms: int) -> Iterator[Finding]:
    from merilo_adapters.company_stores import CompanyStores

    assert isinstance(stores, CompanyStores)
    store = stores.of(company)
    yield Finding(f"store of {company}", True, store.kind())
    forgotten = registry.work().counters(f"store/{company}").get((f"store/{company}", "forgotten_days"), 0)
    if forgotten:
        yield Finding(f"store of {company}", False, f"{forgotten} days have lost rows", "merilo store check --mend")
    heads = store.read(company, "energy_15m", {"company": company}, now_ms - HOUR_MS, now_ms)
    gateways = [g for g in registry.gateways(company) if g.revoked_ms is None]
    if gateways and not heads:
        first_ms = min((d.first_seen_ms for d in registry.devices(company)), default=now_ms)
        early = first_ms > now_ms - HOUR_MS
        text = "too early to judge: no device is an hour old" if early else "no row in the last hour"
        yield Finding(f"energy of {company}", early, text, "" if early else "Is 'merilo books run' running?")
    rows = store.read(company, "gateway_health", {"company": company}, now_ms - DAY_MS, now_ms + HOUR_MS)
    seen = {(one.tags["site"], one.tags["gateway"]): one.frame for one in rows}
    for gateway in gateways:
        frame = seen.get((gateway.key.site, gateway.key.gateway))
        name = "/".join(gateway.key)
        if (frame is None or not len(frame)) and gateway.created_ms > now_ms - SILENT_MS:
            yield Finding(f"gateway {name}", True, "too early to judge: its login was made a moment ago")
            continue
        if frame is None or not len(frame):
            yield Finding(f"gateway {name}", False, "never heard in the last day", "merilo gateway run -c gateway.yaml")
            continue
        at_ms, up = int(frame.at_ms[-1]), float(frame.numbers["up"][-1])
        good = up == 1.0 and at_ms > now_ms - SILENT_MS
        step = "" if good else "Check power and network at the site, then merilo gateway check"
        yield Finding(f"gateway {name}", good, f"{'up' if up == 1.0 else 'silent'} at {to_text(at_ms)}", step)
    unconfirmed = [d for d in registry.devices(company) if not d.confirmed]
    if unconfirmed:
        fresh = all(d.first_seen_ms > now_ms - HOUR_MS for d in unconfirmed)
        sites = sorted({d.key.site for d in unconfirmed})
        names = ", ".join(d.key.device for d in unconfirmed[:5]) + (", …" if len(unconfirmed) > 5 else "")
        yield Finding(
            f"devices of {company}",
            fresh,
            f"{len(unconfirmed)} {'new within the hour' if fresh else 'wait to be confirmed'}: {names}",
            "; ".join(f"merilo meter confirm {company}/{site}" for site in sites),
        )
