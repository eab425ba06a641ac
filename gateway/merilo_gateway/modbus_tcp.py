"""A Modbus TCP connection: the library's frames and messages on a transport of our own.

The library's client wakes the event loop five times for an answer; here it is woken once, and the task that waits goes
on at once. What a request looks like and how its answer must begin is worked out once, by the library, and kept; an
answer that begins differently goes to the library. Answers carry the number of their request: one that comes too late
is told from the one that is waited for.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Generator
from contextvars import Context
from typing import NamedTuple

from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from merilo.readplan import Block

NUMBER_MAX = 0xFFFF
BUFFER_MAX = 4_096
"""Bytes kept while a frame is not whole; a frame has 260 at most, so this is no Modbus."""
HEAD_BYTES = 9
"""Of an answer: number, protocol, length, unit, function and number of bytes; the words follow."""
SPACE_BYTES = 1_024
"""Taken from the socket at once: any frame, and some late ones with it."""
KNOWN_MAX = 4_096
"""Requests kept ready; a bus of 247 devices asks for a few blocks of each."""

Answer = tuple[int, ...] | ModbusPDU
"""Words as they were asked for, or the library's message where something else came."""


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


class _Known(NamedTuple):
    """A request made ready; its number is put before ``rest``."""

    rest: bytes
    head: bytes
    """How the answer begins, without its number."""
    words: struct.Struct
    unit: int


class _Waiting:
    """What a task waits for. Unlike a future it lets the task go on at once, not in the event loop's next turn.

    Speaks the protocol of future-like objects that tasks know (``asyncio.isfuture``). For one task, awaited once.
    """

    _asyncio_future_blocking = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._wake: Callable[[_Waiting], object] | None = None
        self._context: Context | None = None

    def __await__(self) -> Generator[_Waiting, None, Answer]:
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def done(self) -> bool:
        """Whether there is a result."""
        return self._answer is not None or self._error is not None

    def result(self) -> Answer:
        """The answer, or the reason why there is none raised."""
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Whose task may wait."""
        return self._loop

    def add_done_callback(self, wake: Callable[[_Waiting], object], *, context: Context) -> None:
        """The task says how it is woken."""
        self._wake, self._context = wake, context

    def cancel(self, msg: object = None) -> bool:
        """The task is cancelled: it goes on in the next turn, since it may be the one that is running now."""
        if self.done():
            return False
        self._error = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        if self._wake is not None:
            self._loop.call_soon(self._wake, self, context=self._context)
        return True

    def answered(self, answer: Answer) -> None:
        """Lets the task go on with an answer."""
        self._answer = answer
        self._go_on()

    def failed(self, error: Exception) -> None:
        """Lets the task go on with an error."""
        self._error = error
        self._go_on()

    def _go_on(self) -> None:
        if self._wake is None or self._context is None:
            return
        if asyncio.current_task(self._loop) is None:
            self._context.run(self._wake, self)
        else:  # no task can be entered while another one runs
            self._loop.call_soon(self._wake, self, context=self._context)


class TcpConnection(asyncio.BufferedProtocol):
    """One connection, one request at a time.

    It has its own space for what arrives: for other protocols the event loop takes a quarter of a megabyte anew for
    every answer, and the kernel's work for that costs as much as sending the request.

    Args:
        packet: Told every packet that leaves (True) and arrives (False).
        request_of: The library's message for a unit and a block; raises for anything but a read.
        allowed: Passes a message that may leave, and raises for any other.
    """

    def __init__(
        self,
        packet: Callable[[bool, bytes], bytes],
        request_of: Callable[[int, Block], ModbusPDU],
        allowed: Callable[[bool, ModbusPDU], ModbusPDU],
    ) -> None:
        self._packet = packet
        self._request_of = request_of
        self._allowed = allowed
        decoder = DecodePDU(False)
        decoder.register(_Registers)
        decoder.register(_InputRegisters)
        self._framer = FramerSocket(decoder)
        self._transport: asyncio.Transport | None = None
        self._known: dict[tuple[int, Block], _Known] = {}
        self._asked: _Known | None = None
        self._waiting: _Waiting | None = None
        self._number = 0
        self._head = b""
        self._buffer = b""
        self._space = memoryview(bytearray(SPACE_BYTES))
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """Whether requests can leave."""
        return self._transport is not None and not self._transport.is_closing()

    async def connect(self, host: str, port: int, timeout_s: float) -> bool:
        """Opens the connection; False if nobody answers in time.

        Raises:
            OSError: Refused, or no such host.
        """
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                await self._loop.create_connection(lambda: self, host, port)
        except TimeoutError:
            return False
        return True

    async def ask(self, unit: int, block: Block, timeout_s: float) -> Answer:
        """Sends a request and waits for its answer.

        Raises:
            TimeoutError: None came in time.
            ModbusException: The connection is not there, or was lost, or what came is no Modbus.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionException("not connected")
        known = self._known.get((unit, block)) or self._made_ready(unit, block)
        self._number = self._number % NUMBER_MAX + 1
        number = self._number.to_bytes(2, "big")
        self._asked, self._head, self._buffer = known, number + known.head, b""
        self._deadline = self._loop.time() + timeout_s
        self._watch()
        waiting = self._waiting = _Waiting(self._loop)
        self._transport.write(self._packet(True, number + known.rest))
        try:
            return await waiting
        finally:
            self._waiting = None

    def frame(self, request: ModbusPDU) -> bytes:
        """The bytes of a message: the only way to bytes that leave, and only what is allowed comes through."""
        return self._framer.buildFrame(self._allowed(True, request))

    def close(self) -> None:
        """Lets go of the connection."""
        if self._transport is not None:
            self._transport.close()

    def _made_ready(self, unit: int, block: Block) -> _Known:
        frame = self.frame(self._request_of(unit, block))
        size = 2 * block.count
        head = struct.pack(">HHBBB", 0, size + 3, unit, block.function, size)
        known = _Known(frame[2:], head, struct.Struct(f">{block.count}H"), unit)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[unit, block] = known
        return known

    def _watch(self) -> None:
        """One timer for requests that follow each other at once: it may come too early, never too late."""
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        waiting = self._waiting
        if waiting is None or waiting.done():
            return
        if self._loop.time() < self._deadline:  # set for a request before this one
            self._watch()
        else:
            waiting.failed(TimeoutError())
            self._rest()

    def _rest(self) -> None:
        """Nothing more is asked for now: nobody has to be woken for it."""
        if self._waiting is None and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BufferedProtocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BufferedProtocol."""
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.failed(ConnectionException(str(exc or "closed by the other side")))
        self._rest()

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        data = bytes(self._space[:nbytes])
        self._packet(False, data)
        waiting, known = self._waiting, self._asked
        if waiting is None or known is None or waiting.done():
            return
        if self._buffer:
            data = self._buffer + data
        words = known.words
        if data[:HEAD_BYTES] == self._head and len(data) == HEAD_BYTES + words.size:
            waiting.answered(words.unpack_from(data, HEAD_BYTES))
        else:
            self._by_the_library(data, waiting, known.unit)
        self._rest()

    def _by_the_library(self, data: bytes, waiting: _Waiting, unit: int) -> None:
        """Not the answer as it was expected to the letter: a part, a late one, an exception, or something else."""
        try:
            used, answer = self._framer.handleFrame(data, unit, self._number)
        except ModbusException as error:
            waiting.failed(error)
            return
        self._buffer = data[used:][-BUFFER_MAX:]
        if answer is not None:
            waiting.answered(answer)
