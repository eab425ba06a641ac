"""Reads one device once and shows every value beside the words it came from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from merilo.errors import ConfigError, DeviceError
from merilo.instants import to_text
from merilo.profile import Profile, Register
from merilo.profiles.setup import Setup, configure
from merilo.quantities import QUANTITIES
from merilo.readplan import Block
from merilo.registers import decode
from merilo_adapters.yaml_file import did_you_mean
from merilo_gateway.bus import ask, line_time
from merilo_gateway.gateway_file import DeviceModel
from merilo_gateway.modbus import ModbusLine
from merilo_gateway.ports import told
from merilo_gateway.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value and where it came from."""

    device: str
    quantity: str
    value: float
    unit: str
    register: str
    """Function and address, for example ``4:0``; empty for a value made of others."""
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one device said."""

    device: str
    at_ms: int
    latency_ms: float
    model: str
    serial: str
    values: tuple[Value, ...]
    missing: tuple[str, ...]
    """What did not come, with its reason."""
    findings: tuple[str, ...]
    """What a person should know about the device's set-up."""

    def as_dict(self, *, raw: bool) -> dict[str, object]:
        """For JSON."""
        found: dict[str, object] = {
            "device": self.device,
            "at": to_text(self.at_ms),
            "latency_ms": round(self.latency_ms, 1),
            "model": self.model,
            "serial": self.serial,
        }
        values: list[dict[str, object]] = []
        for v in self.values:
            row: dict[str, object] = {"device": v.device, "quantity": v.quantity, "value": v.value, "unit": v.unit}
            values.append(row | ({"register": v.register, "words": list(v.words)} if raw else {}))
        return found | {"values": values, "missing": list(self.missing), "findings": list(self.findings)}


async def read_once(settings: Settings, name: str) -> Found:
    """Reads one device of the file.

    Raises:
        ConfigError: The file has no such device on a bus.
        DeviceError: It does not answer at all.
    """
    for number, bus in enumerate(settings.model.buses):
        for device in bus.devices:
            if device.id == name:
                return await _read(settings, number, device)
    names = [device.id for bus in settings.model.buses for device in bus.devices]
    hint = did_you_mean(name, names) or f"known: {', '.join(names)}"
    raise ConfigError(settings.marked.name, f"no device {name!r} on a bus", hint)


async def _read(settings: Settings, number: int, device: DeviceModel) -> Found:
    endpoint = settings.model.buses[number].endpoint
    line = ModbusLine(endpoint)
    profile = settings.models[device.id]
    try:
        began = time.monotonic()
        answers = await ask(lambda block: _block(line, device.unit, block, profile), profile.setup)
        setup = configure(profile, answers, device.ct_ratio)
        blocks: dict[Block, tuple[int, ...] | None] = {}
        plan = setup.profile.plan(line_time(endpoint, setup.profile))
        last: DeviceError | None = None
        for block in plan:
            try:
                blocks[block] = await _block(line, device.unit, block, setup.profile)
            except DeviceError as error:
                blocks[block] = None
                last = error
        if last is not None and not any(blocks.values()):
            raise last
        latency = (time.monotonic() - began) * 1000 / max(len(plan), 1)
        return _found(device, setup, blocks, latency, time.time_ns() // 1_000_000)
    finally:
        await line.close()


async def _block(line: ModbusLine, unit: int, block: Block, profile: Profile) -> tuple[int, ...]:
    seconds = max(1.0, profile.max_response_ms / 1000 + 0.5)
    return await line.read(unit, block, timeout_s=seconds, gap_s=profile.min_gap_ms / 1000, worst_s=seconds)


def _found(
    device: DeviceModel, setup: Setup, blocks: Mapping[Block, tuple[int, ...] | None], latency_ms: float, at_ms: int
) -> Found:
    decoded = decode(setup.profile, blocks)
    registers = {(r.channel, r.quantity): r for r in setup.profile.registers}
    values: list[Value] = []
    for suffix, found in decoded.values.items():
        for quantity, value in found.items():
            register = registers.get((suffix, quantity))
            where, words = _origin(register, blocks)
            values.append(
                Value(
                    device=f"{device.id}-{suffix}" if suffix else device.id,
                    quantity=quantity,
                    value=value,
                    unit=QUANTITIES[quantity].unit,
                    register=where,
                    words=words,
                )
            )
    return Found(
        device=device.id,
        at_ms=at_ms,
        latency_ms=latency_ms,
        model=setup.texts.get("model", ""),
        serial=setup.texts.get("serial", ""),
        values=tuple(values),
        missing=tuple(told([m]) for m in decoded.missing),
        findings=tuple(f"{f.code} {f.name}: found {f.found or 'nothing'}, expected {f.expected}. {f.why}".strip(". ")
                       for f in setup.findings),
    )  # fmt: skip


def _origin(register: Register | None, blocks: Mapping[Block, tuple[int, ...] | None]) -> tuple[str, tuple[int, ...]]:
    if register is None:
        return "", ()
    where: list[str] = []
    words: list[int] = []
    for field, _ in register.fields:
        where.append(f"{field.function}:{field.address}")
        for block, found in blocks.items():
            if found and block.function == field.function and block.start <= field.address < block.end:
                words += found[field.address - block.start : field.address - block.start + field.words]
                break
    return " ".join(where), tuple(words)


def rows_text(found: Found, *, raw: bool) -> str:
    """A table for people."""
    head = f"{found.device}  {found.model or '?'}  serial {found.serial or '?'}  {to_text(found.at_ms)}"
    lines = [f"{head}  {found.latency_ms:.0f} ms a read"]
    for v in found.values:
        line = f"{v.device:<16} {v.quantity:<36} {number_text(v.value):>14} {v.unit:<5}"
        lines.append(f"{line} {v.register:<10} {' '.join(f'{w:04x}' for w in v.words)}".rstrip() if raw else line)
    lines += [f"missing: {text}" for text in found.missing]
    lines += [f"note: {text}" for text in found.findings]
    return "\n".join(lines)


def number_text(value: float) -> str:
    """Plain digits, as a display shows them: three places, none where there is nothing behind the point."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
