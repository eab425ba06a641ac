"""A profile made concrete: what a device says about itself chooses variant, word order, factors and channels.

Every register read here is read only. What is set wrongly is reported with its consequence, for a person to change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, NamedTuple

from merilo.profile import TEXT_TYPES, CounterFacts, Field, Identity, Order, Profile, Register, Setting
from merilo.quantities import QUANTITIES
from merilo.registers import number, text

Answer = Sequence[int] | None
"""Words, or None: the device refused the address (a Modbus exception). A silent device gives no entry at all."""

Code = Literal[
    "identity_wrong",  # another model answers
    "identity_unread",  # the device did not tell
    "setting_wrong",  # a required setting has another value
    "setting_assumed",  # the device does not have the register: the profile's default counts
    "setting_unknown",  # values that depend on it are left out
    "ct_missing",  # the transformers' ratio must be configured
]

_SCALED_BY_CT = ("W", "var", "VA", "Wh", "varh", "A")


class Finding(NamedTuple):
    """Something that a person should know about a device at its start."""

    code: Code
    name: str
    found: str
    expected: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One device as it is."""

    profile: Profile
    confirmed: bool | None
    """True: it is this model. False: it is another. None: it did not say, or the model has nothing to say."""
    texts: Mapping[str, str]
    """Role (model, serial, firmware) → what the device says."""
    values: Mapping[str, float | str]
    """Settings as they count."""
    findings: tuple[Finding, ...]


def configure(profile: Profile, answers: Mapping[str, Answer], ct_ratio: float | None = None) -> Setup:
    """The profile of the device at hand.

    Args:
        profile: The model.
        answers: For each name of ``profile.setup`` the words of its block; None where the device refused the address;
            absent where nothing was heard.
        ct_ratio: Primary over secondary current of its transformers, from the configuration.
    """
    findings: list[Finding] = []
    texts, confirmed, said = _identify(profile, answers, findings)
    values: dict[str, float | str] = {}
    order = _word_order(profile, answers, values, findings)
    for setting in profile.settings:
        if setting.name != profile.word_order:
            _settle(setting, order, answers, values, findings)
    said |= values
    chosen = next((v.profile for v in profile.variants if v.matches(said.get(v.told_by))), profile)
    return Setup(
        profile=_applied(chosen, order, values, _ct(chosen, ct_ratio, findings)),
        confirmed=confirmed,
        texts=texts,
        values=values,
        findings=tuple(findings),
    )


def identity_value(identity: Identity, words: Sequence[int]) -> float | str | None:
    """What the device says about itself: a number or a text; None where the words hold neither."""
    if identity.field.type in TEXT_TYPES:
        return text(identity.field, words)
    return number(identity.field, words)


def _identify(
    profile: Profile, answers: Mapping[str, Answer], findings: list[Finding]
) -> tuple[dict[str, str], bool | None, dict[str, float | str]]:
    texts: dict[str, str] = {}
    said: dict[str, float | str] = {}
    checks: list[bool] = []
    for identity in profile.identity:
        words = answers.get(identity.name)
        value = identity_value(identity, words) if words is not None else None
        expected = " or ".join(map(str, (*identity.accept, *identity.contains)))
        if value is None:
            if identity.is_check:
                findings.append(Finding("identity_unread", identity.name, "", expected))
            continue
        said[identity.name] = value
        shown = value if isinstance(value, str) else f"{value:.0f}"
        texts.setdefault(identity.role, shown)
        if identity.is_check:
            checks.append(identity.matches(value))
            if not checks[-1]:
                findings.append(Finding("identity_wrong", identity.name, shown, expected))
    return texts, all(checks) if checks else None, said


def _word_order(
    profile: Profile, answers: Mapping[str, Answer], values: dict[str, float | str], findings: list[Finding]
) -> Order:
    setting = next((s for s in profile.settings if s.name == profile.word_order), None)
    if setting is None:
        return "setting"
    words = answers.get(setting.name)
    orders: tuple[Order, Order] = ("big", "little")
    if words is not None:
        for order in orders:
            raw = number(replace(setting.field, order=order), words)
            if raw is not None and (raw == setting.holds or setting.meanings.get(raw) == order):
                values[setting.name] = order
                return order
    return _fallback(setting, answers, values, findings)


