"""JSON payloads of foreign devices into values, by the mapping of a profile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction

import msgspec

from merilo.errors import PayloadError
from merilo.profile import JsonChannels, JsonValue, Profile
from merilo.registers import Decoded, Missing

BYTES_MAX = 65_536
"""A device's payload: thirty times what a strip with 48 outlets sends."""


def decode_json(profile: Profile, payload: bytes) -> Decoded:
    """The values that one payload holds; what is absent, null or no number is left out with its reason.

    Raises:
        PayloadError: Too large, not JSON, or not an object.
        ValueError: The profile has no mapping of JSON.
    """
    if profile.mqtt is None:
        raise ValueError(f"profile {profile.name} says nothing about JSON payloads")
    tree = _tree(payload)
    missing: list[Missing] = []
    values = {"": _values(tree, profile.mqtt.values, "", missing)}
    for channels in profile.mqtt.channels:
        for suffix, element in _elements(tree, channels):
            if suffix not in values:
                values[suffix] = _values(element, channels.values, suffix, missing)
    return Decoded({suffix: found for suffix, found in values.items() if found}, missing)


def identity_json(profile: Profile, payload: bytes) -> tuple[bool | None, dict[str, str]]:
    """Whether the payload is of this model (None: it does not say), and its model and serial as far as it says them.

    Raises:
        PayloadError: Too large, not JSON, or not an object.
    """
    mapping = profile.mqtt
    if mapping is None:
        return None, {}
    tree = _tree(payload)
    texts = {"model": _at(tree, mapping.model_path), "serial": _at(tree, mapping.serial_path)}
    said = {role: text for role, text in texts.items() if isinstance(text, str)}
    if "model" not in said or not mapping.model_contains:
        return None, said
    return any(part.casefold() in said["model"].casefold() for part in mapping.model_contains), said


def _tree(payload: bytes) -> Mapping[str, object]:
    if len(payload) > BYTES_MAX:
        raise PayloadError("too_large", f"{len(payload)} bytes, expected at most {BYTES_MAX}")
    try:
        tree: object = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError("not_json", str(error)) from error
    if not isinstance(tree, dict):
        raise PayloadError("schema", f"expected an object, found {type(tree).__name__}")
    return tree


def _at(node: object, path: Iterable[str]) -> object:
    """What stands at the path, None where it leads nowhere or is empty."""
    found: object = None
    for key in path:
        found = node.get(key) if isinstance(node, Mapping) else None
        node = found
    return found


def _elements(tree: Mapping[str, object], channels: JsonChannels) -> Iterable[tuple[str, Mapping[str, object]]]:
    array = _at(tree, channels.path)
    for element in array if isinstance(array, list) else ():
        number = element.get(channels.number) if isinstance(element, Mapping) else None
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= channels.most:
            yield channels.suffix.replace("{n}", str(number)), element


def _values(
    node: Mapping[str, object], wanted: Iterable[JsonValue], channel: str, missing: list[Missing]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for value in wanted:
        raw = _at(node, value.path)
        if raw is None:
            missing.append(Missing(channel, value.quantity, "not_read"))
        elif isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
            missing.append(Missing(channel, value.quantity, "not_a_number"))
        else:
            number = float(Fraction(raw) * value.scale) if isinstance(raw, int) else _scaled(raw, value.scale)
            if value.low <= number <= value.high:
                found[value.quantity] = number
            else:
                missing.append(Missing(channel, value.quantity, "out_of_range"))
    return found


def _scaled(raw: float, scale: Fraction) -> float:
    return raw * scale.numerator / scale.denominator
