"""What Grafana fills into a query before it sends it: variables, the stretch of time, the interval.

For checks of queries without a Grafana: every target of a board can be asked of a real InfluxDB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_SPECIAL = re.compile(r"[\\^$.*+?()\[\]{}|/]")

ALL = ".*"
"""Value of a variable that stands for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person has chosen: values of variables, a stretch of time in UTC ms, both ends included."""

    variables: Mapping[str, str]
    start_ms: int
    end_ms: int
    interval: str = "1m"


def expanded(query: str, asked: Asked) -> str:
    """The query as InfluxDB gets it.

    Raises:
        ValueError: The query names a variable that is not given.
    """
    values = {
        **asked.variables,
        "timeFilter": f"time >= {asked.start_ms}ms AND time <= {asked.end_ms}ms",
        "__interval": asked.interval,
    }

    def value(found: re.Match[str]) -> str:
        name = found.group(1) or found.group(2)
        if name not in values:
            raise ValueError(f"variable {name}: not given, found in {query[:80]!r}")
        behind = query[: found.start()].rstrip("(")
        in_pattern = behind.endswith("/^")
        text = values[name]
        return _SPECIAL.sub(r"\\\g<0>", text) if in_pattern and text != ALL else text

    return _VARIABLE.sub(value, query)
