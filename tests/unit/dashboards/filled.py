"""A company whose stored rows agree with each other, up to now: quarters of an hour with all states, and what the
domain's own roll-up makes of them; life signs, live power, and ledger events as the books write them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from merilo.calendar import boundaries
from merilo.frame import Frame
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS
from merilo.ledger import BRIDGED, ESTIMATED, METERED, MISSING, LedgerEvent
from merilo.meterrows import MeterRows
from merilo.ports import Point, SeriesStore
from merilo.rollup import roll
from merilo_collector.event_rows import ledger_frame

COMPANY = "acme"
ZONE = "Europe/Sofia"
IMPORT = "active_energy_import_wh"
HEALTH_MS = DAY_MS
UNIT_OF = {"energy_1h": "hour", "energy_1d": "day", "energy_1mo": "month"}

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FilledMeter:
    """A meter and the device that it is the whole of."""

    site: str
    gateway: str
    meter: str
    role: str
    base_w: int
    day_w: int


METERS = (
    FilledMeter("hq", "gw1", "main", "main", 2_100, 5_400),
    FilledMeter("hq", "gw1", "server-room", "it", 1_300, 150),
    FilledMeter("hq", "gw1", "air-conditioning", "cooling", 350, 900),
    FilledMeter("depot", "gw2", "depot-main", "main", 420, 1_700),
)
DISTURBED = METERS[0]


def power_w(meter: FilledMeter, at_ms: Ints) -> NDArray[np.float64]:
    """A power that knows days, nights and weekends, about local time."""
    local = at_ms + 2 * HOUR_MS
    hour = (local % DAY_MS) / HOUR_MS
    working = ((local // DAY_MS + 3) % 7) < 5
    day = np.exp(-(((hour - 13.0) / 3.6) ** 4)) * np.where(working, 1.0, 0.12)
    ripple = 1 + 0.04 * np.sin(at_ms / 3.1e6) + 0.03 * np.sin(at_ms / 1.13e6 + meter.base_w)
    return (meter.base_w + meter.day_w * day) * ripple


def state_of(meter: FilledMeter, at_ms: Ints, now_ms: int) -> Ints:
    """All states occur on one meter: bridged 3 days ago, estimated 2 days ago, missing 5 days ago and a whole day."""
    state = np.full(len(at_ms), METERED, np.int64)
    if meter is not DISTURBED:
        return state
    for days_ago, hours, code in ((3.0, 9, BRIDGED), (2.0, 6, ESTIMATED), (5.0, 7, MISSING), (15.0, 60, MISSING)):
        start = now_ms - int(days_ago * DAY_MS)
        state[(at_ms >= start) & (at_ms < start + hours * HOUR_MS)] = code
    return state


def quarters(meter: FilledMeter, now_ms: int, days: int) -> MeterRows:
    """The booked quarters of an hour of a meter, up to the last one that is over."""
    end_ms = now_ms // QUARTER_MS * QUARTER_MS
    start = np.arange(end_ms - days * DAY_MS, end_ms, QUARTER_MS, dtype=np.int64)
    state = state_of(meter, start, now_ms)
    energy = np.where(state > MISSING, np.rint(power_w(meter, start) * 250).astype(np.int64), 0)
    nothing = np.zeros(len(start), np.int64)
    return MeterRows(
        start_ms=start,
        state=state,
        energy_mwh=energy,
        low_mwh=energy,
        metered_mwh=np.where(state == METERED, energy, 0),
        bridged_mwh=np.where(state == BRIDGED, energy, 0),
        estimated_mwh=np.where(state == ESTIMATED, energy, 0),
        apportioned_mwh=nothing,
        has_export=np.zeros(len(start), np.bool_),
        state_export=nothing,
        export_mwh=nothing,
        decisions={},
        roles=((int(start[0]), meter.role),),
    )


def fill(store: SeriesStore, now_ms: int, days: int = 40) -> None:
    """Writes everything that the books and the collector would have written."""
    for meter in METERS:
        rows = quarters(meter, now_ms, days)
        tags = {"company": COMPANY, "site": meter.site, "meter": meter.meter, "role": meter.role}
        first, end = int(rows.start_ms[0]), now_ms + DAY_MS
        store.replace(COMPANY, "energy_15m", tags, first, end, rows.to_frame())
        for name, unit in UNIT_OF.items():
            cut = boundaries(unit, ZONE, first, now_ms)  # type: ignore[arg-type]  # one of the units
            frame = roll(rows, cut, now_ms // QUARTER_MS * QUARTER_MS)
            store.replace(COMPANY, name, tags, int(cut.edges_ms[0]), end, frame)
        _quality(store, meter, rows, now_ms)
        _live(store, meter, now_ms)
    _health(store, now_ms)
    _events(store, now_ms)


def _device(meter: FilledMeter) -> dict[str, str]:
    return {"company": COMPANY, "site": meter.site, "gateway": meter.gateway, "device": meter.meter}


def _quality(store: SeriesStore, meter: FilledMeter, rows: MeterRows, now_ms: int) -> None:
    days = boundaries("day", ZONE, int(rows.start_ms[0]), now_ms)
    good = rows.start_ms[rows.state >= BRIDGED]
    covered = np.histogram(good, days.edges_ms)[0].astype(np.float64)
    expected = days.intervals(now_ms // QUARTER_MS * QUARTER_MS).astype(np.float64)
    keep = expected > 0
    numbers = {"coverage": covered[keep] / expected[keep], "expected": expected[keep] * 90.0}
    frame = Frame(days.edges_ms[:-1][keep], numbers)
    store.replace(COMPANY, "quality_1d", _device(meter), int(days.edges_ms[0]), now_ms + DAY_MS, frame)


def _live(store: SeriesStore, meter: FilledMeter, now_ms: int) -> None:
    end_ms = now_ms // MINUTE_MS * MINUTE_MS
    minutes = np.arange(end_ms - 2 * HOUR_MS, end_ms, MINUTE_MS, dtype=np.int64)
    tags = (COMPANY, meter.site, meter.meter, meter.role)
    points = [
        Point(tags, int(at), {"power_mean_w": float(power), "power_max_w": float(power) * 1.1})
        for at, power in zip(minutes, np.round(power_w(meter, minutes), 1), strict=True)
    ]
    assert not store.write(COMPANY, "power_1m", points)


def gateway_up(gateway: str, ago_ms: int) -> float | None:
    """The second gateway was silent for an hour; for another one, nobody wrote life signs."""
    if 10 * HOUR_MS < ago_ms <= 11 * HOUR_MS:
        return None
    return 0.0 if gateway == "gw2" and 4 * HOUR_MS < ago_ms <= 5 * HOUR_MS else 1.0


def device_up(meter: FilledMeter, ago_ms: int) -> float | None:
    """A device is up when its gateway is; one has been silent for the last twenty minutes."""
    if meter.meter == "air-conditioning" and ago_ms <= 20 * MINUTE_MS:
        return 0.0
    return gateway_up(meter.gateway, ago_ms)


def _health(store: SeriesStore, now_ms: int) -> None:
    end_ms = now_ms // MINUTE_MS * MINUTE_MS
    gateways: list[Point] = []
    devices: list[Point] = []
    for at_ms in range(end_ms - HEALTH_MS + MINUTE_MS, end_ms + 1, MINUTE_MS):
        ago_ms = end_ms - at_ms
        for site, gateway in (("hq", "gw1"), ("depot", "gw2")):
            up = gateway_up(gateway, ago_ms)
            if up is not None:
                gateways.append(Point((COMPANY, site, gateway), at_ms, {"up": up, "outbox_age_s": 0.0}))
        for meter in METERS:
            up = device_up(meter, ago_ms)
            if up is not None:
                devices.append(Point(tuple(_device(meter).values()), at_ms, {"up": up, "polls": 6.0}))
    assert not store.write(COMPANY, "gateway_health", gateways)
    assert not store.write(COMPANY, "device_health", devices)


def ledger_events(now_ms: int) -> list[LedgerEvent]:
    """One range and two instants."""

    def event(kind: str, days_ago: float, hours: int, estimated_mwh: int | None) -> LedgerEvent:
        start = now_ms - int(days_ago * DAY_MS)
        return LedgerEvent(
            kind=kind,
            detail="",
            at_ms=start,
            t0_ms=start - 10_000,
            t1_ms=start + hours * HOUR_MS,
            r0_mwh=1_000_000,
            r1_mwh=1_200_000,
            low_mwh=None,
            high_mwh=None,
            estimated_mwh=estimated_mwh,
            set_aside=0,
            settles_at_ms=None,
        )

    return [event("swap", 15.0, 60, None), event("reset", 2.0, 6, 23_456_000), event("spike", 1.0, 0, None)]


def _events(store: SeriesStore, now_ms: int) -> None:
    tags = {**_device(DISTURBED), "register": IMPORT, "kind": "ledger", "meter": "-"}
    frame = ledger_frame(ledger_events(now_ms), [1, 2, 3])
    store.replace(COMPANY, "events", tags, now_ms - 400 * DAY_MS, now_ms, frame)
