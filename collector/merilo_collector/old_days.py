"""Which days of long ago were written lately: a store that forgets loses what was written last, not what is newest.

A backlog or a correction can touch days that lie months back. They are noted in the counters of the work tables, by
the day of writing, and only where they lie further back than what every check compares anyway.
"""

from __future__ import annotations

from merilo.instants import DAY_MS, floor_ms, to_text

WINDOW_MS = 8 * DAY_MS
"""How far back every check looks: the gateways' default grace window and a day."""
WRITTEN, BOOKED = "written", "booked"
"""Raw readings and rows of the books."""


def scope_of(kind: str, company: str, now_ms: int) -> str:
    """Scope of the counters for the old days that are written now; in order of text it is in order of time."""
    return f"{kind}/{company}/{to_text(now_ms)[:10]}"


def old_before_ms(now_ms: int) -> int:
    """Days that start before this instant are old."""
    return floor_ms(now_ms - WINDOW_MS, DAY_MS)
