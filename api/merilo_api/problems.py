"""Errors as problem details (RFC 9457): every refusal says where, what was expected, what was found."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from merilo.errors import ConfigError, NotFoundError, StoreRefusedError, StoreUnavailableError
from merilo_adapters.registry import RegistryUnavailableError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
FOUND_MAX = 60
"""Characters of what was found that an error repeats."""


class Refused(Exception):  # noqa: N818  # an answer, not a fault
    """A request that cannot be served; becomes a problem body.

    Args:
        status: HTTP status.
        code: Closed code for programs.
        detail: Sentence for people: expected, found.
        pointer: What is wrong: ``query/from``, ``header/authorization``.
        retry_after_s: Seconds to wait before another try.
    """

    def __init__(self, status: int, code: str, detail: str, pointer: str = "", *, retry_after_s: int = 0) -> None:
        self.status, self.code, self.detail, self.pointer = status, code, detail, pointer
        self.retry_after_s = retry_after_s
        super().__init__(detail)


def not_there() -> Refused:
    """The same answer for what does not exist and for what belongs to somebody else."""
    return Refused(404, "not_found", NOT_THERE)


def near(word: str, words: Sequence[str]) -> str:
    """A hint such as ``; did you mean 'from'?``, empty when nothing is near."""
    same = [one for one in words if one.lower() == word.lower()]
    found = same or difflib.get_close_matches(word[:FOUND_MAX], words, 1, 0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def problem(
    status: int,
    code: str,
    detail: str,
    pointer: str = "",
    headers: dict[str, str] | None = None,
    errors: Sequence[dict[str, str]] = (),
) -> Response:
    """A problem body."""
    body: dict[str, Any] = {
        "type": f"/docs#problem-{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if errors:
        body["errors"] = list(errors)
    elif pointer:
        body["errors"] = [{"pointer": pointer, "code": code, "text": detail}]
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


NOT_THERE = "no such resource, or not yours"


def install(app: FastAPI) -> None:
    """Makes every refusal of this application a problem body."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        if error.retry_after_s:
            headers["Retry-After"] = str(error.retry_after_s)
        return problem(error.status, error.code, error.detail, error.pointer, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = [
            {"pointer": "/".join(str(part) for part in one["loc"]), "code": str(one["type"]), "text": _told(one)}
            for one in error.errors()
        ]
        return problem(422, "invalid", found[0]["text"], errors=found)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        detail = NOT_THERE if error.status_code == 404 else str(error.detail)
        return problem(error.status_code, code, detail, headers=dict(error.headers or {}))

    @app.exception_handler(NotFoundError)
    async def not_found(request: Request, error: NotFoundError) -> Response:
        return problem(404, "not_found", NOT_THERE)

    @app.exception_handler(StoreUnavailableError)
    async def away(request: Request, error: StoreUnavailableError) -> Response:
        log.warning("store away path=%s reason=%s", request.url.path[:80], error)
        wait_s = round(error.retry_after_s or 10)
        return _unavailable("store_away", "the series store does not answer; try again", wait_s)

    @app.exception_handler(StoreRefusedError)
    async def store_refused(request: Request, error: StoreRefusedError) -> Response:
        log.warning("store refused path=%s reason=%s", request.url.path[:80], error)
        return _unavailable("store_refused", "the series store refuses; the log of 'merilo api run' says why", 60)

    @app.exception_handler(ConfigError)
    async def misconfigured(request: Request, error: ConfigError) -> Response:
        log.error("misconfigured path=%s reason=%s", request.url.path[:80], error)
        return _unavailable(
            "configuration", "the company's store cannot be opened; the log of 'merilo api run' says why", 60
        )

    @app.exception_handler(RegistryUnavailableError)
    async def registry_away(request: Request, error: RegistryUnavailableError) -> Response:
        log.warning("registry away path=%s reason=%s", request.url.path[:80], error)
        return _unavailable("registry_away", "the registry does not answer; try again", 10)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return problem(500, "internal", "this is our fault; the log of 'merilo api run' has the details")


def _unavailable(code: str, detail: str, retry_after_s: int) -> Response:
    return problem(503, code, detail, headers={"Retry-After": str(max(1, retry_after_s))})


def _told(error: Any) -> str:
    place = error["loc"][-1] if error["loc"] else "request"
    return f"{place}: {error['msg']}, found {str(error.get('input'))[:FOUND_MAX]!r}"
