"""A Modbus TCP connection without a socket: which answer is taken, what is not, and when waiting ends.

The bytes are written by hand from the Modbus messaging guide for TCP/IP (V1.0b, 3.1): number, protocol 0, length, unit,
then function and data as the application protocol (V1.1b3, 6.4 and 7) has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import WriteSingleRegisterRequest

from merilo.readplan import Block
from merilo_gateway.modbus import ForbiddenFunctionError, _only_reads, _request
from merilo_gateway.modbus_tcp import BUFFER_MAX, KNOWN_MAX, NUMBER_MAX, Answer, TcpConnection

TWO = Block(4, 52, 2)
FIRST = bytes.fromhex("0001 0000 0007 11 04 04 4465 8000")
"""Request 1 to unit 17, two words: 918.0 W as a float."""
WORDS = (0x4465, 0x8000)
LONG_S = 60.0


class Wire(asyncio.Transport):
    """Keeps what is written, and answers at once where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True


class Rig:
    """A connection on such a wire."""

    def __init__(self) -> None:
        self.heard: list[tuple[bool, bytes]] = []
        self.wire = Wire()
        self.tcp = TcpConnection(self._packet, _request, _only_reads)
        self.tcp._loop = asyncio.get_running_loop()
        self.tcp.connection_made(self.wire)

    def _packet(self, sending: bool, data: bytes) -> bytes:
        self.heard.append((sending, data))
        return data

    def arrives(self, data: bytes) -> None:
        """Hands over bytes as the event loop does: as many at a time as there is space for."""
        while data:
            space = self.tcp.get_buffer(-1)
            piece, data = data[: len(space)], data[len(space) :]
            space[: len(piece)] = piece
            self.tcp.buffer_updated(len(piece))

    async def asking(self, unit: int = 17, block: Block = TWO, timeout_s: float = LONG_S) -> asyncio.Task[Answer]:
        """A task that waits for an answer."""
        task = asyncio.create_task(self.tcp.ask(unit, block, timeout_s))
        await asyncio.sleep(0)
        return task


def run(story: Callable[[Rig], Awaitable[None]]) -> None:
    async def told() -> None:
        await story(Rig())

    asyncio.run(told())


def test_a_request_has_the_bytes_of_the_standard_and_its_answer_becomes_words() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()

        rig.arrives(FIRST)

        assert rig.wire.written == [bytes.fromhex("0001 0000 0006 11 04 0034 0002")]
        assert await task == WORDS
        assert rig.heard == [(True, rig.wire.written[0]), (False, FIRST)]

    run(story)


def test_the_task_goes_on_while_the_answer_is_taken_and_asks_again() -> None:
    written: list[int] = []

    async def story(rig: Rig) -> None:
        def both_arrive() -> None:
            rig.arrives(FIRST)
            written.append(len(rig.wire.written))
            rig.arrives(b"\x00\x02" + FIRST[2:])

        async def twice() -> list[Answer]:
            return [await rig.tcp.ask(17, TWO, LONG_S) for _ in range(2)]

        task = asyncio.create_task(twice())
        asyncio.get_running_loop().call_soon(both_arrive)

        assert await task == [WORDS, WORDS]
        assert written == [2]
        assert rig.tcp._timer is None

    run(story)


def test_every_request_has_a_number_of_its_own_and_after_the_last_comes_one() -> None:
    async def story(rig: Rig) -> None:
        rig.tcp._number = NUMBER_MAX - 1
        for number in (NUMBER_MAX, 1):
            task = await rig.asking()
            rig.arrives(number.to_bytes(2, "big") + FIRST[2:])
            assert await task == WORDS

        assert [frame[:2].hex() for frame in rig.wire.written] == ["ffff", "0001"]

    run(story)


@pytest.mark.parametrize("cut", range(1, len(FIRST)))
def test_an_answer_in_two_pieces_is_the_same_answer(cut: int) -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()

        rig.arrives(FIRST[:cut])
        assert not task.done()
        rig.arrives(FIRST[cut:])

        answer = await task
        assert (answer if isinstance(answer, tuple) else tuple(answer.registers)) == WORDS

    run(story)


@pytest.mark.parametrize("together", [True, False])
def test_a_late_answer_of_the_request_before_is_not_taken(together: bool) -> None:
    late = bytes.fromhex("0001 0000 0007 11 04 04 DEAD BEEF")
    right = bytes.fromhex("0002 0000 0007 11 04 04 4465 8000")

    async def story(rig: Rig) -> None:
        first = await rig.asking(timeout_s=0.0)
        with pytest.raises(TimeoutError):
            await first
        task = await rig.asking()

        for piece in [late + right] if together else [late, right]:
            rig.arrives(piece)

        answer = await task
        assert (answer if isinstance(answer, tuple) else tuple(answer.registers)) == WORDS

    run(story)


def test_a_late_answer_that_nobody_waits_for_changes_nothing() -> None:
    async def story(rig: Rig) -> None:
        rig.arrives(FIRST)
        task = await rig.asking()
        rig.arrives(FIRST)

        assert await task == WORDS

    run(story)


