"""What the books of a site ask of the outside, what they are given to do, and what they say of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from merilo.decisions import Decision
from merilo.frame import Frame
from merilo.ids import DeviceKey, RegisterKey
from merilo.ledger import LedgerEvent, RegisterFacts
from merilo.meters import Scheme
from merilo.site import Site


class BookStore(Protocol):
    """What the books ask of the series store."""

    def read(
        self, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int
    ) -> list[tuple[dict[str, str], Frame]]:
        """Series with these tags and their rows of [start, end)."""
        ...

    def replace(self, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int, frame: Frame) -> int:
        """Makes the range hold exactly these rows; gives how many rows had to change."""
        ...

    def tags(self, measurement: str, tags: Mapping[str, str]) -> list[dict[str, str]]:
        """Tag sets of the series that have these tags."""
        ...


class SiteFacts(Protocol):
    """What the books ask of the registry about one site; one consistent view."""

    site: Site
    scheme: Scheme
    devices: Mapping[DeviceKey, float]
    """Every device and its polling interval [s]."""

    def facts(self, key: RegisterKey) -> Sequence[RegisterFacts]:
        """Dated facts of a register."""
        ...

    def identity(self, key: DeviceKey) -> tuple[int, ...]:
        """Instants at which the device became another one."""
        ...

    def decisions(self) -> Sequence[Decision]:
        """All decisions about registers and meters of the site."""
        ...

    def replace_events(self, key: RegisterKey, after_ms: int, to_ms: int, events: Sequence[LedgerEvent]) -> list[int]:
        """Enters ledger events; gives their numbers."""
        ...

    def events(self, key: RegisterKey, after_ms: int, to_ms: int) -> list[LedgerEvent]:
        """Ledger events of a register in (after, to]."""
        ...


class Quality(Protocol):
    """Writes the daily quality of devices."""

    def write(self, devices: Collection[DeviceKey], start_ms: int, end_ms: int, until_ms: int) -> None:
        """Quality of the local days that overlap [start, end)."""
        ...


@dataclass(slots=True)
class Span:
    """What was touched of one device: registers None means all of them; walk False means decisions or meters only."""

    device: DeviceKey
    first_ms: int
    last_ms: int
    registers: frozenset[str] | None = None
    walk: bool = True


@dataclass(slots=True)
class Report:
    """What a pass changed."""

    registers: int = 0
    rows_changed: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    """Rows that had to change, by measurement."""

    def add(self, measurement: str, rows: int) -> None:
        """Counts rows of a measurement."""
        self.rows_changed += rows
        self.changed[measurement] = self.changed.get(measurement, 0) + rows
