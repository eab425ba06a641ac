"""Proof that a register stood still: own power went on while the register did not."""

from __future__ import annotations

from collections.abc import Sequence

from merilo.ledger.facts import FROZEN_N, POWER_GAP_MAX_MS, STUCK_MS, STUCK_STEPS
from merilo.ledger.shape import CURVE_PER_MWH, Curve


def proving_poll(curve: Curve, hold: Sequence[int], gap_ms: int, step_mwh: int) -> int | None:
    """First poll of a hold by which own power exceeds `STUCK_STEPS` steps, at least `STUCK_MS` after the level.

    Up to that poll no two samples, the ends counting as such, may be further apart than the gap.
    """
    needed = STUCK_STEPS * step_mwh * CURVE_PER_MWH
    samples, values = curve.samples, curve.values
    if 2 * max(values) * (curve.end_ms - curve.start_ms) <= needed:
        return None
    total, last, i = 0, curve.start_ms, -1
    for poll in hold:
        while i + 1 < len(samples) and samples[i + 1] <= poll:
            i += 1
            if samples[i] - last > gap_ms:
                return None
            total += (values[max(i - 1, 0)] + values[i]) * (samples[i] - last)
            last = samples[i]
        if i < 0 or poll - last > gap_ms or poll - curve.start_ms < STUCK_MS:
            continue
        if total + 2 * values[i] * (poll - last) > needed:
            return poll
    return None


def tells(curve: Curve) -> bool:
    """Whether own power can say what a standing register missed: no long hole, not one old value again and again."""
    first = curve.values[0]
    frozen = first != 0 and len(curve.values) >= FROZEN_N and all(value == first for value in curve.values)
    return not frozen and curve.hole_ms <= POWER_GAP_MAX_MS
