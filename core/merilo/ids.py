"""Identifiers of companies, sites, gateways, devices and meters, and the keys made of them."""

from __future__ import annotations

import re
from typing import NamedTuple, NewType

CompanyId = NewType("CompanyId", str)
SiteId = NewType("SiteId", str)
GatewayId = NewType("GatewayId", str)
DeviceId = NewType("DeviceId", str)
MeterId = NewType("MeterId", str)

ID_TEXT = "[a-z0-9][a-z0-9-]{0,31}"
"""One level of a topic: what brokers, URLs, file names and people can all carry."""
_ID = re.compile(ID_TEXT)

PROGRAMME = "programme"
"""Reserved as a company: the database of aggregates."""
TRIALS = "trials"
"""Reserved as a gateway: switch messages live there."""


class GatewayKey(NamedTuple):
    """Whose gateway: all three from the topic, never from a payload."""

    company: str
    site: str
    gateway: str


class DeviceKey(NamedTuple):
    """What a reading is stored under, together with its instant."""

    company: str
    site: str
    gateway: str
    device: str

    @property
    def gateway_key(self) -> GatewayKey:
        """The gateway that talks to this device."""
        return GatewayKey(self.company, self.site, self.gateway)


class RegisterKey(NamedTuple):
    """One counter of one device: what the ledger walks."""

    company: str
    site: str
    gateway: str
    device: str
    register: str

    @property
    def device_key(self) -> DeviceKey:
        """The device that has this register."""
        return DeviceKey(self.company, self.site, self.gateway, self.device)


class MeterKey(NamedTuple):
    """What energy is booked on."""

    company: str
    site: str
    meter: str


def is_id(text: str) -> bool:
    """Whether the text is a valid identifier: 1 to 32 of ``a-z 0-9 -``, not starting with a hyphen."""
    return _ID.fullmatch(text) is not None


def check_id(kind: str, text: str) -> str:
    """Gives the text back if it is a valid identifier of that kind.

    Raises:
        ValueError: It is not; the message names the kind and the text.
    """
    if not is_id(text):
        raise ValueError(f"{kind} {text[:40]!r}: expected 1 to 32 of a-z, 0-9 and '-', starting with a letter or digit")
    if kind == "company" and text == PROGRAMME:
        raise ValueError(f"company {text!r} is reserved for the programme's aggregates")
    if kind == "gateway" and text == TRIALS:
        raise ValueError(f"gateway {text!r} is reserved for switch messages")
    return text
