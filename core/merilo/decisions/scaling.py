"""Corrections by a factor, and what a suspended register counted."""

from __future__ import annotations

import numpy as np

from merilo.decisions.decision import Bools
from merilo.decisions.work import Work, down, up
from merilo.ledger import BRIDGED, METERED


def scale(work: Work) -> None:
    """Multiplies what is known in whole rows inside the stretch."""
    for one in work.of("scale"):
        where = work.between(up(one.from_ms), down(one.to_ms))
        factor = float(one.parameters["factor"])
        work.known[where] = np.rint(work.known[where] * factor).astype(np.int64)
        _release(work, where, factor)
        work.touch(where, one.id)


def _release(work: Work, where: slice, factor: float) -> None:
    """What a suspended register counted becomes known; its estimate goes, as far as time was held."""
    held, held_ms = work.held[where], work.held_ms[where]
    if not held_ms.any():
        return
    gone_ms = np.minimum(work.estimated_ms[where], held_ms)
    left = (work.estimated_ms[where] - gone_ms) / np.maximum(work.estimated_ms[where], 1)
    work.estimated[where] = np.rint(work.estimated[where] * left).astype(np.int64)
    work.estimated_ms[where] -= gone_ms
    unit = 10.0 ** work.rows.held_k[where]
    work.known[where] += np.rint(held * factor / unit).astype(np.int64)
    work.known_ms[where] += held_ms
    state = np.where(_dense(work)[where], METERED, BRIDGED)
    work.known_state[where] = np.where(held_ms > 0, np.minimum(work.known_state[where], state), work.known_state[where])
    work.held[where] = 0
    work.held_ms[where] = 0


def _dense(work: Work) -> Bools:
    """Rows whose polls are close enough, and whose register is fine enough, for a known shape.

    A gap that matters is longer than a row, so it shows at the row's start or at its end. The end of the last row is
    taken for dense: once readings show a gap there, the row is formed again.
    """
    rows = work.rows
    facts = [work.facts_at(int(start)) for start in rows.start_ms]
    gap = np.where(rows.has_register, rows.before_ms + rows.after_ms, np.iinfo(np.int64).max)
    close = gap <= np.array([one.gap_metered_ms for one in facts], np.int64)
    found: Bools = close & np.append(close[1:], True) & np.array([one.fine for one in facts], np.bool_)
    return found
