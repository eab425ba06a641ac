"""Base rows of the ledger as stored: whole mWh and ms inside, Wh and s in the store. Nothing is lost either way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from merilo.frame import Frame
from merilo.ledger import BaseRows

_WH = ("known", "estimated", "held")
ABSENT_OUTSIDE = ("register_wh", "before_s", "after_s")
"""Fields that a row outside a segment does not have."""


def to_frame(rows: BaseRows) -> Frame:
    """The stored form: measurement ``register_15m``."""

    def number(column: NDArray[np.int64], divisor: float = 1.0) -> NDArray[np.float64]:
        return column.astype(np.float64) / divisor

    def present(column: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(rows.has_register, column.astype(np.float64) / 1000.0, np.nan)

    return Frame(
        rows.start_ms,
        {
            "state": number(rows.state),
            "known_wh": number(rows.known_mwh, 1000.0),
            "known_s": number(rows.known_ms, 1000.0),
            "known_state": number(rows.known_state),
            "estimated_wh": number(rows.estimated_mwh, 1000.0),
            "estimated_s": number(rows.estimated_ms, 1000.0),
            "held_wh": number(rows.held_mwh, 1000.0),
            "held_s": number(rows.held_ms, 1000.0),
            "held_k": number(rows.held_k),
            "register_wh": present(rows.register_mwh),
            "before_s": present(rows.before_ms),
            "after_s": present(rows.after_ms),
        },
    )


def from_frame(frame: Frame) -> BaseRows:
    """The rows of the stored form; a field that is not there counts as 0."""
    n = len(frame)

    def column(name: str, factor: float = 1.0) -> NDArray[np.int64]:
        found = frame.numbers.get(name)
        if found is None:
            return np.zeros(n, np.int64)
        return np.rint(np.nan_to_num(found) * factor).astype(np.int64)

    register = frame.numbers.get("register_wh")
    return BaseRows(
        start_ms=frame.at_ms,
        state=column("state"),
        known_mwh=column("known_wh", 1000.0),
        known_ms=column("known_s", 1000.0),
        known_state=column("known_state"),
        estimated_mwh=column("estimated_wh", 1000.0),
        estimated_ms=column("estimated_s", 1000.0),
        held_mwh=column("held_wh", 1000.0),
        held_ms=column("held_s", 1000.0),
        held_k=column("held_k"),
        register_mwh=column("register_wh", 1000.0),
        before_ms=column("before_s", 1000.0),
        after_ms=column("after_s", 1000.0),
        has_register=~np.isnan(register) if register is not None else np.zeros(n, np.bool_),
    )
