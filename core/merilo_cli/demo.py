"""``merilo demo``: one simulated company on the real chain, from device registers to the page."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from merilo.ids import DeviceKey, GatewayKey
from merilo.instants import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, SECOND_MS, floor_ms, to_ms, to_text
from merilo_adapters.outbox import Outbox
from merilo_adapters.outbox_rows import Span
from merilo_cli.chain import PAGE_FILE, Chain, alone, until_told, write_secret
from merilo_cli.supervisor import Program, StartError, merilo

if TYPE_CHECKING:
    from merilo_adapters.registry import Registry

COMPANY, SITE, GATEWAY = "example", "burgas", "gw1"
COMPANY_NAME = "Example Ltd, Burgas"
ZONE = "Europe/Sofia"
TOPIC = "netio/pdu1"
PAGE_PORT = 8080
SEED = 1
HISTORY_S = 300
"""Distance of the readings of the past: three a quarter of an hour."""
CHECK_RATE = 60.0
CHECK_START_MS = 6 * HOUR_MS
CHECK_QUARTERS = 8
"""Closed quarters of an hour that are compared with the truth."""
CHECK_MAX_S = 210.0
ERROR_MAX_PCT = 0.1
OUTSTANDING_MAX = 20
"""Cycles that may wait in the outbox of a gateway that keeps up."""
STEP_SHARE_MAX = 0.01
"""Largest register step, as a share of the energy compared, that lets a meter be judged to ERROR_MAX_PCT."""

ROLES = {"main": "main", "office": "office", "ups": "ups_in", "cooling": "cooling", "pdu1": "pdu", "pdu2": "pdu"}
PROFILES = {
    "sdm630": "eastron_sdm630",
    "iem3155": "schneider_iem3155",
    "em340": "carlo_gavazzi_em340",
    "netio": "netio_powerpdu",
    "netio_mqtt_flex": "netio_powerpdu_mqtt",
}
MAX_POWER_W = {"main": 40_000, "office": 25_000, "ups": 15_000, "cooling": 15_000, "pdu1": 3_680, "pdu2": 3_680}


def demo(
    check: Annotated[
        bool, typer.Option("--check", help="Run accelerated, compare with the truth, print one JSON line.")
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Remove the demo's data and stop.")] = False,
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = PAGE_PORT,
    days: Annotated[int, typer.Option(help="Days of history.", min=1, max=366)] = 30,
    store: Annotated[str, typer.Option(help="Series store; empty: SQLite.")] = "",
    seed: Annotated[int, typer.Option(help="Another seed is another company.", min=0)] = SEED,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """One simulated company on the real chain: devices, gateway, broker, collector, store, API, page."""
    folder = _folder() / ("check" if check else "demo")
    if reset:
        _reset(folder)
        return
    with alone(folder, _taken):
        if check:
            raise typer.Exit(_check(folder, seed, store))
        _show(folder, port, days, store, seed, open_page)


def _folder() -> Path:
    from merilo_adapters.installation import data_folder

    return data_folder()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _reset(folder: Path) -> None:
    with alone(folder, _taken):
        shutil.rmtree(folder, ignore_errors=True)
    _say(f"removed {folder}")


def _taken(page: str) -> NoReturn:
    _say(f"the demo runs already: {page}")
    raise typer.Exit(0)


def _register(chain: Chain) -> GatewayKey:
    """Company, site and gateway in the registry, once."""
    from merilo.site import Company, Site
    from merilo_adapters.registry import Registry

    now_ms = int(time.time() * 1000)
    registry = Registry.open(chain.registry_url, actor="demo")
    if all(company.id != COMPANY for company in registry.companies()):
        registry.add_company(Company(id=COMPANY, name=COMPANY_NAME, raw_days=None, created_ms=now_ms))
        registry.add_site(
            Site(company=COMPANY, id=SITE, name="Burgas", zone=ZONE, country="BG", currency="EUR"), now_ms
        )
    return GatewayKey(COMPANY, SITE, GATEWAY)


def _start_devices(chain: Chain, seed: int, interval_s: float) -> dict[str, Any]:
    ready_file = chain.data / "devices.json"
    ready_file.unlink(missing_ok=True)
    command = merilo(
        "simulators", "run", "--seed", str(seed), "--ready", str(ready_file),
        "--mqtt-host", "127.0.0.1", "--mqtt-port", str(chain.broker_port), "--mqtt-topic", TOPIC,
        "--mqtt-user", "site", "--mqtt-interval-s", str(interval_s),
    )  # fmt: skip
    secret = (chain.data / "site.password").read_text(encoding="utf-8").strip()
    program = Program("devices", command, {"MERILO_SIMULATORS_MQTT_PASSWORD": secret})
    chain.supervisor.start(program, ready_file.exists, 40.0)
    found: dict[str, Any] = json.loads(ready_file.read_text(encoding="utf-8"))
    (chain.data / "measures.json").write_text(json.dumps(found["measures"]), encoding="utf-8")
    chain.say(f"devices    {len(found['devices'])} simulated: Modbus RTU, Modbus TCP, MQTT")
    return found


def gateway_file(chain: Chain, ready: dict[str, Any], login: str, password: Path, backlog_rate: int) -> Path:
    """Writes gateway.yaml for the simulated devices."""
    site_secret = chain.data / "site.password"
    lines = [
        "version: 1",
        f"company: {COMPANY}",
        f"site: {SITE}",
        f"gateway: {GATEWAY}",
        f"timezone: {ZONE}",
        "interval: 10s",
        "clock: trusted",
        "broker:",
        f'  url: "mqtt://127.0.0.1:{chain.broker_port}"',
        f"  login: {login}",
        f'  password: {{file: "{password}"}}',
        "outbox:",
        f"  backlog_rate: {backlog_rate}",
        "buses:",
    ]
    for name, bus in ready["buses"].items():
        if bus["kind"] == "mqtt":
            continue
        place = f'device: "{bus["path"]}"' if bus["kind"] == "rtu" else f"host: {bus['host']}\n    port: {bus['port']}"
        lines += [f"  - name: {name}", f"    {place}"]
        if bus["kind"] == "rtu":
            lines.append(f"    baud: {bus['baud']}")
        lines.append("    devices:")
        for device in ready["devices"]:
            if device["bus"] == name:
                lines += _device_lines(device, ready, "      ")
    lines.append("mqtt_in:")
    for device in ready["devices"]:
        if device["bus"] == "mqtt":
            bus = ready["buses"]["mqtt"]
            lines += [
                f"  - id: {device['id']}",
                f"    profile: {PROFILES[device['model']]}",
                f"    role: {ROLES[device['id']]}",
                f"    max_power: {MAX_POWER_W[device['id']]} W",
                f'    topic: "{bus["topic"]}"',
                "    broker:",
                f'      url: "mqtt://127.0.0.1:{bus["port"]}"',
                "      login: site",
                f'      password: {{file: "{site_secret}"}}',
            ]
    path = chain.data / "gateway.yaml"
    write_secret(path, "\n".join(lines) + "\n")
    return path


def _device_lines(device: dict[str, Any], ready: dict[str, Any], indent: str) -> list[str]:
    model = str(device["model"]).lower()
    profile = next(value for key, value in PROFILES.items() if key in model)
    name = device["id"]
    found = [
        f"{indent}- id: {name}",
        f"{indent}  profile: {profile}",
        f"{indent}  unit: {device['unit']}",
        f"{indent}  role: {ROLES[name]}",
        f"{indent}  max_power: {MAX_POWER_W[name]} W",
    ]
    phases = [m for m in ready["measures"] if m["device"] == name and m["phase"]]
    if phases:
        found.append(f"{indent}  meters:")
        roles = {"lighting": "lighting", "sockets": "office", "hvac": "cooling"}
        for one in phases:
            role = roles.get(one["circuit"], "other")
            found.append(f"{indent}    - {{meter: {one['meter']}, phase: {one['phase']}, role: {role}}}")
    return found


def _confirm(chain: Chain, ready: dict[str, Any]) -> None:
    """Does what an operator does on the first day: confirms the meters, and says that outlets feed IT equipment."""
    from merilo.errors import MeriloError
    from merilo.ids import MeterKey
    from merilo_adapters.registry import Registry

    registry = Registry.open(chain.registry_url, actor="demo")
    wanted = {measure["meter"] for measure in ready["measures"]}
    for _ in range(200):
        there = {version.meter: version for version in registry.meters(COMPANY, SITE)}
        if wanted - {"office"} <= there.keys():
            break
        time.sleep(0.1)
    now_ms = int(time.time() * 1000)
    for meter, version in sorted(there.items()):
        key = MeterKey(COMPANY, SITE, meter)
        try:
            if "-outlet-" in meter and version.role != "it":
                registry.set_meter(key, from_ms=version.valid_from_ms, at_ms=now_ms, role="it")
            registry.confirm_meter(key, now_ms)
        except MeriloError as error:
            chain.say(f"meter {meter} not confirmed: {error}")


def _fill(chain: Chain, seed: int, days: int, now_ms: int) -> None:
    """Leaves the past in the gateway's outbox, as an outage of that length would have."""
    outbox = chain.data / "gateway" / "outbox.sqlite"
    if outbox.exists():
        return
    outbox.parent.mkdir(exist_ok=True)
    part = outbox.with_name("filling.sqlite")
    for left in part.parent.glob("filling.sqlite*"):
        left.unlink()
    start_ms = floor_ms(now_ms - days * DAY_MS, HOUR_MS)
    end_ms = floor_ms(now_ms, HISTORY_S * SECOND_MS)
    command = merilo(
        "simulators", "fill", str(part), "--from", to_text(start_ms), "--to", to_text(end_ms),
        "--seed", str(seed), "--interval-s", str(HISTORY_S),
    )  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            with contextlib.suppress(ValueError):
                _progress(f"history    {days} days into the gateway's outbox", float(line))
    if process.returncode:
        raise StartError(f"history could not be written, code {process.returncode}")
    part.rename(outbox)
    chain.say(f"history    {days} days wait in the gateway's outbox, as after an outage")


