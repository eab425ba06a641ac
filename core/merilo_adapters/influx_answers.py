"""What answers of InfluxDB servers mean for the caller: done, some line is bad, try again, or stop.

A 400 says nothing certain about what was stored (2.x: nothing; 1.x: the other lines), a 422 of 2.x says that the
other lines were. So neither is believed: the lines are halved until the bad ones stand alone, and a line that was
stored already is simply stored again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

import msgspec

from merilo.errors import StoreError, StoreRefusedError, StoreUnavailableError
from merilo.ports import Rejected

RETRY_AFTER_MAX_S = 600.0
"""A server that wants a longer pause is asked again after this all the same."""
MESSAGE_MAX = 500
"""Characters of a server's message that are passed on."""

_REFUSED_TEXTS = (
    "database not found",
    "retention policy not found",
    "retention policy not set",
    "authoriz",
    "permission",
)
_PASSING_TEXTS = ("timeout", "timed out", "limit exceeded", "engine is closed", "shutdown", "too many", "interrupted")
_DROPPED = re.compile(r"dropped=(\d+)")


class Answer(NamedTuple):
    """One HTTP answer, its body reduced to what the server says about an error."""

    status: int
    message: str
    retry_after_s: float | None = None


class _ErrorBody(msgspec.Struct):
    """Error of 1.x and of 2.x."""

    error: str = ""
    message: str = ""


def answer_of(status: int, body: bytes | str | None, headers: Mapping[str, str]) -> Answer:
    """The answer with the server's own words and the pause that it asks for."""
    raw = body.encode(errors="replace") if isinstance(body, str) else body or b""
    try:
        parsed = msgspec.json.decode(raw, type=_ErrorBody)
        message = parsed.error or parsed.message
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = raw.decode(errors="replace").strip()
    return Answer(status, message[:MESSAGE_MAX], _retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After, which is a number or a date; a date counts from the answer's own date."""
    text = headers.get("Retry-After")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            until, since = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
            seconds = (until - since).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if seconds == seconds else None


def error_of_text(what: str, text: str) -> StoreError:
    """The error that a server's text names where the status does not tell: HTTP 200 with an error."""
    lowered = text.lower()
    if any(passing in lowered for passing in _PASSING_TEXTS):
        return StoreUnavailableError(f"{what}: {text[:MESSAGE_MAX]}")
    return StoreRefusedError(f"{what}: {text[:MESSAGE_MAX]}")


def error_of(what: str, answer: Answer) -> StoreError:
    """The error of an answer that is not a success: who can cure it, time or a person."""
    text = f"{what}: HTTP {answer.status} {answer.message}".rstrip()
    lowered = answer.message.lower()
    if answer.status >= 500 and any(refused in lowered for refused in _REFUSED_TEXTS):
        return StoreRefusedError(text)
    if answer.status == 429 or answer.status >= 500:
        return StoreUnavailableError(text, answer.retry_after_s)
    return StoreRefusedError(text)


def outcome(what: str, answer: Answer) -> Literal["done", "bad", "big"]:
    """What a write's answer says: done, at least one line is bad, or the body is too big.

    Raises:
        StoreError: Neither: the whole request failed.
    """
    if answer.status in (200, 204):
        if answer.message:
            raise error_of_text(what, answer.message)
        return "done"
    if answer.status in (400, 422):
        return "bad"
    if answer.status == 413:
        return "big"
    raise error_of(what, answer)


class LineWriter:
    """Writes lines in one request, and in ever smaller ones where the server refuses some.

    Args:
        what: What is written where, for messages.
        send: Sends lines and gives the answer.
    """

    def __init__(self, what: str, send: Callable[[Sequence[bytes]], Answer]) -> None:
        self._what = what
        self._send = send

    def write(self, lines: Sequence[bytes], first: int = 0) -> list[Rejected]:
        """Writes all lines that the server takes; the others come back with its reason.

        Args:
            first: Position of the first line in the caller's numbering.
        """
        rejected: list[Rejected] = []
        self._write(lines, first, rejected, known_bad=False)
        return rejected

    def _write(self, lines: Sequence[bytes], first: int, rejected: list[Rejected], *, known_bad: bool) -> bool:
        """Whether all lines were taken. What is known to hold a bad line is halved without being sent again."""
        said: Literal["bad", "big"] = "bad"
        if not known_bad or len(lines) == 1:
            answer = self._send(lines)
            result = outcome(self._what, answer)
            if result == "done":
                return True
            if len(lines) == 1 or (result == "bad" and _dropped(answer) == len(lines)):
                reason = answer.message or f"HTTP {answer.status}"
                rejected.extend(Rejected(first + i, reason) for i in range(len(lines)))
                return False
            said = result
        half = len(lines) // 2
        clean = self._write(lines[:half], first, rejected, known_bad=False)
        rest = self._write(lines[half:], first + half, rejected, known_bad=clean and said == "bad")
        return clean and rest


def _dropped(answer: Answer) -> int | None:
    """How many points the server says it dropped; trusted only where it says all of them."""
    found = _DROPPED.search(answer.message)
    return None if found is None else int(found[1])
