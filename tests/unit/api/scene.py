"""A company with rows in a real store and registry: what the books would have written, with every state of an interval.

Acme's main meter takes 2 kW by night and 6 kW from 08:00 to 18:00 local time, the servers 1.5 kW, the office the rest
but 0.25 kW. Everything is a round number, so that expected values are sums in one's head.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from merilo.calendar import boundaries
from merilo.frame import Frame
from merilo.ids import DeviceKey, GatewayKey, MeterKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, to_ms
from merilo.ledger import BRIDGED, ESTIMATED, METERED, MISSING
from merilo.meterrows import MeterRows
from merilo.ports import Point
from merilo.rollup import roll
from merilo.site import Company, Site
from merilo_adapters.clock import Clock
from merilo_adapters.registry import Registry
from merilo_adapters.sqlite_store import SqliteStore
from merilo_api.app import Application, create_app
from merilo_api.page.shell import Shell
from merilo_api.rates import Rates

ZONE = "Europe/Sofia"
TZ = ZoneInfo(ZONE)
NOW = to_ms(datetime(2026, 11, 25, 11, 7, 30, tzinfo=TZ))
FIRST = to_ms(datetime(2026, 10, 1, tzinfo=TZ))
"""The books of Acme begin here: the autumn change of the clock lies in them."""
BOOKED = to_ms(datetime(2026, 11, 25, 11, 0, tzinfo=TZ))
ACME = GatewayKey("acme", "hq", "gw1")
BETA = GatewayKey("beta", "hq", "gw1")

GAPS = {
    (18, 2, 30): (5, BRIDGED),  # local day of November, hour, minute: hours, state
    (20, 12, 0): (4, ESTIMATED),
    (21, 9, 0): (6, MISSING),
    (22, 0, 0): (24, BRIDGED),
}


def at(day: int, hour: int = 0, minute: int = 0, month: int = 11) -> int:
    """A local instant of autumn 2026 [UTC ms]."""
    return to_ms(datetime(2026, month, day, hour, minute, tzinfo=TZ))


def states() -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Starts of all quarters of an hour, and the state of the main meter in each."""
    starts = np.arange(FIRST, BOOKED, QUARTER_MS)
    state = np.full(len(starts), METERED)
    for (day, hour, minute), (hours, code) in GAPS.items():
        begin = at(day, hour, minute)
        state[(starts >= begin) & (starts < begin + hours * HOUR_MS)] = code
    return starts, state


def rows(power_w: Callable[[int], int], state: np.ndarray[tuple[int], np.dtype[np.int64]]) -> MeterRows:
    """Rows of one meter of this power by local hour."""
    starts, _ = states()
    hours = np.array([datetime.fromtimestamp(int(s) / 1000, UTC).astimezone(TZ).hour for s in starts])
    energy = np.array([power_w(int(hour)) * 250 for hour in hours], np.int64)  # W for a quarter of an hour, in mWh
    energy = np.where(state == MISSING, 0, energy)
    none = np.zeros(len(starts), np.int64)
    return MeterRows(
        start_ms=starts,
        state=state,
        energy_mwh=energy,
        low_mwh=energy,
        metered_mwh=np.where(state == METERED, energy, 0),
        bridged_mwh=np.where(state == BRIDGED, energy, 0),
        estimated_mwh=np.where(state == ESTIMATED, energy, 0),
        apportioned_mwh=none,
        has_export=none.astype(bool),
        state_export=none,
        export_mwh=none,
        decisions={},
    )


POWERS: dict[str, tuple[str, Callable[[int], int]]] = {
    "main": ("main", lambda hour: 6_000 if 8 <= hour < 18 else 2_000),
    "servers": ("it", lambda hour: 1_500),
    "office": ("office", lambda hour: 4_250 if 8 <= hour < 18 else 250),
}


def write_meter(store: SqliteStore, company: str, site: str, meter: str, role: str, found: MeterRows) -> None:
    """The stored rows of one meter in every resolution."""
    tags = {"company": company, "site": site, "meter": meter, "role": role}
    first, last = int(found.start_ms[0]), int(found.start_ms[-1]) + QUARTER_MS
    store.replace(company, "energy_15m", tags, first, last, found.to_frame())
    for name, unit in (("1h", "hour"), ("1d", "day"), ("1mo", "month")):
        bounds = boundaries(unit, ZONE, first, last)  # type: ignore[arg-type]  # one of the units
        frame = roll(found, bounds, last)
        low, high = int(bounds.edges_ms[0]), int(bounds.edges_ms[-1])
        store.replace(company, f"energy_{name}", tags, low, high, frame)


def write_live(store: SqliteStore, company: str, meter: str, role: str, power_w: Callable[[int], int]) -> None:
    """A day of minutes; between 03:00 and 04:00 the collector saw nothing."""
    points = []
    for minute in range(NOW - DAY_MS, NOW - MINUTE_MS, MINUTE_MS):
        start = minute // MINUTE_MS * MINUTE_MS
        hour = datetime.fromtimestamp(start / 1000, UTC).astimezone(TZ).hour
        if hour != 3:
            points.append(Point((company, "hq", meter, role), start, {"power_mean_w": float(power_w(hour))}))
    store.write(company, "power_1m", points)


