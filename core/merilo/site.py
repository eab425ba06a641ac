"""Words of the trade: company, site, gateway, device, meter, and the expressions that form meters of meters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, NamedTuple, get_args

from merilo.ids import DeviceKey, GatewayKey, MeterKey, RegisterKey, check_id
from merilo.instants import QUARTER_MS
from merilo.schema import ROLES

Phase = Literal["", "l1", "l2", "l3"]
"""Which part of a device a meter is: all of it, or one phase."""

EXPRESSION_MAX = 500
"""Characters of an expression: room for about forty meters."""
NAME_MAX = 120
"""Characters of a name or a text that a device tells of itself."""
RATED_CURRENT_ASSUMED_A = 63.0
"""Main fuse of a small company: used, and flagged, where nobody said what a device can carry."""

_OPERATOR = re.compile(r"\s*([+-])\s*")
_TERM = re.compile(r"(?:(\d{1,9}(?:\.\d{1,9})?|\d{1,9}/\d{1,9})\s*\*\s*)?([a-z0-9][a-z0-9-]{0,31})(?=\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Whose energy it is; every company has a database of its own."""

    id: str
    name: str
    store_url: str | None = None
    """Address and dialect of the company's series store, None for the installation's own."""
    raw_days: int | None = 90
    """Days that raw readings are kept, None for ever."""
    created_ms: int = 0

    def __post_init__(self) -> None:
        check_id("company", self.id)
        _check_text("company name", self.name)
        if self.raw_days is not None and self.raw_days < 1:
            raise ValueError(f"company {self.id}: raw_days = {self.raw_days}, expected at least 1, or none for ever")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One place of a company, with one time zone."""

    company: str
    id: str
    name: str
    zone: str
    """IANA name, for example ``Europe/Sofia``: decides where days and months are cut."""
    country: str = ""
    """ISO 3166-1 alpha-2, upper case, or empty."""
    currency: str = "EUR"
    """ISO 4217."""

    def __post_init__(self) -> None:
        check_id("company", self.company)
        check_id("site", self.id)
        _check_text("site name", self.name)
        if self.country and not re.fullmatch("[A-Z]{2}", self.country):
            raise ValueError(f"site {self.id}: country {self.country[:20]!r}, expected two capital letters as in BG")
        if not re.fullmatch("[A-Z]{3}", self.currency):
            raise ValueError(f"site {self.id}: currency {self.currency[:20]!r}, expected three capital letters as EUR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway and the login that the broker knows it by."""

    key: GatewayKey
    login: str
    """Generated: ``gw-`` and ten characters; user name, certificate CN and client id."""
    created_ms: int
    revoked_ms: int | None = None
    """Since when it may not log in any more, None if it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a gateway talks to."""

    key: DeviceKey
    model: str = ""
    serial: str = ""
    profile: str = ""
    profile_version: str = ""
    channel_of: str = ""
    """The device this one is a channel of (an outlet of a strip), or empty."""
    interval_s: float = 10.0
    confirmed: bool = False
    proposed_role: str = ""
    """What its gateway's file says; the registry decides."""
    first_seen_ms: int = 0
    max_power_w: float | None = None
    """Largest mean power the device can truthfully show [W]; None if nobody said."""
    zero_is_valid: bool | None = None
    """Whether a day of exact zero is data; None: false for role main, else true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterVersion:
    """A meter as it is defined in [valid_from_ms, valid_to_ms): part of a device, or an expression of meters.

    Raises:
        ValueError: Neither or both sources, an unknown role, an instant off the 15-minute grid, an empty stretch.
    """

    company: str
    site: str
    meter: str
    valid_from_ms: int
    valid_to_ms: int | None = None
    """None: until further notice."""
    role: str = "unassigned"
    parent: str | None = None
    confirmed: bool = False
    device: DeviceKey | None = None
    phase: Phase = ""
    expression: str | None = None
    """Sums, differences and shares of meters: ``a + b - 0.4*c``."""

    def __post_init__(self) -> None:
        where = f"meter {self.meter[:40]}"
        check_id("meter", self.meter)
        if self.role not in ROLES:
            raise ValueError(f"{where}: role {self.role[:40]!r}, expected one of {', '.join(ROLES)}")
        if self.phase not in get_args(Phase):
            raise ValueError(f"{where}: phase {self.phase[:40]!r}, expected l1, l2, l3 or nothing")
        if (self.device is None) == (self.expression is None):
            raise ValueError(f"{where}: expected either a device or an expression")
        if self.device is not None and (self.device.company, self.device.site) != (self.company, self.site):
            raise ValueError(f"{where}: device {'/'.join(self.device)} is not on site {self.company}/{self.site}")
        if self.expression is not None:
            if self.phase:
                raise ValueError(f"{where}: a phase belongs to a device, not to an expression")
            parse_expression(self.expression)
        for instant in (self.valid_from_ms, self.valid_to_ms):
            if instant is not None and instant % QUARTER_MS:
                raise ValueError(f"{where}: expected instants on the 15-minute grid, found {instant} ms")
        if self.valid_to_ms is not None and self.valid_to_ms <= self.valid_from_ms:
            raise ValueError(f"{where}: valid until {self.valid_to_ms} is not after {self.valid_from_ms}")

    @property
    def key(self) -> MeterKey:
        """Company, site and meter."""
        return MeterKey(self.company, self.site, self.meter)

    def valid_at(self, at_ms: int) -> bool:
        """Whether this definition forms the row that starts at the instant."""
        return self.valid_from_ms <= at_ms and (self.valid_to_ms is None or at_ms < self.valid_to_ms)


BookedKind = Literal["ledger", "check"]
"""Kinds of events that the books alone write, and take back when late readings change them."""
EventKind = Literal[
    "ledger",
    "check",
    "device",
    "gateway",
    "configuration",
    "quality",
    "security",
    "measure",
    "trial",
    "maintenance",
    "outage",
]
"""Closed: boards and queries select by it. ledger is what a walk met, check a warning about a whole day."""


class Place(NamedTuple):
    """What an event is about; levels that do not apply are empty."""

    company: str
    site: str = ""
    gateway: str = ""
    device: str = ""
    register: str = ""
    meter: str = ""


def place_of(scope: Place | GatewayKey | DeviceKey | RegisterKey | MeterKey) -> Place:
    """The place of a key."""
    return scope if isinstance(scope, Place) else Place(**scope._asdict())


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; a stable number tells two at one instant apart."""

    number: int
    place: Place
    kind: EventKind
    code: str
    """What happened, as a code; for kind ledger the type of the event, as ``swap``. People read words made of it."""
    at_ms: int
    end_ms: int | None = None
    """None: an instant, or not over yet."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that JSON can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One part of an expression."""

    meter: str
    factor: Fraction
    """+1, -1, or a share between them, exact."""


