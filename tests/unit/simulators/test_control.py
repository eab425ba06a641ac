"""Requests on the control port: what they switch, and that no line can break it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merilo_simulators.control import Control, fault_from
from merilo_simulators.counters import Swap
from merilo_simulators.faults import WireFault
from merilo_simulators.site import Site, example_site


async def never(bus: str, on: bool) -> str:
    raise ValueError(f"bus {bus!r}: expected line")


def take(site: Site, line: bytes) -> dict[str, Any]:
    return asyncio.run(Control(site, never).take(line))


def test_faults_are_added_and_cleared_by_device() -> None:
    site = example_site(7)

    added = take(site, b'{"do": "add", "device": "main", "fault": {"kind": "late", "ms": 700, "share": 0.5}}')
    assert added["injected"]["main"] == {}
    assert site.meter("main").faults.wire == [WireFault(kind="late", ms=700, share=0.5)]

    take(site, b'{"do": "clear", "device": "main"}')
    assert site.meter("main").faults.wire == []


def test_a_counter_fault_is_told_by_its_kind() -> None:
    assert fault_from({"kind": "swap", "at_ms": 5, "serial": 6, "start_wh": 7}) == Swap(at_ms=5, serial=6, start_wh=7)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "Expecting"),
        (b"[]", "expected a JSON object"),
        (b"\xff", "utf-8"),
        (b'{"do": "dance"}', "expected add, clear"),
        (b'{"do": "add", "device": "mane", "fault": {"kind": "silent"}}', "expected one of main"),
        (b'{"do": "add", "device": "main", "fault": {"kind": "sleepy"}}', "expected one of late"),
        (b'{"do": "add", "device": "main", "fault": {"kind": "silent", "ns": 1}}', "unknown field ns"),
        (b'{"do": "add", "device": "main", "fault": {"kind": "reset"}}', "at_ms"),
        (b'{"do": "add", "device": "main", "fault": {"kind": "silent", "share": "x"}}', "share"),
        (b'{"do": "add", "device": "main", "fault": 1}', "expected a JSON object"),
        (b'{"do": "stop", "bus": "tram"}', "expected line"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(line: bytes, words: str) -> None:
    assert words in take(example_site(7), line)["error"]


@given(
    st.binary(max_size=80) | st.dictionaries(st.text(max_size=4), st.integers()).map(lambda d: json.dumps(d).encode())
)
@settings(max_examples=50)
def test_no_line_raises(line: bytes) -> None:
    assert "error" in take(SITE, line)


SITE = example_site(7)
