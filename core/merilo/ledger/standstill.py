"""A register that stands still: the proof, what it means when it moves again, and how a hold is closed.

Decisions where more than one reading of the rules is possible:

* Without own power a tick of one step never says that a register stood still: a coarse register waits that long.
* Once a close has booked more than a step for a register that stood still, or nothing, it counts as proven until it
  moves.
* While nothing says what a stopped register missed, every hold is missing; the tick that ends it begins a segment, and
  its event holds the whole rise since the last booked instant.
* Own power with a hole longer than an estimate may cross is as good as none for a register that stood still.
* The close before an unknown pair is no anchor: it is certain only with the level that follows.
"""

from __future__ import annotations

from collections.abc import Sequence

from merilo.instants import HOUR_MS
from merilo.ledger.booking import Entry, own_power
from merilo.ledger.facts import FROZEN_N, POWER_GAP_MAX_MS, STUCK_BLIND_MS, STUCK_MS, STUCK_STEPS
from merilo.ledger.shape import CURVE_PER_MWH, Curve
from merilo.ledger.state import State


def takes_rise(state: State, now: int, rise: int) -> bool:
    """Takes a poll above the level if it is plausible: a tick, or the end of standing still."""
    limit = state.limit(state.poll_ms, now)
    if rise > limit and rise > state.limit(state.tick_ms, now):
        return False
    if state.carry is None:
        _end_of_standstill(state, now, rise, "resumed" if rise <= limit else "caught_up")
        return True
    proof = _proof(state, STUCK_MS)
    if rise <= limit:
        if proof is None or _one_blind_step(state, rise):
            state.tick(now, rise, state.level + rise)
        elif _lost(state, now, rise - state.carry):
            _resume(state, now, rise, proof)
        else:
            _catch_up(state, now, rise, proof)
        return True
    if proof is None and state.carry <= state.step_mwh:
        return False
    _catch_up(state, now, rise, proof if proof is not None else (state.hold or [now])[0])
    return True


def close(state: State, *, resumed: bool = False, kept: bool = True) -> None:
    """Ends the hold: books what it can hold, and makes its last poll the level's instant."""
    if state.poll_ms == state.t:
        return
    state.use_facts(state.poll_ms)
    proof = _proof(state, STUCK_BLIND_MS)
    if resumed:
        _close_standstill(state)
    elif proof is not None:
        bounds = (0, state.limit(state.t, state.poll_ms))
        pair, registers = (state.t, state.poll_ms), (state.level, state.level)
        estimated = _close_standstill(state)
        state.note("stuck", "open", proof, pair, registers, bounds=bounds, estimated_mwh=estimated)
    elif state.carry is not None:
        state.close_hold()
    state.t = state.poll_ms
    state.fresh_hold()
    state.arrive(kept)


def _proof(state: State, blind_ms: int) -> int | None:
    """First poll of the hold that proves it; without own power the first one that lies so far from the level."""
    if state.poll_ms - state.t < STUCK_MS:
        return None
    curve = state.own_power()
    if curve is not None:
        return proving_poll(curve, state.hold, state.facts.gap_metered_ms, state.step_mwh)
    if state.facts.zero_is_valid:
        return None
    return next((poll for poll in state.hold if poll - state.t >= blind_ms), None)


def _one_blind_step(state: State, rise: int) -> bool:
    return rise <= state.step_mwh and state.own_power() is None


def _lost(state: State, now: int, energy: int) -> bool:
    """Whether it goes on with less than half of what own power says, so that energy is lost."""
    standing = state.own_power()
    if standing is None:
        return _proof(state, STUCK_BLIND_MS) is not None
    whole = state.power.curve(state.t, now, state.aside) or standing
    own = whole if whole.hole_ms <= POWER_GAP_MAX_MS else standing
    return 2 * energy * CURVE_PER_MWH < own.total


def _catch_up(state: State, now: int, rise: int, proof: int) -> None:
    state.note("stuck", "caught_up", proof, (state.t, now), (state.level, state.level + rise))
    state.tick(now, rise, state.level + rise, caught_up=True)


def _resume(state: State, now: int, rise: int, proof: int) -> None:
    registers, aside = (state.level, state.level + rise), state.aside
    close(state, resumed=True, kept=False)
    state.use_facts(now)
    pair = (state.t, now)
    estimated = state.book.pair(*pair, state.facts, state.mean, aside)
    bounds = (0, state.limit(*pair))
    state.note("stuck", "resumed", proof, pair, registers, bounds=bounds, estimated_mwh=estimated)
    state.segment = now
    state.new_level(now, registers[1])


def _end_of_standstill(state: State, now: int, rise: int, detail: str) -> None:
    """A tick after a stretch that nothing says anything about."""
    value, start = state.level + rise, state.t if state.open_ms is None else state.open_ms
    state.note("stuck", detail, now, (start, now), (state.open_mwh, value), bounds=(0, state.limit(start, now)))
    state.segment = now
    state.new_level(now, value)


def _close_standstill(state: State) -> int | None:
    """Books own power for the hold and gives it; where none can tell, what it missed stays unknown."""
    start, end = state.t, state.poll_ms
    if state.carry is None:
        return None
    curve = state.power.curve(start, end, state.aside)
    if curve is None or not tells(curve):
        state.open_ms, state.open_mwh, state.carry = start, state.level + state.carry, None
        return None
    entry = Entry(state.facts, state.k, state.level, state.carry, [start, *state.hold], state.aside, 0, start)
    estimated = state.book.estimate(start, end, own_power(curve), entry)
    state.mean = estimated * HOUR_MS // (end - start)
    state.carry += estimated
    return estimated


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
