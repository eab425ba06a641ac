"""What the domain asks of the outside: Protocols that adapters satisfy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from merilo.frame import Frame, Series


class Point(NamedTuple):
    """One row to write: tag values in the schema's order, instant, fields."""

    tags: tuple[str, ...]
    at_ms: int
    fields: Mapping[str, float | str]


class Rejected(NamedTuple):
    """A point that the store will never take."""

    position: int
    """Index in what was written."""
    reason: str


class Replaced(NamedTuple):
    """What a replace did."""

    deleted: int
    """Rows that lost a field or are gone."""
    written: int
    """Rows written."""


class SeriesStore(Protocol):
    """The series store: four verbs. Every company has its own database.

    All verbs raise StoreUnavailableError (try again) or StoreRefusedError (stop, keep, alarm).
    """

    def write(self, company: str, measurement: str, points: Sequence[Point]) -> list[Rejected]:
        """Writes points durably; a point that exists is united field by field, the last value wins.

        Returns the points that were refused for good (wrong type, outside the retention); all others are stored.
        """
        ...

    def read(
        self,
        company: str,
        measurement: str,
        tags: Mapping[str, str],
        start_ms: int,
        end_ms: int,
        fields: Sequence[str] | None = None,
    ) -> list[Series]:
        """The rows of [start, end) of every series that has these tag values, one Series each, ordered by tags."""
        ...

    def replace(
        self, company: str, measurement: str, tags: Mapping[str, str], start_ms: int, end_ms: int, frame: Frame
    ) -> Replaced:
        """Afterwards [start, end) of exactly this series holds exactly these rows with exactly these fields.

        ``tags`` names every tag of the measurement. Rows that are already right are not written again.
        """
        ...

    def tags(self, company: str, measurement: str, tags: Mapping[str, str]) -> list[dict[str, str]]:
        """The full tag sets of all series that have these tag values, ordered."""
        ...


class StoreAdmin(Protocol):
    """Set-up and life signs of a store."""

    def init(self, company: str, raw_days: int | None, *, dry_run: bool = False) -> list[str]:
        """Makes the company's database, policies and retention; says what it did or would do. Repeatable.

        Args:
            raw_days: Days that policy raw is kept, None for ever.
        """
        ...

    def started_ms(self) -> int | None:
        """When the server started [UTC ms], None if it cannot tell; a change means that it may have forgotten."""
        ...

    def kind(self) -> str:
        """What answers, for example ``sqlite 3.40.1`` or ``influxdb 2.8.0``."""
        ...
