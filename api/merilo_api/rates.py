"""How often somebody may ask: token buckets in memory, bounded in number, one set per process."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

Kind = Literal["key", "address", "failure", "login"]

CALLERS_MAX = 10_000
"""Buckets kept; beyond them the one that was used longest ago is forgotten, which only ever gives somebody more."""


class Rate(NamedTuple):
    """A bucket holds so many requests, and gets so many back each second."""

    burst: float
    per_s: float


RATES: dict[Kind, Rate] = {
    "key": Rate(300, 10),  # a dashboard of thirty panels, every three seconds
    "address": Rate(600, 20),  # an office behind one address
    "failure": Rate(20, 0.1),  # wrong keys: a program that was not told of its new key
    "login": Rate(10, 1 / 30),  # a person who copies the wrong line
}


class Rates:
    """Counts requests by kind and by who asks.

    Args:
        now_s: A clock that never goes back [s].
        rates: The size of each kind of bucket.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic, rates: Mapping[Kind, Rate] | None = None) -> None:
        self._now_s = now_s
        self._rates = {**RATES, **(rates or {})}
        self._buckets: OrderedDict[tuple[Kind, str], tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, kind: Kind, who: str) -> int:
        """Takes one request out of the bucket; 0 where it may pass, else whole seconds to wait."""
        rate, now = self._rates[kind], self._now_s()
        with self._lock:
            left, at = self._buckets.pop((kind, who), (rate.burst, now))
            left = min(rate.burst, left + (now - at) * rate.per_s)
            passes = left >= 1
            self._buckets[(kind, who)] = (left - passes, now)
            if len(self._buckets) > CALLERS_MAX:
                self._buckets.popitem(last=False)
        return 0 if passes else max(1, math.ceil((1 - left) / rate.per_s))
