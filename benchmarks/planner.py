"""The read planner: what its plans cost on the line beside the exact optimum, found here in another way.

For every pair of registers the cheapest read that covers all between them is searched by trying every start and count
that the device's rules allow; the cheapest way through these reads, from the first register to the last, is then a
shortest path. Nothing of the planner is used, and the time of a read is written out from the serial-line specification.
"""

from __future__ import annotations

import csv
import heapq
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.table import Row, at_most, shown
from merilo.bustime import SerialLine
from merilo.profile import Profile
from merilo.readplan import Block, ReadRules, Span, cost_ms, plan
from merilo_adapters.profile_files import list_profiles, load_profile

CASES = Path(__file__).parents[1] / "tests" / "cases" / "plans"
BAUDS = (2400, 9600, 19_200, 38_400, 115_200)
RESPONSE_MS = 40.0


def time_ms(words: int, baud: int) -> float:
    """One read of so many words, 8N1: request, turnaround, answer, silence."""
    character = 10_000.0 / baud
    silence = 3.5 * character if baud <= 19_200 else 1.75
    return 8 * character + max(RESPONSE_MS, silence) + (5 + 2 * words) * character + silence


def optimum_ms(spans: Sequence[Span], rules: ReadRules, baud: int) -> float:
    """The least time in which all spans can be read."""
    total = sum(time_ms(span.count, baud) for span in set(spans) if span.alone)
    for function in {span.function for span in spans}:
        wanted = sorted({(s.start, s.start + s.count) for s in spans if s.function == function and not s.alone})
        total += _shortest(wanted, function, rules, baud)
    return total


def _shortest(wanted: list[tuple[int, int]], function: int, rules: ReadRules, baud: int) -> float:
    best = {0: 0.0}
    waiting = [(0.0, 0)]
    while waiting:
        cost, at = heapq.heappop(waiting)
        if at == len(wanted):
            return cost
        if cost > best[at]:
            continue
        for past in range(at + 1, len(wanted) + 1):
            words = _fewest_words(wanted[at:past], function, rules)
            if words is None:
                continue
            new = cost + time_ms(words, baud)
            if new < best.get(past, float("inf")):
                best[past] = new
                heapq.heappush(waiting, (new, past))
    raise RuntimeError("a register cannot be read")


def _fewest_words(spans: list[tuple[int, int]], function: int, rules: ReadRules) -> int | None:
    first, end = spans[0][0], max(end for _, end in spans)
    if end - first > rules.max_words or not _holes_allowed(spans, function, rules):
        return None
    for count in range(end - first, rules.max_words + 1):
        for start in range(max(0, end - count), first + 1):
            whole = start % rules.start_multiple == 0 and count % rules.count_multiple == 0 and start + count <= 65_536
            if whole and _readable(start, start + count, function, rules):
                return count
    return None


def _readable(start: int, end: int, function: int, rules: ReadRules) -> bool:
    off = all(not f.applies(function) or f.last < start or f.first >= end for f in rules.forbidden)
    return off and all(not b.applies(function) or not start < b.first < end for b in rules.barriers)


def _holes_allowed(spans: list[tuple[int, int]], function: int, rules: ReadRules) -> bool:
    if rules.holes == "free":
        return True
    taken = {address for start, end in spans for address in range(start, end)}
    holes = [address for address in range(spans[0][0], max(taken) + 1) if address not in taken]
    if not holes:
        return True
    if rules.holes == "strict":
        return False
    runs: list[tuple[int, int]] = []
    for address in holes:
        runs[-1:] = (
            [(runs[-1][0], address)] if runs and runs[-1][1] == address - 1 else [*runs[-1:], (address, address)]
        )
    return all(any(r.applies(function) and r.first <= a and b <= r.last for r in rules.readable) for a, b in runs)


def _polled(say: Callable[[str], None]) -> list[Profile]:
    found = []
    for listed in list_profiles():
        say(listed.name)
        profile = load_profile(listed.name)
        if profile.registers:
            found.append(profile)
    return found


def _public_maps() -> dict[str, tuple[list[Span], int]]:
    limits = {}
    with (CASES / "expected.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            limits[row["map"]] = int(row["max_words"])
    spans: dict[str, list[Span]] = {name: [] for name in limits}
    with (CASES / "maps.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["map"] in spans:
                spans[row["map"]].append(Span(int(row["function"]), int(row["address"]), int(row["words"])))
    return {name: (spans[name], limits[name]) for name in limits}


def run(quick: bool, say: Callable[[str], None]) -> list[Row]:
    """Bus time above the optimum: shipped profiles at five speeds, and 22 public register maps."""
    bauds = (9600, 38_400) if quick else BAUDS
    profiles = _polled(say)
    above, plans = 0.0, 0
    for profile in profiles:
        say(profile.name)
        for baud in bauds:
            line = SerialLine(baud=baud, response_ms=RESPONSE_MS)
            spans = profile.spans(frozenset({r.every for r in profile.registers}))
            above = max(above, cost_ms(profile.plan(line), line) - optimum_ms(spans, profile.rules, baud))
            plans += 1
    names = ", ".join(profile.name for profile in profiles)
    rows = [at_most(f"bus time above the optimum, {plans} plans of shipped maps", above, 1e-4, "ms", beside=names)]
    maps, single, planned = _public_maps(), 0.0, 0.0
    above, began = 0.0, time.process_time()
    line = SerialLine(baud=9600, response_ms=RESPONSE_MS)
    for spans, limit in maps.values():
        rules = ReadRules(max_words=limit, holes="free")
        single += cost_ms([Block(*span[:3]) for span in spans], line)
        planned += cost_ms(plan(spans, rules, line), line)
    took = time.process_time() - began
    for name, (spans, limit) in maps.items():
        say(name)
        rules = ReadRules(max_words=limit, holes="free")
        above = max(above, cost_ms(plan(spans, rules, line), line) - optimum_ms(spans, rules, 9600))
    beside = (
        f"{planned / 1000:.1f} s at 9600 baud; one read per register {single / 1000:.1f} s: {single / planned:.1f} ×"
    )
    rows.append(at_most(f"the same, {len(maps)} public maps", above, 1e-4, "ms", beside=beside))
    rows.append(shown("planning one map", took / len(maps) * 1000, "ms CPU"))
    return rows
