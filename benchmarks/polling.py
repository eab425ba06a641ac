"""Polling: how much of a serial line's time becomes answers, what a dead device costs the others, and late answers.

The line is emulated: characters travel at their speed, a meter takes its 40 ms. The bound is the framing rule's own
time for the same reads; Merilo's bus does everything it does in service, decoding included.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import time
import tty
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType

from benchmarks.devices import RESPONSE_MS, served
from benchmarks.table import Row, at_least, at_most, percentile
from merilo.bustime import SerialLine, read_ms
from merilo.errors import DeviceError
from merilo.profiles.setup import Setup
from merilo.reading import Reading
from merilo.readplan import Block, ReadRules, Span, plan
from merilo_adapters.clock import Clock
from merilo_adapters.profile_files import load_profile
from merilo_gateway.bus import Bus, BusDevice
from merilo_gateway.modbus import Endpoint, ModbusLine
from merilo_gateway.poller import Poller
from merilo_gateway.run import RealTiming
from unit.gateway.fakes import Image, Server, crc16

SDM630 = [
    Span(4, address, 2)
    for address in (*range(0, 35, 2), 52, 56, 60, 62, 66, *range(70, 79, 2), 234, 236, 238, 248, *range(342, 381, 2))
]
"""The 52 values that mbmd reads of an SDM630."""
SDM630_RULES = ReadRules(max_words=80, start_multiple=2, count_multiple=2, holes="free")
TIMEOUT_S = 0.12
FIRST_WORDS = 400


class Sink:
    """Takes what a bus tells, and counts."""

    def __init__(self) -> None:
        self.readings: defaultdict[str, list[int]] = defaultdict(list)
        """Instants by device [UTC ms]."""
        self.values: Counter[str] = Counter()

    def reading(self, reading: Reading) -> None:
        """One reading."""
        self.readings[reading.device].append(reading.at_ms)
        self.values[reading.device] += len(reading.values)

    def busy(self, source: str) -> None:
        """Nothing to do."""

    def idle(self, source: str) -> None:
        """Nothing to do."""

    def event(self, kind: str, device: str, parameters: Mapping[str, str | float | int | bool]) -> None:
        """Nothing to do."""

    def described(self, device: str) -> None:
        """Nothing to do."""

    def identified(self, device: str, setup: Setup) -> None:
        """Nothing to do."""


def _bus(endpoint: Endpoint, units: list[int], interval_ms: int) -> tuple[Bus, Sink]:
    profile, sink, timing = load_profile("eastron_sdm630"), Sink(), RealTiming(Clock())
    devices = [
        BusDevice(device=f"m{unit}", unit=unit, model=profile, poller=Poller(f"m{unit}", interval_ms, timing.now_ms()))
        for unit in units
    ]
    return Bus("line", endpoint, ModbusLine(endpoint), devices, sink, timing), sink


async def _blocks(path: str, baud: int, rounds: int) -> float:
    """Seconds of one round over the 52 values, the best half of the rounds."""
    line = ModbusLine(Endpoint(kind="serial", device=path, baud=baud))
    blocks = plan(SDM630, SDM630_RULES, SerialLine(baud=baud, response_ms=RESPONSE_MS))
    times = []
    for _ in range(rounds + 1):
        began = time.monotonic()
        for block in blocks:
            await line.read(1, block, timeout_s=2.0)
        times.append(time.monotonic() - began)
    await line.close()
    return sorted(times[1:])[len(times[1:]) // 2]


async def _polls(path: str, baud: int, rounds: int) -> tuple[float, float, float]:
    """Median share of the line's time that the bound is, seconds of a round, and values of a round."""
    bus, sink = _bus(Endpoint(kind="serial", device=path, baud=baud), [1], 250)
    device, line = bus.devices[0], SerialLine(baud=baud, response_ms=RESPONSE_MS)
    shares, times = [], []
    for _ in range(rounds + 1):
        job = device.poller.due(device.poller.next_ms)
        assert job is not None
        began = time.monotonic()
        await bus.poll(device, job)
        times.append(time.monotonic() - began)
        bound = sum(read_ms(block.count, line) for block in device.profile.plan(line, job.cycle)) / 1000
        shares.append(bound / times[-1])
    await bus._line.close()
    found = len(sink.readings["m1"])
    if found < rounds:
        raise RuntimeError(f"the simulated meter did not answer: {device.poller.reason}")
    return percentile(shares[1:], 0.5), percentile(times[1:], 0.5), sink.values["m1"] / (rounds + 1)


