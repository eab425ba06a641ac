"""Ledger events as rows of ``events``: codes and numbers, and a title in each language for boards."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from merilo.frame import Frame
from merilo.ledger import LedgerEvent
from merilo.ports import Point
from merilo.schema import ABSENT_TAG
from merilo.site import BookedKind, Event

TITLES: dict[str, tuple[str, str]] = {
    "swap": ("Meter exchanged", "Сменен електромер"),
    "stuck": ("Register stood still", "Броячът е спрял"),
    "back_step": ("Register fell slightly", "Броячът е намалял леко"),
    "spike": ("Readings set aside: too high", "Отстранени показания: твърде високи"),
    "zero_burst": ("Readings set aside: too low", "Отстранени показания: твърде ниски"),
    "rollover": ("Register rolled over", "Броячът е превъртял"),
    "reset": ("Register began again from zero", "Броячът е започнал отначало"),
    "decode_change": ("Register changed its scale", "Броячът е сменил мащаба си"),
    "overbooked": ("A little too much was booked before", "Преди това е отчетено малко повече"),
    "undecided": ("Disturbance, not decided yet", "Смущение, още неопределено"),
    "register_power_mismatch": ("Register and power disagree", "Броячът и мощността се разминават"),
    "step_mismatch": (
        "Register moves in larger steps than stated",
        "Броячът се движи на по-големи стъпки от посочените",
    ),
}
"""Words of each kind of ledger event, English and Bulgarian."""

REPORTED: dict[str, tuple[str, str]] = {
    "device_silent": ("Device silent", "Устройството мълчи"),
    "device_back": ("Device answers again", "Устройството отговаря отново"),
    "identity_changed": ("Another device answers", "Отговаря друго устройство"),
    "values_missing": ("Device leaves values out", "Устройството не дава някои стойности"),
    "clock_step": ("Clock was set", "Часовникът е преместен"),
    "rows_dropped": ("Readings given up: no room", "Изоставени показания: няма място"),
    "outbox": ("Outbox repaired", "Изходящата кутия е поправена"),
    "message_refused": ("Message refused", "Отказано съобщение"),
    "publish_refused": ("Broker refuses to publish", "Брокерът отказва публикуване"),
    "conflict": ("Two readings for one instant", "Две показания за един момент"),
    "readings_lost": ("Readings lost by the store", "Показания, загубени от хранилището"),
}
"""Words of what gateways and programs report; a code without words is shown as it is."""
APART_MS = 1_000
"""Two events of one second are told apart by their numbers, within this many."""


def reported_point(event: Event) -> Point:
    """The stored row of an event of any kind but ledger; the same event gives the same row."""
    place = event.place
    levels = (place.meter, place.gateway, place.device, place.register)
    tags = (place.company, place.site or ABSENT_TAG, event.kind, *(level or ABSENT_TAG for level in levels))
    english, bulgarian = REPORTED.get(event.code, (event.code, event.code))
    fields: dict[str, float | str] = {
        "number": float(event.number),
        "end_ms": float(event.end_ms if event.end_ms is not None else event.at_ms),
        "code": event.code or event.kind,
        "parameters": msgspec.json.encode(dict(event.parameters), order="deterministic").decode(),
        "title_en": english or event.kind,
        "title_bg": bulgarian or event.kind,
        "tags": event.kind,
    }
    return Point(tags, event.at_ms // APART_MS * APART_MS + event.number % APART_MS, fields)


def ledger_frame(events: Sequence[LedgerEvent], numbers: Sequence[int], kind: BookedKind = "ledger") -> Frame:
    """The stored rows of these events of one kind, by their instants."""
    n = len(events)
    nan = float("nan")

    def wh(values: list[int | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([nan if value is None else value / 1000.0 for value in values], np.float64)

    order = sorted(range(n), key=lambda i: events[i].at_ms)
    found = [events[i] for i in order]
    return Frame(
        np.array([e.at_ms for e in found], np.int64),
        {
            "number": np.array([float(numbers[i]) for i in order]),
            "end_ms": np.array([float(e.t1_ms) for e in found]),
            "t0_ms": np.array([float(e.t0_ms) for e in found]),
            "t1_ms": np.array([float(e.t1_ms) for e in found]),
            "r0_wh": wh([e.r0_mwh for e in found]),
            "r1_wh": wh([e.r1_mwh for e in found]),
            "low_wh": wh([e.low_mwh for e in found]),
            "high_wh": wh([e.high_mwh for e in found]),
            "estimated_wh": wh([e.estimated_mwh for e in found]),
            "set_aside": np.array([float(e.set_aside) for e in found]),
            "settles_at_ms": np.array([nan if e.settles_at_ms is None else float(e.settles_at_ms) for e in found]),
        }
        if n
        else {},
        {
            "code": [e.kind for e in found],
            "parameters": [msgspec.json.encode({"detail": e.detail, "k": e.k}).decode() for e in found],
            "title_en": [TITLES.get(e.kind, (e.kind, e.kind))[0] for e in found],
            "title_bg": [TITLES.get(e.kind, (e.kind, e.kind))[1] for e in found],
            "tags": [kind for _ in found],
        }
        if n
        else {},
    )
