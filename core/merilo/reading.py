"""A reading: all that one device said in one poll."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from merilo.ids import is_id
from merilo.quantities import QUANTITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that one device said in one poll; values are as read, a missing value is a missing key.

    Raises:
        ValueError: An invalid device id, an unknown quantity, no value at all, or a value that is not finite.
    """

    device: str
    at_ms: int
    """When the last block's answer arrived [UTC ms]; strictly increasing per device within an epoch."""
    values: Mapping[str, float]
    """Canonical unit of each quantity; counters as read."""

    def __post_init__(self) -> None:
        if not is_id(self.device):
            raise ValueError(f"device {self.device!r} is not a valid id")
        if not self.values:
            raise ValueError(f"reading of {self.device} has no value: a silent device gives no reading")
        for name, value in self.values.items():
            if name not in QUANTITIES:
                raise ValueError(f"reading of {self.device}: unknown quantity {name!r}")
            if not math.isfinite(value):
                raise ValueError(f"reading of {self.device}: {name} = {value} is not finite")
