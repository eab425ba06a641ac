"""Random histories of one register: a load with known truth, and the faults that registers have."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from merilo.ledger import RegisterFacts

SECOND, MINUTE, QUARTER, HOUR, DAY = 1_000, 60_000, 900_000, 3_600_000, 86_400_000
START = 19_676 * DAY

KINDS = (
    *("gap", "spike", "zeros", "dip", "rebased", "reset", "up", "down"),
    *("decode", "stuck", "lost", "identity", "old", "wild", "blind"),
)

Reading = tuple[int, int | None, int | None]


@dataclass(frozen=True, slots=True)
class History:
    """Readings in order, and what goes with them."""

    readings: list[Reading]
    facts: list[RegisterFacts]
    identity_ms: tuple[int, ...]
    until_ms: int


def history(random: Random, *, most: int = 240, faulty: bool = True) -> History:
    """One history of at most so many readings."""
    poll = random.choice([10 * SECOND, MINUTE, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR])
    step = random.choice([1, 1_000, 10_000, 100_000, 1_000_000])
    most_mw = random.choice([500_000, 5_000_000, 50_000_000])
    modulus = random.choice([None, None, 10_000_000_000, 100_000_000])
    base = RegisterFacts(
        step_mwh=step,
        max_power_mw=most_mw,
        poll_interval_ms=min(poll, HOUR),
        rollover_mwh=modulus,
        zero_is_valid=random.random() < 0.5,
    )
    start = START + random.choice([0, random.randrange(DAY)])
    count = random.randint(1, most)
    readings = _undisturbed(random, base, start, count, poll)
    facts = [base]
    identity: list[int] = []
    if faulty:
        for _ in range(random.choice([0, 1, 1, 2, 3, 4])):
            readings = _fault(random, readings, base, identity)
    if random.random() < 0.2:
        at = start + random.randrange(count * poll)
        facts.append(_changed(random, base, at // QUARTER * QUARTER))
    end = (readings[-1][0] if readings else start) // QUARTER * QUARTER
    return History(readings, facts, tuple(sorted(set(identity))), end + random.choice([-4, 0, 1, 1, 5]) * QUARTER)


def _changed(random: Random, base: RegisterFacts, at: int) -> RegisterFacts:
    return RegisterFacts(
        step_mwh=base.step_mwh * random.choice([1, 10]),
        max_power_mw=base.max_power_mw * random.choice([1, 2, 4]) // 2,
        poll_interval_ms=base.poll_interval_ms * random.choice([1, 2]),
        rollover_mwh=base.rollover_mwh,
        zero_is_valid=base.zero_is_valid,
        valid_from_ms=at,
    )


def _undisturbed(random: Random, facts: RegisterFacts, start: int, count: int, poll: int) -> list[Reading]:
    modulus, step = facts.rollover_mwh, facts.step_mwh
    true = random.choice([0, 1_500_000, 9_000_000_000, (modulus or 10**11) - random.randrange(10**7)])
    scale = random.choice([0.001, 0.02, 0.3, 0.9])
    power = int(facts.max_power_mw * scale * random.random())
    sampled = random.choice(["none", "all", "some", "more"])
    jitter = random.choice([0, 900])
    found: list[Reading] = []
    fraction = 0
    at = start
    for _ in range(count):
        if random.random() < 0.1:
            power = random.choice([0, power, int(facts.max_power_mw * scale * random.random())])
        value = true // step * step
        shown = value if modulus is None else value % modulus
        sample = None if sampled == "none" or (sampled == "some" and random.random() < 0.5) else power
        found.append((at, shown, sample))
        gap = poll + random.randint(-jitter, jitter)
        if random.random() < 0.02:
            gap *= random.randint(2, 40)
        if sampled == "more":
            found += [(at + gap * i // 4, None, power) for i in (1, 2, 3)]
        fraction += power * gap
        true, fraction = true + fraction // HOUR, fraction % HOUR
        at += gap
    return found


def _fault(random: Random, readings: list[Reading], facts: RegisterFacts, identity: list[int]) -> list[Reading]:
    """The readings with one more fault from a random place on."""
    if len(readings) < 2:
        return readings
    i = random.randrange(len(readings))
    kind = random.choice(KINDS)
    span = random.choice([1, 1, 2, 3, 5, 20, 60, len(readings)])
    j = min(len(readings), i + span)
    inside = readings[i:j]
    register = next((r for _, r, _ in readings[i:] if r is not None), 0)
    if kind == "gap":
        return readings[:i] + readings[j:] if i else readings
    if kind == "blind":
        return readings[:i] + [(t, r, None) for t, r, _ in inside if r is not None] + readings[j:]
    if kind in ("stuck", "old"):
        power = readings[i][2]
        kept = [(t, None if r is None else register, power if kind == "old" else p) for t, r, p in inside]
        return readings[:i] + kept + readings[j:]
    if kind == "identity":
        identity.append(readings[i][0] - random.choice([0, 1, 500]))
        return readings if random.random() < 0.3 else _shifted(readings, i, len(readings), random.randrange(10**8))
    if kind == "spike":
        return _shifted(readings, i, j, random.choice([facts.max_power_mw * 3, 10**11]))
    if kind == "zeros":
        return readings[:i] + [(t, None if r is None else 0, p and 0) for t, r, p in inside] + readings[j:]
    if kind == "dip":
        return _shifted(readings, i, min(j, i + 3), -random.choice([facts.step_mwh, 3 * facts.step_mwh, 300_000]))
    if kind == "rebased":
        return _shifted(readings, i, len(readings), -random.choice([300_000, 900_000, 5 * facts.step_mwh]))
    if kind == "reset":
        return _shifted(readings, i, len(readings), -register)
    if kind == "lost":
        held = next((r for _, r, _ in readings[j:] if r is not None), register)
        kept = [(t, None if r is None else register, p) for t, r, p in inside]
        return readings[:i] + kept + _shifted(readings[j:], 0, len(readings), register - held)
    if kind in ("up", "down"):
        by = random.randrange(10**9)
        return _shifted(readings, i, len(readings), by if kind == "up" else -min(by, register))
    factor = random.choice([10, 1000, 0.1, 0.001])
    if kind == "decode":
        return readings[:i] + [(t, None if r is None else int(r * factor), p) for t, r, p in inside] + readings[j:]
    wild = [(t, None if r is None else random.choice([r, random.randrange(10**12)]), p) for t, r, p in inside]
    return readings[:i] + wild + readings[j:]


def _shifted(readings: list[Reading], i: int, j: int, by: int) -> list[Reading]:
    moved = [(t, None if r is None else max(0, r + by), p) for t, r, p in readings[i:j]]
    return readings[:i] + moved + readings[j:]
