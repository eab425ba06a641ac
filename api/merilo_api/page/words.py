"""Words and numbers for people: English and Bulgarian, by gettext catalogues and Babel."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_time
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit
from fastapi import Request

from merilo.instants import from_ms

LANGUAGES = ("en", "bg")
LANGUAGE_COOKIE = "merilo_lang"
LOCALE_FOLDER = Path(__file__).parent / "locale"
_TAGS = {"en": "en_GB", "bg": "bg"}
NONE = "–"
"""Where there is no number."""


@dataclass(slots=True)
class Catalogue:
    """The messages of one language."""

    single: dict[str, str] = field(default_factory=dict)
    plural: dict[str, tuple[str, ...]] = field(default_factory=dict)


@lru_cache
def catalogue(language: str) -> Catalogue:
    """Message to translation; in English only where the message is not the text itself."""
    found = Catalogue()
    with (LOCALE_FOLDER / language / "LC_MESSAGES" / "merilo.po").open("rb") as source:
        for message in read_po(source, locale=language):
            if not message.id or message.fuzzy:
                continue
            if isinstance(message.id, str):
                found.single[message.id] = str(message.string)
            else:
                found.plural[message.id[0]] = tuple(str(form) for form in message.string or ())
    return found


@dataclass(frozen=True, slots=True)
class Words:
    """Makes texts of one language."""

    language: str

    def text(self, message: str, **parameters: object) -> str:
        """The translated message with its parameters."""
        found = catalogue(self.language).single.get(message) or message
        return found.format(**parameters) if parameters else found

    def count(self, one: str, many: str, number: int, **parameters: object) -> str:
        """The translated message for this number, which stands in it as ``{number}``."""
        forms = catalogue(self.language).plural.get(one) or (one, many)
        return forms[0 if number == 1 else 1].format(number=self.number(number), **parameters)

    @property
    def locale(self) -> Locale:
        """Babel's locale."""
        return Locale.parse(_TAGS[self.language])

    def number(self, value: float | None, digits: int = 0) -> str:
        """A number with the language's separators, a dash where there is none."""
        if value is None:
            return NONE
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        shown = format_decimal(round(value, digits) + 0.0, format=pattern, locale=self.locale)
        return shown.replace("-", "\u2212")

    def kwh(self, wh: float | None, digits: int = 1) -> str:
        """Energy in kWh without its unit, for columns whose head has it."""
        return self.number(None if wh is None else wh / 1000, digits)

    def energy(self, wh: float | None) -> str:
        """Energy in kWh, converted here once, with about three significant digits."""
        if wh is None:
            return NONE
        size = abs(wh) / 1000
        return f"{self.kwh(wh, 0 if size >= 100 else 1 if size >= 10 else 2)}\u00a0kWh"

    def power(self, w: float | None) -> str:
        """Power in W or kW."""
        if w is None:
            return NONE
        if abs(w) < 1000:
            return f"{self.number(w)}\u00a0W"
        return f"{self.number(w / 1000, 2 if abs(w) < 10_000 else 1)}\u00a0kW"

    def percent(self, ratio: float | None) -> str:
        """A ratio as per cent, never rounded up to 100."""
        if ratio is None:
            return NONE
        shown = ratio if ratio >= 1 else min(ratio, 0.999)
        return format_percent(shown, format="#,##0.#%", locale=self.locale)

    def share(self, ratio: float) -> str:
        """A part of a whole, in whole per cent."""
        return format_percent(ratio, format="#,##0%", locale=self.locale)

    def hours(self, hours: float) -> str:
        """Hours, with quarters where there are some."""
        return format_decimal(round(hours, 2), format="#,##0.##", locale=self.locale)

    def day(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local date without its year."""
        return format_date(from_ms(at_ms).astimezone(tz), "d MMM", locale=self.locale)

    def weekday(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local date with its day of the week."""
        return format_date(from_ms(at_ms).astimezone(tz), "EEE d MMM", locale=self.locale)

    def month(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local month; a sentence may begin with it."""
        shown = format_date(from_ms(at_ms).astimezone(tz), "LLLL y", locale=self.locale)
        return shown[:1].upper() + shown[1:]

    def time(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local time of day."""
        return format_time(from_ms(at_ms).astimezone(tz), "HH:mm", locale=self.locale)

    def instant(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local date and time."""
        return format_datetime(from_ms(at_ms).astimezone(tz), "d MMM y, HH:mm", locale=self.locale)

    def duration(self, seconds: float | None) -> str:
        """A stretch of time in its largest fitting unit."""
        if seconds is None:
            return NONE
        for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
            if seconds >= size:
                value = round(seconds / size, 1) if seconds < 10 * size else round(seconds / size)
                return format_unit(value, f"duration-{unit}", "short", format="#,##0.#", locale=self.locale)
        return format_unit(round(seconds), "duration-second", "short", format="#,##0", locale=self.locale)

    def role(self, role: str) -> str:
        """What a meter measures."""
        return self.text(f"role {role}")


def choose(asked: str | None, cookie: str | None, accept: str) -> str:
    """The language: by address, by cookie, by what the browser prefers, else English."""
    for candidate in (asked, cookie):
        if candidate in LANGUAGES:
            return str(candidate)
    best, weight = "en", 0.0
    for part in accept.lower().split(","):
        tag, _, quality = part.partition(";")
        number = quality.strip().removeprefix("q=") or "1"
        value = float(number) if number.replace(".", "", 1).isdigit() else 0.0
        if tag.strip()[:2] in LANGUAGES and value > weight:
            best, weight = tag.strip()[:2], value
    return best


def of_request(request: Request) -> Words:
    """The words of this request's language."""
    asked, kept = request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)
    return Words(choose(asked, kept, request.headers.get("accept-language", "")))
