"""Switching faults in a running simulator: one JSON object a line over a loopback port, one answer a line.

Requests: ``{"do": "add", "device": "main", "fault": {"kind": "late", "ms": 700}}``, ``{"do": "clear",
"device": "main"}`` (wire faults; a counter keeps its past), ``{"do": "injected"}``, ``{"do": "stop", "bus": "line"}``,
``{"do": "start", "bus": "line"}``. The answer is ``{"injected": {device: {kind: count}}}``, after stop and start also
``"bus"``, the port or path now; or ``{"error": text}``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from typing import Any

import msgspec

from merilo_simulators import counters
from merilo_simulators.counters import CounterFault
from merilo_simulators.faults import WIRE_KINDS, WireFault
from merilo_simulators.site import Site

_LINE_MAX = 65_536
_COUNTER_KINDS: Mapping[str, type[CounterFault]] = {
    each.kind: each
    for each in (
        counters.Reset,
        counters.Swap,
        counters.Rollover,
        counters.ZeroBurst,
        counters.Spike,
        counters.Stuck,
        counters.Outage,
        counters.Unavailable,
    )
}

BusSwitch = Callable[[str, bool], Awaitable[str]]
"""Stops (False) or starts (True) a bus by name and gives where it is reached now."""


def fault_from(told: Mapping[str, Any]) -> WireFault | CounterFault:
    """The fault that a JSON object describes by its kind and fields.

    Raises:
        ValueError: An unknown kind or field, or a value that does not fit.
    """
    kind = told.get("kind")
    target: type[WireFault] | type[CounterFault] | None
    target = WireFault if kind in WIRE_KINDS else _COUNTER_KINDS.get(str(kind))
    if target is None:
        raise ValueError(f"fault kind {kind!r}: expected one of {', '.join((*WIRE_KINDS, *_COUNTER_KINDS))}")
    given = dict(told) if target is WireFault else {name: value for name, value in told.items() if name != "kind"}
    unknown = set(given) - {each.name for each in fields(target)}
    if unknown:
        raise ValueError(f"fault {kind}: unknown field {', '.join(sorted(unknown))}")
    try:
        return msgspec.convert(given, target)
    except msgspec.ValidationError as error:
        raise ValueError(f"fault {kind}: {error}") from None


class Control:
    """The control port of one running site.

    Args:
        site: Whose devices it switches.
        switch: How a bus is stopped and started.
    """

    def __init__(self, site: Site, switch: BusSwitch) -> None:
        self._site = site
        self._switch = switch
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """Listens on a free loopback port and gives it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LINE_MAX)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stops listening and closes every connection."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self.take(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line above the limit
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def take(self, line: bytes) -> dict[str, Any]:
        """Carries out one request and gives the answer; nothing in a request can raise."""
        try:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise ValueError("expected a JSON object")
            return await self._do(told)
        except (ValueError, OSError) as error:
            return {"error": str(error)}

    async def _do(self, told: dict[str, Any]) -> dict[str, Any]:
        do = told.get("do")
        answer: dict[str, Any] = {}
        if do == "add":
            fault = told.get("fault")
            if not isinstance(fault, dict):
                raise ValueError("fault: expected a JSON object")
            self._site.meter(str(told.get("device"))).faults.add(fault_from(fault))
        elif do == "clear":
            self._site.meter(str(told.get("device"))).faults.clear_wire()
        elif do in ("stop", "start"):
            answer["bus"] = await self._switch(str(told.get("bus")), do == "start")
        elif do != "injected":
            raise ValueError(f"do = {do!r}: expected add, clear, injected, stop or start")
        answer["injected"] = {name: dict(meter.faults.injected) for name, meter in self._site.meters.items()}
        return answer
