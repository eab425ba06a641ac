"""Late answers on a serial line: ours gives no wrong value, a plain client does. On sockets and on pseudo-terminals."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu.register_message import WriteSingleRegisterRequest

from merilo.errors import AnswerError, DeviceError, ExceptionAnswerError, SilentDeviceError
from merilo.readplan import Block
from merilo_gateway.modbus import Endpoint, ForbiddenFunctionError, ModbusLine
from merilo_gateway.modbus_tcp import TcpConnection
from unit.gateway.fakes import Image, Request, Server, crc16

TIMEOUT_S = 0.12
REQUESTS = 30
FIRST_WORDS = 400


def counted_image() -> Image:
    """Every register holds its own address: any value tells where it came from."""
    image = Image()
    image.put(4, 0, tuple(range(FIRST_WORDS)))
    return image


def late(seed: int) -> Iterator[float]:
    """Delays around the timeout: most answers in time, some up to 0.9 s late."""
    chance = random.Random(seed)
    while True:
        yield 0.0 if chance.random() < 0.75 else chance.uniform(TIMEOUT_S, 0.9)


def questions(seed: int) -> list[Block]:
    chance = random.Random(seed)
    return [Block(4, chance.randrange(0, FIRST_WORDS - 4), 4) for _ in range(REQUESTS)]


async def ask_ours(line: ModbusLine, blocks: list[Block]) -> tuple[int, int, int]:
    """Right, wrong and failed answers."""
    right = wrong = failed = 0
    for block in blocks:
        try:
            words = await line.read(1, block, timeout_s=TIMEOUT_S, worst_s=1.0)
        except DeviceError:
            failed += 1
            continue
        if words == tuple(range(block.start, block.end)):
            right += 1
        else:
            wrong += 1
    await line.close()
    return right, wrong, failed


async def ask_once(port: int, block: Block) -> tuple[int, ...]:
    line = ModbusLine(Endpoint(kind="tcp", host="127.0.0.1", port=port))
    try:
        return await line.read(1, block, timeout_s=2.0)
    finally:
        await line.close()


async def ask_plainly(port: int, blocks: list[Block]) -> int:
    """Wrong answers of the library's client as it comes, but for the shorter timeout."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port, framer=FramerType.RTU, timeout=TIMEOUT_S)
    assert await client.connect()
    wrong = 0
    for block in blocks:
        try:
            answer = await client.read_input_registers(block.start, count=block.count, device_id=1)
        except ModbusException:
            continue
        wrong += not answer.isError() and answer.registers != list(range(block.start, block.end))
    client.close()
    await asyncio.sleep(0)
    return wrong


def test_late_answers_give_no_wrong_value_behind_a_network_converter() -> None:
    delays = late(3)
    with Server({1: counted_image()}, framing="rtu", delay=lambda _r: next(delays)) as server:
        line = ModbusLine(Endpoint(kind="rtu-over-tcp", host="127.0.0.1", port=server.port, baud=115200))
        right, wrong, failed = asyncio.run(ask_ours(line, questions(4)))

    assert wrong == 0
    assert failed > 0, "no answer came late: the fault was not there"
    assert right > REQUESTS / 3
    assert right + failed == REQUESTS


def test_the_same_late_answers_give_a_plain_client_wrong_values() -> None:
    delays = late(3)
    with Server({1: counted_image()}, framing="rtu", delay=lambda _r: next(delays)) as server:
        wrong = asyncio.run(ask_plainly(server.port, questions(4)))

    assert wrong > 0


