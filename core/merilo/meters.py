"""Which registers make a meter, which meters make a meter, and in which order they are formed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Literal, NamedTuple

from merilo.ids import DeviceKey
from merilo.quantities import PHASES
from merilo.site import MeterVersion, Phase, Term, parse_expression

Direction = Literal["import", "export"]
_TARIFFS = ("t1", "t2")


class Registers(NamedTuple):
    """Registers of a device whose sums are a meter's energy."""

    imports: tuple[str, ...]
    exports: tuple[str, ...]


def registers_of(available: Collection[str], phase: Phase = "") -> Registers:
    """The registers that make a meter of a device, or of one phase of it.

    A total stands alone; without one the two tariffs are added, without these the phases. A register that does not
    say its direction counts as import where no import register is there; one without register is formed of its own
    power. Total and phases are never added together, and a net register is never used.

    Args:
        available: Registers of the device (for a device without any: its power quantities).
        phase: Empty for the whole device.
    """
    parts = (phase,) if phase else ("", *PHASES)
    imports = _first_choice(available, "active_energy_import", parts) or _first_choice(
        available, "active_energy", parts
    )
    if not imports:
        powers = [_name("active_power", "", part, "w") for part in parts]
        imports = _total_or_sum([name if name in available else None for name in powers])
    return Registers(imports, _first_choice(available, "active_energy_export", parts))


def _first_choice(available: Collection[str], stem: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Total, else tariffs, of the first part (whole device or phase) that has any; else the phases one by one."""
    found = [_of_part(available, stem, part) for part in parts]
    if found[0]:
        return found[0]
    return tuple(name for names in found[1:] for name in names)


def _of_part(available: Collection[str], stem: str, part: str) -> tuple[str, ...]:
    total = _name(stem, "", part, "wh")
    if total in available:
        return (total,)
    return tuple(name for tariff in _TARIFFS if (name := _name(stem, tariff, part, "wh")) in available)


def _total_or_sum(names: list[str | None]) -> tuple[str, ...]:
    return (names[0],) if names[0] else tuple(name for name in names[1:] if name)


def _name(stem: str, tariff: str, part: str, unit: str) -> str:
    return "_".join(piece for piece in (stem, tariff, part, unit) if piece)


def format_expression(terms: Iterable[Term]) -> str:
    """The text that `parse_expression` reads: ``a + b - 0.4*c``.

    Raises:
        ValueError: No terms.
    """
    text = ""
    for term in terms:
        size = abs(term.factor)
        what = term.meter if size == 1 else f"{_number(size)}*{term.meter}"
        sign = ("+" if term.factor > 0 else "-") if text or term.factor < 0 else ""
        text += f"{' ' if text else ''}{sign}{' ' if sign else ''}{what}"
    if not text:
        raise ValueError("expression: expected at least one meter, found nothing")
    return text


def _number(size: Fraction) -> str:
    """A decimal where it is exact within nine places, else a quotient."""
    billionths = size * 10**9
    if billionths.denominator == 1:
        return f"{billionths.numerator // 10**9}.{billionths.numerator % 10**9:09d}".rstrip("0")
    return f"{size.numerator}/{size.denominator}"


@dataclass(frozen=True, slots=True)
class ShareGap:
    """Shares of one meter that do not add up to 1 from an instant on: what is missing goes to nobody."""

    meter: str
    from_ms: int
    total: Fraction


class Scheme:
    """All meters of one site as they are defined over time.

    Args:
        versions: All versions of all meters of the site.

    Raises:
        ValueError: Two definitions of a meter for one instant, a meter that is formed of itself, or shares of a meter
            that add up to more than 1.
    """

    def __init__(self, versions: Iterable[MeterVersion]) -> None:
        self._by_meter: dict[str, list[MeterVersion]] = {}
        for version in sorted(versions, key=lambda one: (one.meter, one.valid_from_ms)):
            own = self._by_meter.setdefault(version.meter, [])
            if own and (own[-1].valid_to_ms is None or own[-1].valid_to_ms > version.valid_from_ms):
                raise ValueError(f"meter {version.meter} has two definitions from {version.valid_from_ms} ms on")
            own.append(version)
        self._terms = {
            one.expression: parse_expression(one.expression)
            for own in self._by_meter.values()
            for one in own
            if one.expression is not None
        }
        ends = {one.valid_to_ms for own in self._by_meter.values() for one in own if one.valid_to_ms is not None}
        self.changes_ms = tuple(sorted(ends | {one.valid_from_ms for own in self._by_meter.values() for one in own}))
        """Instants at which a definition begins or ends."""
        for at_ms in self.changes_ms:
            self.order(at_ms)
            for meter, total in self._totals(at_ms).items():
                if total > 1:
                    raise ValueError(f"shares of meter {meter} add up to {float(total):g}, expected 1")

    def at(self, meter: str, at_ms: int) -> MeterVersion | None:
        """The definition that forms the row that starts at an instant, None if there is none."""
        return next((one for one in self._by_meter.get(meter, ()) if one.valid_at(at_ms)), None)

    def terms(self, version: MeterVersion) -> tuple[Term, ...]:
        """What the meter is formed of; empty for a meter of a device."""
        return self._terms[version.expression] if version.expression is not None else ()

    def pieces(self, start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
        """[start, end) cut where a definition of any meter changes."""
        inside = [at_ms for at_ms in self.changes_ms if start_ms < at_ms < end_ms]
        edges = [start_ms, *inside, end_ms]
        yield from pairwise(edges)

    def shares(self, source: str, at_ms: int) -> Mapping[str, Fraction]:
        """Which meters take a share of this one at an instant, by meter id."""
        found: dict[str, Fraction] = {}
        for meter in sorted(self._by_meter):
            version = self.at(meter, at_ms)
            for term in self.terms(version) if version is not None else ():
                if term.meter == source and 0 < term.factor < 1:
                    found[meter] = term.factor
        return found

    def share_gaps(self) -> list[ShareGap]:
        """Where shares of a meter add up to less than 1, for a warning: that energy is handed to no meter."""
        return [
            ShareGap(meter, at_ms, total)
            for at_ms in self.changes_ms
            for meter, total in sorted(self._totals(at_ms).items())
            if total < 1
        ]

    def order(self, at_ms: int) -> tuple[str, ...]:
        """The meters defined at an instant, each after the meters it is formed of.

        Raises:
            ValueError: A meter that is formed of itself.
        """
        now = {meter: version for meter in sorted(self._by_meter) if (version := self.at(meter, at_ms)) is not None}
        parts = {name: [term.meter for term in self.terms(one) if term.meter in now] for name, one in now.items()}
        try:
            return tuple(TopologicalSorter(parts).static_order())
        except CycleError as error:
            circle: list[str] = error.args[1]
            raise ValueError(f"meter {circle[0]} is formed of itself: {' -> '.join(circle)}") from None

    def affected(self, devices: Collection[DeviceKey], meters: Collection[str] = ()) -> frozenset[str]:
        """Meters to form again when rows of these devices, or a decision about these meters, have changed."""
        found = set(meters)
        while True:
            more = {
                meter
                for meter, own in self._by_meter.items()
                for one in own
                if one.device in devices or any(term.meter in found for term in self.terms(one))
            }
            if more <= found:
                return frozenset(found)
            found |= more

    def _totals(self, at_ms: int) -> dict[str, Fraction]:
        total: dict[str, Fraction] = {}
        for meter in self._by_meter:
            version = self.at(meter, at_ms)
            for term in self.terms(version) if version is not None else ():
                if 0 < term.factor < 1:
                    total[term.meter] = total.get(term.meter, Fraction(0)) + term.factor
        return total
