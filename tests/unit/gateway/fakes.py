"""Real small servers and fakes for the gateway's tests: register images that answer Modbus, right or wrong."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


def f32(value: float) -> tuple[int, int]:
    """A float as two words, high word first."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


def crc16(frame: bytes) -> bytes:
    """Checksum of a serial frame, low byte first (Modbus over serial line V1.02, 6.2.2)."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


@dataclass
class Request:
    """One request as it came."""

    unit: int
    function: int
    start: int
    count: int


@dataclass
class Image:
    """Registers of one unit: function and address → word; what is not there is refused with exception 2."""

    words: dict[tuple[int, int], int] = field(default_factory=dict)
    free: bool = False
    """Whether addresses that are not there read as 0."""

    def put(self, function: int, address: int, words: tuple[int, ...]) -> None:
        """Sets registers."""
        for offset, word in enumerate(words):
            self.words[function, address + offset] = word

    def answer(self, request: Request) -> bytes:
        """The answer's bytes behind the unit."""
        found: list[int] = []
        for address in range(request.start, request.start + request.count):
            word = self.words.get((request.function, address), 0 if self.free else None)
            if word is None:
                return bytes([request.function | 0x80, 2])
            found.append(word)
        return bytes([request.function, 2 * len(found)]) + struct.pack(f">{len(found)}H", *found)


class Server:
    """Answers on a free loopback port, from a thread of its own.

    Args:
        images: Unit → registers; other units are silent.
        framing: ``tcp`` or ``rtu``.
        delay: Seconds before the answer to a request.
    """

    def __init__(
        self,
        images: Mapping[int, Image],
        *,
        framing: Literal["tcp", "rtu"] = "tcp",
        delay: Callable[[Request], float] = lambda _r: 0.0,
        change: Callable[[Request, bytes], bytes] = lambda _r, body: body,
    ) -> None:
        self.images = images
        self.requests: list[Request] = []
        self.received = bytearray()
        self._framing = framing
        self._delay = delay
        self._change = change
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.connections = 0

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close their sockets in the next turns

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        late: set[asyncio.Task[None]] = set()
        try:
            while True:
                if self._framing == "tcp":
                    head = await reader.readexactly(7)
                    tid, _, length, unit = struct.unpack(">HHHB", head)
                    pdu = await reader.readexactly(length - 1)
                    self.received += head + pdu
                else:
                    frame = await reader.readexactly(8)
                    self.received += frame
                    tid, unit, pdu = 0, frame[0], frame[1:6]
                request = Request(unit, pdu[0], *struct.unpack(">HH", pdu[1:5]))
                self.requests.append(request)
                image = self.images.get(unit)
                if image is None:
                    continue
                body = self._change(request, bytes([unit]) + image.answer(request))
                out = struct.pack(">HHH", tid, 0, len(body)) + body if self._framing == "tcp" else body + crc16(body)
                task = asyncio.create_task(self._later(writer, out, self._delay(request)))
                late.add(task)
                task.add_done_callback(late.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _later(self, writer: asyncio.StreamWriter, out: bytes, delay: float) -> None:
        await asyncio.sleep(delay)
        if not writer.is_closing():
            writer.write(out)


def sdm630(power_w: float = 1234.5, energy_kwh: float = 100.25, serial: int = 4711) -> Image:
    """An SDM630 as its vendor's protocol document lays it out: floats in input registers."""
    image = Image(free=True)
    for address, value in (
        (0, 230.0), (2, 231.0), (4, 232.0), (6, 1.5), (8, 2.0), (10, 2.5),
        (12, power_w / 3), (14, power_w / 3), (16, power_w / 3), (52, power_w),
        (62, 0.98), (70, 50.0), (72, energy_kwh), (74, 0.0),
    ):  # fmt: skip
        image.put(4, address, f32(value))
    image.put(3, 0xFC02, (0x0070,))
    image.put(3, 0x28, f32(2141.0))  # tells the word order
    image.put(3, 0x1E, f32(0.0))  # energies in kWh
    image.put(3, 0xFC00, (serial >> 16, serial & 0xFFFF))
    return image
