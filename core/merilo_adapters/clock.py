"""The clock of a program: real time, or a past one that runs faster until it has caught up with real time.

Demonstrations and long tests start some days back and run accelerated; nothing ever sees the future.
The text form is ``start_ms:real_start_ms:rate``, usually in ``MERILO_CLOCK``: all programs of one machine then agree.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from merilo.errors import ConfigError

_RATE_MAX = 1_000_000.0
"""Faster than this, one millisecond of real time skips a quarter of an hour: nothing could be polled."""
_WHERE = "MERILO_CLOCK"
_HINT = "Write start_ms:real_start_ms:rate, for example 1795564800000:1795651200000:60, or leave it empty"


def _real_now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """min(real now, start + (real now − real start) × rate), in UTC milliseconds."""

    start_ms: int | None = None
    """Instant shown at real_start_ms [UTC ms]; None: real time."""
    real_start_ms: int = 0
    rate: float = 1.0
    """Shown seconds per real second, above 0; without meaning once the clock has caught up with real time."""
    real_now_ms: Callable[[], int] = _real_now_ms

    @staticmethod
    def from_text(text: str | None, real_now_ms: Callable[[], int] = _real_now_ms) -> Clock:
        """The clock that a text describes; None or an empty text is real time.

        Raises:
            ConfigError: Not two whole numbers and a rate above 0, separated by colons.
        """
        if text is None or not text.strip():
            return Clock(real_now_ms=real_now_ms)
        parts = text.strip().split(":")
        if len(parts) != 3:
            raise ConfigError(_WHERE, f"expected three parts, found {len(parts)} in {text[:80]!r}", _HINT)
        try:
            start_ms, real_start_ms, rate = int(parts[0]), int(parts[1]), float(parts[2])
        except ValueError:
            raise ConfigError(_WHERE, f"expected numbers, found {text[:80]!r}", _HINT) from None
        if not (math.isfinite(rate) and 0 < rate <= _RATE_MAX):
            raise ConfigError(_WHERE, f"rate = {parts[2]} is outside (0, {_RATE_MAX:g}]", _HINT)
        return Clock(start_ms=start_ms, real_start_ms=real_start_ms, rate=rate, real_now_ms=real_now_ms)

    def to_text(self) -> str:
        """The text form; empty for real time."""
        return "" if self.start_ms is None else f"{self.start_ms}:{self.real_start_ms}:{self.rate:g}"

    def now_ms(self) -> int:
        """The instant this clock shows [UTC ms], never after real time."""
        return self._shown(self.real_now_ms())

    def sleep_real_s(self, sim_seconds: float) -> float:
        """Real seconds to wait until this clock shows an instant that is sim_seconds later [s], at least 0.

        The part after the clock has caught up with real time counts at its full length.
        """
        real = self.real_now_ms()
        target = self._shown(real) + sim_seconds * 1000.0
        if self.start_ms is None:
            return max(0.0, sim_seconds)
        accelerated = self.real_start_ms + (target - self.start_ms) / self.rate
        return max(0.0, (max(target, accelerated) - real) / 1000.0)

    def _shown(self, real_ms: int) -> int:
        if self.start_ms is None:
            return real_ms
        return min(real_ms, self.start_ms + math.floor((real_ms - self.real_start_ms) * self.rate))
