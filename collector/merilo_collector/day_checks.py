"""Warnings about whole local days of a register: looked for when a day is over, and again when readings change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from merilo.calendar import boundaries, day_start_ms, local_date, zone_of
from merilo.ids import RegisterKey
from merilo.ledger import LedgerEvent, RegisterFacts, daily_checks
from merilo.quantities import is_register
from merilo_collector.recompute import RawReader, trace_of


@dataclass(frozen=True, slots=True)
class Checked:
    """Warnings about one register in whole local days [begin, end)."""

    key: RegisterKey
    begin_ms: int
    end_ms: int
    events: tuple[LedgerEvent, ...]


def day_of(at_ms: int, zone: str) -> int:
    """Start of the local day that contains the instant."""
    place = zone_of(zone)
    return day_start_ms(local_date(at_ms, place), place)


def checked(
    key: RegisterKey,
    first_ms: int,
    last_ms: int,
    until_ms: int,
    zone: str,
    facts: Sequence[RegisterFacts],
    raw: RawReader,
) -> Checked | None:
    """Looks through the local days that meet [first, last] and are over by until_ms; None where there are none.

    Days before the first reading that is still there are left alone: their readings have expired, their warnings stay.
    """
    end_ms = min(last_ms + 1, until_ms)
    if not is_register(key.register) or first_ms >= end_ms:
        return None
    begin_ms = day_of(first_ms, zone)
    if begin_ms == day_of(until_ms, zone):
        return None  # the day is under way
    frame = raw.frame(key.device_key, begin_ms, until_ms)
    low_ms = max(begin_ms, int(frame.at_ms[0])) if len(frame) else end_ms
    if low_ms >= end_ms:
        return None
    edges = boundaries("day", zone, low_ms, end_ms).edges_ms
    over = edges[edges <= until_ms].tolist()
    if len(over) < 2:
        return None
    return Checked(key, over[0], over[-1], daily_checks(trace_of(frame, key.register), facts, over))
