"""``merilo key``: API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from merilo_cli.arguments import Json, Yes, now_ms, registry, shown
from merilo_cli.output import ArgumentError, say, show, show_one, sure
from merilo_cli.words import word

if TYPE_CHECKING:
    from merilo_adapters.registry import Key

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def _row(key: Key) -> dict[str, object]:
    return {
        "id": key.id,
        "company": key.company,
        "scopes": list(key.scopes),
        "name": key.name,
        "created": shown(key.created_ms),
        "revoked": shown(key.revoked_ms),
    }


@app.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Who uses it, for example 'monthly Excel'.")],
    company: Annotated[str, typer.Option(help="The one company it may see; none: all.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="read:series, read:reports, write:measures, admin.")] = None,
    as_json: Json = False,
) -> None:
    """Makes an API key and shows it, once."""
    from merilo_adapters.registry import SCOPES

    for one in scope or ():
        if one not in SCOPES:
            raise ArgumentError("--scope", f"expected some of {', '.join(SCOPES)}, found {one[:40]!r}")
    with registry() as found:
        key, text = found.add_key(company or None, scope or ["read:series"], name, now_ms())
    show_one({**_row(key), "key": text}, as_json=as_json)
    say(word("key_shown_once"))


@app.command("list")
def list_keys(
    company: Annotated[str, typer.Argument(help="Only this company's.")] = "",
    as_json: Json = False,
) -> None:
    """Shows API keys, without their secrets."""
    with registry() as found:
        if company:
            found.company(company)
        rows = [_row(key) for key in found.list_keys(company or None)]
    show(rows, ("id", "company", "scopes", "name", "created", "revoked"), as_json=as_json)


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Id, as the list shows it.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Takes an API key away."""
    sure(f"Revoke key {key_id}?", yes)
    with registry() as found:
        show_one(_row(found.revoke_key(key_id, now_ms())), as_json=as_json)
