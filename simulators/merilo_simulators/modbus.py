"""Modbus frames as a device sees them: requests out of a byte stream, and what is sent back, faults included.

Everything here is pure: bytes in, bytes and delays out. Framing after "Modbus over serial line 1.02" (RTU, CRC-16) and
"Modbus messaging on TCP/IP 1.0b" (MBAP header). Written by hand, because a library's server refuses to send the short,
mixed, late and broken frames that real lines carry, and answers for units that would stay silent.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from merilo.instants import DAY_MS
from merilo_simulators.devices.meter import ILLEGAL_FUNCTION, ILLEGAL_VALUE, Meter, RefusedError
from merilo_simulators.faults import FaultBook, WireFault
from merilo_simulators.physics import ORIGIN_MS

Framing = Literal["rtu", "tcp"]
GATEWAY_NO_RESPONSE = 0x0B
"""What a TCP gateway answers for a unit that is silent behind it."""
_READS = (3, 4)
_BUFFER_MAX = 4096
"""A stream that never becomes a request is dropped here; no request is longer than 260 bytes."""
_GARBAGE_BYTES = 23
_TWIN_LAG_MS = 3 * DAY_MS
"""A twin is the same model elsewhere: it shows what this device showed three days ago."""


def crc16(frame: bytes | bytearray) -> bytes:
    """Checksum of an RTU frame, low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return struct.pack("<H", crc)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in."""

    unit: int
    pdu: bytes
    transaction: int = 0
    """From the MBAP header; RTU has none."""


@dataclass(frozen=True, slots=True)
class Emission:
    """Bytes that leave the device, so long after the request was understood [real ms]."""

    after_ms: int
    data: bytes


def frame(framing: Framing, request: Request, unit: int, pdu: bytes) -> bytes:
    """The answer's bytes on the wire."""
    if framing == "tcp":
        return struct.pack(">HHHB", request.transaction, 0, len(pdu) + 1, unit) + pdu
    body = bytes((unit,)) + pdu
    return body + crc16(body)


@dataclass(slots=True)
class Stream:
    """Finds requests in the bytes of one connection or line."""

    framing: Framing
    _bytes: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Request]:
        """Takes bytes and gives the requests they complete. RTU bytes that fit no request are skipped one by one."""
        self._bytes += data
        del self._bytes[:-_BUFFER_MAX]
        while True:
            request, used = _tcp_request(self._bytes) if self.framing == "tcp" else _rtu_request(self._bytes)
            if not used:
                return
            del self._bytes[:used]
            if request is not None:
                yield request

    def silence(self) -> None:
        """The line was silent: an unfinished request is over."""
        self._bytes.clear()


def _tcp_request(data: bytearray) -> tuple[Request | None, int]:
    if len(data) < 8:
        return None, 0
    transaction, protocol, length, unit = struct.unpack(">HHHB", data[:7])
    if protocol or not 2 <= length <= 254:
        return None, len(data)
    if len(data) < 6 + length:
        return None, 0
    return Request(unit, bytes(data[7 : 6 + length]), transaction), 6 + length


def _rtu_request(data: bytearray) -> tuple[Request | None, int]:
    if len(data) < 4:
        return None, 0
    function = data[1]
    if function in (15, 16):
        if len(data) < 7:
            return None, 0
        length = 9 + data[6]
    else:
        length = {7: 4, 11: 4, 12: 4, 17: 4, 0x2B: 7}.get(function, 8)
    if len(data) < length:
        return None, 0
    if crc16(data[: length - 2]) != data[length - 2 : length]:
        return None, 1
    return Request(data[0], bytes(data[1 : length - 2])), length


def refusal(pdu: bytes, code: int) -> bytes:
    """The exception answer to a request."""
    return bytes((pdu[0] | 0x80, code))


def plain_answer(meter: Meter, pdu: bytes, at_ms: int, drop: int = 0) -> bytes:
    """What a healthy device answers at this instant; drop leaves out so many of the last registers."""
    if pdu[0] not in _READS:
        return refusal(pdu, ILLEGAL_FUNCTION)
    if len(pdu) != 5:
        return refusal(pdu, ILLEGAL_VALUE)
    _, address, count = struct.unpack(">BHH", pdu)
    try:
        found = meter.read(pdu[0], address, count, at_ms)
    except RefusedError as error:
        return refusal(pdu, error.code)
    found = found[: max(0, len(found) - drop)]
    return struct.pack(f">BB{len(found)}H", pdu[0], 2 * len(found), *found)


def answer(meter: Meter, request: Request, at_ms: int, framing: Framing) -> list[Emission]:
    """What leaves the device for this request at this instant, under its faults; nothing where it stays silent."""
    faults = meter.faults
    faults.note_counters(at_ms)
    if faults.is_out(at_ms):
        return []
    pdu = plain_answer(meter, request.pdu, at_ms)
    fault = faults.strike(at_ms)
    right = frame(framing, request, request.unit, pdu)
    if fault is None:
        return [Emission(0, right)]
    if fault.kind == "silent":
        return []
    if fault.kind == "late":
        return [Emission(faults.delay_ms(fault), right)]
    if fault.kind in ("twin", "twin_mixed"):
        other = plain_answer(meter, request.pdu, max(ORIGIN_MS, at_ms - _TWIN_LAG_MS))
        twin = frame(framing, request, request.unit, other)
        mixed = bytes(a & b for a, b in zip(right, twin, strict=False))
        return [Emission(0, mixed)] if fault.kind == "twin_mixed" else [Emission(0, right), Emission(0, twin)]
    return [Emission(0, _broken(meter, request, at_ms, framing, fault, pdu))]


def _broken(meter: Meter, request: Request, at_ms: int, framing: Framing, fault: WireFault, pdu: bytes) -> bytes:
    faults: FaultBook = meter.faults
    unit = request.unit
    if fault.kind == "garbage":
        return faults.noise(_GARBAGE_BYTES)
    if fault.kind == "bad_crc":
        right = bytearray(frame(framing, request, unit, pdu))
        right[-1 if framing == "rtu" else 2] ^= 0x5A
        return bytes(right)
    if fault.kind == "short":
        pdu = plain_answer(meter, request.pdu, at_ms, drop=1)
    elif fault.kind == "wrong_unit":
        unit = unit % 247 + 1
    elif fault.kind == "wrong_function":
        pdu = bytes((pdu[0] ^ 0x07,)) + pdu[1:]
    elif fault.kind == "exception":
        pdu = refusal(request.pdu, fault.code)
    elif fault.kind == "garbage_words" and pdu[0] in _READS:
        pdu = pdu[:2] + faults.noise(len(pdu) - 2)
    return frame(framing, request, unit, pdu)
