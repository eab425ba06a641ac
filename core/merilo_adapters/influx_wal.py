"""Repair of the write-ahead log of a stopped InfluxDB, 1.x or 2.x.

A crash can leave the last entry of a log file incomplete. The server then cuts the file at its start but goes on
writing behind the cut, and at the next start everything written since is dropped: acknowledged points are lost.
Cutting the incomplete end off before the server starts prevents it.
"""

from __future__ import annotations

import os
from pathlib import Path

HEADER_BYTES = 5
"""One byte of type and four of length, big-endian; the payload follows, compressed as a snappy block."""
TYPES = frozenset({1, 2, 3})
"""Write, delete, delete a range: all that 1.x and 2.x know. A lost sector reads as type 0."""
SUFFIX = ".wal"


def whole_bytes(path: Path) -> int:
    """Length of the part of a log file that consists of complete entries [bytes].

    A power cut can also leave the last entry with its full length and zeros inside, so that one is looked into.
    """
    size = path.stat().st_size
    last = end = 0
    with path.open("rb") as log:
        while True:
            log.seek(end)
            header = log.read(HEADER_BYTES)
            if len(header) < HEADER_BYTES or header[0] not in TYPES:
                break
            following = end + HEADER_BYTES + int.from_bytes(header[1:], "big")
            if following > size:
                break
            last, end = end, following
        if end:
            log.seek(last + HEADER_BYTES)
            if not is_snappy_block(log.read(end - last - HEADER_BYTES)):
                return last
    return end


def repair_wal(folder: Path) -> list[str]:
    """Cuts incomplete ends off all log files below the folder; says which and how much.

    Only for a server that is stopped. Repeatable.

    Args:
        folder: The server's wal folder, or one above it.
    """
    said = []
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        size, whole = path.stat().st_size, whole_bytes(path)
        if whole == size:
            continue
        with path.open("r+b") as log:
            log.truncate(whole)
            os.fsync(log.fileno())
        said.append(f"{path}: cut {size - whole} bytes of an incomplete entry, {whole} kept")
    return said


def is_snappy_block(block: bytes) -> bool:
    """Whether the elements of a snappy block give exactly the length that it announces (format_description.txt)."""
    announced, at = _varint(block)
    produced = 0
    while at < len(block):
        tag = block[at]
        kind, high = tag & 3, tag >> 2
        at += 1
        if kind == 0:  # literal: length - 1 in the tag, or in the 1 to 4 bytes after it
            if high >= 60:
                more = high - 59
                high = int.from_bytes(block[at : at + more], "little")
                at += more
            at += high + 1
            produced += high + 1
        elif kind == 1:  # copy with one more byte of offset
            at += 1
            produced += 4 + (high & 7)
        else:  # copy with two or four bytes of offset
            at += 2 if kind == 2 else 4
            produced += high + 1
    return announced is not None and at == len(block) and produced == announced


def _varint(block: bytes) -> tuple[int | None, int]:
    """Value and length of the little-endian base-128 number at the start; None where it does not end."""
    value = 0
    for at, byte in enumerate(block[:5]):
        value |= (byte & 127) << (7 * at)
        if byte < 128:
            return value, at + 1
    return None, min(len(block), 5)
