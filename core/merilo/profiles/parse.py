"""A profile out of plain data (what a YAML loader gives), strictly: all faults at once, each with its place.

The language is listed in ``merilo.profiles``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal, TypeVar

from merilo.bustime import TcpLine
from merilo.errors import ProfileError
from merilo.profile import NUMBER_WORDS, Channel, CounterFacts, MqttLink, Order, Profile, Variant
from merilo.profiles.fields import Fields, Issue, Path, did_you_mean, is_number
from merilo.profiles.parse_device import read_identity, read_link, read_rating, read_rules, read_setting
from merilo.profiles.parse_mqtt import read_mqtt
from merilo.profiles.parse_registers import (
    CONFIDENCES,
    Context,
    read_channels,
    read_counter_facts,
    read_derived,
    read_function,
    read_invalid,
    read_register,
)
from merilo.readplan import UnreadableError, plan

T = TypeVar("T")

Kind = Literal["meter", "pdu", "ups", "sensor"]
KINDS: tuple[Kind, ...] = ("meter", "pdu", "ups", "sensor")
FORMAT = 1
"""Version of the language that profiles are written in."""
NAME = re.compile(r"[a-z0-9][a-z0-9_]{1,47}")


class ProfileIssuesError(ProfileError):
    """A profile that cannot be used, with everything that is wrong with it."""

    def __init__(self, name: str, issues: tuple[Issue, ...]) -> None:
        self.issues = issues
        lines = [
            f"{'.'.join(map(str, i.path)) or 'top'}: {i.message}" + (f". {i.hint}" if i.hint else "") for i in issues
        ]
        super().__init__(f"profile {name}", "; ".join(lines))


def parse_profile(data: object, name: str = "") -> Profile:
    """The profile that the data describe.

    Args:
        data: Nested dicts, lists, texts and numbers.
        name: Name that the profile must have, for example that of its file; empty for any.

    Raises:
        ProfileIssuesError: Anything is wrong; its issues carry the paths.
    """
    issues: list[Issue] = []
    profile = _profile(data, issues)
    if name and profile.name != name:
        issues.append(Issue(("name",), f"expected {name!r}, the name of the file, found {profile.name!r}"))
    if issues:
        raise ProfileIssuesError(name or profile.name, tuple(dict.fromkeys(issues)))
    return profile


def _profile(data: object, issues: list[Issue]) -> Profile:
    top = Fields(data, (), issues)
    top.require("format", "name", "version", "vendor", "model", "kind", "sources", "link", "rating")
    top.integer("format", FORMAT, FORMAT, FORMAT)
    name = top.text("name", "unnamed")
    if NAME.fullmatch(name) is None:
        top.fault("name", f"expected 2 to 48 of a-z, 0-9 and '_', found {name!r}")
    sources = _sources(top)
    context = _context(top, frozenset(sources))
    link = read_link(top)
    rules, times = read_rules(top)
    channels: list[Channel] = []
    registers = list(top.each("parts", lambda f: read_register(f, context, part=True)))
    registers += top.each("registers", lambda f: read_register(f, context))
    derived = list(top.each("derived", read_derived))
    for added in top.each("channels", lambda f: read_channels(f, context)):
        channels += added.channels
        registers += added.registers
        derived += added.derived
    mqtt = top.below("mqtt")
    profile = Profile(
        name=name,
        version=top.text("version", "0"),
        vendor=top.text("vendor"),
        model=top.text("model"),
        kind=top.word("kind", KINDS, "meter"),
        sources=sources,
        default_link=link,
        rules=rules,
        response_ms=times[0],
        max_response_ms=times[1],
        min_gap_ms=times[2],
        rating=read_rating(top),
        registers=tuple(registers),
        derived=tuple(derived),
        channels=tuple(channels),
        identity=top.each("identity", lambda f: read_identity(f, context)),
        settings=top.each("settings", lambda f: read_setting(f, context)),
        word_order=top.text("word_order") if context.order_setting else "",
        mqtt=None if mqtt is None else read_mqtt(mqtt, context),
        notes=top.names("notes"),
    )
    variants = _variants(top, profile, issues)
    top.done()
    _check(top, profile)
    return replace(profile, variants=variants)


def _sources(top: Fields) -> dict[str, str]:
    below = top.below("sources")
    if below is None:
        return {}
    sources = {str(key): below.text(str(key)) for key in below.data}
    if not sources:
        below.fault((), "expected at least one document: key: title, page")
    return sources


def _context(top: Fields, sources: frozenset[str]) -> Context:
    context = Context(sources=sources)
    context.wire_addresses = top.word("addresses", ("wire", "ambiguous"), "ambiguous") == "wire"
    orders: dict[str, Order] = {"big": "big", "little": "little"}
    order = top.text("word_order", "big")
    context.order = orders.get(order, "setting")
    context.order_setting = context.order == "setting"
    below = top.below("defaults")
    if below is not None:
        if "function" in below:
            context.function = read_function(below, None)
        context.type = below.word("type", tuple(NUMBER_WORDS), "uint16") if "type" in below else ""
        context.alone = below.flag("alone")
        context.source = below.text("source")
        if context.source and context.source not in sources:
            below.fault("source", f"{context.source!r} is not one of the profile's sources")
        context.confidence = below.word("confidence", CONFIDENCES, "one-source")
        below.done()
    counters = top.below("counters")
    context.counter = CounterFacts() if counters is None else read_counter_facts(counters, CounterFacts())
    invalid = top.below("invalid")
    if invalid is not None:
        for type_ in NUMBER_WORDS:
            context.invalid[type_] = read_invalid(invalid, type_, type_)
        invalid.done()
    return context


def _variants(top: Fields, profile: Profile, issues: list[Issue]) -> tuple[Variant, ...]:
    """Each variant is the same profile with some keys replaced, and as complete and as checked as the base."""
    found: list[Variant] = []
    told_by = [i.name for i in profile.identity] + [s.name for s in profile.settings]
    for n, item in top.items("variants"):
        fields = Fields(item, ("variants", n), issues)
        fields.require("name", "told_by", "values")
        name, teller = fields.text("name"), fields.text("told_by")
        if teller and teller not in told_by:
            fields.fault("told_by", f"{teller!r} is no identity or setting", did_you_mean(teller, told_by))
        values = tuple(v for _, v in fields.items("values") if isinstance(v, str) or is_number(v))
        data, origins = _merged(top.data, fields, n)
        fields.done()
        inner: list[Issue] = []
        variant = replace(_profile(data, inner), variant=name)
        known = set(issues)
        for issue in inner:
            at = _origin(issue.path, origins)
            issues += [i for i in (issue._replace(path=at),) if i not in known]
        found.append(Variant(name=name, told_by=teller, values=values, profile=variant))
    return tuple(found)


REPLACEABLE = ("model", "rating", "read", "derived", "channels", "counters", "invalid", "notes", "word_order")


def _merged(base: Mapping[str, object], fields: Fields, n: int) -> tuple[dict[str, object], dict[Path, Path]]:
    """The variant's data, and where its lists and keys were written."""
    data = {key: value for key, value in base.items() if key != "variants"}
    origins: dict[Path, Path] = {}
    for key in REPLACEABLE:
        if key in fields:
            data[key] = fields.raw(key)
            origins[(key,)] = ("variants", n, key)
    gone = set(fields.names("remove"))
    new = dict(fields.items("registers"))
    gone |= {str(item.get("quantity")) for item in new.values() if isinstance(item, Mapping)}
    base_registers = base.get("registers")
    kept = [
        (("registers", k), item)
        for k, item in enumerate(base_registers if isinstance(base_registers, list) else [])
        if not (isinstance(item, Mapping) and item.get("quantity") in gone)
    ]
    every: list[tuple[Path, object]] = [*kept, *((("variants", n, "registers", k), item) for k, item in new.items())]
    if every:
        data["registers"] = [item for _, item in every]
        origins |= {("registers", k): path for k, (path, _) in enumerate(every)}
    return data, origins


