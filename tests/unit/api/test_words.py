"""Words and numbers in both languages; no text without its translation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract_python
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import merilo_api
from merilo.schema import EVENT_COUNTERS, ROLES
from merilo_api.page.words import LOCALE_FOLDER, Words, catalogue, choose
from unit.api.scene import TZ, at

SOURCES = Path(merilo_api.__file__).parent
KEYWORDS = {"_": None, "text": None, "count": (1, 2), "_n": (1, 2)}
NBSP = "\u00a0"
Message = str | tuple[str, str]


def messages() -> dict[Message, str]:
    """Every text of code and templates, and where it stands."""
    found: dict[Message, str] = {}
    python: Any = extract_python
    templates: Any = babel_extract
    sources = [(path, python) for path in sorted(SOURCES.rglob("*.py"))]
    sources += [(path, templates) for path in sorted(SOURCES.rglob("*.html"))]
    for path, extract in sources:
        with path.open("rb") as source:
            for line, function, given, _ in extract(source, list(KEYWORDS), [], {}):
                texts = list(given) if isinstance(given, tuple) else [given]
                plural = function in ("count", "_n") and len(texts) > 1
                if texts[0] and (not plural or texts[1]):
                    found[(str(texts[0]), str(texts[1])) if plural else str(texts[0])] = f"{path.name}:{line}"
    return found


def test_every_text_has_its_bulgarian() -> None:
    bulgarian = catalogue("bg")
    found = messages()
    missing = [
        f"{where}: {message!r}"
        for message, where in found.items()
        if not (bulgarian.plural.get(message[0]) if isinstance(message, tuple) else bulgarian.single.get(message))
    ]

    assert len(found) > 100
    assert not missing


@pytest.mark.parametrize("language", ["bg", "en"])
def test_no_translation_is_empty_fuzzy_or_of_no_use(language: str) -> None:
    used = {message if isinstance(message, str) else message[0] for message in messages()}
    with (LOCALE_FOLDER / language / "LC_MESSAGES" / "merilo.po").open("rb") as source:
        for message in read_po(source, locale=language):
            if not message.id:
                continue
            first = message.id if isinstance(message.id, str) else message.id[0]
            forms = [message.string] if isinstance(message.string, str) else list(message.string or ())
            assert not message.fuzzy, first
            assert forms, first
            assert all(forms), first
            assert first in used or first.startswith(("role ", "event ")), first


def test_translations_keep_the_parameters() -> None:
    found = catalogue("bg")
    pairs = list(found.single.items()) + [(one, form) for one, forms in found.plural.items() for form in forms]
    for message, translation in pairs:
        assert set(re.findall(r"{(\w+)}", message)) == set(re.findall(r"{(\w+)}", translation)), message


@pytest.mark.parametrize("language", ["bg", "en"])
def test_every_role_and_ledger_event_has_its_words(language: str) -> None:
    for key in [f"role {role}" for role in ROLES] + [f"event {code}" for code in EVENT_COUNTERS]:
        assert catalogue(language).single[key]


@pytest.mark.parametrize(
    ("language", "energy", "power", "percent", "day"),
    [
        ("en", f"1,234{NBSP}kWh", f"6.00{NBSP}kW", "98.3%", "Wed 25 Nov"),
        ("bg", f"1{NBSP}234{NBSP}kWh", f"6,00{NBSP}kW", "98,3%", "ср 25 ное"),
    ],
)
def test_numbers_are_written_as_the_language_does(
    language: str, energy: str, power: str, percent: str, day: str
) -> None:
    words = Words(language)

    assert words.energy(1_234_400.0) == energy
    assert words.power(6_000.0) == power
    assert words.percent(0.9834) == percent
    assert words.weekday(at(25, 12), TZ).replace(",", "") == day


@pytest.mark.parametrize(
    ("wh", "text"),
    [(None, "–"), (0.0, "0.00 kWh"), (9_994.0, "9.99 kWh"), (10_000.0, "10.0 kWh"), (100_000.0, "100 kWh")],
)
def test_energy_has_about_three_digits(wh: float | None, text: str) -> None:
    assert Words("en").energy(wh).replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("w", "text"),
    [(None, "–"), (-0.4, "0 W"), (999.4, "999 W"), (1_000.0, "1.00 kW"), (10_000.0, "10.0 kW"), (-450.0, "−450 W")],
)
def test_power_is_in_watts_or_kilowatts(w: float | None, text: str) -> None:
    assert Words("en").power(w).replace(NBSP, " ") == text


def test_what_is_not_complete_is_never_rounded_up_to_it() -> None:
    assert [Words("en").percent(r) for r in (1.0, 0.99996, 0.5, None)] == ["100%", "99.9%", "50%", "–"]


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 показание чака на диска му."), (2, "2 показания чакат на диска му.")]
)
def test_a_number_chooses_its_form(number: int, text: str) -> None:
    found = Words("bg").count("{number} reading waits on its disk.", "{number} readings wait on its disk.", number)

    assert found == text


@pytest.mark.parametrize(
    ("asked", "cookie", "accept", "language"),
    [
        ("bg", "en", "en", "bg"),
        ("xx", "bg", "en", "bg"),
        (None, None, "bg-BG,bg;q=0.9,en;q=0.8", "bg"),
        (None, None, "de, en;q=0.5, bg;q=0.7", "bg"),
        (None, None, "de", "en"),
        (None, None, "bg;q=0", "en"),
        (None, "<script>", "bg;q=x", "en"),
    ],
)
def test_the_language_is_the_one_that_was_asked_for_first(
    asked: str | None, cookie: str | None, accept: str, language: str
) -> None:
    assert choose(asked, cookie, accept) == language


def test_durations_have_one_unit() -> None:
    words = Words("en")

    assert [words.duration(s) for s in (None, 4, 90, 5_400, 200_000)] == [
        "–",
        "4 secs",
        "1.5 mins",
        "1.5 hrs",
        "2.3 days",
    ]
