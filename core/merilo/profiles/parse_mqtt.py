"""What a JSON payload means, out of plain data."""

from __future__ import annotations

from merilo.profile import JsonChannels, JsonValue, MqttMapping
from merilo.profiles.fields import Fields
from merilo.profiles.parse_registers import (
    CHANNELS_MAX,
    Context,
    is_suffix,
    read_counter,
    read_origin,
    read_quantity,
    read_range,
    read_scale,
)


def read_mqtt(fields: Fields, context: Context) -> MqttMapping:
    """The key ``mqtt``."""
    mapping = MqttMapping(
        values=fields.each("values", lambda f: _value(f, context)),
        channels=fields.each("channels", lambda f: _channels(f, context)),
        model_path=_path(fields, "model_path"),
        model_contains=fields.names("model_contains"),
        serial_path=_path(fields, "serial_path"),
    )
    if not mapping.values and not mapping.channels:
        fields.fault((), "expected values or channels, found neither")
    fields.done()
    return mapping


def _path(fields: Fields, key: str) -> tuple[str, ...]:
    text = fields.text(key)
    return tuple(text.split(".")) if text else ()


def _value(fields: Fields, context: Context) -> JsonValue:
    quantity = read_quantity(fields)
    fields.require("path")
    source, confidence = read_origin(fields, context)
    low, high = read_range(fields, quantity.low, quantity.high)
    found = JsonValue(
        quantity=quantity.name,
        path=_path(fields, "path"),
        scale=read_scale(fields, quantity),
        low=low,
        high=high,
        counter=read_counter(fields, quantity, context.counter, is_float=False),
        source=source,
        confidence=confidence,
    )
    fields.done()
    return found


def _channels(fields: Fields, context: Context) -> JsonChannels:
    fields.require("path", "number", "suffix", "values")
    suffix = fields.text("suffix", "channel-{n}")
    if "{n}" not in suffix or not is_suffix(suffix.replace("{n}", "1")):
        fields.fault("suffix", f"expected a-z, 0-9 and '-' with {{n}} for the number, found {suffix!r}")
    found = JsonChannels(
        path=_path(fields, "path"),
        number=fields.text("number", "ID"),
        suffix=suffix,
        most=fields.integer("most", 1, CHANNELS_MAX, CHANNELS_MAX),
        values=fields.each("values", lambda f: _value(f, context)),
        rated_current_a=fields.number("current_a", 0.1, 10_000.0),
    )
    fields.done()
    return found
