"""``merilo company`` and ``merilo site``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from merilo.site import Company, Site
from merilo_cli.arguments import Json, now_ms, registry, shown, site_of
from merilo_cli.output import ArgumentError, show, show_one

company_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
site_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

FOR_EVER = "forever"


def _company_row(company: Company) -> dict[str, object]:
    days = FOR_EVER if company.raw_days is None else company.raw_days
    return {**asdict(company), "raw_days": days, "created": shown(company.created_ms)}


@company_app.command("add")
def add_company(
    company: Annotated[str, typer.Argument(help="Id: up to 32 of a-z, 0-9 and '-'.")],
    name: Annotated[str, typer.Option(help="As people write it.")] = "",
    raw_days: Annotated[str, typer.Option(help="Days that raw readings are kept, or 'forever'.")] = "90",
    store_url: Annotated[str, typer.Option(help="Series store of this company, if not the installation's.")] = "",
    as_json: Json = False,
) -> None:
    """Adds a company."""
    if raw_days != FOR_EVER and not raw_days.isdecimal():
        raise ArgumentError("--raw-days", f"expected a number of days or '{FOR_EVER}', found {raw_days[:40]!r}")
    try:
        new = Company(
            id=company,
            name=name or company,
            store_url=store_url or None,
            raw_days=None if raw_days == FOR_EVER else int(raw_days),
            created_ms=now_ms(),
        )
    except ValueError as error:
        raise ArgumentError("COMPANY", str(error)) from None
    with registry() as found:
        show_one(_company_row(found.add_company(new)), as_json=as_json)


@company_app.command("list")
def list_companies(as_json: Json = False) -> None:
    """Shows all companies."""
    with registry() as found:
        rows = [_company_row(company) for company in found.companies()]
    show(rows, ("id", "name", "raw_days", "store_url", "created"), as_json=as_json)


@site_app.command("add")
def add_site(
    site: Annotated[str, typer.Argument(help="company/site, for example acme/hq.")],
    zone: Annotated[str, typer.Option(help="Time zone, for example Europe/Sofia.")],
    name: Annotated[str, typer.Option(help="As people write it.")] = "",
    country: Annotated[str, typer.Option(help="Two letters, for example BG.")] = "",
    currency: Annotated[str, typer.Option(help="Three letters, for example EUR.")] = "EUR",
    as_json: Json = False,
) -> None:
    """Adds a site to a company."""
    company, site_id = site_of(site)
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ArgumentError("--zone", f"expected an IANA name as Europe/Sofia, found {zone[:60]!r}") from None
    try:
        new = Site(
            company=company,
            id=site_id,
            name=name or site_id,
            zone=zone,
            country=country.upper(),
            currency=currency.upper(),
        )
    except ValueError as error:
        raise ArgumentError("SITE", str(error)) from None
    with registry() as found:
        show_one(asdict(found.add_site(new, now_ms())), as_json=as_json)


@site_app.command("list")
def list_sites(
    company: Annotated[str, typer.Argument(help="Only this company's.")] = "",
    as_json: Json = False,
) -> None:
    """Shows the sites of one company, or of all."""
    with registry() as found:
        if company:
            found.company(company)
        rows = [asdict(site) for site in found.sites(company or None)]
    show(rows, ("company", "id", "name", "zone", "country", "currency"), as_json=as_json)
