"""Quantities as people write them in files: ``10s``, ``7d``, ``500 MB``, ``12 kW``, ``400/5``. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(_NUMBER + r"\s*(ms|s|min|m|h|d)")
_SIZE = re.compile(_NUMBER + r"\s*(kB|KB|MB|GB)")
_POWER = re.compile(_NUMBER + r"\s*(W|kW|MW)")
_CURRENT = re.compile(_NUMBER + r"\s*A")
_RATIO = re.compile(_NUMBER + r"\s*/\s*" + _NUMBER + r"(?:\s*A)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_WATTS = {"W": 1.0, "kW": 1e3, "MW": 1e6}


def _plain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def duration_ms(value: object) -> int:
    """Milliseconds of ``10s``, ``500ms``, ``5min``, ``1h``, ``7d`` or of a plain number of seconds.

    Raises:
        ValueError: Something else.
    """
    if _plain(value):
        return round(float(value) * 1000)  # type: ignore[arg-type]  # just checked
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a time as 10s, 5min or 7d, found {value!r}")
    return round(float(match[1]) * _SECONDS[match[2]] * 1000)


def size_bytes(value: object) -> int:
    """Bytes of ``500 MB``, ``1 GB`` or of a plain number of bytes.

    Raises:
        ValueError: Something else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a size as 500 MB or 1 GB, found {value!r}")
    return round(float(match[1]) * _BYTES[match[2]])


def power_w(value: object) -> float:
    """Watts of ``12 kW`` or of a plain number of watts.

    Raises:
        ValueError: Something else.
    """
    if _plain(value):
        return float(value)  # type: ignore[arg-type]  # just checked
    match = _POWER.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a power as 12 kW or 500 W, found {value!r}")
    return float(match[1]) * _WATTS[match[2]]


def current_a(value: object) -> float:
    """Amperes of ``63 A`` or of a plain number.

    Raises:
        ValueError: Something else.
    """
    if _plain(value):
        return float(value)  # type: ignore[arg-type]  # just checked
    match = _CURRENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a current as 63 A, found {value!r}")
    return float(match[1])


def ct(value: object) -> tuple[float, float]:
    """Primary and secondary current of ``400/5`` [A].

    Raises:
        ValueError: Something else, or a current of 0.
    """
    match = _RATIO.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not float(match[1]) or not float(match[2]):
        raise ValueError(f"expected primary/secondary current as 400/5, found {value!r}")
    return float(match[1]), float(match[2])


DurationMs = Annotated[int, BeforeValidator(duration_ms)]
SizeBytes = Annotated[int, BeforeValidator(size_bytes)]
PowerW = Annotated[float, BeforeValidator(power_w)]
CurrentA = Annotated[float, BeforeValidator(current_a)]
Ct = Annotated[tuple[float, float], BeforeValidator(ct)]
