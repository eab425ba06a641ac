"""A bus with a clock that only moves when something waits: what a dead device costs, what is learnt, what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from merilo.errors import DeviceError, ExceptionAnswerError, SilentDeviceError
from merilo.profile import Profile
from merilo.profiles.setup import Setup
from merilo.reading import Reading
from merilo.readplan import Block
from merilo_adapters.profile_files import load_profile
from merilo_gateway.bus import Bus, BusDevice, limits, line_time
from merilo_gateway.modbus import Endpoint, Kind
from merilo_gateway.poller import Poller
from unit.gateway.fakes import Image, sdm630

START = 1_796_083_200_000
TEN = 10_000
PROFILE = load_profile("eastron_sdm630")
SERIAL = Endpoint(kind="serial", device="/dev/none")


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = float(START)

    def now_ms(self) -> int:
        return int(self.now)

    def monotonic(self) -> float:
        return self.now / 1000

    async def until(self, at_ms: int) -> None:
        self.now = max(self.now, float(at_ms))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds * 1000


@dataclass
class FakeLine:
    """Answers from register images; a unit without one costs the whole timeout and the silence after it."""

    clock: Clock
    images: dict[int, Image]
    transaction_s: float = 0.1
    refuses: Callable[[int, Block], int | None] = lambda _unit, _block: None
    asked: list[tuple[int, int, Block]] = field(default_factory=list)

    async def read(
        self, unit: int, block: Block, *, timeout_s: float, gap_s: float = 0.0, worst_s: float = 0.0
    ) -> tuple[int, ...]:
        self.asked.append((self.clock.now_ms(), unit, block))
        image = self.images.get(unit)
        if image is None:
            await self.clock.sleep(timeout_s + max(worst_s, 1.0))
            raise SilentDeviceError(f"unit {unit} is silent")
        await self.clock.sleep(self.transaction_s)
        code = self.refuses(unit, block)
        if code is not None:
            raise ExceptionAnswerError("refused", code)
        return tuple(image.words.get((block.function, block.start + n), 0) for n in range(block.count))

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class FakeSink:
    readings: list[Reading] = field(default_factory=list)
    events: list[tuple[str, str, Mapping[str, object]]] = field(default_factory=list)
    setups: dict[str, Setup] = field(default_factory=dict)

    def reading(self, reading: Reading) -> None:
        self.readings.append(reading)

    def busy(self, source: str) -> None:
        """Not looked at here."""

    def idle(self, source: str) -> None:
        """Not looked at here."""

    def event(self, kind: str, device: str, parameters: Mapping[str, str | float | int | bool]) -> None:
        self.events.append((kind, device, parameters))

    def identified(self, device: str, setup: Setup) -> None:
        self.setups[device] = setup

    def described(self, device: str) -> None:
        """Only publishing devices do that."""


class Rig:
    """A bus of SDM630 meters."""

    def __init__(self, units: int, *, dead: tuple[int, ...] = (), profile: Profile = PROFILE) -> None:
        self.clock = Clock()
        self.line = FakeLine(self.clock, {n: sdm630(serial=n) for n in range(1, units + 1) if n not in dead})
        self.sink = FakeSink()
        devices = [
            BusDevice(device=f"m{n}", unit=n, model=profile, poller=Poller(f"m{n}", TEN, START))
            for n in range(1, units + 1)
        ]
        self.bus = Bus("bus", SERIAL, self.line, devices, self.sink, self.clock)

    def run(self, slots: int) -> None:
        async def rounds() -> None:
            end = START + slots * TEN
            while self.clock.now < end:
                await self.bus.round()
                await self.clock.until(min(d.poller.next_ms for d in self.bus.devices))

        asyncio.run(rounds())

    def count(self, device: str) -> int:
        return sum(1 for r in self.sink.readings if r.device == device and "active_power_w" in r.values)


def test_one_dead_device_of_four_leaves_the_others_at_least_99_percent_of_their_polls() -> None:
    rig = Rig(4, dead=(2,))

    rig.run(1000)

    for device in ("m1", "m3", "m4"):
        assert rig.count(device) >= 990
    assert rig.count("m2") == 0
    assert [e[:2] for e in rig.sink.events if e[0] == "device_silent"] == [("device_silent", "m2")]


def test_without_back_off_and_with_three_retries_the_same_bus_loses_more_than_a_tenth() -> None:
    """The control: library defaults, 3 s timeout and 3 retries, every device in every slot."""
    clock, polls = Clock(), 0
    line = FakeLine(clock, {n: sdm630() for n in (1, 3, 4)})

    async def naive() -> None:
        nonlocal polls
        while clock.now < START + 200 * TEN:
            slot = clock.now // TEN
            for unit in (1, 2, 3, 4):
                for _ in range(4 if unit == 2 else 1):
                    try:
                        await line.read(unit, Block(4, 0, 80), timeout_s=3.0)
                        polls += unit == 1
                    except DeviceError:
                        continue
            await clock.until(int((slot + 1) * TEN))

    asyncio.run(naive())

    assert polls < 0.9 * 200


def test_a_dead_device_is_asked_once_a_minute_in_the_end() -> None:
    rig = Rig(2, dead=(2,))

    rig.run(200)

    asked = [at for at, unit, _ in rig.line.asked if unit == 2]
    assert len(asked) <= 200 * TEN / 60_000 + 6
    assert max(b - a for a, b in pairwise(asked)) <= 61_000


def test_what_answered_is_kept_when_a_later_block_fails() -> None:
    rig = Rig(1)
    rig.run(1)
    rig.sink.readings.clear()
    rig.line.refuses = lambda _unit, block: 4 if block.function == 4 and block.start >= 200 else None

    rig.run(3)

    assert rig.sink.readings
    assert all("active_power_w" in r.values for r in rig.sink.readings)
    assert not any("active_energy_wh" in r.values for r in rig.sink.readings)
    assert not [e for e in rig.sink.events if e[0] == "device_silent"]


def test_blocks_that_come_late_make_a_second_reading() -> None:
    rig = Rig(1)
    rig.line.transaction_s = 0.3

    rig.run(1)

    instants = [r.at_ms for r in rig.sink.readings if r.device == "m1"]
    assert len(instants) > 1
    assert len(set(instants)) == len(instants)


def test_a_device_without_an_answer_gives_no_reading_and_never_a_zero() -> None:
    rig = Rig(1, dead=(1,))

    rig.run(20)

    assert rig.sink.readings == []


def test_a_busy_device_is_asked_once_more() -> None:
    rig = Rig(1)
    said = iter([6, *[None] * 1000])
    rig.line.refuses = lambda _unit, _block: next(said)

    rig.run(1)

    assert rig.count("m1") == 1


def test_a_network_gateway_that_reaches_nobody_counts_as_silence() -> None:
    rig = Rig(1)
    rig.line.refuses = lambda _unit, _block: 11

    rig.run(2)

    assert [e[0] for e in rig.sink.events] == ["device_silent"]


def test_holes_that_a_device_refuses_are_left_out_after_the_first_refusal() -> None:
    rig = Rig(1)
    used = {a for r in PROFILE.registers for f, _ in r.fields for a in range(f.address, f.address + f.words)}

    def refuses(_unit: int, block: Block) -> int | None:
        inside = set(range(block.start, block.end))
        return 2 if block.function == 4 and not inside <= used else None

    rig.line.refuses = refuses

    rig.run(12)

    assert rig.count("m1") >= 10
    last = [block for at, _, block in rig.line.asked if at >= START + 11 * TEN and block.function == 4]
    assert last
    assert all(set(range(b.start, b.end)) <= used for b in last)


def test_the_identity_is_read_again_now_and_then_and_another_serial_is_told() -> None:
    rig = Rig(1)
    rig.run(30)
    rig.line.images[1] = sdm630(serial=99)

    rig.run(130)

    changed = [e for e in rig.sink.events if e[0] == "identity_changed"]
    assert [dict(e[2]) for e in changed] == [{"serial": "99", "before": "1"}]


def test_every_poll_asks_for_what_is_due_in_it() -> None:
    rig = Rig(1)
    rig.run(130)
    profile = rig.bus.devices[0].profile
    identity = set(PROFILE.setup.values())

    for cycle in range(130):
        slot = START + cycle * TEN
        asked = [block for at, _, block in rig.line.asked if slot <= at < slot + TEN and block not in identity]
        assert asked == list(profile.plan(line_time(SERIAL, profile), cycle)), cycle


@pytest.mark.parametrize(("kind", "timeout_s", "worst_s"), [("serial", 0.4911, 0.3911), ("tcp", 1.0, 0.3)])
def test_a_read_may_take_the_device_s_longest_pause_and_its_time_on_the_wire(
    kind: Kind, timeout_s: float, worst_s: float
) -> None:
    profile = replace(PROFILE, max_response_ms=300.0, min_gap_ms=20.0)

    found = limits(Endpoint(kind=kind, baud=19_200), profile, 60)

    # 8 + 5 + 2 × 60 characters of 10 bits at 19,200 baud are 69.27 ms; 3.5 characters of silence 1.82 ms; gap 20 ms.
    assert found == pytest.approx((timeout_s, 0.02, worst_s), abs=1e-4)


@pytest.mark.parametrize("slots", [1, 5])
def test_only_reads_are_asked_for(slots: int) -> None:
    rig = Rig(2)

    rig.run(slots)

    assert {block.function for _, _, block in rig.line.asked} <= {3, 4}