def _progress(text: str, share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{text} {share:4.0%}", end="\r", file=sys.stderr, flush=True)


def _start(folder: Path, seed: int, store: str, port: int, clock: str, backlog_rate: int, days: int) -> Chain:
    chain = Chain(folder, _say, clock=clock, store=store)
    key = _register(chain)
    login, password = chain.login(key)
    try:
        chain.start_broker(TOPIC)
        ready = _start_devices(chain, seed, 10.0)
        if days:
            _fill(chain, seed, days, int(time.time() * 1000))
        chain.start_server(port)
        chain.start_gateway(gateway_file(chain, ready, login, password, backlog_rate))
        _confirm(chain, ready)
    except BaseException:
        chain.supervisor.stop_all()
        raise
    return chain


def _show(folder: Path, port: int, days: int, store: str, seed: int, open_page: bool) -> None:
    began = time.monotonic()
    stop = until_told()
    _say(f"Merilo demo: {COMPANY_NAME}. Data: {folder}")
    chain = _start(folder, seed, store, port, "", 0, days)
    try:
        (folder / PAGE_FILE).write_text(chain.page_url + "\n", encoding="utf-8")
        _wait_live(chain, stop, began)
        _wait_history(chain, stop, began, days)
        if open_page:
            import webbrowser

            webbrowser.open(chain.page_url)
        if not stop.is_set():
            _say("           Ctrl-C stops it; 'merilo demo --reset' removes its data")
        while not stop.wait(1.0):
            _watch(chain)
    finally:
        (folder / PAGE_FILE).unlink(missing_ok=True)
        _say("stopping")
        chain.supervisor.stop_all()


def _watch(chain: Chain) -> None:
    """Starts again what has ended; simulated devices come back on other ports, which the gateway has to learn."""
    for line in chain.supervisor.watch():
        _say(line[:200])
    ready_file, known = chain.data / "devices.json", chain.data / "gateway.yaml"
    if not ready_file.exists() or not known.exists() or ready_file.stat().st_mtime <= known.stat().st_mtime:
        return
    ready = json.loads(ready_file.read_text(encoding="utf-8"))
    login, password = chain.login(GatewayKey(COMPANY, SITE, GATEWAY))
    gateway_file(chain, ready, login, password, 0)
    gateway = next((p for p in chain.supervisor.programs if p.name == "gateway"), None)
    if gateway is not None and gateway.process is not None:
        gateway.process.terminate()  # the supervisor starts it again with the new file


def _live(chain: Chain) -> bool:
    found = chain.get(f"/v1/companies/{COMPANY}/sites/{SITE}/series?last=1h&meter=main")
    return bool(found and found["series"] and found["series"][0]["value"])


def _wait_live(chain: Chain, stop: threading.Event, began: float) -> float:
    while not stop.is_set() and not _live(chain):
        _watch(chain)
        stop.wait(0.3)
    seconds = time.monotonic() - began
    if not stop.is_set():
        _say(f"page       {chain.page_url}  (live after {seconds:.0f} s)")
    return seconds


def _booked_days(chain: Chain) -> int:
    path = f"/v1/companies/{COMPANY}/sites/{SITE}/energy?last=60d&resolution=1d&meter=main"
    found = chain.get(path)
    return len(found["series"][0]["start"]) if found and found["series"] else 0


def _outstanding(chain: Chain) -> int:
    """Cycles that still wait in the gateway's outbox."""
    path = chain.data / "gateway" / "outbox.sqlite"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2.0)) as db:
            return int(db.execute("SELECT count(*) FROM waiting").fetchone()[0])
    except sqlite3.Error:
        return 1_000_000


