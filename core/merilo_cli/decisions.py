"""``merilo decision``: what operators decide about disturbances; append-only, revocable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from merilo.ids import MeterKey, RegisterKey
from merilo_cli.arguments import (
    Json,
    Yes,
    company_or_site,
    device_of,
    instant_of,
    meter_of,
    now_ms,
    registry,
    shown,
    user,
)
from merilo_cli.output import ArgumentError, show, show_one, sure

if TYPE_CHECKING:
    from merilo_adapters.registry import DecisionRecord

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_INSTANT = ("swap", "confirm", "reclassify")
_COLUMNS = ("number", "kind", "target", "from", "to", "parameters", "reason", "author", "revoked", "revoke_reason")


def _row(record: DecisionRecord, zone: str, revoke_reason: str = "") -> dict[str, object]:
    return {
        "number": record.number,
        "kind": record.kind,
        "target": "/".join(record.register or record.meter or ()),
        "from": shown(record.from_ms, zone),
        "to": shown(record.to_ms, zone) if record.to_ms != record.from_ms else None,
        "parameters": dict(record.parameters),
        "reason": record.reason,
        "evidence": record.evidence,
        "author": record.author,
        "created": shown(record.created_ms, zone),
        "revoked": shown(record.revoked_ms, zone),
        "revoked_by": record.revoked_by,
        "revoke_reason": revoke_reason,
    }


def _target(kind: str, text: str, register: str) -> RegisterKey | MeterKey:
    if kind == "set_energy":
        return meter_of(text)
    return RegisterKey(*device_of(text), register)


@app.command("add")
def add_decision(
    kind: Annotated[str, typer.Argument(help="confirm, scale, swap, reclassify, exclude or set_energy.")],
    target: Annotated[str, typer.Argument(help="company/site/gateway/device; for set_energy company/site/meter.")],
    reason: Annotated[str, typer.Option(help="Why; people read it years later.")],
    register: Annotated[str, typer.Option(help="Counter of the device.")] = "active_energy_import_wh",
    at: Annotated[str, typer.Option(help="Instant of the swap, or of the event.")] = "",
    since: Annotated[str, typer.Option("--from", help="Begin of the stretch.")] = "",
    until: Annotated[str, typer.Option("--to", help="End of the stretch, excluded.")] = "",
    factor: Annotated[float | None, typer.Option(help="scale: on the register as read.")] = None,
    final_wh: Annotated[float | None, typer.Option(help="swap: last reading of the old device [Wh].")] = None,
    first_wh: Annotated[float | None, typer.Option(help="swap: first reading of the new device [Wh].")] = None,
    taken_as: Annotated[str, typer.Option("--as", help="reclassify: rollover, load or reset.")] = "",
    rollover_wh: Annotated[float | None, typer.Option(help="reclassify: where the register turns over [Wh].")] = None,
    energy_wh: Annotated[float | None, typer.Option(help="set_energy: of the whole stretch [Wh].")] = None,
    evidence: Annotated[str, typer.Option(help="Link to a photo, a bill, a log book.")] = "",
    as_json: Json = False,
) -> None:
    """Enters a decision; the books apply it at once, and it can be revoked without a trace in the figures."""
    from merilo.decisions import KINDS
    from merilo.quantities import is_register
    from merilo_adapters.registry import DecisionRecord

    if kind not in KINDS:
        raise ArgumentError("KIND", f"expected one of {', '.join(KINDS)}, found {kind[:40]!r}")
    if not is_register(register):
        raise ArgumentError("--register", f"expected a counter as active_energy_import_wh, found {register[:60]!r}")
    key = _target(kind, target, register)
    given = {
        "factor": factor,
        "final_wh": final_wh,
        "first_wh": first_wh,
        "type": taken_as or None,
        "rollover_wh": rollover_wh,
        "energy_wh": energy_wh,
    }
    with registry() as found:
        zone = found.site(key.company, key.site).zone
        from_ms, to_ms = _stretch(kind, at, since, until, zone)
        try:
            new = DecisionRecord(
                kind=kind,
                register=key if isinstance(key, RegisterKey) else None,
                meter=key if isinstance(key, MeterKey) else None,
                from_ms=from_ms,
                to_ms=to_ms,
                parameters={name: value for name, value in given.items() if value is not None},
                reason=reason,
                evidence=evidence,
                author=user(),
                created_ms=now_ms(),
            )
        except ValueError as error:
            raise ArgumentError("DECISION", str(error), "See merilo decision add --help") from None
        show_one(_row(found.add_decision(new), zone), as_json=as_json)


def _stretch(kind: str, at: str, since: str, until: str, zone: str) -> tuple[int, int]:
    if kind in _INSTANT:
        if not at or since or until:
            raise ArgumentError("--at", f"expected for {kind}, without --from and --to")
        instant = instant_of(at, "--at", zone)
        return instant, instant
    if at or not since or not until:
        raise ArgumentError("--from", f"expected with --to for {kind}, without --at")
    return instant_of(since, "--from", zone), instant_of(until, "--to", zone)


@app.command("list")
def list_decisions(
    place: Annotated[str, typer.Argument(help="company, or company/site.")],
    all_of_them: Annotated[bool, typer.Option("--all", help="The revoked ones too.")] = False,
    as_json: Json = False,
) -> None:
    """Shows decisions in the order they were made."""
    with registry() as found:
        company, site = company_or_site(found, place)
        zones = {one.id: one.zone for one in found.sites(company)}
        records = found.decision_records(company, site or None)
        reasons = found.revoke_reasons([one.number for one in records if one.revoked_ms is not None])
    wanted = [one for one in records if all_of_them or one.revoked_ms is None]
    rows = [_row(one, zones[one.site], reasons.get(one.number, "")) for one in wanted]
    show(rows, _COLUMNS, as_json=as_json)


@app.command("revoke")
def revoke_decision(
    number: Annotated[int, typer.Argument(help="As the list shows it.")],
    reason: Annotated[str, typer.Option(help="Why; people read it years later.")] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Revokes a decision: the figures become what they were without it."""
    from merilo_adapters.registry.decisions import REASON_MAX

    if len(reason) > REASON_MAX:
        raise ArgumentError("--reason", f"expected at most {REASON_MAX} characters, found {len(reason)}")
    sure(f"Revoke decision {number}?", yes)
    with registry() as found:
        record = found.revoke_decision(number, now_ms(), user(), reason.strip())
        zone = found.site(record.company, record.site).zone
    show_one(_row(record, zone, reason.strip()), as_json=as_json)
