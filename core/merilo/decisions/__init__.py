"""What operators decide about disturbances, applied to base rows.

Base rows depend on readings and facts alone and are never edited. Decisions are laid over them, so they work long
after raw readings have expired, and revoking one restores exactly what was there before it.

Kinds are applied in one order (`KINDS`), whatever the order of entry; within a kind the earlier decision goes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from merilo.decisions.decision import (
    KINDS,
    Decision,
    EffectiveRows,
    Kind,
    Orphan,
    OrphanReason,
    Reach,
    ReclassifiedAs,
)
from merilo.decisions.exclusion import clean_rows, exclude, excluded
from merilo.decisions.pairs import confirm, has_pair, pair_of_swap, reclassify, settle, swap
from merilo.decisions.scaling import scale
from merilo.decisions.work import Work, down, spread, up
from merilo.instants import QUARTER_MS
from merilo.ledger import BaseRows, LedgerEvent, RegisterFacts
from merilo.ledger.facts import ordered

__all__ = [
    "KINDS",
    "Decision",
    "EffectiveRows",
    "Kind",
    "Orphan",
    "OrphanReason",
    "Reach",
    "ReclassifiedAs",
    "decide",
    "decided_range",
    "spread",
    "widened",
]


def decide(
    rows: BaseRows,
    events: Iterable[LedgerEvent],
    decisions: Iterable[Decision],
    facts: Sequence[RegisterFacts],
) -> EffectiveRows:
    """Base rows of one register with its decisions applied.

    Args:
        rows: Without holes. They may be a part of all rows if they hold the whole `decided_range` of every decision
            that touches them; decisions that lie elsewhere are passed over.
        events: All ledger events of the register that overlap the rows.
        decisions: Those of this register, in any order.
        facts: Facts of the register, at least one.

    Raises:
        ValueError: A `set_energy` among the decisions (it comes after forming), or no facts.
    """
    work = Work(rows, events, decisions, ordered(facts))
    confirm(work)
    scale(work)
    settle(work, reclassify(work, swap(work)))
    exclude(work)
    return work.finished()


def decided_range(
    decision: Decision, rows: BaseRows, events: Iterable[LedgerEvent] = (), decisions: Iterable[Decision] = ()
) -> Reach:
    """Which rows a decision can change, now or when it is revoked, the row of its own instant included.

    Args:
        decision: Revoked or not.
        rows: Base rows around it (not needed for `set_energy`).
        events: Ledger events of the register around it.
        decisions: All decisions of the register, revoked ones too: an exclusion reaches on over those beside it, and
            did so before they were revoked.
    """
    if decision.kind in ("scale", "set_energy"):
        return Reach(up(decision.from_ms), max(up(decision.from_ms), down(decision.to_ms)))
    if decision.kind == "confirm":
        return Reach(down(decision.from_ms), down(decision.from_ms))
    if decision.kind == "exclude":
        excludes = [decision, *(one for one in decisions if one.kind == "exclude")]
        return excluded(decision, rows, clean_rows(rows, excludes)).reach(rows)
    pairs = [one for one in events if has_pair(one)]
    if decision.kind == "swap":
        pair = pair_of_swap(decision, pairs)
    else:
        pair = next((one for one in pairs if one.at_ms == decision.from_ms), None)
    own = Reach(down(decision.from_ms), down(decision.from_ms) + QUARTER_MS)
    if pair is None:
        return own
    return Reach(min(own.start_ms, down(pair.t0_ms)), max(own.end_ms, up(pair.t1_ms)))


def widened(
    start_ms: int,
    end_ms: int,
    rows: BaseRows,
    events: Iterable[LedgerEvent],
    decisions: Iterable[Decision],
) -> Reach:
    """The rows that must be decided and formed together when base rows of [start, end) have changed.

    Decisions about a pair and exclusions spread energy over a stretch, so a change in one row of it can change all;
    revoked ones count too, so that revoking forms again what they had changed. Factors act row by row and widen
    nothing. Give `decide` one row more at the end, if there is one: it shows whether
    the last row ends in a gap.

    Args:
        start_ms: Start of the first changed row.
        end_ms: End of the last one.
        rows: Base rows around the stretch; where the answer is open on a side, ask again with more of them.
        events: Ledger events of the register that overlap them.
        decisions: All decisions of the register, revoked ones too.
    """
    known = list(decisions)
    seen = list(events)
    reaches = [decided_range(one, rows, seen, known) for one in known if one.kind in ("swap", "reclassify", "exclude")]
    found = Reach(start_ms, end_ms)
    while True:
        meets = [one for one in reaches if one.start_ms < found.end_ms and found.start_ms < one.end_ms]
        wider = Reach(
            min([found.start_ms, *(one.start_ms for one in meets)]),
            max([found.end_ms, *(one.end_ms for one in meets)]),
            any(one.open_start for one in meets),
            any(one.open_end for one in meets),
        )
        if wider == found:
            return found
        found = wider