def _unbooked(chain: Chain) -> bool:
    """Whether readings of the past still wait for the books."""
    from merilo_adapters.registry import Registry

    recent_ms = int(time.time() * 1000) - 2 * QUARTER_MS
    return any(one.first_ms < recent_ms for one in Registry.open(chain.registry_url).work().pending(1_000))


def _wait_history(chain: Chain, stop: threading.Event, began: float, days: int) -> None:
    total = max(_outstanding(chain), 1)
    while not stop.is_set():
        left = _outstanding(chain)
        _progress("books      history becomes energy", min(0.99, 1 - left / total))
        if left < OUTSTANDING_MAX and _booked_days(chain) >= days and not _unbooked(chain):
            _say(f"books      {days} days of history are energy after {time.monotonic() - began:.0f} s")
            return
        _watch(chain)
        stop.wait(0.5)


# Check


def _check(folder: Path, seed: int, store: str) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    real_ms = int(time.time() * 1000)
    start_ms = floor_ms(real_ms - CHECK_START_MS, QUARTER_MS) + QUARTER_MS - 3 * MINUTE_MS
    began = time.monotonic()
    chain = _start(folder, seed, store, PAGE_PORT + 1, f"{start_ms}:{real_ms}:{CHECK_RATE:g}", 0, 0)
    stop = until_told()
    try:
        first_live_s = _wait_live(chain, stop, began)
        first_ms = floor_ms(start_ms, QUARTER_MS) + QUARTER_MS
        while not stop.is_set() and time.monotonic() - began < CHECK_MAX_S:
            if _closed(chain, first_ms) >= CHECK_QUARTERS:
                break
            stop.wait(0.5)
        for program in reversed(chain.supervisor.programs):
            if program.name in ("gateway", "devices"):
                chain.supervisor.stop(program)
        found = _compare(chain, seed, first_ms, first_live_s)
    finally:
        chain.supervisor.stop_all()
    print(json.dumps(found))
    good = (
        found["missing"] == 0 and found["energy_error_pct"] is not None and found["energy_error_pct"] <= ERROR_MAX_PCT
    )
    return 0 if good else 1


