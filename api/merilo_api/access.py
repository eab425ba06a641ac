"""Who asks, and what they may see: an API key belongs to one company or to the installation.

Without a key the page and the API answer on the loopback interface only, and only while there is exactly one company.
"""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass

from fastapi import Request
from fastapi.security import HTTPBearer

from merilo_adapters.registry import Key, Registry
from merilo_api.problems import Refused, not_there
from merilo_api.rates import Rates

log = logging.getLogger(__name__)

SCOPE_READ = "read:series"
COOKIE = "merilo_key"
KEY_MAX = 200
"""Characters of a key that are looked at; ours have 64."""
BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="An API key: `Authorization: Bearer merilo_live_…`. `merilo key add` makes one.",
)
"""For the description of the API; `caller` reads the header itself."""
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that was let in."""

    company: str | None
    """The one company it may see, None for all."""
    scopes: frozenset[str]
    name: str = ""
    keyless: bool = False
    """Let in because it is this machine itself."""


def is_loopback(request: Request) -> bool:
    """Whether both ends are this machine, and nobody forwarded the request or rebound a name to it."""
    host = request.client.host if request.client else ""
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    named = (request.url.hostname or "").strip("[]")
    forwarded = any(name in request.headers for name in _FORWARDED)
    return near and not forwarded and named in ("localhost", "127.0.0.1", "::1")


def address(request: Request) -> str:
    """Whom limits count: the address, of IPv6 the network of one customer."""
    host = request.client.host if request.client else ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def caller(request: Request) -> Caller:
    """Who asks.

    A wrong key in the header is refused everywhere; a stale cookie only where a key is needed.

    Raises:
        Refused: 401 without a valid key where one is needed, 403 for a key that may not read, 429 after many wrong
            ones from one address.
    """
    registry: Registry = request.app.state.registry
    header = request.headers.get("authorization")
    if header is not None:
        return _let_in(checked(request, _bearer(header)))
    cookie = request.cookies.get(COOKIE)
    if cookie is not None:
        key = registry.check_key(cookie[:KEY_MAX], request.app.state.clock.now_ms())
        if key is not None:
            return _let_in(key)
    if is_loopback(request):
        companies = registry.companies()
        if len(companies) <= 1:
            mine = companies[0].id if companies else None
            return Caller(mine, frozenset({SCOPE_READ}), "loopback", keyless=True)
    if cookie is not None:
        raise _wrong(request)
    detail = "expected 'Authorization: Bearer merilo_live_…'; 'merilo key add' makes a key"
    raise Refused(401, "key_missing", detail, "header/authorization")


def checked(request: Request, text: str) -> Key:
    """The key of this text.

    Raises:
        Refused: 401, or 429 after many wrong ones from one address.
    """
    registry: Registry = request.app.state.registry
    key = registry.check_key(text[:KEY_MAX], request.app.state.clock.now_ms())
    if key is None:
        raise _wrong(request)
    return key


def _wrong(request: Request) -> Refused:
    rates: Rates = request.app.state.rates
    wait_s = rates.take("failure", address(request))
    log.warning("key refused address=%s path=%s", address(request), request.url.path[:80])
    if wait_s:
        return Refused(429, "too_many_keys", "too many wrong keys from this address", retry_after_s=wait_s)
    return Refused(401, "key", "this key is unknown or revoked", "header/authorization")


def _let_in(key: Key) -> Caller:
    if not key.may(SCOPE_READ):
        raise Refused(403, "scope", f"this key lacks the scope {SCOPE_READ}", "header/authorization")
    return Caller(key.company, frozenset(key.scopes), key.name)


def _bearer(header: str) -> str:
    kind, _, text = header.partition(" ")
    if kind.lower() != "bearer" or not text.strip():
        raise Refused(401, "key", "expected 'Authorization: Bearer <key>'", "header/authorization")
    return text.strip()


def may_see(who: Caller, company: str) -> None:
    """Refuses what belongs to another company with the words for what is not there."""
    if who.company is not None and who.company != company:
        raise not_there()
    if who.keyless and who.company is None:
        raise not_there()
