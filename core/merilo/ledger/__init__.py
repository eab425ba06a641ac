"""The ledger's walk: raw readings of one register to base rows of energy, typed events and anchors.

Pure: no clock, no store, no hidden state. Everything is an integer: instants in ms, energy in mWh, power in mW. Base
rows depend on readings and facts alone; a walk that starts at any anchor gives what a walk from the first reading
gives, bit for bit. What was decided between several readings of the rules stands in the modules that decide.
"""

from merilo.ledger.checks import daily_checks
from merilo.ledger.facts import (
    BURST_MAX_MS,
    CONFIRM_MS,
    CONFIRM_N,
    ENTRY_MAX_MS,
    POWER_GAP_MAX_MS,
    SHAPE_SHARE,
    STUCK_BLIND_MS,
    STUCK_MS,
    STUCK_STEPS,
    TIME_SLACK_MS,
    RegisterFacts,
)
from merilo.ledger.power_walk import walk_power
from merilo.ledger.records import Anchor, LedgerEvent, Walk
from merilo.ledger.rows import BRIDGED, ESTIMATED, METERED, MISSING, BaseRows, RowSums
from merilo.ledger.trace import Trace
from merilo.ledger.walks import rebuilt_anchor, walk

__all__ = [
    "BRIDGED",
    "BURST_MAX_MS",
    "CONFIRM_MS",
    "CONFIRM_N",
    "ENTRY_MAX_MS",
    "ESTIMATED",
    "METERED",
    "MISSING",
    "POWER_GAP_MAX_MS",
    "SHAPE_SHARE",
    "STUCK_BLIND_MS",
    "STUCK_MS",
    "STUCK_STEPS",
    "TIME_SLACK_MS",
    "Anchor",
    "BaseRows",
    "LedgerEvent",
    "RegisterFacts",
    "RowSums",
    "Trace",
    "Walk",
    "daily_checks",
    "rebuilt_anchor",
    "walk",
    "walk_power",
]