def _rows(chain: Chain, first_ms: int) -> dict[str, dict[str, float]]:
    """Booked energy of each meter by start of the quarter of an hour."""
    path = f"/v1/companies/{COMPANY}/sites/{SITE}/energy?from={to_text(first_ms)}&resolution=15m"
    found = chain.get(path)
    if not found:
        return {}
    return {
        one["id"]: {start: value for start, value in zip(one["start"], one["value"], strict=True) if value is not None}
        for one in found["series"]
    }


def _closed(chain: Chain, first_ms: int) -> int:
    rows = _rows(chain, first_ms)
    return min((len(mine) for mine in rows.values()), default=0)


def _compare(chain: Chain, seed: int, first_ms: int, first_live_s: float) -> dict[str, Any]:
    """Stored readings against sent ones, booked energy against the truth of every circuit."""
    from merilo_adapters.company_stores import CompanyStores
    from merilo_adapters.installation import Installation
    from merilo_adapters.registry import Registry

    place = Installation(data=chain.data, store=chain.store)
    registry = Registry.open(chain.registry_url)
    store = CompanyStores(place, registry).of(COMPANY)
    found = store.read(COMPANY, "readings", {"company": COMPANY}, 0, 2**42)
    there = {(one.tags["device"], int(at_ms)) for one in found for at_ms in one.frame.at_ms}
    stored = len(there)
    outbox = Outbox(chain.data / "gateway" / "outbox.sqlite")
    sent = outbox.next_number - _not_sent(outbox, there)
    outbox.close()
    worst = _energy_error(chain, registry, seed, _rows(chain, first_ms))
    return {
        "first_live_s": round(first_live_s, 1),
        "readings_sent": sent,
        "readings_stored": stored,
        "missing": sent - stored,
        "energy_error_pct": None if worst is None else round(worst, 4) if worst < 1e6 else 1e6,
        "store": store.kind(),
        "broker": chain.broker_name,
    }


