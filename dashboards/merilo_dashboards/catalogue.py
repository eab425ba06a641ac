"""All boards there are."""

from __future__ import annotations

from merilo_dashboards.board import Board
from merilo_dashboards.company_overview import company_overview


def boards() -> tuple[Board, ...]:
    """Every board, in the order in which a newcomer meets them."""
    return (company_overview(),)
