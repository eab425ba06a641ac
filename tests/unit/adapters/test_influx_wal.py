"""Incomplete ends of InfluxDB's write-ahead log. The entries are made by hand from the published formats."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from merilo_adapters.influx_wal import is_snappy_block, repair_wal


def entry(kind: int, payload: bytes) -> bytes:
    return bytes([kind]) + struct.pack(">I", len(payload)) + payload


def literal(text: bytes) -> bytes:
    """A snappy block that holds the text uncompressed: length, tag (length - 1) << 2, text."""
    assert len(text) <= 60
    return bytes([len(text), (len(text) - 1) << 2]) + text


SOUND = entry(1, literal(b"first")) + entry(3, literal(b"a longer one"))


@pytest.mark.parametrize(
    "tail",
    [
        b"\x01",
        b"\x01\x00\x00",
        b"\x01\x00\x00\x03\x84",
        b"\x01\x00\x00\x03\x84" + b"\x5a" * 300,
        b"\x00" * 512,
        b"\x07\x00\x00\x00\x01x",
        entry(1, b"\x28\x4c" + b"a" * 20 + b"\x00" * 21),  # 40 bytes announced, 20 there, the rest lost
        entry(1, b"\x00" * 42),
    ],
    ids=["type", "half-header", "header", "half-payload", "zeros", "unknown-type", "zeros-in-payload", "zero-payload"],
)
def test_an_incomplete_end_is_cut_and_the_entries_before_it_stay(tmp_path: Path, tail: bytes) -> None:
    log = tmp_path / "db" / "raw" / "1" / "_00001.wal"
    log.parent.mkdir(parents=True)
    log.write_bytes(SOUND + tail)

    said = repair_wal(tmp_path)

    assert log.read_bytes() == SOUND
    assert len(said) == 1
    assert f"cut {len(tail)} bytes" in said[0]
    assert repair_wal(tmp_path) == []


def test_every_cut_of_a_sound_log_is_repaired_to_its_last_whole_entry(tmp_path: Path) -> None:
    first = len(entry(1, literal(b"first")))
    log = tmp_path / "_00001.wal"
    for length in range(len(SOUND) + 1):
        log.write_bytes(SOUND[:length])

        repair_wal(tmp_path)

        expected = len(SOUND) if length == len(SOUND) else first if length >= first else 0
        assert log.stat().st_size == expected


def test_other_files_are_not_touched(tmp_path: Path) -> None:
    other = tmp_path / "000000001-000000001.tsm"
    other.write_bytes(b"\x01\x00")

    assert repair_wal(tmp_path) == []
    assert other.read_bytes() == b"\x01\x00"


@pytest.mark.parametrize(
    ("block", "whole"),
    [
        # "Wikipedia ..." style block of literal and copies: 8 bytes "abcdabcd" = literal "abcd" + copy of 4 at offset 4
        (b"\x08\x0cabcd\x01\x04", True),
        (b"\x08\x0cabcd\x0e\x04\x00", True),  # the same with a two-byte offset
        (b"\x08\x0cabcd\x0f\x04\x00\x00\x00", True),  # and with four
        (b"\x08\x0cabcd", False),
        (b"\x04\x0cabcd\x01\x04", False),
        (b"\x80\x01\xf0\x7f" + b"x" * 128, True),  # 128 bytes as one literal with a length byte
        (b"\x80\x01\xf0\x7f" + b"x" * 127, False),
        (b"\x00", True),
        (b"", False),
        (b"\xff\xff\xff\xff\xff", False),
    ],
)
def test_a_snappy_block_is_whole_when_its_elements_give_the_announced_length(block: bytes, whole: bool) -> None:
    assert is_snappy_block(block) is whole
