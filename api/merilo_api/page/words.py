"""Words and numbers for people: English and Bulgarian, by gettext catalogues and Babel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_time
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from merilo.instants import from_ms

LANGUAGES = ("en", "bg")
LOCALE_FOLDER = Path(__file__).parent / "locale"
_TAGS = {"en": "en_GB", "bg": "bg"}


@lru_cache
def catalogue(language: str) -> dict[str, str]:
    """Message to translation; English needs none."""
    path = LOCALE_FOLDER / language / "LC_MESSAGES" / "merilo.po"
    if not path.exists():
        return {}
    with path.open("rb") as source:
        found = read_po(source, locale=language)
    return {str(m.id): str(m.string) for m in found if m.id and m.string and not m.fuzzy}


@dataclass(frozen=True, slots=True)
class Words:
    """Makes texts of one language."""

    language: str

    def text(self, message: str, **parameters: object) -> str:
        """The translated message with its parameters."""
        found = catalogue(self.language).get(message, message)
        return found.format(**parameters) if parameters else found

    @property
    def locale(self) -> Locale:
        """Babel's locale."""
        return Locale.parse(_TAGS[self.language])

    def number(self, value: float | None, digits: int = 0) -> str:
        """A number with the language's separators, a dash where there is none."""
        if value is None:
            return "–"
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        return format_decimal(round(value, digits), format=pattern, locale=self.locale)

    def energy(self, wh: float | None) -> str:
        """Energy in kWh, converted here once, with about three significant digits."""
        if wh is None:
            return "–"
        kwh = wh / 1000
        return f"{self.number(kwh, 0 if abs(kwh) >= 100 else 1 if abs(kwh) >= 10 else 2)}\u00a0kWh"

    def power(self, w: float | None) -> str:
        """Power in W or kW."""
        if w is None:
            return "–"
        if abs(w) < 1000:
            return f"{self.number(w)}\u00a0W"
        return f"{self.number(w / 1000, 2 if abs(w) < 10_000 else 1)}\u00a0kW"

    def percent(self, ratio: float | None) -> str:
        """A ratio as per cent, never rounded up to 100."""
        if ratio is None:
            return "–"
        shown = ratio if ratio >= 1 else min(ratio, 0.999)
        return format_percent(shown, format="#,##0.#%", locale=self.locale)

    def day(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local date."""
        return format_date(from_ms(at_ms).astimezone(tz), "d MMM", locale=self.locale)

    def month(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local month."""
        return format_date(from_ms(at_ms).astimezone(tz), "LLLL y", locale=self.locale)

    def time(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local time of day."""
        return format_time(from_ms(at_ms).astimezone(tz), "HH:mm", locale=self.locale)

    def instant(self, at_ms: int, tz: ZoneInfo) -> str:
        """A local date and time."""
        return format_datetime(from_ms(at_ms).astimezone(tz), "d MMM y, HH:mm", locale=self.locale)

    def duration(self, seconds: float) -> str:
        """A stretch of time in its largest fitting unit."""
        for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
            if seconds >= size:
                return f"{self.number(seconds / size, 1 if seconds < 10 * size else 0)}\u00a0{self.text(unit)}"
        return f"{self.number(seconds)}\u00a0{self.text('s')}"


def choose(asked: str | None, cookie: str | None, accept: str) -> str:
    """The language: by address, by cookie, by what the browser prefers, else English."""
    for candidate in (asked, cookie):
        if candidate in LANGUAGES:
            return str(candidate)
    for part in accept.split(","):
        tag = part.split(";")[0].strip().lower()[:2]
        if tag in LANGUAGES:
            return tag
    return "en"
