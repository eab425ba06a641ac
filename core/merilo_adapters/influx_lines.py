"""Line protocol of InfluxDB: our own encoder, one template per set of fields.

Every number is written as the shortest decimal that gives the same float again, so that it always has a decimal
point or an exponent: without one of them it would still be a float here, and an integer to a careless reader.
Numbers are written by msgspec's JSON: a tenth of the time of Python's own, and JSON's names and numbers are line
protocol but for the punctuation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from merilo.frame import Frame
from merilo.ports import Point
from merilo.schema import MEASUREMENTS, Measurement

LINES_MAX = 5_000
"""Lines of one request: more do not go faster, and a big body can run into the server's write timeout."""
BYTES_MAX = 1_300_000
"""Bytes of one request, for the same reason."""

_TAG_ESCAPES = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_TEXT_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})
_json = msgspec.json.Encoder().encode


def series_key(measurement: Measurement, tags: Sequence[str]) -> str:
    """Measurement and tags as line protocol writes them; the values are checked before."""
    pairs = (f",{name}={value.translate(_TAG_ESCAPES)}" for name, value in zip(measurement.tags, tags, strict=True))
    return measurement.name + "".join(pairs)


@lru_cache(maxsize=4096)
def _template(measurement: str, names: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    """Field part of a line for this set of fields, and the positions that hold text."""
    texts = MEASUREMENTS[measurement].texts
    parts = [f'{name}="%s"' if name in texts else f"{name}=%r" for name in names]
    return ",".join(parts), tuple(i for i, name in enumerate(names) if name in texts)


def _fields(measurement: str, fields: Mapping[str, float | str]) -> bytes:
    template, texts = _template(measurement, tuple(fields))
    if not texts:  # {"a":1.0,"b":2.0}; names of fields hold letters, digits and underscores only
        return _json(fields)[2:-1].replace(b',"', b",").replace(b'":', b"=")
    values = list(fields.values())
    for position in texts:
        values[position] = str(values[position]).translate(_TEXT_ESCAPES)
    return (template % tuple(values)).encode()


def point_lines(measurement: Measurement, points: Sequence[Point]) -> list[bytes]:
    """One line per point, instants in milliseconds; the points are clean (`merilo_adapters.points.clean_points`)."""
    keys: dict[tuple[str, ...], bytes] = {}
    lines = []
    for tags, at_ms, fields in points:
        key = keys.get(tags)
        if key is None:
            key = keys[tags] = series_key(measurement, tags).encode()
        lines.append(b"%b %b %d" % (key, _fields(measurement.name, fields), at_ms))
    return lines


def frame_lines(measurement: Measurement, tags: Sequence[str], frame: Frame) -> list[bytes]:
    """One line per row with exactly the row's fields, in the order of instants."""
    if not len(frame):
        return []
    key = series_key(measurement, tags).replace("%", "%%").encode()
    names = [f"{name}=%b" for name in frame.numbers] + [f'{name}="%b"' for name in frame.texts]
    columns = [_numbers(column) for column in (*frame.numbers.values(), frame.at_ms)]
    instants = columns.pop()
    columns += [
        [b"" if t is None else t.translate(_TEXT_ESCAPES).encode() for t in t_s] for t_s in frame.texts.values()
    ]
    present = np.column_stack(
        [~np.isnan(column) for column in frame.numbers.values()]
        + [np.fromiter((t is not None for t in texts), bool, len(frame)) for texts in frame.texts.values()]
    )
    whole = b"%b %b %%b" % (key, ",".join(names).encode())
    if bool(present.all()):
        return [whole % row for row in zip(*columns, instants, strict=True)]
    # Few sets of fields occur: each has a template, and a way to pick its columns from a row.
    packed = np.packbits(present, axis=1)
    codes: list[bytes] = packed.view(f"V{packed.shape[1]}").ravel().tolist()
    forms = {code: _form(key, names, present[at]) for code, at in {code: at for at, code in enumerate(codes)}.items()}
    lines = []
    for code, row in zip(codes, zip(*columns, instants, strict=True), strict=True):
        template, chosen = forms[code]
        lines.append(template % chosen(row))
    return lines


def _form(key: bytes, names: Sequence[str], present: NDArray[np.bool_]) -> tuple[bytes, Callable[[Any], Any]]:
    """How a row with these fields is written, and how they and the instant behind them are taken from it."""
    positions = [i for i, has in enumerate(present.tolist()) if has]
    template = b"%b %b %%b" % (key, ",".join(names[i] for i in positions).encode())
    return template, itemgetter(*positions, len(names))


def _numbers(column: NDArray[Any]) -> list[bytes]:
    """Every number of a column as text; what is missing is ``null`` and must not be used."""
    return _json(column.tolist())[1:-1].split(b",")


def batches(lines: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Cuts the lines into requests of at most LINES_MAX lines and BYTES_MAX bytes; each with its first index."""
    first, size = 0, 0
    for index, line in enumerate(lines):
        size += len(line) + 1
        if index > first and (index - first >= LINES_MAX or size > BYTES_MAX):
            yield first, list(lines[first:index])
            first, size = index, len(line) + 1
    if first < len(lines):
        yield first, list(lines[first:])
