"""Operators' decisions: append-only. A revoked one stays and says when and by whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from merilo.errors import ConflictError, NotFoundError
from merilo.ids import DeviceKey, MeterKey, RegisterKey
from merilo.instants import DAY_MS
from merilo.site import NAME_MAX
from merilo_adapters.registry import tables

if TYPE_CHECKING:
    from merilo.decisions import Decision, Kind

REASON_MAX = 400
REVOKE = "decision.revoke"
"""What a revocation is called in the log of changes, which keeps its reason."""
SPAN_MAX_MS = 20 * 366 * DAY_MS
"""Longest stretch of a decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision as it was entered."""

    number: int = 0
    """Given by the registry; rising, so that it is also the order of creation."""
    kind: Kind
    register: RegisterKey | None = None
    meter: MeterKey | None = None
    """For set_energy; all other kinds decide about a register."""
    from_ms: int
    to_ms: int
    """End of the stretch; equal to ``from_ms`` where the decision is about an instant."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reason: str
    evidence: str = ""
    """Link to a photo, a bill, a log book."""
    author: str
    created_ms: int
    revoked_ms: int | None = None
    revoked_by: str = ""

    def __post_init__(self) -> None:
        self.decision()
        if self.to_ms - self.from_ms > SPAN_MAX_MS:
            raise ValueError(f"decision ({self.kind}): expected a stretch of at most 20 years")
        if not self.reason.strip() or len(self.reason) > REASON_MAX:
            raise ValueError(f"decision ({self.kind}): expected a reason of 1 to {REASON_MAX} characters")
        if len(self.evidence) > REASON_MAX or len(self.author) > NAME_MAX:
            raise ValueError(f"decision ({self.kind}): evidence or author is too long")

    def decision(self) -> Decision:
        """What the domain needs of it.

        Raises:
            ValueError: Parameters, target or stretch do not fit the kind.
        """
        from merilo.decisions import Decision

        return Decision(
            id=self.number,
            kind=self.kind,
            target=self._key,
            from_ms=self.from_ms,
            to_ms=self.to_ms,
            parameters=self.parameters,
            created_ms=self.created_ms,
            revoked=self.revoked_ms is not None,
        )

    @property
    def company(self) -> str:
        """Whose."""
        return self._key.company

    @property
    def site(self) -> str:
        """Where."""
        return self._key.site

    @property
    def _key(self) -> RegisterKey | MeterKey:
        found = self.register or self.meter
        if found is None or (self.register and self.meter):
            raise ValueError(f"decision ({self.kind}): expected either a register or a meter")
        return found


def _record(row: Any) -> DecisionRecord:
    meter = MeterKey(row.company, row.site, row.meter) if row.meter else None
    register = RegisterKey(row.company, row.site, row.gateway, row.device, row.register) if row.register else None
    plain = ("number", "kind", "from_ms", "to_ms", "reason", "evidence", "author", "created_ms", "revoked_ms")
    return DecisionRecord(
        meter=meter,
        register=register,
        parameters=msgspec.json.decode(row.parameters),
        revoked_by=row.revoked_by,
        **{name: getattr(row, name) for name in plain},
    )


def records(
    connection: sa.Connection,
    company: str,
    site: str | None = None,
    *,
    device: DeviceKey | None = None,
    register: str | None = None,
    meter: str | None = None,
) -> list[DecisionRecord]:
    """All decisions that fit, the revoked ones too, in the order they were made."""
    columns = tables.decisions.c
    query = sa.select(tables.decisions).where(columns.company == company).order_by(columns.number)
    wanted = {"site": site, "register": register, "meter": meter}
    if device is not None:
        wanted |= device._asdict()
    for name, value in wanted.items():
        if value is not None:
            query = query.where(columns[name] == value)
    return [_record(row) for row in connection.execute(query)]


def record(connection: sa.Connection, number: int) -> DecisionRecord:
    """One decision.

    Raises:
        NotFoundError: There is none of that number.
    """
    row = connection.execute(sa.select(tables.decisions).where(tables.decisions.c.number == number)).first()
    if row is None:
        raise NotFoundError(f"decision {number}: the registry has none of that number")
    return _record(row)


def add(connection: sa.Connection, new: DecisionRecord) -> DecisionRecord:
    """Enters a decision; gives it with its number."""
    key = new.register._asdict() if new.register else new.meter._asdict() if new.meter else {}
    plain = ("kind", "from_ms", "to_ms", "reason", "evidence", "author", "created_ms")
    values = {**key, **{name: getattr(new, name) for name in plain}}
    text = msgspec.json.encode(dict(new.parameters)).decode()
    query = sa.insert(tables.decisions).values(**values, parameters=text).returning(tables.decisions.c.number)
    return record(connection, connection.execute(query).scalar_one())


def revoke(connection: sa.Connection, number: int, at_ms: int, by: str) -> DecisionRecord:
    """Revokes a decision, as if it had never been.

    Raises:
        NotFoundError: There is none of that number.
        ConflictError: It is revoked already.
    """
    known = record(connection, number)
    if known.revoked_ms is not None:
        raise ConflictError(f"decision {number}: is revoked already")
    mine = tables.decisions.c.number == number
    connection.execute(sa.update(tables.decisions).where(mine).values(revoked_ms=at_ms, revoked_by=by))
    return record(connection, number)


def revoke_reasons(connection: sa.Connection, numbers: Collection[int]) -> dict[int, str]:
    """Reasons of revocations by the decision's number; read from the log of changes, so only where people look."""
    log = tables.changes.c
    query = sa.select(log.subject, log.detail).where(log.action == REVOKE, log.subject.in_(map(str, numbers)))
    found = {
        int(row.subject): str(msgspec.json.decode(row.detail).get("reason", "")) for row in connection.execute(query)
    }
    return {number: reason for number, reason in found.items() if reason}


def checked(new: DecisionRecord, known_devices: set[DeviceKey], known_meters: set[str]) -> None:
    """Checks that a decision is about something that exists.

    Raises:
        NotFoundError: Its register's device or its meter is not there.
    """
    if new.register is not None and new.register.device_key not in known_devices:
        raise NotFoundError(f"device {'/'.join(new.register.device_key)}: the registry has none of that name")
    if new.meter is not None and new.meter.meter not in known_meters:
        raise NotFoundError(f"meter {'/'.join(new.meter)}: the site has none of that id")
