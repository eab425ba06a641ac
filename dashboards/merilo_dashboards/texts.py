"""Texts in both languages: every text of a board is one value that has the English and the Bulgarian words.

Grafana translates no panel titles and has no Bulgarian interface, so each board is written twice from one source. A
text cannot exist in one language only, and both must name the same variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Language = Literal["en", "bg"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_CYRILLIC = re.compile(r"[Ѐ-ӿ]")
_VARIABLE = re.compile(r"\$\{?\w+")


@dataclass(frozen=True, slots=True)
class Text:
    """Words for people.

    Raises:
        ValueError: A language is missing, is written in the other one's letters, or names other variables.
    """

    en: str
    bg: str

    def __post_init__(self) -> None:
        if not self.en.strip() or not self.bg.strip():
            raise ValueError(f"text {self.en[:40]!r} / {self.bg[:40]!r}: expected words in both languages")
        if _CYRILLIC.search(self.en):
            raise ValueError(f"text {self.en[:40]!r}: Cyrillic letters in the English words")
        if not _CYRILLIC.search(self.bg):
            raise ValueError(f"text {self.bg[:40]!r}: no Cyrillic letter in the Bulgarian words")
        if set(_VARIABLE.findall(self.en)) != set(_VARIABLE.findall(self.bg)):
            raise ValueError(f"text {self.en[:40]!r}: expected the same variables in both languages")

    def of(self, language: Language) -> str:
        """The words in this language."""
        return self.en if language == "en" else self.bg


@dataclass(frozen=True, slots=True)
class Named:
    """Something for Grafana that differs by language because a stored name does: ``title_en``, ``title_bg``."""

    en: str
    bg: str

    def of(self, language: Language) -> str:
        """The one for this language."""
        return self.en if language == "en" else self.bg


Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What a board file holds."""
Value: TypeAlias = "bool | int | float | str | Text | Named | Sequence[Value] | Mapping[str, Value] | None"
"""The same with texts that are not yet in one language."""


def rendered(value: Value, language: Language) -> Json:
    """The value with its texts in one language."""
    if isinstance(value, Text | Named):
        return value.of(language)
    if isinstance(value, str) or value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {name: rendered(one, language) for name, one in value.items()}
    return [rendered(one, language) for one in value]
