"""Order-free checksums: what was written, compared with what the store has.

A sum of row hashes modulo 2^64 does not depend on order or batching.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter

import numpy as np

from merilo.frame import Frame

MASK = 2**64 - 1
HASH_BYTES = 8

_Packer = Callable[[int, Mapping[str, float]], bytes]


@lru_cache(maxsize=4096)
def _packer(names: tuple[str, ...]) -> _Packer:
    """Packs a reading's values in the order of their names; one layout per set of quantities."""
    ordered = sorted(names)
    key = blake2b("\x1f".join(ordered).encode(), digest_size=HASH_BYTES).digest()
    pack = struct.Struct(f"<8sq{len(ordered)}d").pack
    if len(ordered) == 1:
        only = ordered[0]
        return lambda at_ms, values: pack(key, at_ms, values[only])
    pick = itemgetter(*ordered)
    return lambda at_ms, values: pack(key, at_ms, *pick(values))


def row_hash(at_ms: int, values: Mapping[str, float]) -> int:
    """64 bits of one row: its instant, the names and the values of its fields, whatever their order."""
    packed = _packer(tuple(values))(at_ms, values)
    return int.from_bytes(blake2b(packed, digest_size=HASH_BYTES).digest(), "little")


def frame_hashes(frame: Frame) -> list[int]:
    """The hash of every row of a frame, its number fields only."""
    names = sorted(frame.numbers)
    if not len(frame) or not names:
        return [row_hash(int(at), {}) for at in frame.at_ms]
    table = np.column_stack([frame.numbers[name] for name in names])
    present = ~np.isnan(table)
    found = [0] * len(frame)
    patterns, group_of = np.unique(present, axis=0, return_inverse=True)
    for group, pattern in enumerate(patterns):
        kept = [name for name, here in zip(names, pattern, strict=True) if here]
        key = blake2b("\x1f".join(kept).encode(), digest_size=HASH_BYTES).digest()
        where = np.flatnonzero(group_of.reshape(-1) == group)
        body = np.ascontiguousarray(table[np.ix_(where, np.flatnonzero(pattern))], dtype="<f8")
        width = body.shape[1] * 8
        raw = body.tobytes()
        for place, index in enumerate(where):
            packed = key + struct.pack("<q", int(frame.at_ms[index])) + raw[place * width : (place + 1) * width]
            found[int(index)] = int.from_bytes(blake2b(packed, digest_size=HASH_BYTES).digest(), "little")
    return found


def frame_sum(frame: Frame) -> tuple[int, int]:
    """Count and checksum of stored rows."""
    return len(frame), sum(frame_hashes(frame)) & MASK