def _origin(path: Path, origins: Mapping[Path, Path]) -> Path:
    for length in (2, 1):
        if path[:length] in origins:
            return origins[path[:length]] + path[length:]
    return path


def _check(top: Fields, profile: Profile) -> None:
    """What one key alone cannot show: names that are used twice or lead nowhere, registers that no read reaches."""
    settings = [s.name for s in profile.settings]
    parts = [r.quantity for r in profile.registers if r.hidden]
    names = [i.name for i in profile.identity] + settings + parts
    for name in _twice(names):
        top.fault((), f"the name {name!r} is given twice")
    values = [(r.channel, r.quantity) for r in profile.registers] + [(d.channel, d.quantity) for d in profile.derived]
    for where, quantity in _twice(values):
        top.fault("registers", f"{quantity} of {where or 'the device'} is given twice")
    if not values and profile.mqtt is None:
        top.fault((), "expected registers, channels or mqtt: there is nothing to read")
    if (profile.mqtt is not None) != isinstance(profile.default_link, MqttLink):
        top.fault("link", "a link on a broker and the key mqtt go together")
    if profile.word_order and profile.word_order not in settings:
        wanted = ["big", "little", *settings]
        top.fault("word_order", f"{profile.word_order!r} is no setting", did_you_mean(profile.word_order, wanted))
    for channel in profile.channels:
        if channel.counted_by and channel.counted_by not in settings:
            top.fault("channels", f"counted_by {channel.counted_by!r} is no setting")
            break
    for register in profile.registers:
        for name in (*register.times, *register.divided_by, *register.power_of_ten):
            if name not in settings and name not in parts:
                hint = did_you_mean(name, [*settings, *parts])
                top.fault("registers", f"{register.quantity}: {name!r} is no setting and no part", hint)
    for derived in profile.derived:
        known = [q for c, q in values if c == derived.channel and q != derived.quantity] + parts
        for name, _ in derived.terms:
            if name not in known:
                top.fault("derived", f"{derived.quantity}: {name!r} is not read", did_you_mean(name, known))
    _check_readable(top, profile)


def _check_readable(top: Fields, profile: Profile) -> None:
    for span, register in zip(profile.spans(), profile.registers, strict=True):
        try:
            plan([span], profile.rules, TcpLine())
        except UnreadableError as error:
            top.fault("registers", f"{register.quantity}: {error}")


def _twice(names: Iterable[T]) -> list[T]:
    return [name for name, times in Counter(names).items() if times > 1]
