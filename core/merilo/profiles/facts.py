"""What the ledger must know of each counter of a device: step, rollover, and the largest power it can truly show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from merilo.profile import FLOAT_DIGITS, CounterFacts, Profile
from merilo.quantities import PHASES, is_register

NOMINAL_V = 230.0
"""Phase voltage of European low voltage (EN 60038) [V]."""
HEADROOM = 1.25
"""Devices carry and show somewhat more than their rating: 20 % over current, 4 % over voltage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFacts:
    """Facts of one counter; energies in Wh, of a reactive counter in varh."""

    step_wh: float
    """Smallest step while the counter is low."""
    rollover_wh: float | None
    """Where the counter starts at 0 again; None: unknown, and never guessed."""
    max_power_w: float | None
    """Largest mean power that the counter can truthfully show; None: nobody knows the current."""
    resettable: bool
    float_digits: int | None = None
    """Significant binary digits of a float counter: its step grows with its value."""
    float_unit_wh: float = 1.0
    """Wh for 1.0 in a float counter."""

    def step_at(self, register_wh: float) -> float:
        """The step at this level of the counter [Wh]."""
        if self.float_digits is None or register_wh == 0:
            return self.step_wh
        exponent = math.frexp(register_wh / self.float_unit_wh)[1]
        return max(self.step_wh, math.ldexp(self.float_unit_wh, exponent - self.float_digits))


def facts(
    profile: Profile, *, ct_primary_a: float | None = None, fuse_a: float | None = None
) -> dict[tuple[str, str], ProfileFacts]:
    """Facts of all counters: (suffix of the channel, quantity) → facts.

    Args:
        profile: The device as it is configured.
        ct_primary_a: Primary current of its transformers [A].
        fuse_a: Fuse in front of it [A]; counts where there are no transformers.
    """
    current = ct_primary_a or fuse_a or profile.rating.current_a
    channels = {c.suffix: c for c in profile.channels}
    found: dict[tuple[str, str], ProfileFacts] = {}
    for channel, quantity, counter, step, unit, digits in _counters(profile):
        own = channels.get(channel)
        amperes, phases = (current, profile.rating.phases) if own is None else (own.rated_current_a, own.phases)
        found[channel, quantity] = ProfileFacts(
            step_wh=max(step, counter.resolution_wh or 0.0),
            rollover_wh=None if counter.modulus is None else counter.modulus * unit,
            max_power_w=_max_power(quantity, amperes, phases),
            resettable=counter.resettable,
            float_digits=digits,
            float_unit_wh=unit,
        )
    for derived in profile.derived:  # a copy counts like its original
        copied = found.get((derived.channel, derived.terms[0][0]))
        if copied is not None and is_register(derived.quantity):
            limit = _max_power(derived.quantity, current, profile.rating.phases)
            found[derived.channel, derived.quantity] = replace(copied, max_power_w=limit)
    for mapped in profile.mqtt.channels if profile.mqtt is not None else ():
        for value in mapped.values:
            if value.counter is not None:
                for n in range(mapped.most + 1):
                    found[mapped.suffix.replace("{n}", str(n)), value.quantity] = _json_facts(
                        value.counter, float(value.scale), _max_power(value.quantity, mapped.rated_current_a, 1)
                    )
    for value in profile.mqtt.values if profile.mqtt is not None else ():
        if value.counter is not None:
            limit = _max_power(value.quantity, current, profile.rating.phases)
            found["", value.quantity] = _json_facts(value.counter, float(value.scale), limit)
    return found


def _counters(profile: Profile) -> Iterator[tuple[str, str, CounterFacts, float, float, int | None]]:
    """Channel, quantity, facts, step, size of one count [Wh] and digits of every counter on a bus."""
    for register in profile.registers:
        if register.counter is not None:
            unit = abs(float(register.scale))
            digits = FLOAT_DIGITS.get(register.fields[0][0].type)
            step = 0.0 if digits is not None else abs(float(register.fields[-1][1]))
            yield register.channel, register.quantity, register.counter, step, unit, digits


def _json_facts(counter: CounterFacts, unit: float, max_power_w: float | None) -> ProfileFacts:
    return ProfileFacts(
        step_wh=max(unit, counter.resolution_wh or 0.0),
        rollover_wh=None if counter.modulus is None else counter.modulus * unit,
        max_power_w=max_power_w,
        resettable=counter.resettable,
    )


def _max_power(quantity: str, amperes: float | None, phases: int) -> float | None:
    if amperes is None:
        return None
    of_one_phase = any(f"_{phase}_" in quantity for phase in PHASES)
    return HEADROOM * (1 if of_one_phase else phases) * NOMINAL_V * amperes