def write_life(store: SqliteStore, key: GatewayKey, devices: list[str], *, up: float = 1.0, age_s: float = 4.0) -> None:
    """The collector's life signs of the last minutes."""
    for minute in range(NOW - 5 * MINUTE_MS, NOW, MINUTE_MS):
        start = minute // MINUTE_MS * MINUTE_MS
        fields: dict[str, float | str] = {"up": up, "outbox_rows": 3.0, "outbox_age_s": 6.0, "version": "0.1.0"}
        store.write(key.company, "gateway_health", [Point(tuple(key), start, fields)])
        life = [Point((*key, name), start, {"up": up, "age_s": age_s, "polls": 6.0}) for name in devices]
        store.write(key.company, "device_health", life)


def write_quality(store: SqliteStore, key: GatewayKey, device: str, coverage: float) -> None:
    """A month of daily quality; 8 640 polls are expected of each device and day."""
    days = boundaries("day", ZONE, at(1), NOW).edges_ms[:-1]
    n = len(days)
    numbers = {"coverage": np.full(n, coverage), "expected": np.full(n, 8_640.0), "received": np.full(n, 8_600.0)}
    numbers["reset"] = np.zeros(n)
    numbers["reset"][3] = 1.0
    tags = dict(zip(("company", "site", "gateway", "device"), (*key, device), strict=True))
    store.replace(key.company, "quality_1d", tags, int(days[0]), NOW, Frame(days, numbers))


@dataclass(slots=True)
class Scene:
    """One installation on disk."""

    folder: Path
    registry: Registry
    store: SqliteStore
    keys: dict[str, str]
    now_ms: int = NOW
    shell: Shell = field(default_factory=Shell)

    @classmethod
    def open(cls, folder: Path) -> Scene:
        """An installation without a company."""
        registry = Registry.open(f"sqlite:///{folder / 'registry.db'}")
        store = SqliteStore(folder / "store", now_ms=lambda: NOW)
        return cls(folder, registry, store, {})

    def of(self, company: str) -> SqliteStore:
        """The store of a company, set up: satisfies the port Stores."""
        self.store.init(company, 90)
        return self.store

    def app(self, rates: Rates | None = None) -> Application:
        """The application on this installation, at the scene's instant."""
        clock = Clock(real_now_ms=lambda: self.now_ms)
        return create_app(self.registry, self.registry.work(), self, clock, rates, lambda: self.shell)

    def close(self) -> None:
        """Gives files back."""
        self.registry.close()
        self.store.close()

    def add_company(self, key: GatewayKey, name: str) -> None:
        """A company with one site in Sofia."""
        self.registry.add_company(Company(id=key.company, name=name, created_ms=FIRST))
        site = Site(company=key.company, id=key.site, name="Head office", zone=ZONE, country="BG")
        self.registry.add_site(site, FIRST)
        self.of(key.company)

    def add_devices(self, key: GatewayKey, roles: dict[str, str]) -> None:
        """A gateway with confirmed devices that have roles."""
        self.registry.add_gateway(key, FIRST)
        self.registry.see_devices([DeviceKey(*key, name) for name in roles], FIRST)
        for name, role in roles.items():
            meter = MeterKey(key.company, key.site, name)
            self.registry.set_meter(meter, from_ms=0, at_ms=FIRST, role=role)
            self.registry.confirm_meter(meter, FIRST)

    def add_rows(self, key: GatewayKey) -> None:
        """Books, minutes and life signs of every meter."""
        _, state = states()
        for meter, (role, power) in POWERS.items():
            mine = state if meter == "main" else np.full(len(state), METERED)
            write_meter(self.store, key.company, key.site, meter, role, rows(power, mine))
            write_live(self.store, key.company, meter, role, power)
            write_quality(self.store, key, meter, 0.97 if meter == "main" else 1.0)
        write_life(self.store, key, list(POWERS))


def furnished(folder: Path, *, other: bool = True) -> Scene:
    """Acme with rows; with ``other`` also Beta, keys of both, a revoked one and one of the installation."""
    scene = Scene.open(folder)
    scene.add_company(ACME, "Acme Ltd")
    scene.add_devices(ACME, {name: role for name, (role, _) in POWERS.items()})
    scene.add_rows(ACME)
    reset = {"bound_wh": 12.5}
    scene.registry.add_event("device", DeviceKey(*ACME, "office"), at(23, 14), reset, code="device_silent")
    if other:
        scene.add_company(BETA, "Beta AD")
        scene.add_devices(BETA, {"main": "main"})
        _, state = states()
        write_meter(scene.store, "beta", "hq", "main", "main", rows(lambda hour: 777, np.full(len(state), METERED)))
        write_live(scene.store, "beta", "main", "main", lambda hour: 777)
        write_life(scene.store, BETA, ["main"])
        for name, company in (("acme", "acme"), ("beta", "beta"), ("revoked", "acme"), ("installation", None)):
            key, text = scene.registry.add_key(company, ["read:series"], name, NOW - DAY_MS)
            scene.keys[name] = text
            if name == "revoked":
                scene.registry.revoke_key(key.id, NOW - HOUR_MS)
        _, scene.keys["reports"] = scene.registry.add_key("acme", ["read:reports"], "reports", NOW - DAY_MS)
    return scene


def copied(template: Scene, folder: Path) -> Scene:
    """The same installation in another folder, to be changed."""
    template.close()
    shutil.copytree(template.folder, folder, dirs_exist_ok=True)
    scene = Scene.open(folder)
    scene.keys = dict(template.keys)
    return scene
