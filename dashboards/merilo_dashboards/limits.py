"""Thresholds and spans of the boards, in one place."""

from __future__ import annotations

COVERAGE_FAIR = 0.90
"""Below, no indicator is computed."""
COVERAGE_GOOD = 0.98
"""A quarter of an hour may be lost every half day."""

LIVE_SPAN = "5m"
"""A power that is older is not "now"."""
HEALTH_SPAN = "10m"
"""Life signs are written every minute; ten minutes without any mean that nobody writes them."""
DAY_SPAN = "25h"
"""The longest local day: the row of today began within it."""
MONTH_SPAN = "745h"
"""The longest local month, 31 days and the hour of autumn: the row of this month began within it."""
EVENTS_SPAN = "400d"
EVENTS_MAX = 200
"""Rows of the events table; more is for the API."""
ANNOTATIONS_MAX = 500
