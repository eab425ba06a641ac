"""The envelope of every figure: what it is, of which period, how it came about, and how far it can be trusted.

A figure without coverage, method and inputs has no form here, and a figure that failed a gate is no figure: its value
is null and its reason says why.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from merilo.calendar import zone_of
from merilo.frame import Frame
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS, from_ms
from merilo.ledger import BRIDGED
from merilo.meterrows import MeterRows
from merilo.rollup import COVERAGE_MIN, MISSING_MAX_MS, missing_stretch_ms

ID_CHARACTERS = 16
"""64 bits of a digest: enough for every figure an installation will ever show."""
SIGNIFICANT = 9
"""Digits of a number that count for the id: what two machines agree on whatever their processor."""

COMPLETE, PARTIAL, PROVISIONAL = "complete", "partial", "provisional"
"""Labels of energies: fit for indicators; gaps too large for them; the period is not over yet."""


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """[start, end) and the zone that cut the days."""

    start: datetime
    end: datetime
    tz: str

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.end <= self.start:
            raise ValueError(f"period [{self.start}, {self.end}): expected aware instants, the end after the start")

    @classmethod
    def of(cls, start_ms: int, end_ms: int, tz: str) -> Period:
        """The same from milliseconds."""
        return cls(start=from_ms(start_ms), end=from_ms(end_ms), tz=tz)


class Uncertainty(msgspec.Struct, frozen=True, kw_only=True):
    """A band around the value, in its unit."""

    low: float
    high: float
    confidence: float
    """0 to 1."""
    kind: str
    """What the band is made of, as a code."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"uncertainty [{self.low}, {self.high}]: expected finite bounds, low first")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence {self.confidence} is outside 0 to 1")


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure was computed from."""

    meters: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    tariffs: tuple[str, ...] = ()
    model: str | None = None
    decisions: tuple[int, ...] = ()


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One figure with everything that belongs to it.

    Raises:
        ValueError: A value with a reason or none without one, a band without value, a number that is not finite, a
            share outside 0 to 1, or neither a band nor a reason for having none.
    """

    value: float | None
    unit: str
    period: Period
    label: str
    """What the figure may be called: ``PUE``, ``iPUE``, ``unadjusted``, ``provisional``, ``partial`` …"""
    method: str
    method_version: str
    """A changed formula is a new version; old figures keep theirs."""
    coverage: float
    """Share of the expected intervals that are metered or bridged."""
    estimated_share: float | None
    """Share of the energy that was estimated or apportioned; None where there is no energy."""
    uncertainty: Uncertainty | None
    uncertainty_reason: str | None
    """Code; set exactly when there is no band."""
    inputs: Inputs
    warnings: tuple[str, ...] = ()
    """Codes."""
    reason: str | None = None
    """Code; set exactly when the value is null."""
    id: str = ""
    """Digest of everything else, given by the class itself."""

    def __post_init__(self) -> None:
        where = f"{self.method or 'figure'} of {self.period.start} to {self.period.end}"
        if (self.value is None) != bool(self.reason):
            raise ValueError(f"{where}: value {self.value}, reason {self.reason!r}: expected exactly one of the two")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{where}: value {self.value} is not finite")
        if (self.uncertainty is None) != bool(self.uncertainty_reason):
            raise ValueError(f"{where}: expected a band or a reason for having none, exactly one of the two")
        if self.value is None and self.uncertainty is not None:
            raise ValueError(f"{where}: a band of a value that is null")
        for name in ("coverage", "estimated_share"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{where}: {name} = {share} is outside 0 to 1")
        if not self.method or not self.method_version:
            raise ValueError(f"{where}: method {self.method!r}, version {self.method_version!r}: expected both")
        expected = _digest(self)
        if self.id not in ("", expected):
            raise ValueError(f"{where}: id {self.id} does not belong to this content, expected {expected}")
        msgspec.structs.force_setattr(self, "id", expected)


def _digest(envelope: Envelope) -> str:
    content = msgspec.to_builtins(envelope, builtin_types=(datetime,))
    del content["id"]
    text = msgspec.json.encode(_rounded(content), order="deterministic")
    return hashlib.sha256(text).hexdigest()[:ID_CHARACTERS]


def _rounded(value: object) -> object:
    """The same with numbers as far as two machines agree on them."""
    if isinstance(value, float):
        return f"{value:.{SIGNIFICANT}g}"
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value


def energy_sum(
    rows_15m: Mapping[str, Frame],
    start_ms: int,
    end_ms: int,
    tz: str,
    meters: Sequence[str],
    *,
    until_ms: int | None = None,
    apportioned_wh: float = 0.0,
) -> Envelope:
    """Energy that these meters took in together [Wh].

    An interval is covered where every meter is metered or bridged. With coverage below 0.90, or in a period of more
    than a day with a stretch of more than 24 h in which a meter has no energy, the figure is `partial`: people may
    see it, but no indicator with a gate uses it. A period that is not over is `provisional` and judged by what has
    passed of it.

    Args:
        rows_15m: Stored 15-minute rows by meter, all roles together.
        start_ms: Grid instant.
        end_ms: Grid instant, excluded.
        tz: IANA name of the zone that cut the period.
        meters: Which to add, at least one.
        until_ms: End of the rows that can exist by now, None where the period is over.
        apportioned_wh: Part of the energy that a share decided and not a meter; stored rows do not tell it.

    Raises:
        ConfigError: No such zone.
        ValueError: No meters, one twice, an empty period, or a bound off the grid.
    """
    if not meters or len(set(meters)) != len(meters):
        raise ValueError(f"meters {list(meters)}: expected at least one, each once")
    if start_ms % QUARTER_MS or end_ms % QUARTER_MS or end_ms <= start_ms:
        raise ValueError(f"[{start_ms}, {end_ms}): expected a stretch on the 15-minute grid")
    zone_of(tz)
    running = until_ms is not None and until_ms < end_ms
    stop_ms = max(start_ms, until_ms // QUARTER_MS * QUARTER_MS) if running and until_ms is not None else end_ms
    rows = {
        meter: MeterRows.from_frame(rows_15m.get(meter, Frame.empty()).between(start_ms, stop_ms)) for meter in meters
    }
    energy = sum(int(one.energy_mwh.sum()) for one in rows.values())
    estimated = sum(int(one.estimated_mwh.sum()) for one in rows.values()) / 1000
    coverage = _common_coverage(rows.values(), (stop_ms - start_ms) // QUARTER_MS)
    stretch = max(missing_stretch_ms(one, start_ms, stop_ms) for one in rows.values())
    reason = _no_energy(rows, start_ms, stop_ms)
    warnings = []
    if coverage < COVERAGE_MIN:
        warnings.append("coverage_low")
    if stretch > MISSING_MAX_MS and end_ms - start_ms > DAY_MS + HOUR_MS:
        warnings.append("missing_stretch")
    return Envelope(
        value=None if reason else energy / 1000,
        unit="Wh",
        period=Period.of(start_ms, end_ms, tz),
        label=PARTIAL if warnings else PROVISIONAL if running else COMPLETE,
        method="energy_sum",
        method_version="1",
        coverage=coverage,
        estimated_share=None if reason else _share(estimated + apportioned_wh, energy / 1000),
        uncertainty=None,
        uncertainty_reason="no_value" if reason else "meter_accuracy_unknown",
        inputs=Inputs(
            meters=tuple(meters),
            decisions=tuple(sorted({one for r in rows.values() for ids in r.decisions.values() for one in ids})),
        ),
        warnings=tuple(warnings),
        reason=reason,
    )


def _no_energy(rows: Mapping[str, MeterRows], start_ms: int, stop_ms: int) -> str | None:
    """Why there is no sum: nothing has passed yet, no row at all, or a meter without energy in the whole period."""
    if stop_ms == start_ms:
        return "not_begun"
    if not any(len(one) for one in rows.values()):
        return "no_rows"
    return None if all(bool(one.has_energy.any()) for one in rows.values()) else "meter_missing"


def _common_coverage(rows: Iterable[MeterRows], expected: int) -> float:
    """Share of the intervals in which every meter is metered or bridged."""
    covered: set[int] | None = None
    for one in rows:
        mine = set(one.start_ms[one.state >= BRIDGED].tolist())
        covered = mine if covered is None else covered & mine
    return len(covered or ()) / expected if expected else 0.0


def _share(part: float, whole: float) -> float:
    """Part of a whole, 0 to 1; where the whole is nothing, whether there is a part."""
    return min(1.0, part / whole) if whole > 0 else float(part > 0)
