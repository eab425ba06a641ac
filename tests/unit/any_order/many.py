"""Hundreds of lives in several processes: what each came to, and how many a broken rule survives."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from mutants.mutants import MUTANTS
from unit.any_order.world import World, difference, outcome

PROCESSES = 2
"""As many cores as the smallest machine that tests run on has."""
CHUNK = 20


@dataclass(frozen=True, slots=True)
class Lived:
    """What one life came to."""

    seed: int
    wrong: str
    """The first difference to one pass, or the exception; empty if there is none."""
    passes: int = 0
    crashes: int = 0
    expiries: int = 0
    decisions: int = 0
    readings: int = 0


def lived(seed: int) -> Lived:
    """One life of the books as they are."""
    world = World(seed)
    wrong = _wrong(world)
    readings = sum(len(found) for found in world.readings.values())
    decisions = len(world.ports.facts.decided)
    return Lived(seed, wrong, world.passes, world.crashes, world.expired, decisions, readings)


def _wrong(world: World) -> str:
    try:
        return difference(outcome(world.live().ports), world.one_pass())
    except Exception as error:  # whatever stops the books is a failure of this life, and its seed must be told
        return f"{type(error).__name__}: {error}"


def survived(mutant: str, most: int) -> int | None:
    """How many lives it took to notice a broken rule, None if none of so many did."""
    one = next(found for found in MUTANTS if found.name == mutant)
    for seed in range(most):
        if _wrong(World(seed, one.make_books, one.make_ports)):
            return seed + 1
    return None


def all_lived(seeds: range) -> list[Lived]:
    """Many lives, in several processes."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        return list(pool.map(lived, seeds, chunksize=CHUNK))


def all_survived(mutants: Sequence[str], most: int) -> dict[str, int | None]:
    """The same for broken rules."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        return dict(zip(mutants, pool.map(survived, mutants, [most] * len(mutants)), strict=True))