def _line_alone(path: str, baud: int, rounds: int) -> float:
    """Median share of the bound that the emulated line itself reaches, when nothing but its file is read."""
    line, shares = SerialLine(baud=baud, response_ms=RESPONSE_MS), []
    blocks = load_profile("eastron_sdm630").plan(line, 1)
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(port)
        for _ in range(rounds):
            took = 0.0
            for block in blocks:
                body = struct.pack(">BBHH", 1, block.function, block.start, block.count)
                began, left = time.monotonic(), 5 + 2 * block.count
                os.write(port, body + crc16(body))
                while left > 0:
                    left -= len(os.read(port, left))
                took += time.monotonic() - began + line.silence_ms / 1000
                time.sleep(line.silence_ms / 1000)
            shares.append(sum(read_ms(block.count, line) for block in blocks) / 1000 / took)
    finally:
        os.close(port)
    return percentile(shares, 0.5)


async def _cadence(port: int, seconds: float, *, dead: bool) -> float:
    """Share of the second's slots that the slowest of three live devices was read in."""
    endpoint = Endpoint(kind="tcp", host="127.0.0.1", port=port)
    bus, sink = _bus(endpoint, [1, 2, 3, 4] if dead else [1, 2, 3], 1000)
    task = asyncio.create_task(bus.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    slots = {unit: sorted({at // 1000 for at in sink.readings[f"m{unit}"]}) for unit in (1, 2, 3)}
    return min(len(found) / (found[-1] - found[0] + 1) for found in slots.values())


def _late(seed: int) -> Callable[[object], float]:
    chance = random.Random(seed)
    return lambda _request: 0.0 if chance.random() < 0.75 else chance.uniform(TIMEOUT_S, 0.9)


def _questions(count: int) -> list[Block]:
    chance = random.Random(4)
    return [Block(4, chance.randrange(0, FIRST_WORDS - 4), 4) for _ in range(count)]


async def _wrong_ours(port: int, blocks: list[Block]) -> tuple[int, int]:
    line = ModbusLine(Endpoint(kind="rtu-over-tcp", host="127.0.0.1", port=port, baud=115_200))
    right = wrong = 0
    for block in blocks:
        try:
            words = await line.read(1, block, timeout_s=TIMEOUT_S, worst_s=1.0)
        except DeviceError:
            continue
        good = words == tuple(range(block.start, block.end))
        right, wrong = right + good, wrong + (not good)
    await line.close()
    return right, wrong


async def _wrong_plain(port: int, blocks: list[Block]) -> tuple[int, int]:
    client = AsyncModbusTcpClient("127.0.0.1", port=port, framer=FramerType.RTU, timeout=TIMEOUT_S)
    await client.connect()
    right = wrong = 0
    for block in blocks:
        try:
            answer = await client.read_input_registers(block.start, count=block.count, device_id=1)
        except ModbusException:
            continue
        if not answer.isError():
            good = answer.registers == list(range(block.start, block.end))
            right, wrong = right + good, wrong + (not good)
    client.close()
    await asyncio.sleep(0)
    return right, wrong


def run(quick: bool, say: Callable[[str], None]) -> list[Row]:
    """Line use at two speeds, cadence beside a dead device, wrong values with late answers."""
    rows = []
    rounds = 5 if quick else 20
    for baud in (9600, 38_400):
        say(f"serial line at {baud} baud")
        with served("rtu", 1, baud) as path:
            best = asyncio.run(_blocks(path, baud, rounds))
            share, took, values = asyncio.run(_polls(path, baud, rounds))
            alone = _line_alone(path, baud, rounds // 2)
        if baud == 9600:
            beside = "bound 0.455 s; elsewhere modpoll 0.526, Telegraf 0.556, mbmd 3.33 s"
            rows.append(at_most("52 values of an SDM630 at 9600 baud", best, 0.52, "s", beside=beside))
        beside = f"{values:.0f} values in {took:.3f} s, decoded; the emulated line alone reaches {100 * alone:.1f} %"
        rows.append(at_least(f"line use at {baud} baud", 100 * share, 95, "% of the bound", beside=beside))
    seconds = 12.0 if quick else 60.0
    say("four devices, one of them dead")
    with served("tcp", 3) as port:
        kept = asyncio.run(_cadence(int(port), seconds, dead=True))
    beside = f"a slot each second for {seconds:.0f} s from the start; Telegraf elsewhere about 50 %"
    rows.append(at_least("cadence of three devices beside a dead one", 100 * kept, 99, "%", beside=beside))
    blocks = _questions(16 if quick else 60)
    image = Image()
    image.put(4, 0, tuple(range(FIRST_WORDS)))
    say("late answers")
    with Server({1: image}, framing="rtu", delay=_late(3)) as server:
        right, wrong = asyncio.run(_wrong_ours(server.port, blocks))
        time.sleep(0.3)  # the server notices that the line is closed
    with Server({1: image}, framing="rtu", delay=_late(3)) as server:
        right_plain, wrong_plain = asyncio.run(_wrong_plain(server.port, blocks))
        time.sleep(0.3)
    beside = f"{right} right; a plain client {wrong_plain} of {right_plain + wrong_plain}; mbmd elsewhere 17 %"
    rows.append(at_most(f"wrong values of {len(blocks)} reads, a quarter late", wrong, 0, "", beside=beside))
    return rows
