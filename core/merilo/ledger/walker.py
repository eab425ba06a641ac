"""The walk, poll by poll: holds, ticks, and what breaks turn out to be.

Decisions where more than one reading of the rules is possible:

* The facts in force at a poll judge that poll and shape the entry that ends with it.
* A reading that is set aside is set aside whole: its power is as doubtful as its register.
* The last poll that saw the level unchanged is part of the hold that its age closes.
* A suspected or reported swap is walked as read again; a reset or an older value keeps the power of ten of before.
"""

from __future__ import annotations

from merilo.ledger.breaks import Before, Break, Verdict
from merilo.ledger.facts import ENTRY_MAX_MS
from merilo.ledger.standstill import close, takes_rise
from merilo.ledger.state import State


def run(state: State) -> None:
    """Walks all polls and closes the live edge provisionally."""
    polls = len(state.source.t)
    i = 0
    while i < polls:
        i = step(state, i)
    if not state.provisional:
        finish(state)


def step(state: State, i: int) -> int:
    """Judges one poll; gives the index of the next one to judge."""
    now = state.source.t[i]
    if now >= state.facts_end_ms:
        state.use_facts(now)
    if now >= state.identity_ms:
        return _unknown(state, i, Verdict("identity", "swap", "identity", i, 0))
    rise = state.values[i] - state.level
    if -2 * state.step_mwh <= rise <= 0:
        _hold(state, now, rise)
    elif rise <= 0 or not takes_rise(state, now, rise):
        return _break(state, i)
    return i + 1


def finish(state: State, pending: Verdict | None = None) -> None:
    """The live edge: what is booked from here on is revised by the next tick."""
    state.freeze()
    state.provisional = True
    close(state)
    if pending is not None and pending.outcome == "small_undecided" and state.carry is not None:
        state.book_entry([state.t, *state.source.t[pending.index :]], 0, state.t)


def _hold(state: State, now: int, rise: int) -> None:
    if rise < 0 and not state.dipped:
        state.dipped = True
        state.note("back_step", "ignored", now, (state.poll_ms, now), (state.level, state.level + rise))
    state.hold.append(now)
    state.poll_ms = now
    if now - state.t >= ENTRY_MAX_MS:
        close(state)


def _break(state: State, i: int) -> int:
    """Lets the polls that follow decide; gives the index of the next poll to judge."""
    times = state.source.t
    verdict = Break(state.source, Before(state.poll_ms, state.level, state.k), i).verdict()
    if verdict.outcome == "unknown" or verdict.outcome == "identity":
        return _unknown(state, i, verdict)
    if verdict.outcome == "rollover":
        return _rollover(state, i, verdict)
    last = times[-1] if verdict.outcome != "return" else times[verdict.index]
    pair, registers = (state.poll_ms, last), (state.level, state.values[i])
    if verdict.outcome == "return":
        state.note(verdict.kind, verdict.detail, times[i], pair, registers, set_aside=verdict.index - i)
        state.aside.update(times[i : verdict.index])
        return verdict.index
    bounds = (verdict.low_mwh, state.limit(state.poll_ms, times[i]))
    set_aside = len(times) - i
    state.note(verdict.kind, verdict.detail, times[i], pair, registers, bounds=bounds, set_aside=set_aside)
    finish(state, verdict)
    return len(times)


def _rollover(state: State, i: int, verdict: Verdict) -> int:
    now, value = state.source.t[verdict.index], state.values[verdict.index]
    settles = state.unsettled_until(state.source.t[i])
    state.use_facts(now)
    pair, registers = (state.poll_ms, now), (state.level, value)
    set_aside = verdict.index - i
    state.note("rollover", "", state.source.t[i], pair, registers, set_aside=set_aside, settles_at_ms=settles)
    state.aside.update(state.source.t[i : verdict.index])
    if state.carry is None:
        state.segment = now
        state.new_level(now, value)
    else:
        state.tick(now, verdict.wrapped_mwh, value)
    return verdict.index + 1


def _unknown(state: State, i: int, verdict: Verdict) -> int:
    """Energy between the last accepted poll and the new life is unknown; the walk goes on from there."""
    times = state.source.t
    now, before = times[verdict.index], state.level
    settles = None if verdict.outcome == "identity" else state.unsettled_until(state.source.t[i])
    close(state, kept=False)
    state.use_facts(now)
    pair = (state.t, now)
    bounds = (verdict.low_mwh, state.limit(*pair))
    estimated = state.book.pair(*pair, state.facts, state.mean, set(times[i : verdict.index]))
    state.walk_with(verdict.k)
    state.use_facts(now)
    state.pass_identity(now)
    value = state.values[verdict.index]
    state.note(
        verdict.kind,
        verdict.detail,
        times[i],
        pair,
        (before, value),
        bounds=bounds,
        estimated_mwh=estimated,
        set_aside=verdict.index - i,
        settles_at_ms=settles,
    )
    state.segment = now
    state.new_level(now, value)
    return verdict.index + 1
