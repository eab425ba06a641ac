"""What databases a company gets, and what an existing one is changed to."""

from __future__ import annotations

import pytest

from merilo.schema import Policy
from merilo_adapters.influx_policies import Retention, planned, set_up

DAY = 86_400
LONG = Retention(0, 182 * DAY)


class Listed:
    """A server that remembers its policies."""

    def __init__(self, companies: int, **policies: Retention) -> None:
        self._companies = companies
        self.policies: dict[str, Retention] = dict(policies)

    def companies(self) -> int:
        return self._companies

    def retentions(self, name: str) -> dict[str, Retention]:
        assert name == "merilo-acme"
        return dict(self.policies)

    def create(self, name: str, policy: Policy, retention: Retention) -> None:
        assert policy not in self.policies
        self.policies[policy] = retention

    def alter(self, name: str, policy: Policy, retention: Retention) -> None:
        assert policy in self.policies
        self.policies[policy] = retention


@pytest.mark.parametrize(
    ("raw_days", "companies", "raw"),
    [
        (90, 1, Retention(90 * DAY, 7 * DAY)),
        (90, 50, Retention(90 * DAY, 7 * DAY)),
        (90, 51, Retention(90 * DAY, 30 * DAY)),
        (None, 1, Retention(0, 7 * DAY)),
        (None, 51, Retention(0, 30 * DAY)),
        (1, 1, Retention(DAY, DAY)),
        (20, 51, Retention(20 * DAY, 20 * DAY)),
    ],
)
def test_shard_groups_follow_the_retention_and_the_number_of_companies(
    raw_days: int | None, companies: int, raw: Retention
) -> None:
    assert planned(raw_days, companies) == {"autogen": LONG, "raw": raw}


def test_the_new_company_counts_and_an_old_one_is_not_changed_for_it() -> None:
    fifty = Listed(50)
    set_up(fifty, "acme", 90, dry_run=False)
    old = Listed(80, autogen=LONG, raw=Retention(90 * DAY, 7 * DAY))

    assert fifty.policies["raw"] == Retention(90 * DAY, 30 * DAY)
    assert set_up(old, "acme", 90, dry_run=False) == []
    assert old.policies["raw"] == Retention(90 * DAY, 7 * DAY)


def test_a_database_that_somebody_made_by_hand_is_completed_and_repaired() -> None:
    server = Listed(1, autogen=Retention(0, 7 * DAY))

    said = set_up(server, "acme", 90, dry_run=False)

    assert server.policies == {"autogen": LONG, "raw": Retention(90 * DAY, 7 * DAY)}
    assert said == [
        "changed merilo-acme policy autogen: kept for ever, shard groups of 182 d,"
        " was kept for ever, shard groups of 7 d",
        "created merilo-acme policy raw: kept for 90 d, shard groups of 7 d",
    ]


def test_a_dry_run_changes_nothing() -> None:
    server = Listed(1, autogen=Retention(0, 7 * DAY))

    said = set_up(server, "acme", 90, dry_run=True)

    assert [line.split(" merilo")[0] for line in said] == ["would change", "would create"]
    assert server.policies == {"autogen": Retention(0, 7 * DAY)}
