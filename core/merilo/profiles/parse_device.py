"""What a profile says about the device as a whole: link, read rules, rating, identity and settings."""

from __future__ import annotations

from fractions import Fraction

from merilo.bustime import BAUD_MAX, BAUD_MIN, FORMATS
from merilo.profile import Identity, Link, MqttLink, Rating, RtuLink, Setting, TcpLink
from merilo.profiles.fields import Fields, is_number, shown
from merilo.profiles.parse_registers import Context, read_field, read_function, read_origin, read_scale
from merilo.readplan import ADDRESS_MAX, HOLES, WORDS_MAX, Range, ReadRules

RESPONSE_MAX_MS = 10_000.0


def read_link(top: Fields) -> Link:
    """The key ``link``: how the device ships, one of ``rtu``, ``tcp`` and ``mqtt``."""
    link = top.below("link")
    if link is None:
        return TcpLink(port=502, unit=1)
    found: list[Link] = []
    rtu = link.below("rtu")
    if rtu is not None:
        rtu.require("baud", "format")
        baud = rtu.integer("baud", BAUD_MIN, BAUD_MAX, 9600)
        found.append(RtuLink(baud=baud, format=rtu.word("format", FORMATS, "8N1"), unit=rtu.integer("unit", 1, 247, 1)))
        rtu.done()
    tcp = link.below("tcp")
    if tcp is not None:
        found.append(TcpLink(port=tcp.integer("port", 1, 65_535, 502), unit=tcp.integer("unit", 0, 255, 1)))
        tcp.done()
    mqtt = link.below("mqtt")
    if mqtt is not None:
        found.append(MqttLink(topic=mqtt.text("topic")))
        mqtt.done()
    link.done()
    if len(found) != 1:
        link.fault((), "expected exactly one of rtu, tcp and mqtt: what the device ships with")
        return TcpLink(port=502, unit=1)
    return found[0]


def read_rules(top: Fields) -> tuple[ReadRules, tuple[float, float, float]]:
    """The key ``read``: rules, and response, longest response and gap [ms]."""
    below = top.below("read")
    if below is None:
        return ReadRules(), (40.0, 500.0, 0.0)
    most = below.integer("max_words", 1, WORDS_MAX, WORDS_MAX)
    rules = ReadRules(
        max_words=most,
        start_multiple=below.integer("start_multiple", 1, WORDS_MAX, 1),
        count_multiple=below.integer("count_multiple", 1, most, 1),
        holes=below.word("holes", HOLES, "strict"),
        readable=below.each("readable", _range),
        forbidden=below.each("forbidden", _range),
        barriers=below.each("barriers", _barrier),
    )
    if bool(rules.readable) != (rules.holes == "listed"):
        below.fault("holes", "holes: listed and a list 'readable' go together")
    typical = below.number("response_ms", 0.0, RESPONSE_MAX_MS)
    longest = below.number("max_response_ms", 1.0, RESPONSE_MAX_MS)
    gap = below.number("min_gap_ms", 0.0, RESPONSE_MAX_MS)
    below.done()
    typical = 40.0 if typical is None else typical
    longest = 500.0 if longest is None else longest
    if longest < typical:
        below.fault("max_response_ms", f"{longest:g} ms is below the typical response of {typical:g} ms")
    return rules, (typical, longest, gap or 0.0)


def _function_or_both(fields: Fields) -> int | None:
    return read_function(fields, None) if "function" in fields else None


def _range(fields: Fields) -> Range:
    fields.require("first", "last")
    first = fields.integer("first", 0, ADDRESS_MAX, 0)
    last = fields.integer("last", first, ADDRESS_MAX, first)
    found = Range(first, last, _function_or_both(fields))
    fields.done()
    return found


def _barrier(fields: Fields) -> Range:
    fields.require("before")
    at = fields.integer("before", 1, ADDRESS_MAX, 1)
    found = Range(at, at, _function_or_both(fields))
    fields.done()
    return found


def read_rating(top: Fields) -> Rating:
    """The key ``rating``: phases, current and where transformers are multiplied in."""
    below = top.below("rating")
    if below is None:
        return Rating(phases=1)
    below.require("phases")
    rating = Rating(
        phases=below.integer("phases", 1, 3, 1),
        current_a=below.number("current_a", 0.1, 10_000.0),
        ct=below.word("ct", ("direct", "inside", "outside"), "direct"),
    )
    below.done()
    return rating


def read_identity(fields: Fields, context: Context) -> Identity:
    """One element of ``identity``."""
    fields.require("name")
    source, confidence = read_origin(fields, context)
    accept: list[int | str] = []
    for n, item in fields.items("accept"):
        if isinstance(item, int | str) and not isinstance(item, bool):
            accept.append(item)
        else:
            fields.fault(("accept", n), f"expected a whole number or a text, found {shown(item)}")
    found = Identity(
        name=fields.text("name"),
        field=read_field(fields, context, texts=True),
        accept=tuple(accept),
        contains=fields.names("contains"),
        role=fields.word("role", ("model", "serial", "firmware"), "model"),
        source=source,
        confidence=confidence,
    )
    fields.done()
    return found


def read_setting(fields: Fields, context: Context) -> Setting:
    """One element of ``settings``."""
    fields.require("name")
    source, confidence = read_origin(fields, context)
    meanings: dict[float, float | str] = {}
    below = fields.below("meanings")
    for key, value in below.data.items() if below is not None else ():
        if is_number(key) and ((is_number(value) and value > 0) or value in ("big", "little")):
            meanings[float(key)] = value if isinstance(value, str) else float(value)
        else:
            fields.fault(("meanings", key), f"expected number: factor, or number: big or little, found {shown(value)}")
    default = fields.raw("default")
    if not (default is None or default in ("big", "little") or is_number(default)):
        fields.fault("default", f"expected a number, big or little, found {shown(default)}")
        default = None
    expect = tuple(item for _, item in fields.items("expect") if is_number(item))
    found = Setting(
        name=fields.text("name"),
        field=read_field(fields, context),
        scale=read_scale(fields, None) if "scale" in fields else Fraction(1),
        holds=fields.number("holds", -1e12, 1e12),
        meanings=meanings,
        default=default if isinstance(default, str) or default is None else float(default),
        expect=expect,
        why=fields.text("why"),
        source=source,
        confidence=confidence,
    )
    if found.expect and not found.why:
        fields.fault((), "a setting that is expected to have a value needs 'why': what is wrong otherwise")
    fields.done()
    return found
