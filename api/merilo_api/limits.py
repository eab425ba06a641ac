"""The door: size and time of a request, how often it may be made, and the headers that every answer carries."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from merilo_api.access import COOKIE, address
from merilo_api.problems import Refused, problem
from merilo_api.rates import Rates

log = logging.getLogger(__name__)

BODY_MAX = 262_144
"""Bytes of a request: no route needs more."""
BODY_S = 10.0
"""Until a body must have come: a client that sends a byte a minute cannot hold a connection."""
PATH_MAX = 2_000
"""Characters of path and query together: the longest honest address has about 400."""
UNCOUNTED = ("/static/", "/healthz", "/readyz")


class Door:
    """Refuses what no honest request has; no failure behind it gives a stack trace."""

    def __init__(self, app: ASGIApp, rates: Rates, body_s: float = BODY_S) -> None:
        self._app = app
        self._rates = rates
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = complete = False

        async def dressed(message: Message) -> None:
            nonlocal started, complete
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _dressed(message.get("headers", []), scope["scheme"])
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            await send(message)

        refusal = _shape(scope) or self._often(scope)
        if refusal is not None:
            await refusal(scope, receive, dressed)
            return
        try:
            await self._app(scope, _counted(receive, self._body_s), dressed)
        except Exception:
            if started and not complete:
                raise
            log.exception("request failed path=%s", scope["path"][:80])

    def _often(self, scope: Scope) -> ASGIApp | None:
        if scope["path"].startswith(UNCOUNTED):
            return None
        request = Request(scope)
        text = request.headers.get("authorization") or request.cookies.get(COOKIE) or ""
        wait_s = self._rates.take("address", address(request))
        if not wait_s and text:
            wait_s = self._rates.take("key", hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
        if not wait_s:
            return None
        headers = {"Retry-After": str(wait_s)}
        return problem(429, "too_many_requests", f"too many requests; try again in {wait_s} s", headers=headers)


_TOO_LARGE = f"expected a body of at most {BODY_MAX} bytes"


def _shape(scope: Scope) -> ASGIApp | None:
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 12 or int(length) > BODY_MAX:
        return problem(413, "too_large", _TOO_LARGE)
    if len(scope["raw_path"]) + len(scope["query_string"]) > PATH_MAX:
        return problem(414, "too_long", f"expected an address of at most {PATH_MAX} characters")
    return None


def _counted(receive: Receive, body_s: float) -> Receive:
    """The same messages, as long as they come in time and are not too many."""
    taken, complete, deadline = 0, False, time.monotonic() + body_s

    async def counted() -> Message:
        nonlocal taken, complete
        if complete:  # what follows is only the client's going away
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise Refused(408, "body_late", f"expected the whole body within {body_s:g} s") from None
        taken += len(message.get("body", b""))
        if taken > BODY_MAX:
            raise Refused(413, "too_large", _TOO_LARGE)
        complete = not message.get("more_body", False)
        return message

    return counted


def _dressed(given: list[tuple[bytes, bytes]], scheme: str) -> list[tuple[bytes, bytes]]:
    names = {name.lower() for name, _ in given}
    secure = [(b"strict-transport-security", b"max-age=31536000")] if scheme == "https" else []
    return [*given, *((name, value) for name, value in (*_HEADERS, *secure) if name not in names)]


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer a browser hides the origin of our own forms
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"private, no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
)
