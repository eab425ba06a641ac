"""``merilo event``: what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

import typer

from merilo.instants import DAY_MS
from merilo.site import Event, EventKind
from merilo_cli.arguments import Json, company_or_site, instant_of, now_ms, registry, shown
from merilo_cli.output import ArgumentError, show

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DAYS = 30
"""Days shown unless asked otherwise."""


def _row(event: Event, zone: str) -> dict[str, object]:
    levels = event.place[1:]
    return {
        "number": event.number,
        **event.place._asdict(),
        "place": "/".join(level for level in levels if level),
        "kind": event.kind,
        "code": event.code,
        "at": shown(event.at_ms, zone),
        "end": shown(event.end_ms, zone),
        "parameters": dict(event.parameters),
    }


def _kinds(texts: Sequence[str]) -> list[EventKind] | None:
    known = {kind: kind for kind in get_args(EventKind)}
    for text in texts:
        if text not in known:
            raise ArgumentError("--kind", f"expected one of {', '.join(known)}, found {text[:40]!r}")
    return [known[text] for text in texts] or None


@app.command("list")
def list_events(
    place: Annotated[str, typer.Argument(help="company, or company/site.")],
    since: Annotated[str, typer.Option("--from", help="Date or time; else 30 days ago.")] = "",
    until: Annotated[str, typer.Option("--to", help="Date or time; else now.")] = "",
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be given several times.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=20_000)] = 200,
    as_json: Json = False,
) -> None:
    """Shows events, oldest first."""
    kinds = _kinds(kind or [])
    with registry() as found:
        company, site = company_or_site(found, place)
        zones = {one.id: one.zone for one in found.sites(company)}
        zone = zones.get(site, next(iter(zones.values()), "UTC"))
        to_ms = instant_of(until, "--to", zone) if until else now_ms() + 1
        from_ms = instant_of(since, "--from", zone) if since else to_ms - DAYS * DAY_MS
        where = {"site": site} if site else {}
        rows = found.events(company, from_ms, to_ms, kinds=kinds, limit=limit, **where)
    show(
        [_row(event, zones.get(event.place.site, zone)) for event in rows],
        ("number", "at", "end", "kind", "code", "place", "parameters"),
        as_json=as_json,
    )
