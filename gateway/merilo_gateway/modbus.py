"""The Modbus library behind one class: reads blocks of one bus, and knows when an answer is not to be trusted.

A serial answer carries no number. One that comes after the timeout is taken for the answer to the next request by any
client that goes on asking, with valid checksum and no error. So after every timeout on a serial line, also behind a
network converter, the line is listened to until it has been silent for longer than the slowest answer, then closed,
emptied and opened anew. Modbus TCP numbers its frames and needs none of it. Only function codes 1 to 4 leave.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from merilo.bustime import Format, SerialLine
from merilo.errors import AnswerError, ExceptionAnswerError, SilentDeviceError
from merilo.readplan import Block
from merilo_gateway.modbus_tcp import Answer, TcpConnection

log = logging.getLogger(__name__)
# The library writes one line for every silent device and poll; what matters is said once, by the bus.
for _name in ("pymodbus", "pymodbus.logging"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

READ_FUNCTIONS = frozenset({1, 2, 3, 4})
"""The only function codes that may leave: a gateway that measures must be unable to switch anything."""
CONNECT_MAX_S = 3.0
REOPEN_MIN_S = 1.0
REOPEN_MAX_S = 10.0
"""Pause between tries to open a bus that is not there: an unplugged adapter is back within ten seconds."""
LATE_MIN_S = 1.0
"""Silence after a timeout, at least: the slowest answer that a device is thought capable of."""
LATE_MAX_S = 5.0
"""Silence that late answers can teach at most."""
SILENT_MAX = 3
"""Numbered requests in a row without an answer before the connection is made anew: its other end may be long gone."""
FINE_S = 0.002
"""The last part of a silence is slept and not awaited: the event loop counts in milliseconds, a fast line does not."""
LISTEN_MAX_S = 15.0
"""A line that never falls silent is closed all the same."""

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge",
    6: "busy",
    8: "memory parity",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
"""Words of the exception codes, Modbus application protocol V1.1b3, section 7."""

Kind = Literal["serial", "tcp", "rtu-over-tcp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a bus is."""

    kind: Kind
    device: str = ""
    """Path of a serial port."""
    host: str = ""
    port: int = 502
    baud: int = 9600
    format: Format = "8N1"

    @property
    def text(self) -> str:
        """For people: ``/dev/rs485-A 9600 8N1`` or ``tcp 10.0.0.5:502``."""
        if self.kind == "serial":
            return f"{self.device} {self.baud} {self.format}"
        return f"{self.kind} {self.host}:{self.port}"

    @property
    def is_numbered(self) -> bool:
        """Whether answers carry the number of their request."""
        return self.kind == "tcp"

    @property
    def silence_s(self) -> float:
        """Silence that parts two frames on the wire [s]; 0 where there is none."""
        if self.kind == "tcp":
            return 0.0
        return SerialLine(baud=self.baud, format=self.format).silence_ms / 1000


Client = AsyncModbusSerialClient | AsyncModbusTcpClient | TcpConnection


class ForbiddenFunctionError(Exception):
    """A request that is not a read was about to leave: a programming error, never a device's."""


@dataclass(slots=True)
class LineCounters:
    """What a bus has seen since the start."""

    requests: int = 0
    timeouts: int = 0
    resyncs: int = 0
    strays: int = 0
    """Bytes that nobody had asked for: two devices with one address, or a late answer."""


