"""Taking typed values out of plain data, with every fault noted at its place and none hiding another."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeGuard, TypeVar

Path = tuple[str | int, ...]
T = TypeVar("T", bound=str)
V = TypeVar("V")

WRITE_WORDS = ("write", "preset", "coil", "command", "control", "set_value", "setpoint", "output_on", "output_off")
"""A key that contains one of these wants something done to the device."""


class Issue(NamedTuple):
    """One fault: where in the data, what is wrong, what to do."""

    path: Path
    message: str
    hint: str = ""
    at_key: bool = False
    """The key itself is wrong, not its value."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``did you mean 'address'?`` for a word that is nearly one of the words, else an empty text."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def shown(value: object) -> str:
    """The value as a person wrote it, cut to a line."""
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else repr(value)[:60]


class Fields:
    """One mapping of the data; what was not asked for by ``done`` is an unknown key."""

    def __init__(self, data: object, path: Path, issues: list[Issue]) -> None:
        self.path = path
        self.issues = issues
        self.data: Mapping[str, object] = data if isinstance(data, Mapping) else {}
        self._known: list[str] = []
        if not isinstance(data, Mapping):
            self.fault((), f"expected keys with values, found {shown(data)}")

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def fault(self, at: Path | str, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Notes a fault at a key of this mapping or a path below it; an empty path is the mapping itself."""
        below = (at,) if isinstance(at, str) else at
        self.issues.append(Issue((*self.path, *below), message, hint, at_key))

    def _take(self, key: str) -> object:
        self._known.append(key)
        return self.data.get(key)

    def require(self, *keys: str) -> None:
        """Notes every key that is not there."""
        for key in keys:
            if key not in self.data:
                self.fault((), f"the key {key!r} is missing")

    def text(self, key: str, default: str = "") -> str:
        """A text that is not empty, or the default."""
        value = self._take(key)
        if value is None and key not in self.data:
            return default
        if not isinstance(value, str) or not value:
            self.fault(key, f"expected a text, found {shown(value)}", "a number or true needs quotes to be a text")
            return default
        return value

    def word(self, key: str, words: Sequence[T], default: T) -> T:
        """One of the words, or the default."""
        text = self.text(key, default)
        for word in words:
            if text == word:
                return word
        self.fault(key, f"expected one of {', '.join(words)}, found {text!r}", did_you_mean(text, words))
        return default

    def integer(self, key: str, low: int, high: int, default: int) -> int:
        """A whole number of low to high, both included, or the default."""
        value = self._take(key)
        if value is None and key not in self.data:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fault(key, f"expected a whole number {low} to {high}, found {shown(value)}")
            return default
        return value

    def number(self, key: str, low: float, high: float) -> float | None:
        """A finite number of low to high, both included; None if it is not there."""
        value = self._take(key)
        if value is None and key not in self.data:
            return None
        if not is_number(value) or not low <= value <= high:
            self.fault(key, f"expected a number {low:g} to {high:g}, found {shown(value)}")
            return None
        return float(value)

    def fraction(self, key: str, default: Fraction) -> Fraction:
        """An exact number that is not 0: the decimal as written, or text ``1/256``."""
        value = self._take(key)
        if value is None and key not in self.data:
            return default
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise TypeError
            found = Fraction(str(value))
        except (TypeError, ValueError, ZeroDivisionError):
            found = Fraction(0)
        if not found or abs(found) > 10**12 or abs(found) < Fraction(1, 10**12):
            self.fault(key, f"expected a number that is not 0, like 0.1 or '1/256', found {shown(value)}")
            return default
        return found

    def flag(self, key: str) -> bool:
        """True or false; false if it is not there."""
        value = self._take(key)
        if value is None and key not in self.data:
            return False
        if not isinstance(value, bool):
            self.fault(key, f"expected true or false, found {shown(value)}")
            return False
        return value

    def items(self, key: str) -> Iterator[tuple[int, object]]:
        """The elements of a list, numbered; nothing if it is not there."""
        value = self._take(key)
        if isinstance(value, list):
            yield from enumerate(value)
        elif value is not None or key in self.data:
            self.fault(key, f"expected a list, found {shown(value)}")

    def each(self, key: str, build: Callable[[Fields], V]) -> tuple[V, ...]:
        """A list of mappings, each built by the function."""
        return tuple(build(Fields(item, (*self.path, key, n), self.issues)) for n, item in self.items(key))

    def names(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one text."""
        if isinstance(self.data.get(key), str):
            return (self.text(key),)
        found: list[str] = []
        for n, item in self.items(key):
            if isinstance(item, str) and item:
                found.append(item)
            else:
                self.fault((key, n), f"expected a text, found {shown(item)}")
        return tuple(found)

    def below(self, key: str) -> Fields | None:
        """A mapping below; None if it is not there."""
        value = self._take(key)
        if value is None and key not in self.data:
            return None
        return Fields(value, (*self.path, key), self.issues)

    def raw(self, key: str) -> object:
        """Whatever is there, None if nothing is."""
        return self._take(key)

    def done(self) -> None:
        """Notes every key that nobody asked for."""
        for key in self.data:
            if key in self._known:
                continue
            text = str(key)
            if any(word in text.casefold() for word in WRITE_WORDS):
                self.fault((key,), f"{text!r}: a profile cannot write to a device", "take the key out", at_key=True)
                continue
            known = ", ".join(dict.fromkeys(self._known))
            self.fault(
                (key,), f"unknown key {text!r}", did_you_mean(text, self._known) or f"known: {known}", at_key=True
            )


def is_number(value: object) -> TypeGuard[float]:
    """Whether the value is a finite number, true and false not being numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
