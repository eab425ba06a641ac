"""What "Example Ltd, Burgas" uses: a power for every circuit at every instant, and the exact energy between any two.

Each leaf of the circuit tree has a constant power within each whole minute, always a multiple of 180 mW. So energies
are exact integers: a minute is a whole number of milliwatt-hours, a third of a circuit (one phase of a balanced load)
is exact too, and every sum over the tree holds to the last unit. Powers depend on seed and instant only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_text
from merilo_simulators.calendar import daylight, local_ms, occupancy
from merilo_simulators.noise import Floats, Ints, smooth, uniform

ORIGIN_MS = 1_704_067_200_000
"""2024-01-01T00:00Z: where every cumulative energy is 0. Before it the company does not exist."""
MWMS_PER_MWH = 3_600_000
"""One milliwatt-hour in milliwatt-milliseconds, the unit of cumulative energy."""
_QUANTUM_MW = 180
"""Power step of a leaf: 60 makes a minute a whole number of mWh, the factor 3 lets a phase take a third."""
_CHUNK = 28 * 1440
"""Minutes computed at once: large enough for numpy, small enough to keep a few (9 MB each)."""
_CHUNKS_KEPT = 3

OUTLETS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "pdu1": ("web", "database", "storage", "mail"),
        "pdu2": ("virtual-1", "virtual-2", "network", "spare"),
    }
)
"""What hangs on each outlet of the two rack strips, outlet 1 first."""
OUTLET_CIRCUITS = tuple(f"{strip}_outlet_{n}" for strip, loads in OUTLETS.items() for n in range(1, len(loads) + 1))
LEAVES = ("lighting", "sockets", "hvac", "room_aux", *OUTLET_CIRCUITS, "ups_loss", "cooling")
_LEAF = {name: place for place, name in enumerate(LEAVES)}

WHOLE = 3
"""Weights of leaves in a circuit are thirds."""


def _circuits() -> dict[str, dict[str, int]]:
    whole = {name: {name: WHOLE} for name in LEAVES}

    def add(name: str, *parts: Mapping[str, int]) -> None:
        total: dict[str, int] = {}
        for part in parts:
            for leaf, weight in part.items():
                total[leaf] = total.get(leaf, 0) + weight
        whole[name] = total

    add("rack_a", *(whole[name] for name in OUTLET_CIRCUITS[:4]))
    add("rack_b", *(whole[name] for name in OUTLET_CIRCUITS[4:]))
    add("ups_out", whole["rack_a"], whole["rack_b"])
    add("ups_in", whole["ups_out"], whole["ups_loss"])
    add("server_room", whole["ups_in"], whole["cooling"], whole["room_aux"])
    add("office", whole["lighting"], whole["sockets"], whole["hvac"])
    add("main", whole["office"], whole["server_room"])
    for name in ("ups_in", "cooling"):
        for phase in ("l1", "l2", "l3"):
            whole[f"{name}_{phase}"] = {leaf: weight // 3 for leaf, weight in whole[name].items()}
    add("main_l1", whole["lighting"], whole["room_aux"], whole["ups_in_l1"], whole["cooling_l1"])
    add("main_l2", whole["sockets"], whole["ups_in_l2"], whole["cooling_l2"])
    add("main_l3", whole["hvac"], whole["ups_in_l3"], whole["cooling_l3"])
    return whole


CIRCUITS: MappingProxyType[str, Mapping[str, int]] = MappingProxyType(_circuits())
"""Every circuit as weights of leaves in thirds. main = office + server_room; server_room = ups_in + cooling + room_aux;
ups_in = ups_out + ups_loss; ups_out = rack_a + rack_b = the outlets; office = lighting + sockets + hvac."""


_Weights = tuple[Ints, Ints]
"""Rows of the leaves of a circuit, and how many thirds of each belong to it."""


def _weights(thirds: Mapping[str, int]) -> _Weights:
    rows = np.array([_LEAF[leaf] for leaf in thirds], dtype=np.int64)
    return rows, np.array(list(thirds.values()), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Stretch:
    power_mw: Ints
    """One row per leaf, one column per minute."""
    before: Ints
    """Energy from the origin to the start of each minute [mW·min]; one column more than minutes."""


class Company:
    """Powers and energies of one seeded company; instants are UTC ms from ORIGIN_MS on."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._before: list[Ints] = [np.zeros(len(LEAVES), dtype=np.int64)]
        self._kept: OrderedDict[int, _Stretch] = OrderedDict()
        self._weights = {name: _weights(weights) for name, weights in CIRCUITS.items()}

    def power_mw(self, circuit: str, at_ms: Ints) -> Ints:
        """Power of the circuit in the minute that holds each instant [mW].

        Raises:
            ValueError: An unknown circuit, or an instant before the origin.
        """
        return self.sample(at_ms).power_mw(circuit)

    def energy_mwms(self, circuit: str, at_ms: Ints) -> Ints:
        """Energy of the circuit from the origin to each instant [mW·ms], exact.

        Raises:
            ValueError: An unknown circuit, or an instant before the origin.
        """
        return self.sample(at_ms).energy_mwms(circuit)

    def sample(self, at_ms: Ints) -> Sample:
        """All circuits at these instants, computed together.

        Raises:
            ValueError: An instant before the origin.
        """
        if at_ms.size and int(at_ms.min()) < ORIGIN_MS:
            raise ValueError(f"instant {to_text(int(at_ms.min()))} is before the company's origin {to_text(ORIGIN_MS)}")
        minute, rest = np.divmod(at_ms - ORIGIN_MS, MINUTE_MS)
        chunk, column = np.divmod(minute, _CHUNK)
        power = np.empty((len(LEAVES), at_ms.size), dtype=np.int64)
        energy = np.empty_like(power)
        for number in np.unique(chunk):
            stretch = self._stretch(int(number))
            here = chunk == number
            power[:, here] = stretch.power_mw[:, column[here]]
            energy[:, here] = stretch.before[:, column[here]] * MINUTE_MS
        return Sample(power, energy + power * rest, self._weights)

    def outdoor_c(self, at_ms: Ints) -> Floats:
        """Outdoor temperature in Burgas [°C]: season, time of day, and weather of some days."""
        year = np.cos(2 * np.pi * (at_ms / DAY_MS - 205) / 365.25)
        hour = np.cos(2 * np.pi * (at_ms % DAY_MS / HOUR_MS - 12.5) / 24)
        weather = 4.5 * smooth(self.seed, "front", at_ms, 5 * DAY_MS) + 2.5 * smooth(self.seed, "day", at_ms, DAY_MS)
        return 13.2 + 10.3 * year + (3.0 + 1.5 * year) * hour + weather

    def _stretch(self, number: int) -> _Stretch:
        kept = self._kept.get(number)
        if kept is not None:
            self._kept.move_to_end(number)
            return kept
        while len(self._before) <= number:
            self._before.append(self._before[-1] + self._powers(len(self._before) - 1).sum(axis=1))
        power = self._powers(number)
        before = np.empty((len(LEAVES), _CHUNK + 1), dtype=np.int64)
        before[:, 0] = self._before[number]
        np.cumsum(power, axis=1, out=before[:, 1:])
        before[:, 1:] += before[:, :1]
        self._kept[number] = stretch = _Stretch(power, before)
        if len(self._kept) > _CHUNKS_KEPT:
            self._kept.popitem(last=False)
        return stretch

    def _powers(self, chunk: int) -> Ints:
        """Leaf powers of every minute of one chunk [mW], multiples of the quantum."""
        minute = np.arange(chunk * _CHUNK, (chunk + 1) * _CHUNK, dtype=np.int64)
        at_ms = ORIGIN_MS + minute * MINUTE_MS
        outdoor = self.outdoor_c(at_ms)
        people = occupancy(self.seed, at_ms)
        found = self._office_w(at_ms, minute, outdoor, people) | self._it_w(at_ms, minute, people)
        it_mw = {name: _quantised(found[name]) for name in OUTLET_CIRCUITS}
        out_w = np.asarray(np.sum(list(it_mw.values()), axis=0) / 1000.0, dtype=np.float64)
        found["ups_loss"] = 90.0 + 0.035 * out_w + 0.02 * out_w * out_w / 6000.0
        found["cooling"] = self._cooling_w(at_ms, minute, outdoor, out_w + found["ups_loss"])
        return np.stack([it_mw[name] if name in it_mw else _quantised(found[name]) for name in LEAVES])

    def _office_w(self, at_ms: Ints, minute: Ints, outdoor: Floats, people: Floats) -> dict[str, Floats]:
        dark = 1.0 - daylight(at_ms)
        hours = np.maximum(people, 0.25 * smooth(self.seed, "cleaning", at_ms, 2 * HOUR_MS) * (people > 0.02))
        visit = (smooth(self.seed, "visit", at_ms, HOUR_MS) > 0.75) & (people > 0.5)
        too_warm = np.maximum(0.0, outdoor - 22.0)
        too_cold = np.maximum(0.0, 15.0 - outdoor)
        demand = (130.0 * too_warm + 165.0 * too_cold + 240.0) * (0.12 + 0.88 * people)
        return {
            "lighting": 85.0 + 1850.0 * hours * (0.5 + 0.5 * dark) * (1 + 0.02 * uniform(self.seed, "lamps", minute)),
            "sockets": 340.0
            + 2300.0 * people * (1 + 0.15 * smooth(self.seed, "desks", at_ms, 20 * MINUTE_MS))
            + 60.0 * (1 + uniform(self.seed, "kitchen", minute)) * (people > 0.3),
            "hvac": 110.0 + np.minimum(6500.0, demand) * (1 + 0.2 * smooth(self.seed, "hvac", at_ms, 12 * MINUTE_MS)),
            "room_aux": 24.0 + 42.0 * visit.astype(np.float64),
        }

    def _it_w(self, at_ms: Ints, minute: Ints, people: Floats) -> dict[str, Floats]:
        local_hour = local_ms(at_ms) % DAY_MS / HOUR_MS
        backup = ((local_hour >= 1.0) & (local_hour < 3.0)).astype(np.float64)
        busy = {
            "web": 165.0 + 85.0 * people,
            "database": 290.0 + 70.0 * people + 40.0 * backup,
            "storage": 225.0 + 45.0 * backup,
            "mail": 82.0 + 18.0 * people,
            "virtual-1": 340.0 + 120.0 * people,
            "virtual-2": 330.0 + 60.0 * people + 110.0 * backup,
            "network": np.full(at_ms.size, 138.0),
            "spare": np.full(at_ms.size, 63.0),
        }
        found = {}
        for strip, loads in OUTLETS.items():
            for place, load in enumerate(loads, start=1):
                slow = smooth(self.seed, f"load {load}", at_ms, 35 * MINUTE_MS)
                fast = uniform(self.seed, f"spin {load}", minute)
                found[f"{strip}_outlet_{place}"] = busy[load] * (1.0 + 0.06 * slow + 0.02 * fast)
        return found

    def _cooling_w(self, at_ms: Ints, minute: Ints, outdoor: Floats, heat_w: Floats) -> Floats:
        """Fans, and heat over a COP that falls with outdoor temperature; below 6 °C mostly free cooling."""
        cop = np.clip(5.6 - 0.09 * outdoor, 2.3, 9.0) + 3.0 / (1.0 + np.exp((outdoor - 6.0) / 1.5))
        through_walls = 18.0 * np.maximum(0.0, outdoor - 24.0)
        cycle = 1.0 + 0.08 * smooth(self.seed, "compressor", at_ms, 9 * MINUTE_MS)
        return 150.0 + (heat_w + through_walls) / cop * cycle + 4.0 * uniform(self.seed, "fans", minute)


