"""What people type: places as ``acme/hq/gw1``, instants as local dates; and the registry they mean."""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from merilo.ids import DeviceKey, GatewayKey, MeterKey, is_id
from merilo.instants import QUARTER_MS, from_ms, to_ms
from merilo_cli.output import ArgumentError

if TYPE_CHECKING:
    from merilo_adapters.registry import Registry

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
START = "start"
"""As an instant: from the beginning of all readings."""


@contextlib.contextmanager
def registry() -> Iterator[Registry]:
    """The registry of this installation; changes are logged with the user's name."""
    from merilo_adapters.installation import installation
    from merilo_adapters.registry import Registry

    found = Registry.open(installation().registry_url, actor=user())
    try:
        yield found
    finally:
        found.close()


def user() -> str:
    """Who types."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def now_ms() -> int:
    """Now [UTC ms]: the only clock of the registry's commands."""
    return time.time_ns() // 1_000_000


def _levels(text: str, what: str, example: str, count: int) -> list[str]:
    levels = text.split("/")
    if len(levels) != count or not all(is_id(level) for level in levels):
        raise ArgumentError(what, f"expected {example}, found {text[:120]!r}", "Ids are made of a-z, 0-9 and '-'")
    return levels


def site_of(text: str) -> tuple[str, str]:
    """``company/site``."""
    company, site = _levels(text, "SITE", "company/site as acme/hq", 2)
    return company, site


def company_or_site(found: Registry, text: str) -> tuple[str, str]:
    """``company`` or ``company/site`` that the registry has; the site is empty where none is named.

    Raises:
        NotFoundError: No such company or site.
    """
    company, _, site = text.partition("/")
    found.company(company)
    if site:
        found.site(company, site)
    return company, site


def gateway_of(text: str) -> GatewayKey:
    """``company/site/gateway``."""
    return GatewayKey(*_levels(text, "GATEWAY", "company/site/gateway as acme/hq/gw1", 3))


def device_of(text: str) -> DeviceKey:
    """``company/site/gateway/device``."""
    return DeviceKey(*_levels(text, "DEVICE", "company/site/gateway/device as acme/hq/gw1/main", 4))


def meter_of(text: str) -> MeterKey:
    """``company/site/meter``."""
    return MeterKey(*_levels(text, "METER", "company/site/meter as acme/hq/main", 3))


def instant_of(text: str, option: str, zone: str, *, on_grid: bool = False) -> int:
    """An instant [UTC ms]: a date or a local time in the site's zone, or a time with its offset.

    Args:
        text: ``2026-10-01``, ``2026-10-01T12:30``, ``2026-10-01T12:30+03:00`` or ``start``.
        option: Named in the error.
        zone: Of the site.
        on_grid: Whether it must be a quarter of an hour.

    Raises:
        ArgumentError: It is none, it does not exist or exists twice because of a clock change, or it is off the grid.
    """
    if text == START:
        return 0
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = "Write 2026-10-01, 2026-10-01T12:30, or 2026-10-01T12:30+03:00"
        raise ArgumentError(option, f"expected a date or a time, found {text[:60]!r}", hint) from None
    if found.tzinfo is None:
        local = found.replace(tzinfo=ZoneInfo(zone))
        if local.utcoffset() != local.replace(fold=1).utcoffset():
            hint = "Write it with its offset, as 2026-10-25T03:30+02:00"
            raise ArgumentError(option, f"{text} is missing or comes twice in {zone}: the clocks change", hint)
        found = local
    instant = to_ms(found.astimezone(UTC))
    if on_grid and instant % QUARTER_MS:
        raise ArgumentError(option, f"expected a quarter of an hour, found {text}", "Write for example 12:15")
    return instant


def shown(at_ms: int | None, zone: str = "UTC") -> str | None:
    """An instant for people: local, with its offset; the beginning as ``start``."""
    if at_ms is None:
        return None
    if at_ms == 0:
        return START
    return from_ms(at_ms).astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")