def _energy_error(chain: Chain, registry: Registry, seed: int, rows: dict[str, dict[str, float]]) -> float | None:
    """Error of the booked energy of all meters together [%], infinite where one is off by more than its register.

    A register shows whole steps. Where one step is more than a hundredth of the energy compared, the meter cannot be
    judged to a thousandth: it must agree within a step, and is left out of the sum.
    """
    common = sorted(set.intersection(*(set(mine) for mine in rows.values()))) if rows else []
    if not common:
        return None
    start_ms = to_ms(datetime.fromisoformat(common[0]))
    truth = _truth(seed, start_ms, start_ms + len(common) * QUARTER_MS)
    booked = true = 0.0
    off: list[str] = []
    judged = 0
    for one in json.loads((chain.data / "measures.json").read_text(encoding="utf-8")):
        meter, expected_wh = one["meter"], truth[one["circuit"]] / 1000
        if meter not in rows or expected_wh <= 0:
            continue
        found_wh = sum(rows[meter][at] for at in common)
        facts = registry.facts(DeviceKey(COMPANY, SITE, GATEWAY, one["device"]))
        step_wh = facts[one["register"]][-1].step_mwh / 1000
        if abs(found_wh - expected_wh) > 2 * step_wh + expected_wh * ERROR_MAX_PCT / 100:
            off.append(f"{meter} {found_wh:.1f} Wh, expected {expected_wh:.1f} Wh")
        if step_wh <= expected_wh * STEP_SHARE_MAX:
            booked, true, judged = booked + found_wh, true + expected_wh, judged + 1
    chain.say(f"compared   {len(common)} quarters of an hour of {len(rows)} meters, {judged} of them to 0.1 %")
    for line in off:
        chain.say(f"OFF        {line}")
    return float("inf") if off else abs(booked - true) / true * 100


def _not_sent(outbox: Outbox, there: set[tuple[str, int]]) -> int:
    """Readings that wait and are not stored: safe on the gateway's disk when it stopped.

    One that is stored while its acknowledgement was still on its way counts as sent.
    """
    count = 0
    skip: list[Span] = []
    while (batch := outbox.waiting(skip=skip)) is not None:
        count += sum((reading.device, reading.at_ms) not in there for reading in batch.readings)
        skip.append(batch.span)
    return count


def _truth(seed: int, start_ms: int, end_ms: int) -> dict[str, int]:
    command = merilo("simulators", "truth", "--from", to_text(start_ms), "--to", to_text(end_ms), "--seed", str(seed))
    found: dict[str, int] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found
