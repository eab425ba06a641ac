"""Where messages come from: batches of deliveries, released to the broker after the commit.

The same port is satisfied by MQTT on one machine and by AMQP queues on many: nothing above it knows which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Receipt = object
"""What the intake needs to release one delivery; opaque to everybody else."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as the broker gave it."""

    topic: str
    payload: bytes
    receipt: Receipt


class Intake(Protocol):
    """Gives batches of deliveries and takes back what was done with them."""

    def batch(self, wait_s: float) -> list[Delivery]:
        """What has arrived: at once when the window is full, else after a short linger, empty after ``wait_s``."""
        ...

    def publish(self, topic: str, payload: bytes) -> None:
        """Sends an acknowledgement or a command to a gateway, not retained. A lost one costs a resend only."""
        ...

    def release(self, receipts: Sequence[Receipt]) -> None:
        """Tells the broker that these deliveries need not be kept: after the commit, never before."""
        ...