class ModbusLine:
    """One bus. One request at a time; the caller keeps the order.

    Args:
        endpoint: Where it is.
        trace: Told every packet that leaves (True) and arrives (False).
    """

    def __init__(self, endpoint: Endpoint, *, trace: Callable[[bool, bytes], None] | None = None) -> None:
        self.endpoint = endpoint
        self.counters = LineCounters()
        self._silence_s = endpoint.silence_s
        self._trace = trace
        self._client: Client | None = None
        self._asking = False
        self._suspect = False
        self._silent = 0
        self._heard = 0.0
        self._late_s = LATE_MIN_S
        self._asked = 0.0
        self._open_after = 0.0
        self._pause_s = REOPEN_MIN_S

    async def read(
        self, unit: int, block: Block, *, timeout_s: float, gap_s: float = 0.0, worst_s: float = 0.0
    ) -> tuple[int, ...]:
        """The words of one block.

        Args:
            unit: Address of the device.
            block: What to read.
            timeout_s: How long to wait for the whole answer [s].
            gap_s: Silence that the device wants before a request [s].
            worst_s: The slowest answer of this device [s]: how long a late one is waited for.

        Raises:
            SilentDeviceError: No connection, or no answer in time.
            AnswerError: An answer of another length or kind.
            ExceptionAnswerError: The device said why not.
        """
        client = self._client
        if client is None or self._suspect or not client.connected:
            client = await self._opened()
        if (gap_s := max(gap_s, self._silence_s)) > 0:
            await self._keep_gap(gap_s)
        self._asking = True
        self._asked = time.monotonic()
        self.counters.requests += 1
        try:
            answer = await self._ask(client, unit, block, timeout_s)
        except TimeoutError:
            self.counters.timeouts += 1
            self._asking = False
            await self._resynchronise(worst_s)
            raise SilentDeviceError(
                f"{self._place(unit, block)}: expected an answer within {timeout_s:.2f} s, found none"
            ) from None
        except (ModbusException, OSError) as error:
            self._asking = False
            await self._resynchronise(worst_s)
            raise SilentDeviceError(f"{self._place(unit, block)}: {error}") from error
        finally:
            self._asking = False
            self._heard = time.monotonic()
        self._silent = 0
        return answer if isinstance(answer, tuple) else await self._checked(answer, unit, block, worst_s)

    async def close(self) -> None:
        """Lets go of the port."""
        if self._client is not None:
            self._client.close()
            self._client = None
            await asyncio.sleep(0)  # the transport closes its socket in the next turn

    async def _ask(self, client: Client, unit: int, block: Block, timeout_s: float) -> Answer:
        if isinstance(client, TcpConnection):
            return await client.ask(unit, block, timeout_s)
        async with asyncio.timeout(timeout_s):  # without a task of its own, as wait_for would make one
            answer: ModbusPDU = await client.execute(False, _request(unit, block))
        return answer

    async def _checked(self, answer: ModbusPDU, unit: int, block: Block, worst_s: float) -> tuple[int, ...]:
        where = self._place(unit, block)
        if isinstance(answer, ExceptionResponse):
            code = answer.exception_code
            raise ExceptionAnswerError(f"{where}: exception {code} ({EXCEPTIONS.get(code, 'unknown')})", code)
        words = tuple(answer.registers)
        if answer.function_code != block.function or len(words) != block.count:
            await self._resynchronise(worst_s)
            raise AnswerError(
                f"{where}: expected {block.count} words of function {block.function},"
                f" found {len(words)} of function {answer.function_code}"
            )
        return words

    def _place(self, unit: int, block: Block) -> str:
        return f"{self.endpoint.text} unit {unit} function {block.function} address {block.start}+{block.count}"

    # The connection

    async def _opened(self) -> Client:
        if self._suspect and self._client is not None:
            await self._resynchronise(0.0)
        if self._client is not None and self._client.connected:
            return self._client
        now = time.monotonic()
        if now < self._open_after:
            raise SilentDeviceError(f"{self.endpoint.text}: not open, next try in {self._open_after - now:.1f} s")
        await self.close()
        client = self._made()
        if not await self._connected(client):
            client.close()
            self._open_after = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, REOPEN_MAX_S)
            raise SilentDeviceError(f"{self.endpoint.text}: cannot be opened")
        self._client = client
        self._pause_s = REOPEN_MIN_S
        self._suspect = False
        return client

    async def _connected(self, client: Client) -> bool:
        try:
            if isinstance(client, TcpConnection):
                return await client.connect(self.endpoint.host, self.endpoint.port, CONNECT_MAX_S)
            return bool(await client.connect())
        except (OSError, ModbusException, ValueError) as error:
            log.debug("bus not opened bus=%s reason=%s", self.endpoint.text, error)
            return False

    def _made(self) -> Client:
        if self.endpoint.kind == "tcp":
            return TcpConnection(self._packet, _request, _only_reads)
        if self.endpoint.kind == "serial":
            return AsyncModbusSerialClient(
                self.endpoint.device,
                framer=FramerType.RTU,
                baudrate=self.endpoint.baud,
                bytesize=8,
                parity=self.endpoint.format[1],
                stopbits=int(self.endpoint.format[2]),
                reconnect_delay=0,
                timeout=CONNECT_MAX_S,
                retries=0,
                trace_packet=self._packet,
                trace_pdu=_only_reads,
            )
        return AsyncModbusTcpClient(
            self.endpoint.host,
            port=self.endpoint.port,
            framer=FramerType.RTU,
            reconnect_delay=0,
            timeout=CONNECT_MAX_S,
            retries=0,
            trace_packet=self._packet,
            trace_pdu=_only_reads,
        )

    def _packet(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self._heard = time.monotonic()
            if not self._asking and data:
                self.counters.strays += 1
                self._suspect = not self.endpoint.is_numbered
        if self._trace is not None:
            self._trace(sending, data)
        return data

    async def _keep_gap(self, gap_s: float) -> None:
        end = self._heard + gap_s
        wait = end - time.monotonic()
        if wait > FINE_S:
            await asyncio.sleep(wait - FINE_S)
        _rest(end)

    async def _resynchronise(self, worst_s: float) -> None:
        """Waits until nothing can arrive any more, then closes: the next read opens an empty line.

        A numbered connection is closed only after several silent requests.
        """
        if self.endpoint.is_numbered:
            self._silent += 1
            if self._silent >= SILENT_MAX:
                self._silent = 0
                await self.close()
            return
        self.counters.resyncs += 1
        began = time.monotonic()
        self._heard = began
        while (now := time.monotonic()) < min(self._heard + max(worst_s, self._late_s), began + LISTEN_MAX_S):
            await asyncio.sleep(min(0.02, max(self._heard + max(worst_s, self._late_s) - now, 0.001)))
        if self._heard > began and self._asked:
            late = self._heard - self._asked
            self._late_s = min(max(self._late_s, 1.5 * late), LATE_MAX_S)
        self._suspect = False
        await self.close()


_REQUESTS: Mapping[int, type[ReadHoldingRegistersRequest] | type[ReadInputRegistersRequest]] = {
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}


def _request(unit: int, block: Block) -> ModbusPDU:
    """The library's message that reads a block; there is none for any other function."""
    request_of = _REQUESTS.get(block.function)
    if request_of is None:
        raise ForbiddenFunctionError(f"function code {block.function}: expected 3 or 4")
    return request_of(address=block.start, count=block.count, dev_id=unit)


def _rest(end: float) -> None:
    """Sleeps for the little that is left."""
    rest = end - time.monotonic()
    if rest > 0:
        time.sleep(rest)


def _only_reads(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
    if sending and pdu.function_code not in READ_FUNCTIONS:
        raise ForbiddenFunctionError(f"function code {pdu.function_code}: expected one of 1 to 4")
    return pdu
