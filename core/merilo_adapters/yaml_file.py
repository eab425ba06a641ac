"""YAML read strictly, with the place of everything, so that each later error shows the line it is about.

YAML 1.2 with the core schema's numbers. What different readers read differently is refused instead of guessed: ``no``,
``on`` and their like, numbers with a leading 0, duplicate keys, tabs that indent; anchors and tags are not needed.
``8E1`` and ``1e3`` stay texts (the first is how a serial line is set): a number with an exponent has a point or a sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from merilo.errors import ConfigError
from merilo.profiles.fields import did_you_mean

__all__ = ["ConfigErrors", "Marked", "Marks", "did_you_mean", "load_yaml", "parse_yaml", "validate"]

Path = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

BYTES_MAX = 1_048_576
"""A configuration file: far above any that people write."""
DEPTH_MAX = 32
"""Levels of nesting."""

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[1-9][0-9]*[eE][-+][0-9]+")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+(\.[0-9]*)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_HIDDEN = r"(?:password|passwd|secret|token|credential|api_key|private_key)"
_SECRET = re.compile(rf"""({_HIDDEN}\w*["']?\s*:\s*)\S.*""", re.I)
_NULL = ("", "~", "null", "Null", "NULL")
_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")
_AMBIGUOUS = ("yes", "no", "on", "off", "y", "n")


class Mark(NamedTuple):
    """A place in a text, counted from 1 as editors do."""

    line: int
    column: int


class Marks:
    """Where each value and each key stands."""

    def __init__(self) -> None:
        self._values: dict[Path, Mark] = {}
        self._keys: dict[Path, Mark] = {}

    def put(self, path: Path, value: Mark, key: Mark | None = None) -> None:
        """Notes a place."""
        self._values[path] = value
        if key is not None:
            self._keys[path] = key

    def value(self, path: Path) -> Mark:
        """Place of the value, or of the nearest thing above that is written down."""
        while path and path not in self._values:
            path = path[:-1]
        return self._keys.get(path, self._values[path]) if path not in self._values else self._values[path]

    def key(self, path: Path) -> Mark:
        """Place of the key, or of the value where there is none."""
        return self._keys[path] if path in self._keys else self.value(path)

    def __contains__(self, path: object) -> bool:
        return path in self._values


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What a file says, and where."""

    name: str
    """Name of the file, for messages."""
    data: object
    """Dicts, lists, texts, numbers, true, false and None."""
    marks: Marks
    lines: tuple[str, ...]

    def pretty(self, message: str, path: Sequence[str | int], *, at_key: bool = False, hint: str = "") -> str:
        """``file:line:column: message``, the hint, and the line itself with a caret under the place."""
        mark = self.mark(path, at_key=at_key)
        return _shown(self.name, mark, self.lines, message, hint)

    def where(self, path: Sequence[str | int], *, at_key: bool = False) -> str:
        """``file:line:column``."""
        mark = self.mark(path, at_key=at_key)
        return f"{self.name}:{mark.line}:{mark.column}"

    def error(self, message: str, path: Sequence[str | int], *, at_key: bool = False, hint: str = "") -> ConfigErrors:
        """The error that shows the place."""
        return ConfigErrors(
            [(self.where(path, at_key=at_key), message, hint)], [self.pretty(message, path, at_key=at_key, hint=hint)]
        )

    def mark(self, path: Sequence[str | int], *, at_key: bool = False) -> Mark:
        """Line and column of the value or, if asked, of its key."""
        return self.marks.key(tuple(path)) if at_key else self.marks.value(tuple(path))


class ConfigErrors(ConfigError):  # noqa: N818  # it is a list of them
    """Everything that is wrong with a file; its text shows each with its line and a caret."""

    def __init__(self, errors: Sequence[tuple[str, str, str]], shown: Sequence[str]) -> None:
        self.errors = tuple(ConfigError(*error) for error in errors)
        self.shown = "\n".join(shown)
        super().__init__(*errors[0])

    def __str__(self) -> str:
        return self.shown


def load_yaml(path: FilePath | str, name: str = "") -> Marked:
    """Reads a file strictly.

    Raises:
        ConfigErrors: It cannot be read, or is not YAML as it is accepted here.
    """
    shown = name or str(path)
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise _whole(shown, f"cannot be read: {error.strerror}", "check the path and its permissions") from error
    return parse_yaml(content, shown)


def parse_yaml(content: str | bytes, name: str) -> Marked:
    """Reads a text strictly.

    Raises:
        ConfigErrors: It is not YAML as it is accepted here.
    """
    raw = content.encode() if isinstance(content, str) else content
    if len(raw) > BYTES_MAX:
        raise _whole(name, f"more than {BYTES_MAX} bytes", "split it, or check that it is the right file")
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise _whole(name, "starts with a byte-order mark", "save it as UTF-8 without BOM")
    try:
        source = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        at = raw[: error.start].count(b"\n") + 1
        raise _whole(f"{name}:{at}", "is not UTF-8", "save it as UTF-8") from error
    lines = tuple(source.splitlines())
    for number, line in enumerate(lines, 1):
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent and line.strip():
            mark = Mark(number, indent.index("\t") + 1)
            _refuse(name, mark, lines, "a tab indents this line", "use spaces")
    return _Reader(name, source, lines).read()


def validate(model: type[M], marked: Marked) -> M:
    """The file as a model; the model decides what is valid.

    Raises:
        ConfigErrors: Everything that the model refuses, each at its place, in the order of the file.
    """
    try:
        return model.model_validate(marked.data)
    except ValidationError as error:
        found = []
        faults = error.errors(include_url=False)
        for fault in faults:
            if fault["type"] == "too_short" and any(_is_within(other["loc"], fault["loc"]) for other in faults):
                continue  # entries that are wrong are not counted, which is no second mistake
            path = _real_path(tuple(fault["loc"]), marked)
            extra = fault["type"] == "extra_forbidden"
            message = f"{'.'.join(map(str, path)) or 'file'}: {_message(fault, path)}"
            hint = ""
            if extra:
                known = _known_keys(model, path)
                message = f"unknown key {str(path[-1])!r}"
                hint = did_you_mean(str(path[-1]), known) or (f"known: {', '.join(known)}" if known else "")
            found.append((marked.marks.key(path) if extra else marked.marks.value(path), path, message, hint, extra))
        found.sort(key=lambda f: f[0])
        unique = list(dict.fromkeys(found))
        raise ConfigErrors(
            [(marked.where(path, at_key=extra), message, hint) for _, path, message, hint, extra in unique],
            [marked.pretty(message, path, at_key=extra, hint=hint) for _, path, message, hint, extra in unique],
        ) from error


_WORDS = {
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "string_type": "expected a text, in quotes if it looks like a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "none_required": "expected nothing",
    "less_than_equal": "expected at most {le}",
    "less_than": "expected less than {lt}",
    "greater_than_equal": "expected at least {ge}",
    "greater_than": "expected more than {gt}",
    "literal_error": "expected {expected}",
    "string_too_short": "expected a text of {min_length} or more characters",
    "string_too_long": "expected at most {max_length} characters",
    "string_pattern_mismatch": "expected a text like {pattern}",
}
"""Our words for what the library says of one value, by its kind of error; what was found follows."""
_WHOLE = {
    "too_short": "expected {min_length} or more entries, found {actual_length}",
    "too_long": "expected at most {max_length} entries, found {actual_length}",
    "tuple_type": "expected a list: entries that begin with a dash",
    "list_type": "expected a list: entries that begin with a dash",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "model_attributes_type": "expected keys with values",
}
"""The same for what has parts."""
FOUND_MAX = 60
"""Characters of a wrong value that are shown."""


def _message(fault: ErrorDetails, path: Path) -> str:
    kind, loc, context = fault["type"], fault["loc"], fault.get("ctx", {})
    if kind == "missing" and loc and loc[-1] not in path[-1:]:
        return f"the key {str(loc[-1])!r} is missing"
    if kind in _WHOLE:
        return _WHOLE[kind].format(**context)
    if kind in _WORDS:
        secret = any(re.search(_HIDDEN, str(step), re.I) for step in loc)
        found = "(hidden)" if secret else repr(fault["input"])[:FOUND_MAX]
        return f"{_WORDS[kind].format(**context)}, found {found}".replace("expected '', ", "expected ")  # empty is none
    return fault["msg"].removeprefix("Value error, ")


def _is_within(loc: Sequence[str | int], outer: Sequence[str | int]) -> bool:
    return len(loc) > len(outer) and tuple(loc[: len(outer)]) == tuple(outer)


def _real_path(loc: Path, marked: Marked) -> Path:
    """pydantic's place without the names of union members, as far as the file goes; an unknown key is kept."""
    path: Path = ()
    node: object = marked.data
    for step in loc:
        below = node.get(step) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and step in node:
            path, node = (*path, step), below
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            path, node = (*path, step), node[step]
    return path


def _known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """Keys of the model at that place, as far as plain annotations tell; else of every model inside."""
    found: list[type[BaseModel]] = [model]
    for step in path[:-1]:
        if isinstance(step, str):
            found = [m for f in found for m in _models(_field_type(f, step))] or found
    return list(dict.fromkeys(f.alias or name for m in found for name, f in m.model_fields.items()))


def _field_type(model: type[BaseModel], key: str) -> object:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return field.annotation
    return None


def _models(annotation: object) -> list[type[BaseModel]]:
    """The models that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _models(a)]


class _Reader:
    """Builds the tree from parser events, so that every scalar is seen as it is written."""

    def __init__(self, name: str, source: str, lines: tuple[str, ...]) -> None:
        self._name, self._source, self._lines = name, source, lines
        self._marks = Marks()

    def read(self) -> Marked:
        yaml = YAML(typ="safe", pure=True)
        yaml.version = "1.2"
        try:
            self._events = iter(list(yaml.parse(self._source)))
        except MarkedYAMLError as error:
            at = error.problem_mark or error.context_mark
            mark = Mark(at.line + 1, at.column + 1) if at is not None else Mark(1, 1)
            text = ", ".join(t for t in (error.context, error.problem) if t)
            raise _at(self._name, mark, self._lines, f"not YAML: {text}", "") from error
        except (YAMLError, ValueError, RecursionError) as error:
            raise _whole(self._name, f"not YAML: {str(error).splitlines()[0]}", "") from error
        event = self._next()
        while type(event).__name__ in ("StreamStartEvent", "DocumentStartEvent"):
            if getattr(event, "tags", None) or getattr(event, "version", None):
                self._refuse(event, "directives are not accepted", "take the line with % out")
            event = self._next()
        if type(event).__name__ == "StreamEndEvent":
            raise _whole(self._name, "is empty", "write at least one key")
        data = self._node(event, (), None, 0)
        if data is None:
            raise _whole(self._name, "is empty", "write at least one key")
        self._next()  # end of the document
        after = self._next()
        if type(after).__name__ != "StreamEndEvent":
            self._refuse(after, "a second document", "take the line --- out")
        return Marked(name=self._name, data=data, marks=self._marks, lines=self._lines)

    def _next(self) -> object:
        return next(self._events)

    def _node(self, event: object, path: Path, key: Mark | None, depth: int) -> object:
        if depth > DEPTH_MAX:
            self._refuse(event, f"nested deeper than {DEPTH_MAX} levels", "")
        kind = type(event).__name__
        if kind == "AliasEvent":
            self._refuse(event, "aliases (*name) are not accepted", "write the value out")
        if getattr(event, "anchor", None) is not None:
            self._refuse(event, "anchors (&name) are not accepted", "write the value out where it is needed")
        if getattr(event, "tag", None) is not None:
            self._refuse(event, f"the tag {getattr(event, 'tag', '')} is not accepted", "write the plain value")
        self._marks.put(path, _mark(event), key)
        if kind == "MappingStartEvent":
            return self._mapping(path, depth)
        if kind == "SequenceStartEvent":
            found: list[object] = []
            while type(item := self._next()).__name__ != "SequenceEndEvent":
                found.append(self._node(item, (*path, len(found)), None, depth + 1))
            return found
        return self._scalar(event)

    def _mapping(self, path: Path, depth: int) -> dict[str | int, object]:
        found: dict[str | int, object] = {}
        while type(event := self._next()).__name__ != "MappingEndEvent":
            if type(event).__name__ != "ScalarEvent":
                self._refuse(event, "a key must be a word or a number", "")
            key = self._node(event, (*path, "\0key"), None, depth + 1)
            if isinstance(key, bool) or not isinstance(key, str | int):
                self._refuse(event, f"a key must be a word or a whole number, found {key}", "put it in quotes")
            if key in found:
                self._refuse(event, f"the key {str(key)!r} is there twice", "keep one of them")
            found[key] = self._node(self._next(), (*path, key), _mark(event), depth + 1)
        return found

    def _scalar(self, event: object) -> object:
        value = str(getattr(event, "value", ""))
        if getattr(event, "style", None) is not None and getattr(event, "style", "") not in ("", " "):
            return value
        if value in _NULL:
            return None
        if value in _TRUE or value in _FALSE:
            return value in _TRUE
        if value.casefold() in _AMBIGUOUS:
            self._refuse(
                event, f"{value} is a word to some and true or false to others", f"write true, false or '{value}'"
            )
        if _LEADING_ZERO.fullmatch(value):  # not repeated in the message: it may be somebody's PIN
            self._refuse(event, "a leading 0 is octal to some and decimal to others", "take the 0 out, or quote it")
        if _NOT_FINITE.fullmatch(value):
            self._refuse(event, f"{value} is not a number that can be used here", "write a finite number")
        if _INTEGER.fullmatch(value):
            return int(value)
        if _BASED.fullmatch(value):
            return int(value, 0)
        return float(value) if _FLOAT.fullmatch(value) else value

    def _refuse(self, event: object, message: str, hint: str) -> NoReturn:
        _refuse(self._name, _mark(event), self._lines, message, hint)


def _mark(event: object) -> Mark:
    start = getattr(event, "start_mark", None)
    return Mark(start.line + 1, start.column + 1) if start is not None else Mark(1, 1)


def _shown(name: str, mark: Mark, lines: Sequence[str], message: str, hint: str) -> str:
    text = f"{name}:{mark.line}:{mark.column}: {message}" + (f". {hint}" if hint else "")
    if not 1 <= mark.line <= len(lines):
        return text
    line = _SECRET.sub(r"\1(hidden)", lines[mark.line - 1].replace("\t", " "))
    return f"{text}\n    {line}\n    {' ' * (mark.column - 1)}^"


def _at(name: str, mark: Mark, lines: Sequence[str], message: str, hint: str) -> ConfigErrors:
    where = f"{name}:{mark.line}:{mark.column}"
    return ConfigErrors([(where, message, hint)], [_shown(name, mark, lines, message, hint)])


def _refuse(name: str, mark: Mark, lines: Sequence[str], message: str, hint: str) -> NoReturn:
    raise _at(name, mark, lines, message, hint)


def _whole(where: str, message: str, hint: str) -> ConfigErrors:
    return ConfigErrors([(where, message, hint)], [f"{where}: {message}" + (f". {hint}" if hint else "")])
