"""One bus: polls its devices in turn, healthy ones first, and hands over what they said.

A device that does not answer costs one timeout for each probe; the others keep their period. What answered becomes a
reading, also where a later block did not.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import lcm
from typing import NamedTuple

from merilo.bustime import Line as LineTime
from merilo.bustime import SerialLine, TcpLine, read_ms
from merilo.errors import AnswerError, DeviceError, ExceptionAnswerError
from merilo.profile import Profile
from merilo.profiles.setup import Answer, Setup, configure
from merilo.reading import Reading
from merilo.readplan import Block, Range
from merilo.registers import Missing, decode
from merilo_gateway.modbus import Endpoint
from merilo_gateway.poller import Job, Poller, holes_of, moments
from merilo_gateway.ports import Line, Sink, Timing, told

log = logging.getLogger(__name__)

CONVERTER_MS = 20.0
"""Packing delay that a network converter adds to every transaction, for planning."""
SLACK_S = 0.1
"""Added to every timeout: scheduling on a small computer."""
TCP_TIMEOUT_MIN_S = 1.0
CANARY_CYCLES = 60
"""The identity is read again in every so manieth poll: another device on the same address is noticed."""
BUSY = 6
UNREACHABLE = (10, 11)
"""Exception codes of a network gateway: the device behind it is silent."""
BUSY_PAUSE_S = 0.1
KEPT_MAX = 1_024
"""What is worked out once for a device and read length or cycle is kept for so many of them."""


class Limits(NamedTuple):
    """Times of one read [s]."""

    timeout_s: float
    gap_s: float
    worst_s: float
    """The slowest answer of the device."""


@lru_cache(maxsize=KEPT_MAX)
def line_time(endpoint: Endpoint, profile: Profile) -> LineTime:
    """What a read of such a device costs on this bus."""
    if endpoint.kind == "tcp":
        return TcpLine(round_trip_ms=profile.response_ms, min_gap_ms=profile.min_gap_ms)
    return SerialLine(
        baud=endpoint.baud,
        format=endpoint.format,
        response_ms=profile.response_ms,
        min_gap_ms=profile.min_gap_ms,
        extra_ms=CONVERTER_MS if endpoint.kind == "rtu-over-tcp" else 0.0,
    )


@lru_cache(maxsize=KEPT_MAX)
def limits(endpoint: Endpoint, profile: Profile, words: int) -> Limits:
    """How long a read of so many words may take on this bus."""
    line = line_time(endpoint, profile)
    wire = read_ms(words, replace(line, response_ms=0.0)) / 1000 if isinstance(line, SerialLine) else 0.0
    worst_s = profile.max_response_ms / 1000 + wire
    timeout_s = worst_s + SLACK_S
    if endpoint.kind == "tcp":
        timeout_s = max(timeout_s, TCP_TIMEOUT_MIN_S)
    return Limits(timeout_s, profile.min_gap_ms / 1000, worst_s)


@lru_cache(maxsize=KEPT_MAX)
def _period(profile: Profile) -> int:
    """After so many cycles the same registers come together again."""
    return lcm(*(register.every for register in profile.registers))


@lru_cache(maxsize=KEPT_MAX)
def _reads(
    endpoint: Endpoint, profile: Profile, cycle: int, avoid: tuple[Range, ...], max_words: int | None
) -> tuple[Block, ...]:
    return profile.plan(line_time(endpoint, profile), cycle, avoid=avoid, max_words=max_words)


async def ask(read: Callable[[Block], Awaitable[tuple[int, ...]]], setup: Mapping[str, Block]) -> dict[str, Answer]:
    """What a device says about itself, each name read by itself; None for an address that it refuses.

    Raises:
        DeviceError: It does not answer.
    """
    answers: dict[str, Answer] = {}
    for name, block in setup.items():
        try:
            answers[name] = await read(block)
        except ExceptionAnswerError as error:
            if error.code in UNREACHABLE:
                raise
            answers[name] = None
        except AnswerError:
            continue
    return answers


@dataclass(slots=True, kw_only=True)
class BusDevice:
    """One device of a bus and what is known of it."""

    device: str
    unit: int
    model: Profile
    poller: Poller
    ct_ratio: float | None = None
    setup: Setup | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    missing: frozenset[Missing] = frozenset()
    """Told already; forgotten when the device was silent."""

    @property
    def profile(self) -> Profile:
        """The profile as the device at hand is configured."""
        return self.setup.profile if self.setup is not None else self.model


class Bus:
    """Polls the devices of one bus.

    Args:
        name: For log lines and the cycle.
        endpoint: Where it is.
        line: Reads blocks.
        devices: At least one.
        sink: Takes readings and events.
        timing: Clock and waiting.
    """

    def __init__(
        self, name: str, endpoint: Endpoint, line: Line, devices: Sequence[BusDevice], sink: Sink, timing: Timing
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.devices = list(devices)
        self._line = line
        self._sink = sink
        self._timing = timing
        self.rounds = 0
        """Rounds done: the sign that the bus is alive."""

    async def run(self) -> None:
        """Polls for ever."""
        try:
            while True:
                await self.round()
                await self._timing.until(min(d.poller.next_ms for d in self.devices))
        finally:
            await self._line.close()

    async def round(self) -> None:
        """Polls what is due now."""
        now_ms = self._timing.now_ms()
        due = [(device, job) for device in self.devices if (job := device.poller.due(now_ms)) is not None]
        self.rounds += 1
        if not due:
            return
        self._sink.busy(self.name)
        try:
            for device, job in sorted(due, key=lambda pair: pair[1].probe):
                await self.poll(device, job)
        finally:
            self._sink.idle(self.name)

    async def poll(self, device: BusDevice, job: Job) -> None:
        """One poll of one device; never raises a DeviceError."""
        began = self._timing.monotonic()
        canary = job.cycle % CANARY_CYCLES == 0
        try:
            if device.setup is None or job.probe or canary:
                await self._identify(device)
        except DeviceError as error:
            self._failed(device, str(error))
            return
        answers, reason, reads = await self._read_all(device, job)
        if reads and not answers:
            self._failed(device, reason)
            return
        if not reads:
            return
        latency = (self._timing.monotonic() - began) / reads
        change = device.poller.answered(answers[-1][1], latency)
        if change:
            device.missing = frozenset()
            log.info("device back device=%s", device.device)
            self._sink.event("device_back", device.device, {})
        self._hand_over(device, answers)

    async def _read_all(self, device: BusDevice, job: Job) -> tuple[list[tuple[Block, int, tuple[int, ...]]], str, int]:
        """What the blocks of the plan answered, with instants; why one did not; and how many were asked."""
        poller, profile = device.poller, device.profile
        plan = _reads(self.endpoint, profile, job.cycle % _period(profile), poller.avoid, poller.max_words)
        answers: list[tuple[Block, int, tuple[int, ...]]] = []
        reason, reads = "", 0
        for block in poller.wanted(plan, self._timing.now_ms()):
            reads += 1
            try:
                words = await self._read(device, block)
            except ExceptionAnswerError as error:
                reason = str(error)
                if error.code in UNREACHABLE:
                    break
                self._learn(device, block, error)
            except AnswerError as error:
                reason = str(error)
            except DeviceError as error:
                reason = str(error)
                break
            else:
                answers.append((block, self._timing.now_ms(), words))
        return answers, reason, reads

    async def _read(self, device: BusDevice, block: Block) -> tuple[int, ...]:
        timeout_s, gap_s, worst_s = limits(self.endpoint, device.profile, block.count)
        try:
            return await self._line.read(device.unit, block, timeout_s=timeout_s, gap_s=gap_s, worst_s=worst_s)
        except ExceptionAnswerError as error:
            if error.code != BUSY:
                raise
        await self._timing.sleep(BUSY_PAUSE_S)
        return await self._line.read(device.unit, block, timeout_s=timeout_s, gap_s=gap_s, worst_s=worst_s)

    def _learn(self, device: BusDevice, block: Block, error: ExceptionAnswerError) -> None:
        needed = [Block(s.function, s.start, s.count) for s in device.profile.spans()]
        before = (device.poller.avoid, device.poller.max_words)
        device.poller.refused(block, error.code, holes_of(block, needed), self._timing.now_ms())
        try:
            device.profile.plan(
                line_time(self.endpoint, device.profile), avoid=device.poller.avoid, max_words=device.poller.max_words
            )
        except ValueError:  # what was learnt leaves no way to read: it was wrong
            device.poller.avoid, device.poller.max_words = before
        log.info("device refused a block device=%s reason=%s", device.device, error)

    def _failed(self, device: BusDevice, reason: str) -> None:
        if device.poller.failed(self._timing.now_ms(), reason):
            log.warning("device silent device=%s reason=%s", device.device, reason)
            self._sink.event("device_silent", device.device, {"reason": reason})

    async def _identify(self, device: BusDevice) -> None:
        """Reads what the device says about itself; a silent one raises, a refused address does not."""
        answers = await ask(lambda block: self._read(device, block), device.model.setup)
        if device.setup is not None and answers == device.answers:
            return
        setup = configure(device.model, answers, device.ct_ratio)
        previous = device.setup
        device.setup, device.answers = setup, answers
        if previous is not None and previous.texts.get("serial") != setup.texts.get("serial"):
            found, before = setup.texts.get("serial", ""), previous.texts.get("serial", "")
            log.warning("device changed device=%s serial=%s before=%s", device.device, found, before)
            self._sink.event("identity_changed", device.device, {"serial": found, "before": before})
        for finding in setup.findings:
            told_before = previous is not None and finding in previous.findings
            if not told_before:
                log.warning("device set up device=%s finding=%s", device.device, finding)
                parameters = {"name": finding.name, "found": finding.found, "expected": finding.expected}
                self._sink.event(finding.code, device.device, {**parameters, "why": finding.why})
        self._sink.identified(device.device, setup)

    def _hand_over(self, device: BusDevice, answers: Sequence[tuple[Block, int, tuple[int, ...]]]) -> None:
        """Makes readings of the answers: one for each moment and each part of the device."""
        words = {block: found for block, _, found in answers}
        missing: set[Missing] = set()
        for at_ms, blocks in moments([(block, at_ms) for block, at_ms, _ in answers]):
            decoded = decode(device.profile, {block: words[block] for block in blocks})
            missing |= set(decoded.missing)
            for suffix, values in decoded.values.items():
                name = f"{device.device}-{suffix}" if suffix else device.device
                self._sink.reading(Reading(device=name, at_ms=at_ms, values=values))
        new = sorted(missing - device.missing)
        if new:
            device.missing |= missing
            log.info("values missing device=%s values=%s", device.device, told(new))
            self._sink.event("values_missing", device.device, {"values": told(new)})
