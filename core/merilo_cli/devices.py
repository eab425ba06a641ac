"""``merilo device``: what gateways talk to, and the facts a person knows better."""

from __future__ import annotations

from typing import Annotated

import typer

from merilo.site import Device
from merilo_cli.arguments import Json, company_or_site, device_of, instant_of, now_ms, registry, shown
from merilo_cli.output import ArgumentError, show

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_COLUMNS = (
    "site",
    "gateway",
    "device",
    "model",
    "serial",
    "profile",
    "interval_s",
    "proposed_role",
    "confirmed",
    "max_power_w",
    "assumed",
)


def _row(device: Device, assumed: set[str]) -> dict[str, object]:
    told = ("model", "serial", "profile", "profile_version", "channel_of", "interval_s", "confirmed", "proposed_role")
    return {
        **device.key._asdict(),
        **{name: getattr(device, name) for name in told},
        "first_seen": shown(device.first_seen_ms),
        "max_power_w": device.max_power_w,
        "zero_is_valid": device.zero_is_valid,
        "assumed": " ".join(sorted(assumed)),
    }


@app.command("list")
def list_devices(
    place: Annotated[str, typer.Argument(help="company, or company/site.")],
    as_json: Json = False,
) -> None:
    """Shows devices; 'assumed' names facts that nobody stated: say them with 'merilo device set'."""
    with registry() as found:
        company, site = company_or_site(found, place)
        rows = []
        for device in found.devices(company, site or None):
            assumed = set[str]().union(*found.assumptions(device.key).values())
            rows.append(_row(device, assumed))
    show(rows, _COLUMNS, as_json=as_json)


@app.command("set")
def set_device(
    device: Annotated[str, typer.Argument(help="company/site/gateway/device.")],
    since: Annotated[str, typer.Option("--from", help="Date or quarter of an hour it is true from, or 'start'.")],
    max_power_w: Annotated[float | None, typer.Option(help="Largest mean power it can truthfully show [W].")] = None,
    rated_current_a: Annotated[
        float | None, typer.Option(help="Instead: fuse, CT primary or rating [A]; 1.25 x phases x 230 V x current.")
    ] = None,
    phases: Annotated[int, typer.Option(min=1, max=3)] = 3,
    zero_is_valid: Annotated[
        bool | None, typer.Option("--zero-is-valid/--zero-is-fault", help="What a day of exact zero means.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Says facts of a device; its registers are walked again from then on, as far as raw readings reach."""
    if max_power_w is None and rated_current_a is None and zero_is_valid is None:
        raise ArgumentError("--max-power-w", "expected this, --rated-current-a or --zero-is-valid, found none")
    if max_power_w is not None and rated_current_a is not None:
        raise ArgumentError("--rated-current-a", "expected either this or --max-power-w, found both")
    for option, given in (("--max-power-w", max_power_w), ("--rated-current-a", rated_current_a)):
        if given is not None and not given > 0:
            raise ArgumentError(option, f"expected more than 0, found {given:g}")
    from merilo_adapters.registry import KEEP
    from merilo_adapters.registry.facts import rated_power_w

    key = device_of(device)
    power_w = rated_power_w(rated_current_a, phases) if rated_current_a is not None else max_power_w
    with registry() as found:
        zone = found.site(key.company, key.site).zone
        changed = found.set_device(
            key,
            now_ms(),
            from_ms=instant_of(since, "--from", zone, on_grid=True),
            max_power_w=KEEP if power_w is None else power_w,
            zero_is_valid=KEEP if zero_is_valid is None else zero_is_valid,
        )
    rows = [{"register": register.register, "from": shown(start, zone)} for register, start in changed.items()]
    show(rows, ("register", "from"), as_json=as_json, empty="unchanged")
