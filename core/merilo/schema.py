"""Stored names: measurements, their policy, tags in order, and fields.

Names are a contract with users' boards: add, never rename.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from merilo.quantities import QUANTITIES

Policy = Literal["autogen", "raw"]
"""autogen: base rows, roll-ups, events: for ever. raw: readings and live lane: as long as the company wants."""

RESOLUTIONS = ("15m", "1h", "1d", "1mo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One homogeneous thing that is stored."""

    name: str
    policy: Policy
    tags: tuple[str, ...]
    """All of them on every point, in this order, never empty."""
    numbers: frozenset[str]
    texts: frozenset[str] = frozenset()
    precision: Literal["s", "ms"] = "s"
    meaning: str = ""

    @property
    def fields(self) -> frozenset[str]:
        """All field names."""
        return self.numbers | self.texts


EVENT_COUNTERS = (
    "swap",
    "stuck",
    "back_step",
    "spike",
    "zero_burst",
    "rollover",
    "reset",
    "decode_change",
    "overbooked",
    "undecided",
    "register_power_mismatch",
    "step_mismatch",
)
"""Codes of what the books find that quality_1d counts per device and day."""

_DEVICE = ("company", "site", "gateway", "device")
_METER = ("company", "site", "meter", "role")

_ENERGY = frozenset(
    {
        "energy_wh",
        "energy_export_wh",
        "energy_metered_wh",
        "energy_bridged_wh",
        "energy_estimated_wh",
        "energy_low_wh",
        "power_mean_w",
        "power_max_w",
        "coverage",
        "coverage_shape",
    }
)


def _all() -> dict[str, Measurement]:
    found = [
        Measurement(
            name="readings",
            policy="raw",
            tags=_DEVICE,
            numbers=frozenset(QUANTITIES),
            precision="ms",
            meaning="What devices said, as read. Identity only from topic and payload, never corrected.",
        ),
        Measurement(
            name="power_1m",
            policy="raw",
            tags=_METER,
            numbers=frozenset({"power_mean_w", "power_max_w"}),
            meaning="The live lane: mean and largest power of each minute per meter, unbooked.",
        ),
        Measurement(
            name="gateway_health",
            policy="raw",
            tags=("company", "site", "gateway"),
            numbers=frozenset(
                {
                    "up",
                    "outbox_rows",
                    "outbox_age_s",
                    "clock_offset_s",
                    "clock_offset_abs_s",
                    "cpu_temperature_c",
                    "disk_free",
                    "mqtt_reconnects",
                }
            ),
            texts=frozenset({"version", "config_hash"}),
            meaning="Once a minute by the collector, so that a dead gateway yields up = 0 and not silence.",
        ),
        Measurement(
            name="device_health",
            policy="raw",
            tags=_DEVICE,
            numbers=frozenset({"up", "polls", "polls_failed", "latency_s", "age_s"}),
            meaning="Once a minute per device.",
        ),
        Measurement(
            name="register_15m",
            policy="autogen",
            tags=(*_DEVICE, "register"),
            numbers=frozenset(
                {
                    "state",
                    "known_wh",
                    "known_s",
                    "known_state",
                    "estimated_wh",
                    "estimated_s",
                    "held_wh",
                    "held_s",
                    "held_k",
                    "register_wh",
                    "before_s",
                    "after_s",
                }
            ),
            meaning="Base rows of the ledger: what the register alone says of each quarter of an hour.",
        ),
        Measurement(
            name="energy_15m",
            policy="autogen",
            tags=_METER,
            numbers=_ENERGY | {"state", "state_export"},
            texts=frozenset({"decision"}),
            meaning="Energy of each meter on the 15-minute UTC grid, with its state.",
        ),
        Measurement(name="energy_1h", policy="autogen", tags=_METER, numbers=_ENERGY, meaning="Sums over local hours."),
        Measurement(name="energy_1d", policy="autogen", tags=_METER, numbers=_ENERGY, meaning="Sums over local days."),
        Measurement(
            name="energy_1mo", policy="autogen", tags=_METER, numbers=_ENERGY, meaning="Sums over local months."
        ),
        Measurement(
            name="quality_1d",
            policy="autogen",
            tags=_DEVICE,
            numbers=frozenset(
                {
                    "coverage",
                    "estimated_share",
                    "expected",
                    "received",
                    "late",
                    "duplicate",
                    "rejected",
                    "conflicts",
                    "gap_max_s",
                    *EVENT_COUNTERS,
                }
            ),
            meaning="Per device and local day: what was expected, what came, what happened.",
        ),
        Measurement(
            name="events",
            policy="autogen",
            tags=("company", "site", "kind", "meter", "gateway", "device", "register"),
            numbers=frozenset(
                {
                    "number",
                    "end_ms",
                    "t0_ms",
                    "t1_ms",
                    "r0_wh",
                    "r1_wh",
                    "low_wh",
                    "high_wh",
                    "estimated_wh",
                    "set_aside",
                    "settles_at_ms",
                }
            ),
            texts=frozenset({"code", "parameters", "title_en", "title_bg", "text_en", "text_bg", "tags"}),
            precision="ms",
            meaning="Mirror of the registry's events; levels that do not apply are '-'.",
        ),
    ]
    return {m.name: m for m in found}


MEASUREMENTS: MappingProxyType[str, Measurement] = MappingProxyType(_all())

STATES: MappingProxyType[int, str] = MappingProxyType({3: "metered", 2: "bridged", 1: "estimated", 0: "missing"})
"""State codes are stored; words are made in API, CSV and command line."""

ABSENT_TAG = "-"
"""Value of a tag that does not apply: a tag is never empty."""
UNASSIGNED = "unassigned"
"""Role of a meter that nobody gave one."""

ROLES = ("main", "it", "ups_in", "ups_out", "pdu", "cooling", "lighting", "pv", "office", "other", UNASSIGNED)


def database(company: str) -> str:
    """Name of the company's database or bucket."""
    return f"merilo-{company}"
