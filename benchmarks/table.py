"""One measured figure beside its target, and the table they make on a screen and in Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


def load() -> float:
    """Processes that were running or waiting during the last minute: how disturbed a figure is."""
    return os.getloadavg()[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    name: str
    value: float
    unit: str
    target: str = ""
    """As people write it: ``≥ 200,000``; empty where the figure only explains another one."""
    beside: str = ""
    """What it compares with: a bound, a baseline measured in the same run, and the ratio."""
    ok: bool | None = None
    load: float = field(default_factory=load)

    @property
    def verdict(self) -> str:
        """``yes``, ``no``, or nothing where there is no target."""
        return {True: "yes", False: "no", None: ""}[self.ok]

    def cells(self) -> tuple[str, ...]:
        """The row as texts."""
        found = f"{number(self.value)} {self.unit}".strip()
        return self.name, self.target, found, self.beside, self.verdict, f"{self.load:.1f}"


HEADINGS = ("figure", "target", "measured", "beside", "met", "load")


def number(value: float) -> str:
    """Three significant digits, thousands apart: ``1,230``, ``0.0123``."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def at_least(name: str, value: float, limit: float, unit: str, *, beside: str = "") -> Row:
    """A figure that should not be smaller."""
    return Row(name=name, value=value, unit=unit, target=f"≥ {number(limit)}", beside=beside, ok=value >= limit)


def at_most(name: str, value: float, limit: float, unit: str, *, beside: str = "") -> Row:
    """A figure that should not be larger."""
    return Row(name=name, value=value, unit=unit, target=f"≤ {number(limit)}", beside=beside, ok=value <= limit)


def below(name: str, value: float, limit: float, unit: str, *, beside: str = "") -> Row:
    """A figure that should stay under a limit."""
    return Row(name=name, value=value, unit=unit, target=f"< {number(limit)}", beside=beside, ok=value < limit)


def shown(name: str, value: float, unit: str, *, beside: str = "") -> Row:
    """A figure without a target."""
    return Row(name=name, value=value, unit=unit, beside=beside)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share lies; nan of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def screen(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Prints the table."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("target", "measured", "load") else "left")
    for row in rows:
        style = "red" if row.ok is False else ""
        table.add_row(*row.cells(), style=style)
    console.print(table)


def markdown(title: str, rows: Sequence[Row]) -> str:
    """The table for a document."""
    lines = [f"### {title}", "", f"| {' | '.join(HEADINGS)} |", "|---|--:|--:|---|---|--:|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row.cells())} |" for row in rows]
    return "\n".join(lines) + "\n"
