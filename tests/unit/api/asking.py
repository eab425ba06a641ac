"""Asks an application as an HTTP client does, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from merilo_api.app import Application
from unit.api.scene import Scene

SITE = "/v1/companies/acme/sites/hq"
LOOPBACK = "127.0.0.1"
ELSEWHERE = "192.0.2.7"
"""An address that is not this machine (RFC 5737)."""


LOOP = asyncio.Runner()
"""One for all requests: a new one for each would start its threads anew. A fixture closes it."""


class Client:
    """One caller; ``key`` names a key of the scene."""

    def __init__(self, scene: Scene, *, app: Application | None = None) -> None:
        self.scene = scene
        self.app = app if app is not None else scene.app()

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        key: str | None = None,
        host: str = LOOPBACK,
        headers: Mapping[str, str] | None = None,
        base: str = "http://127.0.0.1:8080",
        **more: Any,
    ) -> httpx.Response:
        """One request and its answer."""
        given = dict(headers or {})
        if key is not None:
            given["Authorization"] = f"Bearer {self.scene.keys[key]}"
        return LOOP.run(self._ask(path, method, given, host, base, more))

    async def _ask(
        self, path: str, method: str, headers: dict[str, str], host: str, base: str, more: dict[str, Any]
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(host, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, headers=headers, **more)

    def get(self, path: str, key: str | None = None, **more: Any) -> Any:
        """The body of an answer that must be good."""
        answer = self.ask(path, key=key, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, path: str, **more: Any) -> tuple[int, str, str]:
        """Status, code and first pointer of an answer that must be a problem."""
        answer = self.ask(path, **more)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        body = answer.json()
        assert body["status"] == answer.status_code
        return answer.status_code, body["code"], (body.get("errors") or [{"pointer": ""}])[0]["pointer"]
