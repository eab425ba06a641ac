"""Companies, their sites and gateways."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

from merilo.errors import ConflictError, NotFoundError, RegistryError
from merilo.ids import GatewayKey, check_id
from merilo.site import Company, Gateway, Site
from merilo_adapters.mosquitto_files import Login, new_password, password_hash
from merilo_adapters.registry import tables

LOGIN_CHARACTERS = 10
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def companies(connection: sa.Connection) -> list[Company]:
    """All companies, by id."""
    rows = connection.execute(sa.select(tables.companies).order_by(tables.companies.c.id))
    return [Company(**row._asdict()) for row in rows]


def company(connection: sa.Connection, company_id: str) -> Company:
    """One company.

    Raises:
        NotFoundError: There is none.
    """
    row = connection.execute(sa.select(tables.companies).where(tables.companies.c.id == company_id)).first()
    if row is None:
        raise NotFoundError(f"company {company_id}: the registry has none of that id")
    return Company(**row._asdict())


def add_company(connection: sa.Connection, new: Company) -> None:
    """Enters a company.

    Raises:
        ConflictError: The id is taken.
    """
    taken = connection.execute(sa.select(tables.companies.c.name).where(tables.companies.c.id == new.id)).scalar()
    if taken is not None:
        raise ConflictError(f"company {new.id}: exists already, named {taken!r}")
    connection.execute(sa.insert(tables.companies).values(asdict(new)))


def sites(connection: sa.Connection, company_id: str | None) -> list[Site]:
    """The sites of one company, or of all, by id."""
    query = sa.select(tables.sites).order_by(tables.sites.c.company, tables.sites.c.id)
    if company_id is not None:
        query = query.where(tables.sites.c.company == company_id)
    return [Site(**row._asdict()) for row in connection.execute(query)]


def site(connection: sa.Connection, company_id: str, site_id: str) -> Site:
    """One site.

    Raises:
        NotFoundError: There is none.
    """
    query = sa.select(tables.sites).where(tables.sites.c.company == company_id, tables.sites.c.id == site_id)
    row = connection.execute(query).first()
    if row is None:
        company(connection, company_id)
        known = connection.execute(sa.select(tables.sites.c.id).where(tables.sites.c.company == company_id)).scalars()
        names = ", ".join(sorted(known)) or "none yet"
        raise NotFoundError(
            f"site {company_id}/{site_id}: company {company_id} has none of that id. Its sites: {names}"
        )
    return Site(**row._asdict())


def add_site(connection: sa.Connection, new: Site) -> None:
    """Enters a site.

    Raises:
        NotFoundError: Its company is not there.
        ConflictError: The id is taken.
        RegistryError: The time zone is none that is known.
    """
    company(connection, new.company)
    try:
        ZoneInfo(new.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RegistryError(
            f"site {new.company}/{new.id}: unknown time zone {new.zone[:64]!r}. Expected an IANA name as Europe/Sofia"
        ) from None
    if any(known.id == new.id for known in sites(connection, new.company)):
        raise ConflictError(f"site {new.company}/{new.id}: exists already")
    connection.execute(sa.insert(tables.sites).values(asdict(new)))


def _gateway(row: Any) -> Gateway:
    key = GatewayKey(row.company, row.site, row.gateway)
    return Gateway(key=key, login=row.login, created_ms=row.created_ms, revoked_ms=row.revoked_ms)


def gateways(connection: sa.Connection, company_id: str | None) -> list[Gateway]:
    """The gateways of one company, or of all, the revoked ones too."""
    query = sa.select(tables.gateways).order_by(*tables.gateways.primary_key.columns)
    if company_id is not None:
        query = query.where(tables.gateways.c.company == company_id)
    return [_gateway(row) for row in connection.execute(query)]


def _is(key: GatewayKey) -> sa.ColumnElement[bool]:
    columns = tables.gateways.c
    return sa.and_(columns.company == key.company, columns.site == key.site, columns.gateway == key.gateway)


def gateway(connection: sa.Connection, key: GatewayKey) -> Gateway | None:
    """One gateway, None if there is none."""
    row = connection.execute(sa.select(tables.gateways).where(_is(key))).first()
    return None if row is None else _gateway(row)


def existing_gateway(connection: sa.Connection, key: GatewayKey) -> Gateway:
    """One gateway.

    Raises:
        NotFoundError: There is none.
    """
    found = gateway(connection, key)
    if found is None:
        raise NotFoundError(f"gateway {'/'.join(key)}: the registry has none of that name")
    return found


def logins(connection: sa.Connection) -> list[Login]:
    """What the broker must know: the login of every gateway that is not revoked."""
    query = sa.select(tables.gateways).where(tables.gateways.c.revoked_ms.is_(None))
    return [
        Login(row.login, row.password_hash, GatewayKey(row.company, row.site, row.gateway))
        for row in connection.execute(query.order_by(*tables.gateways.primary_key.columns))
    ]


def add_gateway(connection: sa.Connection, key: GatewayKey, at_ms: int) -> tuple[Gateway, str]:
    """Enters a gateway, or lets a revoked one in again with a new login; gives it and its password.

    The password is shown this once; the registry keeps its hash.

    Raises:
        NotFoundError: The site is not there.
        ConflictError: The gateway exists and is not revoked.
    """
    check_id("gateway", key.gateway)
    site(connection, key.company, key.site)
    known = gateway(connection, key)
    if known is not None and known.revoked_ms is None:
        raise ConflictError(f"gateway {'/'.join(key)}: exists already with login {known.login}; revoke it first")
    login = "gw-" + "".join(secrets.choice(_ALPHABET) for _ in range(LOGIN_CHARACTERS))
    password = new_password()
    values = {"login": login, "password_hash": password_hash(password), "revoked_ms": None}
    if known is None:
        connection.execute(sa.insert(tables.gateways).values(**key._asdict(), **values, created_ms=at_ms))
    else:
        connection.execute(sa.update(tables.gateways).where(_is(key)).values(**values))
    return existing_gateway(connection, key), password


def revoke_gateway(connection: sa.Connection, key: GatewayKey, at_ms: int) -> Gateway:
    """Takes a gateway's login away; its devices and readings stay.

    Raises:
        NotFoundError: There is none.
        ConflictError: It is revoked already.
    """
    known = existing_gateway(connection, key)
    if known.revoked_ms is not None:
        raise ConflictError(f"gateway {'/'.join(key)}: is revoked already")
    connection.execute(sa.update(tables.gateways).where(_is(key)).values(revoked_ms=at_ms))
    return existing_gateway(connection, key)
