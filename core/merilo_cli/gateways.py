"""``merilo gateway add|list|revoke``: who may come in. What a gateway does itself is its program's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from merilo.site import Gateway
from merilo_cli.arguments import Json, Yes, gateway_of, now_ms, registry, shown
from merilo_cli.output import say, show, show_one, sure
from merilo_cli.words import word

if TYPE_CHECKING:
    from merilo_adapters.registry import Registry

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

BrokerFiles = Annotated[
    Path | None,
    typer.Option("--broker-files", help="Folder of the broker's access list and passwords; else 'broker' in the data."),
]


def _row(gateway: Gateway) -> dict[str, object]:
    return {
        **gateway.key._asdict(),
        "login": gateway.login,
        "created": shown(gateway.created_ms),
        "revoked": shown(gateway.revoked_ms),
    }


def _write(found: Registry, folder: Path | None) -> None:
    from merilo_adapters.installation import installation
    from merilo_adapters.mosquitto_files import write_files

    data = installation().data
    folder = folder or data / "broker"
    if write_files(folder, data, found.logins()).changed:
        say(word("reload", folder=str(folder)))


@app.command("add")
def add_gateway(
    gateway: Annotated[str, typer.Argument(help="company/site/gateway, for example acme/hq/gw1.")],
    broker_files: BrokerFiles = None,
    as_json: Json = False,
) -> None:
    """Adds a gateway and shows its login and password, once; a revoked one gets a new login."""
    key = gateway_of(gateway)
    with registry() as found:
        new, password = found.add_gateway(key, now_ms())
        show_one({**key._asdict(), "login": new.login, "password": password}, as_json=as_json)
        say(word("shown_once"))
        _write(found, broker_files)


@app.command("list")
def list_gateways(
    company: Annotated[str, typer.Argument(help="Only this company's.")] = "",
    as_json: Json = False,
) -> None:
    """Shows the gateways of one company, or of all."""
    with registry() as found:
        if company:
            found.company(company)
        rows = [_row(gateway) for gateway in found.gateways(company or None)]
    show(rows, ("company", "site", "gateway", "login", "created", "revoked"), as_json=as_json)


@app.command("revoke")
def revoke_gateway(
    gateway: Annotated[str, typer.Argument(help="company/site/gateway.")],
    broker_files: BrokerFiles = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Takes a gateway's login away; what it measured stays."""
    key = gateway_of(gateway)
    sure(f"Revoke the login of {gateway}?", yes)
    with registry() as found:
        show_one(_row(found.revoke_gateway(key, now_ms())), as_json=as_json)
        _write(found, broker_files)