def test_the_answer_of_another_unit_is_not_taken() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()

        rig.arrives(bytes.fromhex("0001 0000 0007 12 04 04 4465 8000"))

        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story)


@pytest.mark.parametrize(
    ("frame", "function", "words"),
    [
        ("0001 0000 0005 11 04 02 4465", 4, (0x4465,)),  # shorter than asked for
        ("0001 0000 0009 11 04 06 4465 8000 0001", 4, (0x4465, 0x8000, 1)),  # longer
        ("0001 0000 0007 11 03 04 4465 8000", 3, WORDS),  # of another function
    ],
)
def test_another_answer_than_was_asked_for_is_handed_over_as_the_message_it_is(
    frame: str, function: int, words: tuple[int, ...]
) -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()

        rig.arrives(bytes.fromhex(frame))

        answer = await task
        assert isinstance(answer, ModbusPDU)
        assert (answer.function_code, tuple(answer.registers)) == (function, words)

    run(story)


def test_an_exception_answer_keeps_its_code() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()

        rig.arrives(bytes.fromhex("0001 0000 0003 11 84 02"))

        answer = await task
        assert isinstance(answer, ExceptionResponse)
        assert answer.exception_code == 2

    run(story)


def test_an_answer_that_breaks_off_within_its_length_is_an_error_and_no_value() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()

        rig.arrives(bytes.fromhex("0001 0000 0005 11 04 04 4465"))

        with pytest.raises(ModbusException):
            await task

    run(story)


@given(data=st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_give_words_of_the_request_a_message_or_nothing(data: list[bytes]) -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()
        for piece in data:
            rig.arrives(piece)
        rig.tcp.connection_lost(None)
        (found,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(found, ModbusPDU | ModbusException) or b"".join(data).endswith(FIRST[2:])

    run(story)


def test_what_is_no_modbus_is_not_kept_without_limit() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()
        for _ in range(3):
            rig.arrives(b"\xff" * BUFFER_MAX)
        assert len(rig.tcp._buffer) == BUFFER_MAX
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story)


def test_waiting_ends_with_the_time_it_was_given() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking(timeout_s=0.0)

        with pytest.raises(TimeoutError):
            await task
        assert rig.tcp._timer is None

    run(story)


@pytest.mark.parametrize(("first_s", "second_s", "ends"), [(0.0, LONG_S, False), (LONG_S, 0.0, True)])
def test_the_time_of_one_request_is_not_that_of_the_next(first_s: float, second_s: float, ends: bool) -> None:
    async def both(rig: Rig) -> Answer:
        assert await rig.tcp.ask(17, TWO, first_s) == WORDS
        return await rig.tcp.ask(17, TWO, second_s)

    async def story(rig: Rig) -> None:
        task = asyncio.create_task(both(rig))
        asyncio.get_running_loop().call_soon(rig.arrives, FIRST)
        for _ in range(5):
            await asyncio.sleep(0)

        assert len(rig.wire.written) == 2
        assert task.done() is ends
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story)


def test_no_timer_is_left_when_nothing_more_is_asked() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()
        assert rig.tcp._timer is not None
        asyncio.get_running_loop().call_soon(rig.arrives, FIRST)
        await task

        assert rig.tcp._timer is None

    run(story)


def test_a_lost_connection_is_told_to_whoever_waits() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()
        rig.tcp.connection_lost(OSError("reset by the other side"))

        with pytest.raises(ModbusException, match="reset by the other side"):
            await task
        assert not rig.tcp.connected
        with pytest.raises(ModbusException, match="not connected"):
            await rig.tcp.ask(17, TWO, LONG_S)

    run(story)


def test_a_cancelled_task_ends_also_when_the_answer_comes_meanwhile() -> None:
    async def story(rig: Rig) -> None:
        task = await rig.asking()
        task.cancel()
        rig.arrives(FIRST)

        with pytest.raises(asyncio.CancelledError):
            await task
        again = await rig.asking()
        rig.arrives(b"\x00\x02" + FIRST[2:])
        assert await again == WORDS

    run(story)


def test_a_timeout_around_it_ends_it_too() -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await rig.tcp.ask(17, TWO, LONG_S)

    run(story)


@pytest.mark.parametrize("function", [5, 6, 15, 16, 22, 23])
def test_no_function_that_writes_can_leave(function: int) -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(ForbiddenFunctionError, match=f"function code {function}"):
            await rig.tcp.ask(17, Block(function, 0, 1), LONG_S)
        with pytest.raises(ForbiddenFunctionError, match="function code 6"):
            rig.tcp.frame(WriteSingleRegisterRequest(address=1, registers=[1], dev_id=17))

        assert rig.wire.written == []

    run(story)


def test_requests_are_kept_ready_up_to_a_limit() -> None:
    async def story(rig: Rig) -> None:
        for start in range(KNOWN_MAX):
            rig.tcp._made_ready(1, Block(4, start, 1))
        assert len(rig.tcp._known) == KNOWN_MAX
        rig.tcp._made_ready(1, Block(4, KNOWN_MAX, 1))

        assert len(rig.tcp._known) == 1

    run(story)
