"""Names on the broker, built and parsed in one place: ``merilo/v1/<company>/<site>/<gateway>/<channel>``."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from merilo.errors import PayloadError
from merilo.ids import GatewayKey, is_id

PREFIX = "merilo/v1"

Channel = Literal["state", "birth", "readings", "health", "event", "ack", "cmd", "reply"]
UPWARD: tuple[Channel, ...] = ("state", "birth", "readings", "health", "event")
"""What a gateway publishes and the collector reads."""
RETAINED: frozenset[Channel] = frozenset({"state", "birth"})


class Topic(NamedTuple):
    """A parsed topic."""

    gateway: GatewayKey
    channel: Channel
    verb: str = ""
    """Only for commands and their replies."""


def build(gateway: GatewayKey, channel: Channel, verb: str = "") -> str:
    """The topic of one channel of one gateway."""
    base = f"{PREFIX}/{gateway.company}/{gateway.site}/{gateway.gateway}"
    if channel == "cmd":
        return f"{base}/cmd/{verb}"
    if channel == "reply":
        return f"{base}/cmd/{verb}/reply"
    return f"{base}/{channel}"


def parse(topic: str) -> Topic:
    """Takes a topic apart.

    Raises:
        PayloadError: reason ``topic``: not exactly the levels of a Merilo topic, or an invalid id.
    """
    levels = topic.split("/")
    if len(levels) < 6 or levels[:2] != ["merilo", "v1"] or not all(is_id(level) for level in levels[2:5]):
        raise PayloadError("topic", f"expected {PREFIX}/<company>/<site>/<gateway>/<channel>, found {topic[:200]!r}")
    gateway = GatewayKey(levels[2], levels[3], levels[4])
    rest = levels[5:]
    if len(rest) == 1 and rest[0] in get_args(Channel) and rest[0] not in ("cmd", "reply"):
        return Topic(gateway, rest[0])  # type: ignore[arg-type]  # just checked against the Literal
    if len(rest) == 2 and rest[0] == "cmd" and is_id(rest[1]):
        return Topic(gateway, "cmd", rest[1])
    if len(rest) == 3 and rest[0] == "cmd" and rest[2] == "reply" and is_id(rest[1]):
        return Topic(gateway, "reply", rest[1])
    raise PayloadError("topic", f"expected one of {', '.join(UPWARD)}, ack, cmd/<verb>, found {topic[:200]!r}")


def upward_filters() -> list[str]:
    """The subscriptions of a collector: no two overlap."""
    return [f"{PREFIX}/+/+/+/{channel}" for channel in UPWARD] + [f"{PREFIX}/+/+/+/cmd/+/reply"]


def downward_filters(gateway: GatewayKey) -> list[str]:
    """The subscriptions of one gateway."""
    return [build(gateway, "ack"), build(gateway, "cmd", "+")]
