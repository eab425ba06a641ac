"""What may be sent, and when the connection is not to be believed any more. Pure: monotonic seconds come in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from merilo.wire import MESSAGE_MAX
from merilo_adapters.outbox import Span

LIVE_MAX = 8
"""Unacknowledged messages of the present; what does not fit becomes backlog."""
BACKLOG_MAX = 4
"""Unacknowledged messages of the past."""
RESEND_S = 20.0
"""An unacknowledged message goes out again after so long, with jitter of a quarter."""
STUCK_S = 30.0
"""No acknowledgement for so long while readings wait: the connection is dropped, whatever it looks like."""
REFUSED_REST_S = 30.0
"""Pause after a publish that the broker refused: it will not change its mind at once."""
UNHEARD_MIN_S = 1.0
UNHEARD_MAX_S = 30.0
"""Pause after a publish that nobody subscribes to (MQTT 5 says so), doubling: the collector is not there."""
LIMIT_MIN = 2_048
"""Bytes of a message that are tried at least when a broker seems to refuse longer ones."""

Lane = Literal["live", "backlog"]


@dataclass(slots=True)
class Sent:
    """A message under way."""

    span: Span
    lane: Lane
    until: float
    taken: bool = False
    """The broker has it; only the collector's acknowledgement counts."""


class Flow:
    """Messages under way on one connection.

    Args:
        rate: Backlog readings a second, 0 for no bound.
        chance: Gives the jitter.
    """

    def __init__(self, rate: float, chance: random.Random) -> None:
        self._rate = rate
        self._chance = chance
        self._under_way: list[Sent] = []
        self._tokens = 0.0
        self._filled: float | None = None
        self._quiet_since: float | None = None
        self._rest_until = 0.0
        self._patience = STUCK_S
        self._unheard_s = UNHEARD_MIN_S
        self._any_taken = False
        self.limit_bytes = MESSAGE_MAX
        """Largest payload that is sent."""

    @property
    def under_way(self) -> Sequence[Span]:
        """Numbers that need not be sent now."""
        return [sent.span for sent in self._under_way]

    def connected(self, now: float, maximum_bytes: int | None = None) -> None:
        """A new connection: nothing is under way any more."""
        self._under_way.clear()
        self._quiet_since = None
        self._patience = STUCK_S * self._chance.uniform(0.85, 1.0)
        self._rest_until = now
        self._any_taken = False
        if maximum_bytes is not None:
            self.limit_bytes = max(min(self.limit_bytes, maximum_bytes), LIMIT_MIN)

    def lost(self) -> None:
        """The connection is gone. If the broker took nothing on it, the messages may have been too long for it."""
        if self._under_way and not self._any_taken:
            self.limit_bytes = max(self.limit_bytes // 2, LIMIT_MIN)
        self._under_way.clear()

    def room(self, lane: Lane, now: float) -> bool:
        """Whether one more message of this lane may leave."""
        if now < self._rest_until:
            return False
        count = sum(1 for sent in self._under_way if sent.lane == lane)
        if lane == "live":
            return count < LIVE_MAX
        if self._rate > 0:
            filled = self._filled if self._filled is not None else now
            self._tokens = min(self._tokens + (now - filled) * self._rate, self._rate)
            self._filled = now
            if self._tokens < 0:
                return False
        return count < BACKLOG_MAX

    def sent(self, span: Span, lane: Lane, now: float) -> Sent:
        """Takes note of a message that left."""
        found = Sent(span, lane, now + RESEND_S * self._chance.uniform(0.75, 1.25))
        self._under_way.append(found)
        if lane == "backlog":
            self._tokens -= span.last - span.first + 1
        if self._quiet_since is None:
            self._quiet_since = now
        return found

    def taken(self, sent: Sent) -> None:
        """The broker has the message."""
        sent.taken = True
        self._any_taken = True

    def refused(self, sent: Sent, now: float) -> None:
        """The broker refused the message: it stays in the outbox, and nothing is sent for a while."""
        self._any_taken = True
        self._rest_until = now + REFUSED_REST_S
        if sent in self._under_way:
            self._under_way.remove(sent)

    def unheard(self, sent: Sent, now: float) -> None:
        """The broker took the message and had nobody to give it to: it goes out again after a pause."""
        self._any_taken = True
        if now >= self._rest_until:
            self._rest_until = now + self._unheard_s
            self._unheard_s = min(self._unheard_s * 2, UNHEARD_MAX_S)
        if sent in self._under_way:
            self._under_way.remove(sent)

    def acknowledged(self, span: Span, now: float) -> None:
        """The collector has these numbers."""
        self._unheard_s = UNHEARD_MIN_S
        self._under_way = [
            sent
            for sent in self._under_way
            if not (sent.span.epoch == span.epoch and span.first <= sent.span.first and sent.span.last <= span.last)
        ]
        self._quiet_since = now if self._under_way else None

    def expire(self, now: float) -> int:
        """Messages that waited too long are free to go out again; gives how many."""
        before = len(self._under_way)
        self._under_way = [sent for sent in self._under_way if sent.until > now]
        return before - len(self._under_way)

    def stuck(self, now: float) -> bool:
        """Whether readings have waited so long for an acknowledgement that the connection must go."""
        return self._quiet_since is not None and now - self._quiet_since > self._patience
