"""Sums of energy over a period as result envelopes: value, unit, coverage, estimated share, or a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from fastapi import Request

from merilo.envelope import energy_sum
from merilo.frame import Frame
from merilo.instants import MINUTE_MS, QUARTER_MS, floor_ms
from merilo.site import Site
from merilo_api.params import Range

BOOKED_AFTER_MS = MINUTE_MS
"""The books close a quarter of an hour about this long after its end."""


def merged(frames: list[Frame]) -> Frame:
    """Rows of one meter under all its roles, in order."""
    if len(frames) == 1:
        return frames[0]
    names = sorted({name for frame in frames for name in frame.numbers})
    at_ms = np.concatenate([frame.at_ms for frame in frames])
    order = np.argsort(at_ms, kind="stable")
    numbers = {
        name: np.concatenate([frame.numbers.get(name, np.full(len(frame), np.nan)) for frame in frames])[order]
        for name in names
    }
    return Frame(at_ms[order], numbers)


def energy_envelopes(
    request: Request, place: Site, span: Range, tags: Mapping[str, str], now_ms: int
) -> list[dict[str, Any]]:
    """One envelope per meter, over the whole quarters of an hour of the period."""
    start_ms = -(-span.start_ms // QUARTER_MS) * QUARTER_MS
    end_ms = floor_ms(span.end_ms, QUARTER_MS)
    if end_ms <= start_ms:
        return []
    store = request.app.state.stores.of(place.company)
    fields = ["energy_wh", "energy_low_wh", "energy_metered_wh", "energy_bridged_wh", "energy_estimated_wh", "state"]
    by_meter: dict[str, list[Frame]] = {}
    for one in store.read(place.company, "energy_15m", tags, start_ms, end_ms, fields):
        by_meter.setdefault(one.tags["meter"], []).append(one.frame)
    until_ms = floor_ms(now_ms - BOOKED_AFTER_MS, QUARTER_MS)
    found = []
    for meter, frames in sorted(by_meter.items()):
        rows = merged(frames)
        last_ms = int(rows.at_ms[-1]) + QUARTER_MS if len(rows) else start_ms
        booked_ms = last_ms if last_ms >= until_ms - QUARTER_MS else until_ms
        envelope = energy_sum(
            {meter: rows}, start_ms, end_ms, span.tz.key, [meter], until_ms=booked_ms if booked_ms < end_ms else None
        )
        found.append({"meter": meter, **msgspec.to_builtins(envelope)})
    return found
