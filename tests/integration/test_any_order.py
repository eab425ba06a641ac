"""The books end as in one pass, whatever the order; and a suite that says so must notice every broken rule."""

from __future__ import annotations

import pytest

from mutants.mutants import MUTANTS
from unit.any_order.many import all_lived, all_survived

HISTORIES = 500
HISTORIES_LONG = 20_000
MUTANT_HISTORIES = 500
"""At most so many lives until a broken rule is noticed."""
SLOW_HISTORIES = 5_000


def _end_as_in_one_pass(seeds: range) -> None:
    found = all_lived(seeds)

    readings, passes, crashes = (sum(getattr(one, name) for one in found) for name in ("readings", "passes", "crashes"))
    expiries, decisions = sum(one.expiries for one in found), sum(one.decisions for one in found)
    print(
        f"seeds {seeds.start}..{seeds.stop - 1}: {readings} readings, {passes} passes, {crashes} crashes, "
        f"{expiries} expiries, {decisions} decisions"
    )
    wrong = [f"seed {one.seed}: {one.wrong}" for one in found if one.wrong]
    assert not wrong, f"{len(wrong)} of {len(found)} histories differ from one pass; the first: " + "\n".join(wrong[:5])
    assert min(crashes, expiries, decisions) > len(found) // 10, "the histories are too tame to prove anything"


def _are_noticed(names: list[str], most: int) -> None:
    found = all_survived(names, most)

    for name, histories in found.items():
        print(f"mutant {name}: " + (f"noticed after {histories} histories" if histories else f"survived {most}"))
    assert [name for name, histories in found.items() if histories is None] == []


@pytest.mark.timeout(600)
def test_500_histories_in_any_order_end_as_in_one_pass() -> None:
    _end_as_in_one_pass(range(HISTORIES))


@pytest.mark.timeout(600)
def test_every_broken_rule_but_the_slowest_is_noticed() -> None:
    _are_noticed([one.name for one in MUTANTS if not one.slow], MUTANT_HISTORIES)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_20000_histories_in_any_order_end_as_in_one_pass() -> None:
    _end_as_in_one_pass(range(HISTORIES_LONG))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_broken_rule_is_noticed() -> None:
    _are_noticed([one.name for one in MUTANTS], SLOW_HISTORIES)