@contextmanager
def slow_terminal(image: Image, delays: Iterator[float]) -> Iterator[str]:
    """A serial slave on a pseudo-terminal; gives the path of the other end."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    stop = threading.Event()

    def answer_later(frame: bytes, delay: float) -> None:
        if not stop.wait(delay):
            os.write(ours, frame)

    def serve() -> None:
        waiting = b""
        while not stop.is_set():
            try:
                waiting += os.read(ours, 256)
            except OSError:
                return
            while len(waiting) >= 8:
                frame, waiting = waiting[:8], waiting[8:]
                if frame[6:] != crc16(frame[:6]):
                    waiting = b""
                    continue
                request = Request(frame[0], frame[1], *struct.unpack(">HH", frame[2:6]))
                body = bytes([request.unit]) + image.answer(request)
                threading.Thread(target=answer_later, args=(body + crc16(body), next(delays)), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        stop.set()
        os.write(theirs, b"\0")  # wakes the reader
        thread.join(5)
        os.close(ours)
        os.close(theirs)


def test_late_answers_give_no_wrong_value_on_a_serial_line() -> None:
    with slow_terminal(counted_image(), late(5)) as path:
        line = ModbusLine(Endpoint(kind="serial", device=path, baud=115200))
        right, wrong, failed = asyncio.run(ask_ours(line, questions(6)))

    assert wrong == 0
    assert failed > 0
    assert right > REQUESTS / 3


def test_a_short_answer_names_the_place_and_the_lengths() -> None:
    def shorter(_request: Request, body: bytes) -> bytes:
        return body[:2] + bytes([4]) + body[3:7]

    message = r"unit 1 .* address 0\+6: expected 6 words .* found 2"
    with Server({1: counted_image()}, change=shorter) as server, pytest.raises(AnswerError, match=message):
        asyncio.run(ask_once(server.port, Block(4, 0, 6)))


def test_an_exception_answer_keeps_its_code_and_says_it_in_words() -> None:
    with Server({1: Image()}) as server, pytest.raises(ExceptionAnswerError, match="illegal address") as error:
        asyncio.run(ask_once(server.port, Block(3, 9, 1)))

    assert error.value.code == 2


def test_a_device_that_is_not_there_is_silent_within_the_deadline() -> None:
    async def ask(line: ModbusLine) -> float:
        began = time.monotonic()
        with pytest.raises(SilentDeviceError, match=r"within 0\.20 s"):
            await line.read(7, Block(3, 0, 1), timeout_s=0.2)
        await line.close()
        return time.monotonic() - began

    with Server({1: counted_image()}) as server:
        seconds = asyncio.run(ask(ModbusLine(Endpoint(kind="tcp", host="127.0.0.1", port=server.port))))

    assert seconds < 5


def test_a_bus_that_cannot_be_opened_is_not_tried_again_at_once() -> None:
    async def ask() -> list[str]:
        line = ModbusLine(Endpoint(kind="serial", device="/dev/merilo-is-not-there"))
        said = []
        for _ in range(2):
            with pytest.raises(SilentDeviceError) as error:
                await line.read(1, Block(3, 0, 1), timeout_s=0.2)
            said.append(str(error.value))
        return said

    first, second = asyncio.run(ask())

    assert "cannot be opened" in first
    assert "next try in" in second


@pytest.mark.parametrize(("silent", "connections"), [(2, 1), (3, 2)])
def test_a_connection_that_has_fallen_silent_is_made_anew(silent: int, connections: int) -> None:
    async def ask(line: ModbusLine) -> tuple[int, ...]:
        await line.read(1, Block(4, 0, 2), timeout_s=2.0)
        for _ in range(silent):
            with pytest.raises(SilentDeviceError):
                await line.read(9, Block(4, 0, 2), timeout_s=0.05)
        found = await line.read(1, Block(4, 0, 2), timeout_s=2.0)
        await line.close()
        return found

    with Server({1: counted_image()}) as server:
        found = asyncio.run(ask(ModbusLine(Endpoint(kind="tcp", host="127.0.0.1", port=server.port))))

    assert len(found) == 2
    assert server.connections == connections


def test_nothing_but_reads_leaves() -> None:
    async def ask(line: ModbusLine) -> None:
        await line.read(1, Block(4, 0, 2), timeout_s=2.0)
        client = line._client
        assert isinstance(client, TcpConnection)
        with pytest.raises(ForbiddenFunctionError, match="function code 6"):
            await line.read(1, Block(6, 1, 1), timeout_s=2.0)
        with pytest.raises(ForbiddenFunctionError, match="function code 6"):
            client.frame(WriteSingleRegisterRequest(address=1, registers=[1], dev_id=1))
        await line.close()

    with Server({1: counted_image()}) as server:
        asyncio.run(ask(ModbusLine(Endpoint(kind="tcp", host="127.0.0.1", port=server.port))))

    assert {r.function for r in server.requests} == {4}
    assert len(server.received) == 12


def test_nothing_but_reads_leaves_for_a_serial_line_either() -> None:
    async def ask(line: ModbusLine) -> None:
        client = line._made()
        assert isinstance(client, AsyncModbusTcpClient)
        assert await client.connect()
        async with asyncio.timeout(5):
            while not server.connections:
                await asyncio.sleep(0.005)
        with pytest.raises(ForbiddenFunctionError, match="function code 6"):
            await client.write_register(1, 1, device_id=1)
        client.close()
        await asyncio.sleep(0.01)  # both ends close their sockets in their next turns

    with Server({1: counted_image()}) as server:
        asyncio.run(ask(ModbusLine(Endpoint(kind="rtu-over-tcp", host="127.0.0.1", port=server.port))))

    assert server.received == b""
