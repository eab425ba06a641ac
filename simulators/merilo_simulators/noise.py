"""Seeded noise that is a pure function of (seed, stream, index): any instant can be asked for, in any order.

The mixer is splitmix64 (Steele, Lea, Flood 2014), so that the same seed gives the same series with every numpy.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def _start(seed: int, stream: str) -> np.uint64:
    return np.uint64((seed * 0xD1342543DE82EF95 + zlib.crc32(stream.encode()) * 0x9E3779B97F4A7C15) & _MASK)


def uniform(seed: int, stream: str, index: Ints) -> Floats:
    """Independent values in [-1, 1), one per index; the array has at least one dimension."""
    x = index.astype(np.uint64) * _GOLDEN + _start(seed, stream)
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * (2.0**-52) - 1.0


def smooth(seed: int, stream: str, at_ms: Ints, period_ms: int) -> Floats:
    """A series in [-1, 1) that moves smoothly between independent values, one each period [ms]."""
    index, rest = np.divmod(at_ms, period_ms)
    part = rest / period_ms
    weight = part * part * (3.0 - 2.0 * part)
    before = uniform(seed, stream, index)
    return before + (uniform(seed, stream, index + 1) - before) * weight
