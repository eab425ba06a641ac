"""``merilo meter``: dated definitions of what energy is booked on."""

from __future__ import annotations

from typing import Annotated

import typer

from merilo.ids import DeviceKey, MeterKey, is_id
from merilo.schema import ROLES
from merilo.site import MeterVersion, Phase, parse_expression
from merilo_cli.arguments import Json, company_or_site, instant_of, meter_of, now_ms, registry, shown, site_of
from merilo_cli.output import ArgumentError, say, show
from merilo_cli.words import word

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_PHASES: dict[str, Phase] = {"": "", "l1": "l1", "l2": "l2", "l3": "l3"}
_COLUMNS = ("site", "meter", "role", "source", "parent", "from", "to", "confirmed")


def _row(version: MeterVersion, zone: str) -> dict[str, object]:
    source = version.expression or ""
    if version.device is not None:
        source = f"{version.device.gateway}/{version.device.device}" + (f" {version.phase}" if version.phase else "")
    return {
        **version.key._asdict(),
        "role": version.role,
        "source": source,
        "device": version.device._asdict() if version.device else None,
        "phase": version.phase,
        "expression": version.expression,
        "parent": version.parent,
        "from": shown(version.valid_from_ms, zone),
        "to": shown(version.valid_to_ms, zone),
        "confirmed": version.confirmed,
    }


@app.command("list")
def list_meters(
    place: Annotated[str, typer.Argument(help="company, or company/site.")],
    unconfirmed: Annotated[bool, typer.Option("--unconfirmed", help="Only those nobody confirmed.")] = False,
    as_json: Json = False,
) -> None:
    """Shows all definitions of all meters."""
    with registry() as found:
        company, site = company_or_site(found, place)
        zones = {one.id: one.zone for one in found.sites(company)}
        versions = found.meters(company, site or None)
    rows = [_row(v, zones[v.site]) for v in versions if not (unconfirmed and v.confirmed)]
    show(rows, _COLUMNS, as_json=as_json)


@app.command("confirm")
def confirm_meters(
    place: Annotated[str, typer.Argument(help="company/site/meter, or company/site for all of its meters.")],
    as_json: Json = False,
) -> None:
    """Confirms meters as they are; from then on what their gateway proposes changes nothing."""
    with registry() as found:
        if place.count("/") == 1:
            company, site = site_of(place)
            found.site(company, site)
            keys = sorted({v.key for v in found.meters(company, site) if not v.confirmed})
        else:
            keys = [meter_of(place)]
        for key in keys:
            found.confirm_meter(key, now_ms())
    show([key._asdict() for key in keys], MeterKey._fields, as_json=as_json, empty="nothing_to_confirm")


def _source(key: MeterKey, text: str) -> DeviceKey:
    levels = text.split("/")
    if len(levels) != 2 or not all(is_id(level) for level in levels):
        raise ArgumentError("--device", f"expected gateway/device as gw1/main, found {text[:80]!r}")
    return DeviceKey(key.company, key.site, *levels)


@app.command("set")
def set_meter(
    meter: Annotated[str, typer.Argument(help="company/site/meter.")],
    since: Annotated[str, typer.Option("--from", help="Date or quarter of an hour it is true from, or 'start'.")],
    until: Annotated[str, typer.Option("--to", help="Until when; else until further notice.")] = "",
    role: Annotated[str, typer.Option(help=f"{', '.join(ROLES)}.")] = "",
    parent: Annotated[str, typer.Option(help="Meter above it on the same site, or 'none'.")] = "",
    device: Annotated[str, typer.Option(help="gateway/device it takes energy from.")] = "",
    phase: Annotated[str, typer.Option(help="l1, l2 or l3: only that part of the device.")] = "",
    expression: Annotated[str, typer.Option(help="Instead of a device: 'a + b - 0.4*c'.")] = "",
    as_json: Json = False,
) -> None:
    """Defines a meter, or changes it from a date on; what is not named stays. It is confirmed by that."""
    from merilo_adapters.registry import KEEP

    key = meter_of(meter)
    if device and expression:
        raise ArgumentError("--expression", "expected either this or --device, found both")
    if role and role not in ROLES:
        raise ArgumentError("--role", f"expected one of {', '.join(ROLES)}, found {role[:40]!r}")
    if expression:
        try:
            parse_expression(expression)
        except ValueError as error:
            raise ArgumentError("--expression", str(error)) from None
    if phase not in _PHASES or (phase and not device):
        raise ArgumentError("--phase", f"expected l1, l2 or l3 with --device, found {phase[:20]!r}")
    with registry() as found:
        zone = found.site(key.company, key.site).zone
        from_ms = instant_of(since, "--from", zone, on_grid=True)
        again_ms = found.set_meter(
            key,
            from_ms=from_ms,
            to_ms=instant_of(until, "--to", zone, on_grid=True) if until else None,
            at_ms=now_ms(),
            role=role or KEEP,
            parent=None if parent == "none" else parent or KEEP,
            device=_source(key, device) if device else KEEP,
            phase=_PHASES[phase],
            expression=expression or KEEP,
        )
        versions = [v for v in found.meters(key.company, key.site) if v.key == key]
    show([_row(version, zone) for version in versions], _COLUMNS, as_json=as_json)
    say(f"{word('form_again')} {shown(again_ms, zone)}")


@app.command("end")
def end_meter(
    meter: Annotated[str, typer.Argument(help="company/site/meter.")],
    since: Annotated[str, typer.Option("--from", help="Date or quarter of an hour from which it is no more.")],
    as_json: Json = False,
) -> None:
    """Ends a meter; what it measured before stays, and its id is not used again."""
    key = meter_of(meter)
    with registry() as found:
        zone = found.site(key.company, key.site).zone
        again_ms = found.end_meter(key, instant_of(since, "--from", zone, on_grid=True), now_ms())
        versions = [v for v in found.meters(key.company, key.site) if v.key == key]
    show([_row(version, zone) for version in versions], _COLUMNS, as_json=as_json)
    say(f"{word('form_again')} {shown(again_ms, zone)}")
