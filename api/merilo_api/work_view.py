"""Counts over the work tables: what waits for the books, what was refused, what is kept of it."""

from __future__ import annotations

import sqlalchemy as sa

from merilo_adapters.registry import tables
from merilo_adapters.registry.work import Work


def waiting(work: Work, company: str | None) -> int:
    """Rows of work that the books have not done, of one company or of all."""
    table = tables.touched
    query = sa.select(sa.func.count()).select_from(table)
    if company is not None:
        query = query.where(table.c.company == company)
    with work.database.read() as connection:
        return int(connection.execute(query).scalar_one())


def rejected(work: Work, company: str | None, since: str = "") -> dict[str, int]:
    """What was not taken, by reason, since a day such as ``2026-11-01``."""
    table = tables.counters
    query = sa.select(table.c.scope, table.c.name, table.c.value).where(table.c.name.startswith("rejected:"))
    if company is not None:
        query = query.where(table.c.scope.startswith(f"{company}/", autoescape=True))
    found: dict[str, int] = {}
    with work.database.read() as connection:
        for _, name, value in connection.execute(query):
            _, reason, day = (*name.split(":"), "")[:3]
            if day >= since:
                found[reason] = found.get(reason, 0) + int(value)
    return dict(sorted(found.items()))


def dead(work: Work, company: str | None) -> dict[str, int]:
    """Refused messages that are kept and can be replayed, by reason."""
    table = tables.dead_letters
    query = sa.select(table.c.reason, sa.func.count()).group_by(table.c.reason).order_by(table.c.reason)
    if company is not None:
        query = query.where(table.c.company == company)
    with work.database.read() as connection:
        return {str(reason): int(number) for reason, number in connection.execute(query)}


def forgotten_days(work: Work, company: str) -> int:
    """Days of which the store does not have any more what it had taken."""
    scope = f"store/{company}"
    return work.counters(scope).get((scope, "forgotten_days"), 0)
