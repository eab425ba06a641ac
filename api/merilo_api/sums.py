"""Sums of energy over a period as result envelopes: value, unit, coverage, estimated share, or a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from merilo.site import Site
from merilo_api.params import Range


def energy_envelopes(
    request: Request, place: Site, span: Range, tags: Mapping[str, str], now_ms: int
) -> list[dict[str, Any]]:
    """One envelope per meter."""
    raise NotImplementedError
