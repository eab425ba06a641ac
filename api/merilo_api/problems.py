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

from merilo.errors import NotFoundError, StoreRefusedError, StoreUnavailableError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Refused(Exception):  # noqa: N818  # an answer, not a fault
    """A request that cannot be served; becomes a problem body.

    Args:
        status: HTTP status.
        code: Closed code for programs.
        detail: Sentence for people: expected, found.
        pointer: What is wrong: ``query/from``, ``path/company``, ``header/authorization``.
    """

    def __init__(self, status: int, code: str, detail: str, pointer: str = "") -> None:
        self.status, self.code, self.detail, self.pointer = status, code, detail, pointer
        super().__init__(detail)


def near(word: str, words: Sequence[str]) -> str:
    """A hint such as ``did you mean 'from'?``, empty when nothing is near."""
    found = difflib.get_close_matches(word, words, 1, 0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def problem(status: int, code: str, detail: str, pointer: str = "", headers: dict[str, str] | None = None) -> Response:
    """A problem body."""
    body: dict[str, Any] = {
        "type": f"/v1/problems#{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if pointer:
        body["errors"] = [{"pointer": pointer, "code": code, "text": detail}]
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


NOT_THERE = "no such resource, or not yours"
"""The same words for what does not exist and for what belongs to somebody else."""


def install(app: FastAPI) -> None:
    """Makes every refusal of this application a problem body, and no failure a stack trace."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
        return problem(error.status, error.code, error.detail, error.pointer, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        pointer = "/".join(str(part) for part in first["loc"])
        return problem(422, "invalid", str(first["msg"]), pointer)

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
        log.warning("store away path=%s reason=%s", request.url.path, error)
        return problem(503, "store_away", "the series store does not answer; try again", headers={"Retry-After": "10"})

    @app.exception_handler(StoreRefusedError)
    async def store_refused(request: Request, error: StoreRefusedError) -> Response:
        log.warning("store refused path=%s reason=%s", request.url.path, error)
        return problem(
            503, "store_refused", "the series store refused: see merilo doctor", headers={"Retry-After": "60"}
        )

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        log.exception("request failed path=%s", request.url.path)
        return problem(500, "internal", "this is our fault; the log of merilo api has the details")
