"""What is wrong, in sentences that end with the next step; most urgent first, few at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from merilo_api.page.view import PageView
from merilo_api.page.words import Words

SHOWN_MAX = 6
"""More than this nobody reads at once; the health page of the API has them all."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One notice for people."""

    level: str
    """fault, warning or step."""
    text: str
    step: str
    command: str = ""


def sentences(health: Mapping[str, Any], view: PageView | None, words: Words) -> list[Sentence]:
    """Sentences made of the notices of the company's health, and of what the page lacks."""
    found = [_sentence(n["code"], n["parameters"], words) for n in health["notices"]]
    if view is not None and view.meters and not view.has_main:
        found.append(
            Sentence(
                "step",
                words.text("No meter measures the whole site yet, so there is no total."),
                words.text("Give the main meter its role:"),
                f"merilo meter set {view.meters[0].meter} --role main",
            )
        )
    order = {"fault": 0, "warning": 1, "step": 2}
    unique = list(dict.fromkeys(s for s in found if s is not None))
    return sorted(unique, key=lambda s: order[s.level])[:SHOWN_MAX]


def _sentence(code: str, given: Mapping[str, Any], words: Words) -> Sentence | None:
    text = words.text
    if code == "no_gateway":
        return Sentence(
            "step",
            text("No gateway yet."),
            text("Make a login for the first one and install it on the machine beside your meters:"),
            f"merilo gateway add {given['company']}/<site>/gw1",
        )
    if code == "gateway_never_seen":
        return Sentence(
            "warning",
            text("Gateway {gateway} has never been heard.", gateway=given["gateway"]),
            text("Start it with the login you were shown:"),
            "merilo gateway run -c gateway.yaml",
        )
    if code == "gateway_silent":
        return Sentence(
            "fault",
            text("Gateway {gateway} is silent.", gateway=given["gateway"]),
            text("Its readings wait on its disk. Check power and network there, then:"),
            "merilo gateway check -c gateway.yaml",
        )
    if code == "device_silent":
        return Sentence(
            "warning",
            text("Device {device} does not answer.", device=given["device"]),
            text("Check its supply and its bus cable, then read it directly:"),
            f"merilo gateway read {given['device']}",
        )
    if code == "device_unconfirmed":
        return Sentence(
            "step",
            text("Device {device} is new and not confirmed.", device=given["device"]),
            text("It is booked already. Say that it is yours, and what it measures:"),
            f"merilo meter confirm {given['device']}",
        )
    if code == "store_away":
        return Sentence(
            "fault",
            text("The series store does not answer."),
            text("No reading is lost: gateways keep them. Start the store, then:"),
            "merilo doctor",
        )
    if code == "store_forgot":
        return Sentence(
            "fault",
            text("The series store has lost readings it had taken; they are being fetched again."),
            text("Nothing to do. To see how far it is:"),
            "merilo store check",
        )
    if code == "collector_silent":
        return Sentence(
            "fault",
            text("The collector does not run."),
            text("Readings wait at the gateways until it does:"),
            "merilo collector run",
        )
    return None
