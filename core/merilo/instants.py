"""Instants. Inside, an instant is an integer of UTC milliseconds (``at_ms``); text exists at the edges only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

SECOND_MS = 1_000
MINUTE_MS = 60_000
QUARTER_MS = 900_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970 of an aware instant, floored, by integer arithmetic."""
    return (at - EPOCH) // _MS


def from_ms(at_ms: int) -> datetime:
    """The aware UTC instant of these milliseconds."""
    return EPOCH + timedelta(milliseconds=at_ms)


def to_text(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-21T23:35:10.503Z``."""
    return from_ms(at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def floor_ms(at_ms: int, step_ms: int) -> int:
    """The last multiple of the step that is not later."""
    return at_ms // step_ms * step_ms
