"""Facts of a register and the parameters that follow from them: milliseconds, milliwatts, milliwatt-hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, SECOND_MS

ENTRY_MAX_MS = DAY_MS
"""Longest entry without a tick; then it is closed, so that a row is settled within a day."""
TIME_SLACK_MS = 2 * SECOND_MS
"""Jitter of the instant: a poll is stamped when its last answer arrived, not when the device latched its register."""
BURST_MAX_MS = DAY_MS
"""How long a return to the old level undoes a disturbance: a fault that somebody repairs the next morning."""
CONFIRM_N = 3
"""Readings a new level must have before it is believed: two equal wrong answers are common, three are not."""
CONFIRM_MS = MINUTE_MS
"""Time a new level must last before it is believed: fast polls repeat one wrong answer within seconds."""
POWER_GAP_MAX_MS = HOUR_MS
"""Longest hole in power that an estimate may cross: beyond an hour a load has changed."""
STUCK_MS = HOUR_MS
"""Shortest hold that can prove that a register stood still."""
STUCK_STEPS = 5
"""Steps that own power must exceed while the register stood still: two are rounding, five are not."""
STUCK_BLIND_MS = DAY_MS
"""The same without own power: a day of exact zero on a meter that is never idle."""
SHAPE_SHARE = 0.01
"""A step is fine when it is at most this share of what the register can count in a quarter of an hour."""
FROZEN_N = 10
"""That many equal values of power, not zero, are old data served again: a real load moves within ten samples."""
RETURN_SCALE = 6
"""Largest power of ten a decoding can be wrong by: W to MW."""

_GAP_MIN_MS = QUARTER_MS
_SHORT_MIN_MS = 90 * SECOND_MS
_SHORT_MAX_MS = 300 * SECOND_MS
_BACKSTEP_MIN_MWH = 1_000_000
_SHARES = round(1 / SHAPE_SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterFacts:
    """Facts of one register, valid from a grid instant.

    Raises:
        ValueError: A step, power, interval or modulus that is not above zero.
    """

    step_mwh: int
    """Resolution of the register [mWh], above 0."""
    max_power_mw: int
    """Largest mean power the register can truthfully show [mW], above 0."""
    poll_interval_ms: int
    """Nominal distance of two readings [ms], above 0."""
    rollover_mwh: int | None = None
    """Modulus in units as read [mWh]; None = unknown, never guessed."""
    zero_is_valid: bool = True
    """False where a day of exact zero is a fault (main meters)."""
    valid_from_ms: int = 0
    """Grid instant from which these facts hold; the first facts also cover everything before."""

    def __post_init__(self) -> None:
        for name in ("step_mwh", "max_power_mw", "poll_interval_ms"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")
        if self.rollover_mwh is not None and self.rollover_mwh <= 0:
            raise ValueError(f"rollover_mwh must be above 0 or None, found {self.rollover_mwh}")
        if self.valid_from_ms % QUARTER_MS:
            raise ValueError(f"valid_from_ms must be a whole quarter of an hour, found {self.valid_from_ms}")

    @property
    def gap_metered_ms(self) -> int:
        """Longest stretch between two polls whose shape is called known: 900 s to 1350 s."""
        return max(_GAP_MIN_MS, 3 * min(self.poll_interval_ms, QUARTER_MS) // 2)

    @property
    def short_unknown_ms(self) -> int:
        """Longest unknown pair that is filled without power: 90 s to 300 s."""
        return min(max(_SHORT_MIN_MS, 3 * self.poll_interval_ms // 2), _SHORT_MAX_MS)

    @property
    def fine(self) -> bool:
        """Whether the step is small enough to show the shape of a load by itself."""
        return 4 * _SHARES * self.step_mwh <= self.max_power_mw

    def limit_mwh(self, duration_ms: int) -> int:
        """Largest rise of the register that can be true within this time, jitter and two steps included."""
        return self.max_power_mw * (duration_ms + TIME_SLACK_MS) // HOUR_MS + 2 * self.step_mwh

    def backstep_mwh(self, register_mwh: int) -> int:
        """Largest fall from this value that a device can make by restoring an older value of its own."""
        return min(max(_BACKSTEP_MIN_MWH, register_mwh // 200), self.max_power_mw)


def at(facts: Sequence[RegisterFacts], at_ms: int) -> tuple[RegisterFacts, int | None]:
    """The facts valid at an instant, and the instant they end (None = never). Facts are ordered by `valid_from_ms`."""
    index = 0
    while index + 1 < len(facts) and facts[index + 1].valid_from_ms <= at_ms:
        index += 1
    return facts[index], facts[index + 1].valid_from_ms if index + 1 < len(facts) else None


def ordered(facts: Sequence[RegisterFacts]) -> tuple[RegisterFacts, ...]:
    """The facts by instant; of two for one instant the later given stands.

    Raises:
        ValueError: No facts at all.
    """
    if not facts:
        raise ValueError("a register needs at least one RegisterFacts, found none")
    found = {one.valid_from_ms: one for one in facts}
    return tuple(found[instant] for instant in sorted(found))
