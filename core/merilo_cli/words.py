"""Words of the command line in Bulgarian and English. Errors keep one wording, so that they can be found."""

from __future__ import annotations

import os

LANGUAGES = ("en", "bg")

_WORDS: dict[str, tuple[str, str]] = {
    "action": ("action", "действие"),
    "at": ("at", "на"),
    "author": ("author", "автор"),
    "channel_of": ("channel of", "канал на"),
    "code": ("event", "събитие"),
    "company": ("company", "фирма"),
    "confirmed": ("confirmed", "потвърден"),
    "country": ("country", "държава"),
    "created": ("created", "създаден"),
    "currency": ("currency", "валута"),
    "device": ("device", "устройство"),
    "end": ("end", "край"),
    "form_again": ("Books form again from", "Книгите се преизчисляват от"),
    "from": ("from", "от"),
    "gateway": ("gateway", "шлюз"),
    "id": ("id", "ид"),
    "interval_s": ("interval s", "интервал s"),
    "key": ("key", "ключ"),
    "kind": ("kind", "вид"),
    "login": ("login", "потребител"),
    "max_power_w": ("max W", "макс. W"),
    "meter": ("meter", "електромер"),
    "model": ("model", "модел"),
    "name": ("name", "име"),
    "no": ("no", "не"),
    "nothing": ("Nothing to show.", "Няма нищо за показване."),
    "nothing_to_confirm": ("Nothing to confirm.", "Няма нищо за потвърждаване."),
    "number": ("number", "номер"),
    "parameters": ("parameters", "параметри"),
    "parent": ("parent", "над него"),
    "password": ("password", "парола"),
    "place": ("place", "място"),
    "profile": ("profile", "профил"),
    "proposed_role": ("proposed role", "предложена роля"),
    "raw_days": ("raw days", "дни сурови"),
    "reason": ("reason", "причина"),
    "reload": (
        "Broker files written to {folder}. Make the broker read them: kill -HUP its process, or systemctl reload.",
        "Файловете на брокера са в {folder}. Накарайте го да ги прочете: kill -HUP или systemctl reload.",
    ),
    "revoke_reason": ("revoked because", "отменен, защото"),
    "revoked": ("revoked", "отменен"),
    "revoked_by": ("revoked by", "отменен от"),
    "role": ("role", "роля"),
    "scopes": ("scopes", "права"),
    "serial": ("serial", "сериен номер"),
    "shown_once": (
        "This password is shown once; only its hash is kept.",
        "Тази парола се показва само веднъж; пази се само нейният отпечатък.",
    ),
    "key_shown_once": (
        "This key is shown once; only its hash is kept.",
        "Този ключ се показва само веднъж; пази се само неговият отпечатък.",
    ),
    "site": ("site", "обект"),
    "source": ("source", "източник"),
    "store_url": ("store", "хранилище"),
    "target": ("about", "за"),
    "to": ("to", "до"),
    "unchanged": ("Unchanged.", "Без промяна."),
    "yes": ("yes", "да"),
    "yes_no": ("y/N", "д/Н"),
    "zero_is_valid": ("zero valid", "нула важи"),
    "zone": ("zone", "часова зона"),
}


def language() -> str:
    """``bg`` or ``en``: MERILO_LANG, else the locale's, else English."""
    for name in ("MERILO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")[:2].lower()
        if value:
            return value if value in LANGUAGES else "en"
    return "en"


def word(name: str, **parameters: str) -> str:
    """A word or a sentence in the chosen language; a name without one stands for itself."""
    found = _WORDS.get(name)
    text = found[LANGUAGES.index(language())] if found else name
    return text.format(**parameters) if parameters else text