@lru_cache(maxsize=8)
def company(seed: int) -> Company:
    """The company of this seed, shared: the first look adds up all minutes since the origin (1 s for 3 years)."""
    return Company(seed)


def _quantised(power_w: Floats) -> Ints:
    return np.rint(np.maximum(power_w, 0.0) * (1000.0 / _QUANTUM_MW)).astype(np.int64) * _QUANTUM_MW


@dataclass(frozen=True, slots=True)
class Sample:
    """All leaves at some instants; circuits are summed on request."""

    _power_mw: Ints
    _energy_mwms: Ints
    _weights: Mapping[str, _Weights]

    def power_mw(self, circuit: str) -> Ints:
        """Power of the circuit at each instant [mW].

        Raises:
            ValueError: An unknown circuit.
        """
        return self._sum(self._power_mw, circuit)

    def energy_mwms(self, circuit: str) -> Ints:
        """Energy of the circuit from the origin to each instant [mW·ms].

        Raises:
            ValueError: An unknown circuit.
        """
        return self._sum(self._energy_mwms, circuit)

    def _sum(self, leaves: Ints, circuit: str) -> Ints:
        weights = self._weights.get(circuit)
        if weights is None:
            raise ValueError(f"circuit {circuit!r}: expected one of {', '.join(sorted(CIRCUITS))}")
        rows, thirds = weights
        return np.asarray(thirds @ (leaves[rows] // WHOLE), dtype=np.int64)
