"""Names, points and frames, checked against the schema before anything reaches a store.

Every store refuses the same things here, so that a value is either stored as it is or refused by name:
an empty tag would make another series, a number that is not finite would vanish in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np

from merilo.frame import Frame
from merilo.ids import is_id
from merilo.ports import Point
from merilo.schema import MEASUREMENTS, Measurement

TAG_LENGTH_MAX = 256
"""Characters of a tag value; ids have 32, the rest is room for registers and kinds."""
AT_MAX_MS = 9_223_372_036_853
"""Last whole millisecond that a signed 64-bit count of nanoseconds holds."""
_FORBIDDEN_IN_TAGS = '\\"'
"""Neither line protocol nor the delete predicate of InfluxDB carries these two in every place."""
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def measurement_named(name: str) -> Measurement:
    """The measurement of the schema.

    Raises:
        ValueError: The schema has no such measurement.
    """
    found = MEASUREMENTS.get(name)
    if found is None:
        raise ValueError(f"measurement {name[:40]!r} is not in the schema, known: {', '.join(sorted(MEASUREMENTS))}")
    return found


def check_company(company: str) -> None:
    """Refuses what cannot be part of a database name.

    Raises:
        ValueError: Not a valid id.
    """
    if not is_id(company):
        raise ValueError(f"company {company[:40]!r}: expected 1 to 32 of a-z, 0-9 and '-', not starting with '-'")


def tag_fault(value: object) -> str | None:
    """Why no store can keep this tag value unchanged, None if every store can."""
    if not isinstance(value, str):
        return f"expected text, found {type(value).__name__}"
    if not value:
        return "is empty"
    if len(value) > TAG_LENGTH_MAX:
        return f"has {len(value)} characters, at most {TAG_LENGTH_MAX} are taken"
    if value.isascii() and value.isprintable():
        bad = next((c for c in _FORBIDDEN_IN_TAGS if c in value), None)
    else:
        bad = next((c for c in value if c in _FORBIDDEN_IN_TAGS or unicodedata.category(c) in ("Cc", "Cs")), None)
    return None if bad is None else f"{value[:40]!r} contains {bad!r}"


def check_tags(measurement: Measurement, values: Sequence[str]) -> None:
    """Refuses tag values that would not come back as they are.

    Raises:
        ValueError: Wrong number of values, or a value that `tag_fault` names.
    """
    if len(values) != len(measurement.tags):
        expected = ", ".join(measurement.tags)
        raise ValueError(f"{measurement.name}: {len(values)} tag values, expected {len(measurement.tags)}: {expected}")
    for name, value in zip(measurement.tags, values, strict=True):
        fault = tag_fault(value)
        if fault is not None:
            raise ValueError(f"{measurement.name}: tag {name} {fault}")


def whole_tags(measurement: Measurement, tags: Mapping[str, str]) -> tuple[str, ...]:
    """The values of all tags in the schema's order.

    Raises:
        ValueError: A tag is missing, unknown or not storable.
    """
    if set(tags) != set(measurement.tags):
        expected = ", ".join(measurement.tags)
        raise ValueError(f"{measurement.name}: tags {sorted(tags)}, expected all of {expected}")
    values = tuple(tags[name] for name in measurement.tags)
    check_tags(measurement, values)
    return values


def wanted_tags(measurement: Measurement, tags: Mapping[str, str]) -> dict[str, str] | None:
    """The tag values asked for, None if no stored series can have them.

    Raises:
        ValueError: A tag that the measurement does not have.
    """
    unknown = set(tags) - set(measurement.tags)
    if unknown:
        raise ValueError(f"{measurement.name} has no tag {sorted(unknown)[0]!r}, only {', '.join(measurement.tags)}")
    if any(tag_fault(value) is not None for value in tags.values()):
        return None
    return {name: tags[name] for name in measurement.tags if name in tags}


def wanted_fields(measurement: Measurement, fields: Sequence[str] | None) -> tuple[str, ...] | None:
    """The fields asked for without repetitions, None for all.

    Raises:
        ValueError: A field that the measurement does not have, or an empty list.
    """
    if fields is None:
        return None
    if not fields:
        raise ValueError(f"{measurement.name}: an empty list of fields asks for nothing, use None for all")
    for name in fields:
        if name not in measurement.fields:
            raise ValueError(f"{measurement.name} has no field {name[:60]!r}")
    return tuple(dict.fromkeys(fields))


def check_at(measurement: Measurement, at_ms: int) -> None:
    """Refuses instants that a store cannot hold.

    Raises:
        ValueError: Before 1970 or after 2262.
    """
    if not 0 <= at_ms <= AT_MAX_MS:
        raise ValueError(f"{measurement.name}: instant {at_ms} ms is outside 0..{AT_MAX_MS}")


def _clean_number(measurement: Measurement, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise ValueError(f"{measurement.name}: field {name}: expected a number, found {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise ValueError(f"{measurement.name}: field {name} = {number} is not finite")
    return number


def _clean_text(measurement: Measurement, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{measurement.name}: field {name}: expected text, found {type(value).__name__}")
    found = _NOT_TEXT.search(value)
    if found is not None:
        raise ValueError(f"{measurement.name}: field {name} contains {found[0]!r}, which is not text")
    return value


def clean_fields(measurement: Measurement, fields: Mapping[str, float | str]) -> dict[str, float | str]:
    """The fields as plain finite floats and text.

    Raises:
        ValueError: No field, an unknown field, a wrong type, or a number that is not finite; names the field.
    """
    if not fields:
        raise ValueError(f"{measurement.name}: a point without a field cannot be stored")
    clean: dict[str, float | str] = {}
    numbers = measurement.numbers
    for name, value in fields.items():
        if name in numbers:
            plain = value.__class__ is float and isfinite(value)
            clean[name] = value if plain else _clean_number(measurement, name, value)
        elif name in measurement.texts:
            clean[name] = _clean_text(measurement, name, value)
        else:
            raise ValueError(f"{measurement.name} has no field {name[:60]!r}")
    return clean


def clean_points(measurement: Measurement, points: Sequence[Point]) -> list[Point]:
    """The same points with plain values.

    Raises:
        ValueError: The first point that cannot be stored, by its index and fault.
    """
    known: set[tuple[str, ...]] = set()
    clean: list[Point] = []
    for index, point in enumerate(points):
        try:
            if point.tags not in known:
                check_tags(measurement, point.tags)
                known.add(point.tags)
            check_at(measurement, point.at_ms)
            clean.append(Point(point.tags, int(point.at_ms), clean_fields(measurement, point.fields)))
        except ValueError as error:
            raise ValueError(f"point {index}: {error}") from None
    return clean


def check_frame(measurement: Measurement, frame: Frame, start_ms: int, end_ms: int) -> None:
    """Refuses frames that `replace` cannot store as they are.

    Raises:
        ValueError: Rows outside [start, end), unknown fields, infinite numbers, rows without a field.
    """
    if start_ms > end_ms:
        raise ValueError(f"{measurement.name}: range starts at {start_ms} after its end {end_ms}")
    if len(frame) and not (start_ms <= int(frame.at_ms[0]) and int(frame.at_ms[-1]) < end_ms):
        found = f"{int(frame.at_ms[0])}..{int(frame.at_ms[-1])}"
        raise ValueError(f"{measurement.name}: rows at {found} are not all in [{start_ms}, {end_ms})")
    present = np.zeros(len(frame), bool)
    for name, column in frame.numbers.items():
        if name not in measurement.numbers:
            raise ValueError(f"{measurement.name} has no number field {name[:60]!r}")
        infinite = np.flatnonzero(np.isinf(column))
        if len(infinite):
            raise ValueError(f"{measurement.name}: field {name} of row {int(infinite[0])} is not finite")
        present |= ~np.isnan(column)
    for name, texts in frame.texts.items():
        if name not in measurement.texts:
            raise ValueError(f"{measurement.name} has no text field {name[:60]!r}")
        for index, text in enumerate(texts):
            if text is not None:
                _clean_text(measurement, name, text)
                present[index] = True
    if not bool(present.all()):
        row = int(np.flatnonzero(~present)[0])
        raise ValueError(f"{measurement.name}: row {row} at {int(frame.at_ms[row])} has no field")
    if len(frame):
        check_at(measurement, int(frame.at_ms[0]))
        check_at(measurement, int(frame.at_ms[-1]))
