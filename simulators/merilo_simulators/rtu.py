"""An RS-485 line with several devices on one side of a pseudo-terminal; the other side is a serial port for a master.

The line can be paced: a request then takes the time its characters take, the device its turnaround, and the answer
arrives character by character. Units that are not there stay silent, as on any bus.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tty
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from merilo_adapters.clock import Clock
from merilo_simulators.devices.meter import Meter
from merilo_simulators.modbus import Stream, answer
from merilo_simulators.tcp import units, warm_up

log = logging.getLogger(__name__)

_READ_MAX = 512
_SILENCE_S = 0.05
"""An unfinished request is dropped after so long: far above 1.5 characters at 2400 baud, far below a poll cycle."""
_FAST_GAP_S = 0.00175
"""Silence between frames above 19200 baud, fixed by "Modbus over serial line 1.02", section 2.5.1.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast characters travel."""

    baud: int
    bits: int = 10
    """Bits of one character: 10 for 8N1, 11 for 8E1 and 8N2."""

    @property
    def character_s(self) -> float:
        """Time of one character [s]."""
        return self.bits / self.baud

    @property
    def gap_s(self) -> float:
        """Silence that ends a frame [s]."""
        return 3.5 * self.character_s if self.baud <= 19200 else _FAST_GAP_S


class RtuLine:
    """Devices on one serial line. The port exists between start and stop.

    Args:
        meters: One per unit id.
        clock: Whose instant the registers show.
        pace: Character timing; None: as fast as the machine.
        response_ms: Turnaround of every device [real ms].
        link: A symbolic link kept pointing at the port, as udev does under /dev/serial/by-id; None: none.

    Raises:
        ValueError: Two meters with one unit id.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        clock: Clock,
        *,
        pace: Pace | None = None,
        response_ms: int = 0,
        link: Path | None = None,
    ) -> None:
        self.meters = units(meters)
        self.path = ""
        """The serial port for the master, from start on; another one after every start."""
        self.dropped = 0
        """Bytes that nobody took because the port's buffer was full."""
        self._clock = clock
        self._pace = pace
        self._response_ms = response_ms
        self._link = link
        self._master = self._slave = -1
        self._stream = Stream("rtu")
        self._heard_s = 0.0
        self._to_send: asyncio.Queue[bytes] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Makes the port and listens. Gives its path."""
        warm_up(self.meters.values(), self._clock)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.path)
        self._stream.silence()
        self._to_send = asyncio.Queue()
        asyncio.get_running_loop().add_reader(self._master, self._hear)
        self._sender = asyncio.create_task(self._send())
        return self.path

    async def stop(self) -> None:
        """Pulls the adapter out: the port disappears, whoever holds it sees a hang-up."""
        if self._sender is None:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        self._sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sender
        self._sender = None
        os.close(self._slave)
        os.close(self._master)
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def _hear(self) -> None:
        try:
            data = os.read(self._master, _READ_MAX)
        except (BlockingIOError, OSError) as error:
            log.debug("line not readable path=%s error=%s", self.path, error)
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self._heard_s > _SILENCE_S:
            self._stream.silence()
        self._heard_s = loop.time()
        for request in self._stream.feed(data):
            meter = self.meters.get(request.unit)
            if meter is None:
                continue
            wait_s = self._response_ms / 1000
            if self._pace is not None:
                characters = len(request.pdu) + 3
                wait_s = characters * self._pace.character_s + max(wait_s, self._pace.gap_s)
            for emission in answer(meter, request, self._clock.now_ms(), "rtu"):
                loop.call_later(wait_s + emission.after_ms / 1000, self._to_send.put_nowait, emission.data)

    async def _send(self) -> None:
        while True:
            data = await self._to_send.get()
            if self._pace is None:
                self._write(data)
            else:
                await self._send_paced(data, self._pace.character_s)

    async def _send_paced(self, data: bytes, character_s: float) -> None:
        loop = asyncio.get_running_loop()
        start, sent = loop.time(), 0
        while sent < len(data):
            await asyncio.sleep(start + (sent + 1) * character_s - loop.time())
            due = min(len(data), int((loop.time() - start) / character_s + 1e-9))
            self._write(data[sent:due])
            sent = max(sent, due)

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._master, data) if data else 0
        except BlockingIOError:
            written = 0
        self.dropped += len(data) - written