def _fallback(
    setting: Setting, answers: Mapping[str, Answer], values: dict[str, float | str], findings: list[Finding]
) -> Order:
    """A device without the register has what the profile says; of one that was silent or unclear nothing is known."""
    refused = setting.name in answers and answers[setting.name] is None
    if refused and setting.default is not None:
        values[setting.name] = setting.default
        findings.append(Finding("setting_assumed", setting.name, "", str(setting.default), setting.why))
        return "big" if setting.default == "big" else "little"
    words = answers.get(setting.name)
    findings.append(
        Finding("setting_unknown", setting.name, "" if words is None else str(list(words)), "", setting.why)
    )
    return "setting"


def _settle(
    setting: Setting,
    order: Order,
    answers: Mapping[str, Answer],
    values: dict[str, float | str],
    findings: list[Finding],
) -> None:
    words = answers.get(setting.name)
    field = _in_order(setting.field, order)
    raw = number(field, words) if words is not None and field.order != "setting" else None
    if raw is None:
        _fallback(setting, answers, values, findings)
        return
    if setting.expect and raw not in setting.expect:
        expected = " or ".join(f"{e:g}" for e in setting.expect)
        findings.append(Finding("setting_wrong", setting.name, f"{raw:g}", expected, setting.why))
    if not setting.meanings:
        values[setting.name] = float(Fraction(raw) * setting.scale)
    elif raw in setting.meanings:
        values[setting.name] = setting.meanings[raw]
    else:
        expected = " or ".join(f"{key:g}" for key in setting.meanings)
        findings.append(Finding("setting_unknown", setting.name, f"{raw:g}", expected, setting.why))


def _ct(profile: Profile, ct_ratio: float | None, findings: list[Finding]) -> Fraction | None:
    if profile.rating.ct != "outside":
        return Fraction(1)
    if ct_ratio is None:
        why = "the device gives secondary values: powers and energies cannot be known"
        findings.append(Finding("ct_missing", "ct", "", "primary/secondary current, for example 400/5", why))
        return None
    return Fraction(str(ct_ratio))


def _in_order(field: Field, order: Order) -> Field:
    return replace(field, order=order) if field.order == "setting" else field


def _applied(profile: Profile, order: Order, values: Mapping[str, float | str], ct: Fraction | None) -> Profile:
    names = {s.name for s in profile.settings}
    counts = {c.suffix: values.get(c.counted_by) for c in profile.channels if c.counted_by}
    absent = {c.suffix for c in profile.channels if isinstance(most := counts.get(c.suffix), float) and c.index >= most}
    registers = [_settled(r, order, names, values, ct) for r in profile.registers if r.channel not in absent]
    return replace(
        profile,
        registers=tuple(registers),
        channels=tuple(c for c in profile.channels if c.suffix not in absent),
        derived=tuple(d for d in profile.derived if d.channel not in absent),
        variants=(),
    )


def _settled(
    register: Register, order: Order, names: set[str], values: Mapping[str, float | str], ct: Fraction | None
) -> Register:
    """The register with the word order and the constant factors in."""
    factor = Fraction(1)
    unknown = ""
    if not register.hidden and QUANTITIES[register.quantity].unit in _SCALED_BY_CT:
        if ct is None:
            unknown = "ct"
        else:
            factor *= ct
    for name in (n for n in (*register.times, *register.divided_by, *register.power_of_ten) if n in names):
        value = values.get(name)
        if not isinstance(value, float) or not value:
            unknown = name
        elif name in register.power_of_ten:
            factor *= Fraction(10) ** int(value)
        else:
            factor *= Fraction(str(value)) if name in register.times else 1 / Fraction(str(value))
    fields = tuple((_in_order(f, order), scale * factor) for f, scale in register.fields)
    if any(f.order == "setting" for f, _ in fields):
        unknown = "word_order"
    counter = register.counter
    if counter is not None and counter.resolution_wh is not None:
        counter = CounterFacts(
            resolution_wh=counter.resolution_wh * float(factor), modulus=counter.modulus, resettable=counter.resettable
        )
    return replace(
        register,
        fields=fields,
        counter=counter,
        times=tuple(n for n in register.times if n not in names),
        divided_by=tuple(n for n in register.divided_by if n not in names),
        power_of_ten=tuple(n for n in register.power_of_ten if n not in names),
        unknown=unknown,
    )
