"""Modbus TCP, or RTU framing over TCP as serial converters speak it: several units behind one port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Literal

from merilo_adapters.clock import Clock
from merilo_simulators.devices.meter import Meter
from merilo_simulators.modbus import GATEWAY_NO_RESPONSE, Emission, Framing, Request, Stream, answer, frame, refusal

log = logging.getLogger(__name__)

Unknown = Literal["silent", "exception"]
_READ_MAX = 4096


class ModbusServer:
    """Answers on one loopback port for its meters. It listens between start and stop.

    Args:
        meters: One per unit id.
        clock: Whose instant the registers show.
        framing: "tcp" (MBAP) or "rtu" (RTU frames over TCP).
        unknown: A unit that is not there: silence, or the exception 0x0B of a TCP gateway.
        response_ms: Time from request to answer [real ms].

    Raises:
        ValueError: Two meters with one unit id.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        clock: Clock,
        *,
        framing: Framing = "tcp",
        unknown: Unknown = "silent",
        response_ms: int = 0,
    ) -> None:
        self.meters = units(meters)
        self.port = 0
        """Port it listens on, from start on."""
        self._clock = clock
        self._framing = framing
        self._unknown = unknown
        self._response_ms = response_ms
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listens; port 0 takes a free one. Gives the port."""
        warm_up(self.meters.values(), self._clock)
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Stops listening and closes every connection."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = Stream(self._framing)
        self._open.add(writer)
        try:
            while data := await reader.read(_READ_MAX):
                for request in stream.feed(data):
                    for emission in self._answer(request):
                        self._send_later(writer, emission)
        except ConnectionError as error:
            log.debug("connection lost error=%s", error)
        finally:
            self._open.discard(writer)
            writer.close()

    def _answer(self, request: Request) -> list[Emission]:
        meter = self.meters.get(request.unit)
        if meter is not None:
            return answer(meter, request, self._clock.now_ms(), self._framing)
        if self._unknown == "silent":
            return []
        return [Emission(0, frame(self._framing, request, request.unit, refusal(request.pdu, GATEWAY_NO_RESPONSE)))]

    def _send_later(self, writer: asyncio.StreamWriter, emission: Emission) -> None:
        delay_ms = self._response_ms + emission.after_ms
        if delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, _send, writer, emission.data)
        else:
            _send(writer, emission.data)


def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)


def warm_up(meters: Iterable[Meter], clock: Clock) -> None:
    """Adds up the company's past before the first request, which would otherwise wait a second for it."""
    for meter in meters:
        meter.image(clock.now_ms())


def units(meters: Sequence[Meter]) -> dict[int, Meter]:
    """Meters by unit id.

    Raises:
        ValueError: Two meters with one unit id.
    """
    found: dict[int, Meter] = {}
    for meter in meters:
        other = found.setdefault(meter.unit, meter)
        if other is not meter:
            raise ValueError(f"unit {meter.unit}: both {other.device_id} and {meter.device_id} on one line")
    return found
