"""What is wrong, in sentences that end with the next step; most urgent first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from merilo_api.page.shell import Shell
from merilo_api.page.words import Words

SHOWN_MAX = 6
"""More than this nobody reads at once; the health of the API has them all."""
_ORDER = {"fault": 0, "warning": 1, "step": 2}


class Sentence(NamedTuple):
    """One notice for people."""

    level: str
    """fault, warning or step."""
    text: str
    step: str
    command: str = ""


def told(code: str, parameters: Mapping[str, Any], words: Words, shell: Shell) -> dict[str, Any]:
    """A notice as the API gives it: a code with parameters, words, and the command as it is typed on that machine."""
    found = _SENTENCES[code](parameters, words)
    sentence = found._replace(command=shell.typed(found.command))
    return {"code": code, "parameters": dict(parameters), **sentence._asdict()}


def most_urgent(notices: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What the page shows of these notices."""
    return sorted(notices, key=lambda notice: _ORDER[notice["level"]])[:SHOWN_MAX]


def event_text(code: str, words: Words) -> str:
    """What an event is called; its code where nobody gave it a name."""
    shown = words.text(f"event {code}")
    return code.replace("_", " ") if shown == f"event {code}" else shown


def _no_gateway(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "step",
        words.text("No gateway yet."),
        words.text("Make a login for the first one, and install it on the machine beside your meters:"),
        f"merilo gateway add {given['site']}/gw1",
    )


def _gateway_never_seen(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "warning",
        words.text("Gateway {gateway} has never been heard.", gateway=given["gateway"]),
        words.text("On its machine, give it the login you were shown and start it:"),
        "merilo gateway run -c gateway.yaml",
    )


def _gateway_silent(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "fault",
        words.text("Gateway {gateway} is silent.", gateway=given["gateway"]),
        words.text("Its readings wait on its disk. Check power and network there, then run on it:"),
        "merilo gateway check -c gateway.yaml",
    )


def _device_silent(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "warning",
        words.text("Device {device} does not answer.", device=given["device"]),
        words.text("Check its supply and its cable, then read it from the gateway's machine:"),
        f"merilo gateway read {given['device']} -c gateway.yaml",
    )


def _devices_unconfirmed(given: Mapping[str, Any], words: Words) -> Sentence:
    names = given["devices"]
    return Sentence(
        "step",
        words.count(
            "Device {names} is new: {number} to confirm.",
            "{number} devices are new: {names}.",
            len(names),
            names=", ".join(names[:4]) + (" …" if len(names) > 4 else ""),
        ),
        words.text("What is new is booked already. Look at the roles below, then confirm:"),
        f"merilo meter confirm {given['site']}",
    )


def _store_away(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "fault",
        words.text("The store of the numbers does not answer."),
        words.text(
            "No reading is lost: the gateways keep them until it is back. Start the store; this says what is wrong:"
        ),
        "merilo doctor",
    )


def _store_forgot(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "fault",
        words.count(
            "The store has lost what it had taken of {number} day; it is being fetched again from the gateways.",
            "The store has lost what it had taken of {number} days; it is being fetched again from the gateways.",
            int(given["days"]),
        ),
        words.text("Figures of these days may change until this notice is gone. This says what is still missing:"),
        "merilo store check",
    )


def _collector_silent(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "fault",
        words.text("Nothing takes the readings in."),
        words.text("They wait at the gateways. Start the program that takes them:"),
        "merilo collector run",
    )


def _books_behind(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "fault",
        words.text("No energy has been booked for {time}.", time=words.duration(float(given["behind_s"]))),
        words.text("Readings are safe. Start the program that books them:"),
        "merilo books run",
    )


def _messages_refused(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "warning",
        words.count(
            "{number} message was refused in the last 30 days.",
            "{number} messages were refused in the last 30 days.",
            int(given["number"]),
        ),
        words.text(
            "They are kept with their reason: {reasons}. See which gateway or device sends them:",
            reasons=", ".join(given["reasons"]),
        ),
        "merilo collector dead list",
    )


def _no_main(given: Mapping[str, Any], words: Words) -> Sentence:
    return Sentence(
        "step",
        words.text("No meter measures the whole site yet, so there is no total."),
        words.text("Give the main meter its role:"),
        f"merilo meter set {given['meter']} --role main --from start",
    )


_SENTENCES: dict[str, Callable[[Mapping[str, Any], Words], Sentence]] = {
    "no_gateway": _no_gateway,
    "gateway_never_seen": _gateway_never_seen,
    "gateway_silent": _gateway_silent,
    "device_silent": _device_silent,
    "devices_unconfirmed": _devices_unconfirmed,
    "store_away": _store_away,
    "store_forgot": _store_forgot,
    "collector_silent": _collector_silent,
    "books_behind": _books_behind,
    "messages_refused": _messages_refused,
    "no_main": _no_main,
}
CODES = tuple(_SENTENCES)
"""Every code a notice can have."""
