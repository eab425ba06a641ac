"""Random histories of one register with a known truth: seeded, fast, each fault of the ledger in them.

``history(seed)`` is the door. The same seed gives the same history on every machine with the same numpy generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merilo.ledger import RegisterFacts

from .truth import Load, Meter, Poll, Polls, restless, schedule

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
MINUTE = 60_000
QUARTER = 900_000
DAY = 86_400_000
WH = 1_000
KWH = 1_000_000
REGISTER_MAX_MWH = 9 * 10**15
"""9 TWh: no register of the vocabulary shows more."""

FAULTS = (
    "outage",
    "zero_burst",
    "spike",
    "stale",
    "restored",
    "reset",
    "swap_up",
    "swap_down",
    "identity",
    "stuck",
    "stuck_resumed",
    "stuck_open",
    "decode",
    "decode_returns",
    "without_register",
    "without_power",
    "lost",
)
"""Every fault a history can have; a rollover comes from where the register begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Polls of one register and what was true."""

    seed: int
    readings: list[Poll]
    """(instant [UTC ms], register [mWh] or None, own power [mW] or None), instants strictly rising."""
    identity_ms: tuple[int, ...]
    """Instants at which the gateway reported another serial number."""
    facts: tuple[RegisterFacts, ...]
    until_ms: int
    """The last grid instant not after the last reading."""
    faults: tuple[str, ...]
    load: Load

    def truth_mwh_at(self, at_ms: int) -> float:
        """True energy from the first reading to an instant [mWh]."""
        return self.load.energy_mwh(self.readings[0][0], at_ms)


def history(
    seed: int, *, days_max: int = 4, poll_min_ms: int = MINUTE, faults: tuple[str, ...] | None = None
) -> History:
    """One history, 1 to days_max days long, polls of poll_min to 900 s.

    Args:
        seed: Chooses everything else.
        days_max: Longest history [days], at least 1.
        poll_min_ms: Shortest nominal interval of polls [ms], at most 900 000.
        faults: These instead of up to four random ones.
    """
    rng = np.random.default_rng([seed, 20_260_101])
    poll_ms = int(rng.choice([p for p in (60_000, 120_000, 300_000, 600_000, 900_000) if p >= poll_min_ms]))
    begin = START_MS + int(rng.integers(0, DAY // 1_000)) * 1_000
    end = begin + int(rng.integers(DAY, days_max * DAY + 1))
    base_mw, swing_mw = _sizes(rng)
    load = restless(begin - DAY, end + DAY, base_mw, swing_mw, rng)
    meter = _meter(load, rng)
    at_ms = schedule(begin, end, poll_ms, int(rng.choice([0, 1_500, poll_ms // 10])), seed)
    polls = Polls(meter, at_ms, power=rng.random() < 0.6, power_gain=float(rng.uniform(0.96, 1.04)))
    chosen = tuple(rng.choice(FAULTS, int(rng.integers(0, 5)))) if faults is None else faults
    for fault in chosen:
        _spoil(polls, str(fault), poll_ms, rng)
    readings = [
        (at, shown if shown is None else min(max(shown, 0), REGISTER_MAX_MWH), power)
        for at, shown, power in polls.readings()
    ]
    return History(
        seed=seed,
        readings=readings,
        identity_ms=polls.identity_ms,
        facts=_facts(meter, base_mw + swing_mw, poll_ms, begin, rng),
        until_ms=readings[-1][0] // QUARTER * QUARTER,
        faults=tuple(str(fault) for fault in chosen),
        load=load,
    )


def _sizes(rng: np.random.Generator) -> tuple[int, int]:
    """Base load and swing [mW]: from a host of 100 W to a site of 100 kW."""
    size = int(10 ** rng.uniform(5, 8))
    return int(size * rng.uniform(0.05, 0.6)), int(size * rng.uniform(0.0, 0.4)) + 1


def _meter(load: Load, rng: np.random.Generator) -> Meter:
    """A register of some step that begins anywhere, or little before its rollover."""
    step = int(rng.choice([1, 10, 100, 1_000])) * WH
    rollover = int(rng.choice([0, 0, 1_000, 10_000, 1_000_000])) * KWH
    if rollover:
        first = rollover - int(rng.integers(0, max(1, min(rollover, 200 * KWH) // step))) * step
    else:
        first = int(rng.integers(0, 1_000_000)) * int(rng.integers(0, 2)) * KWH
    return Meter(load=load, step_mwh=step, first_mwh=first, rollover_mwh=rollover or None)


def _facts(
    meter: Meter, power_mw: int, poll_ms: int, begin_ms: int, rng: np.random.Generator
) -> tuple[RegisterFacts, ...]:
    """Facts true of the meter; in one of five the maximum changes on the way, in one the modulus is unknown."""
    largest = int(power_mw * rng.uniform(1.1, 3))
    known_rollover = meter.rollover_mwh if rng.random() < 0.8 else None
    zero_is_valid = bool(rng.random() < 0.7)
    maxima = [(0, largest)]
    if rng.random() < 0.2:
        maxima.append((begin_ms // QUARTER * QUARTER + int(rng.integers(1, 200)) * QUARTER, largest * 2))
    return tuple(
        RegisterFacts(
            step_mwh=meter.step_mwh,
            max_power_mw=maximum,
            poll_interval_ms=poll_ms,
            rollover_mwh=known_rollover,
            zero_is_valid=zero_is_valid,
            valid_from_ms=valid_from,
        )
        for valid_from, maximum in maxima
    )


def _spoil(polls: Polls, fault: str, poll_ms: int, rng: np.random.Generator) -> None:
    """One fault at a random place, as long as such faults are: from one poll to more than a day."""
    first, last = int(polls.at_ms[0]), int(polls.at_ms[-1])
    at = int(rng.integers(first + poll_ms, max(last, first + 2 * poll_ms)))
    length = int(poll_ms * np.exp(rng.uniform(0, np.log(1.2 * DAY / poll_ms))))
    end = at + length
    fall = int(rng.integers(3, 200)) * polls.meter.step_mwh
    exponent = int(rng.choice([-3, -2, -1, 1, 2, 3]))
    if fault == "outage":
        polls.outage(at, end)
    elif fault == "zero_burst":
        polls.zero_burst(at, end)
    elif fault == "spike":
        polls.spike(at, end, int(rng.choice([2, 10, 1_000])))
    elif fault == "stale":
        polls.stale(at, end, fall)
    elif fault == "restored":
        polls.restored(at, fall)
    elif fault == "reset":
        polls.reset(at)
    elif fault == "swap_up":
        polls.swap(at, polls.shows(at) + int(rng.integers(10, 5_000)) * KWH)
    elif fault == "swap_down":
        polls.swap(at, int(rng.integers(0, 5_000)) * WH)
    elif fault == "identity":
        polls.swap(at, int(rng.integers(0, 5_000)) * WH, reported=True)
    elif fault == "stuck":
        polls.stuck(at, end)
    elif fault == "stuck_resumed":
        polls.stuck(at, end, lost=True)
    elif fault == "stuck_open":
        polls.stuck(at, last + 1)
    elif fault == "decode":
        polls.decode(at, exponent)
    elif fault == "decode_returns":
        polls.decode(at, exponent, end)
    elif fault == "without_register":
        polls.without_register(at, end)
    elif fault == "without_power":
        polls.without_power(at, end)
    elif fault == "lost":
        polls.lost(float(rng.uniform(0.01, 0.6)), rng)
    else:
        raise ValueError(f"fault {fault!r} is none of {FAULTS}")
