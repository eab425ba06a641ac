"""A Modbus TCP connection: the library's frames and messages on a transport of our own.

The library's client wakes the event loop five times for an answer; here it is woken when the answer arrives. Answers
carry the number of their request: one that comes too late is told from the one that is waited for.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

from pymodbus.exceptions import ConnectionException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

NUMBER_MAX = 0xFFFF
BUFFER_MAX = 4_096
"""Bytes kept while a frame is not whole; a frame has 260 at most, so this is no Modbus."""


class _Registers(ReadHoldingRegistersResponse):
    """The library takes each word out by itself, and writes all of them into a log line that nobody reads."""

    def decode(self, data: bytes) -> None:
        """Words of the answer; one whose length does not fit is no answer."""
        self.registers = list(struct.unpack(f">{data[0] // 2}H", data[1 : 1 + data[0]]))

    def __str__(self) -> str:
        """For the library's log."""
        return f"{len(self.registers)} words"


class _InputRegisters(_Registers):
    function_code = 4


class TcpConnection(asyncio.Protocol):
    """One connection, one request at a time.

    Args:
        packet: Told every packet that leaves (True) and arrives (False).
        allowed: Passes a request that may leave, and raises for any other.
    """

    def __init__(self, packet: Callable[[bool, bytes], bytes], allowed: Callable[[bool, ModbusPDU], ModbusPDU]) -> None:
        self._packet = packet
        self._allowed = allowed
        decoder = DecodePDU(False)
        decoder.register(_Registers)
        decoder.register(_InputRegisters)
        self._framer = FramerSocket(decoder)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[ModbusPDU] | None = None
        self._unit = self._number = 0
        self._buffer = b""

    @property
    def connected(self) -> bool:
        """Whether requests can leave."""
        return self._transport is not None and not self._transport.is_closing()

    async def connect(self, host: str, port: int, timeout_s: float) -> bool:
        """Opens the connection; False if nobody answers in time.

        Raises:
            OSError: Refused, or no such host.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        except TimeoutError:
            return False
        return True

    async def ask(self, request: ModbusPDU) -> ModbusPDU:
        """Sends a request and waits for its answer; the caller limits the time.

        Raises:
            ConnectionException: The connection is not there, or was lost.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionException("not connected")
        self._number = self._number % NUMBER_MAX + 1
        self._unit = request.dev_id
        request.transaction_id = self._number
        self._buffer = b""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(self._packet(True, self._framer.buildFrame(self._allowed(True, request))))
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def close(self) -> None:
        """Lets go of the connection."""
        if self._transport is not None:
            self._transport.close()

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionException(str(exc or "closed by the other side")))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._packet(False, data)
        if self._waiting is None or self._waiting.done():
            return
        self._buffer += data
        used, answer = self._framer.handleFrame(self._buffer, self._unit, self._number)
        self._buffer = self._buffer[used:][-BUFFER_MAX:]
        if answer is not None:
            self._waiting.set_result(answer)