def parse_expression(text: str) -> tuple[Term, ...]:
    """The terms of ``a + b - 0.4*c``; a sign stands between spaces, because ids may carry hyphens.

    Raises:
        ValueError: Not an expression, a meter twice, or a factor outside (0, 1].
    """
    if len(text) > EXPRESSION_MAX:
        raise ValueError(f"expression: expected at most {EXPRESSION_MAX} characters, found {len(text)}")
    terms: list[Term] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        operator = _OPERATOR.match(text, at)
        if operator is None and terms:
            raise _expression_error(text, at, "' + ' or ' - '")
        if operator is not None:
            at = operator.end()
        else:
            at += len(text[at:]) - len(text[at:].lstrip())
        found = _TERM.match(text, at)
        if found is None:
            raise _expression_error(text, at, "a meter, or a share as 0.4*meter")
        share, meter = found.groups()
        try:
            factor = Fraction(share) if share else Fraction(1)
        except ZeroDivisionError:
            raise _expression_error(text, at, "a share above 0 and at most 1") from None
        if not 0 < factor <= 1:
            raise _expression_error(text, at, "a share above 0 and at most 1")
        if any(term.meter == meter for term in terms):
            raise ValueError(f"expression {text!r}: meter {meter} stands in it twice")
        terms.append(Term(meter=meter, factor=-factor if operator and operator[1] == "-" else factor))
        at = found.end()
    if not terms:
        raise ValueError("expression: expected at least one meter, found nothing")
    return tuple(terms)


def leaf_devices(meter: str, versions: Iterable[MeterVersion]) -> frozenset[DeviceKey]:
    """All devices that some version of this meter, or of the meters it is formed of, takes energy from.

    Args:
        meter: Id of a meter of the site.
        versions: All versions of all meters of the site.
    """
    by_meter: dict[str, list[MeterVersion]] = {}
    for version in versions:
        by_meter.setdefault(version.meter, []).append(version)
    found: set[DeviceKey] = set()
    seen: set[str] = set()
    waiting = [meter]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for version in by_meter.get(current, ()):
            if version.device is not None:
                found.add(version.device)
            elif version.expression is not None:
                waiting.extend(term.meter for term in parse_expression(version.expression))
    return frozenset(found)


def check_meters(versions: Iterable[MeterVersion], known: frozenset[str]) -> None:
    """Checks all meters of one site together, at every instant at which one of them changes.

    Args:
        versions: All versions of all meters of the site.
        known: Ids that a parent or an expression may name.

    Raises:
        ValueError: An unknown meter, a cycle, or shares of one meter that add up to more than 1.
    """
    every = sorted(versions, key=lambda version: (version.valid_from_ms, version.meter))
    for version in every:
        terms = parse_expression(version.expression) if version.expression is not None else ()
        for name in [term.meter for term in terms] + ([version.parent] if version.parent else []):
            if name not in known:
                raise ValueError(f"meter {version.meter}: site {version.company}/{version.site} has no meter {name!r}")
    for instant in sorted({version.valid_from_ms for version in every}):
        now = {version.meter: version for version in every if version.valid_at(instant)}
        parts = {
            name: parse_expression(version.expression) if version.expression is not None else ()
            for name, version in now.items()
        }
        _check_cycles({name: [term.meter for term in terms] for name, terms in parts.items()}, "is formed of itself")
        _check_cycles({n: [v.parent] if v.parent else [] for n, v in now.items()}, "is its own parent")
        _check_shares(parts)


def _check_cycles(edges: Mapping[str, list[str]], what: str) -> None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        raise ValueError(f"meter {circle[0]} {what}: {' -> '.join(circle)}") from None


def _check_shares(parts: Mapping[str, tuple[Term, ...]]) -> None:
    total: dict[str, Fraction] = {}
    for terms in parts.values():
        for term in terms:
            if 0 < term.factor < 1:
                total[term.meter] = total.get(term.meter, Fraction(0)) + term.factor
    for meter, shares in total.items():
        if shares > 1:
            raise ValueError(f"shares of meter {meter} add up to {float(shares):g}, expected at most 1")


def _expression_error(text: str, at: int, expected: str) -> ValueError:
    return ValueError(f"expression {text!r}: expected {expected} at position {at + 1}, found {text[at : at + 20]!r}")


def _check_text(what: str, text: str) -> None:
    if not text.strip() or len(text) > NAME_MAX or any(ord(character) < 32 for character in text):
        raise ValueError(f"{what}: expected 1 to {NAME_MAX} printable characters, found {text[:40]!r}")
