"""Databases and retention of a company on an InfluxDB server: what they should be, and the way there."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from merilo.schema import Policy, database

DAY_S = 86_400
SHARD_LONG_DAYS = 182
"""Roll-ups live for ever: long shard groups keep files, memory and start-up time small."""
SHARD_RAW_DAYS = 7
SHARD_RAW_MANY_DAYS = 30
"""Where a server holds many companies: each shard costs about 1.4 MB of memory."""
COMPANIES_MANY = 50


class Retention(NamedTuple):
    """How long a policy keeps its rows, and how much of them one shard group holds."""

    kept_s: int
    """Seconds, 0 for ever."""
    shard_s: int

    def __str__(self) -> str:
        kept = "for ever" if self.kept_s == 0 else f"for {self.kept_s / DAY_S:g} d"
        return f"kept {kept}, shard groups of {self.shard_s / DAY_S:g} d"


class PolicyServer(Protocol):
    """A server whose databases can be listed and made."""

    def companies(self) -> int:
        """How many companies have a database here."""
        ...

    def retentions(self, name: str) -> dict[str, Retention]:
        """Policies of a database; empty where there is no such database."""
        ...

    def create(self, name: str, policy: Policy, retention: Retention) -> None:
        """Makes the policy, and the database where it is missing."""
        ...

    def alter(self, name: str, policy: Policy, retention: Retention) -> None:
        """Gives an existing policy another retention."""
        ...


def planned(raw_days: int | None, companies: int) -> dict[Policy, Retention]:
    """What a company's policies should be on a server with so many companies.

    Raises:
        ValueError: raw_days below 1.
    """
    if raw_days is not None and raw_days < 1:
        raise ValueError(f"raw_days = {raw_days}, expected at least 1, or none for ever")
    shard = SHARD_RAW_MANY_DAYS if companies > COMPANIES_MANY else SHARD_RAW_DAYS
    raw = (
        Retention(0, shard * DAY_S)
        if raw_days is None
        else Retention(raw_days * DAY_S, min(shard, raw_days) * DAY_S)  # a server refuses shards longer than the whole
    )
    return {"autogen": Retention(0, SHARD_LONG_DAYS * DAY_S), "raw": raw}


def set_up(server: PolicyServer, company: str, raw_days: int | None, *, dry_run: bool) -> list[str]:
    """Makes or repairs the company's policies; says what was done, or what would be done."""
    name = database(company)
    present = server.retentions(name)
    wanted = planned(raw_days, server.companies() + (0 if present else 1))
    said = []
    for policy, retention in wanted.items():
        found = present.get(policy)
        if found is None:
            said.append(f"{'would create' if dry_run else 'created'} {name} policy {policy}: {retention}")
            if not dry_run:
                server.create(name, policy, retention)
        elif not _fits(found, retention, policy):
            said.append(f"{'would change' if dry_run else 'changed'} {name} policy {policy}: {retention}, was {found}")
            if not dry_run:
                server.alter(name, policy, retention)
    return said


def _fits(found: Retention, wanted: Retention, policy: Policy) -> bool:
    """Raw shard groups of another planned length stay: they were right when the server held fewer companies."""
    if found == wanted:
        return True
    lengths = {SHARD_RAW_DAYS * DAY_S, SHARD_RAW_MANY_DAYS * DAY_S}
    return policy == "raw" and found.kept_s == wanted.kept_s and found.shard_s in lengths
