"""Who asks, and what they may see: an API key belongs to one company or to the installation.

Without a key the page and the API answer on the loopback interface only, and only while there is exactly one company.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from fastapi import Request

from merilo_adapters.registry import Registry
from merilo_api.problems import NOT_THERE, Refused

SCOPE_READ = "read:series"
COOKIE = "merilo_key"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that was let in."""

    company: str | None
    """The one company it may see, None for all."""
    scopes: frozenset[str]
    name: str = ""


def is_loopback(request: Request) -> bool:
    """Whether both ends are this machine, and nobody forwarded the request or rebound a name to it."""
    host = request.client.host if request.client else ""
    named = (request.url.hostname or "").strip("[]")
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    return near and not forwarded and named in ("localhost", "127.0.0.1", "::1")


def caller(request: Request) -> Caller:
    """Who asks.

    Raises:
        Refused: 401 without a valid key where one is needed.
    """
    registry: Registry = request.app.state.registry
    text = _presented(request)
    if text is not None:
        key = registry.check_key(text, request.app.state.clock.now_ms())
        if key is None:
            raise Refused(401, "key", "this key is unknown, revoked or expired", "header/authorization")
        if SCOPE_READ not in key.scopes and "admin" not in key.scopes:
            raise Refused(403, "scope", f"this key lacks the scope {SCOPE_READ}", "header/authorization")
        return Caller(key.company, frozenset(key.scopes), key.name)
    if is_loopback(request) and len(registry.companies()) <= 1:
        companies = registry.companies()
        return Caller(companies[0].id if companies else None, frozenset({SCOPE_READ}), "loopback")
    detail = "expected 'Authorization: Bearer merilo_live_…'; make a key with 'merilo key add'"
    raise Refused(401, "key_missing", detail, "header/authorization")


def _presented(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is not None:
        kind, _, text = header.partition(" ")
        if kind.lower() != "bearer" or not text.strip():
            raise Refused(401, "key", "expected 'Authorization: Bearer <key>'", "header/authorization")
        return text.strip()
    return request.cookies.get(COOKIE)


def may_see(who: Caller, company: str) -> None:
    """Refuses what belongs to another company with the words for what is not there."""
    if who.company is not None and who.company != company:
        raise Refused(404, "not_found", NOT_THERE, "path/company")
