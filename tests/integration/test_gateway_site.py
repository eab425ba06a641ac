"""A whole simulated site at sixty times the speed of time: serial line, Modbus TCP and a publishing strip together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from merilo import wire
from real import mosquitto
from unit.gateway.rig import Collector, Process, config, wait_for

pytestmark = pytest.mark.real
RATE = 60
SITE = """\
buses:
  - device: {tty}
    baud: 9600
    devices:
      - {{id: main, profile: eastron_sdm630, unit: 1, role: main}}
      - {{id: cooling, profile: carlo_gavazzi_em340, unit: 2, role: cooling}}
  - host: 127.0.0.1
    port: {panel}
    devices:
      - {{id: office, profile: eastron_sdm630, unit: 1}}
      - {{id: ups, profile: schneider_iem3155, unit: 2}}
  - host: 127.0.0.1
    port: {rack}
    devices:
      - {{id: pdu2, profile: netio_powerpdu, unit: 1}}
mqtt_in:
  - id: pdu1
    profile: netio_powerpdu_mqtt
    topic: {topic}
    broker: {{url: "mqtt://127.0.0.1:{broker}"}}
"""


def test_every_device_of_a_site_arrives_with_power_and_a_rising_counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = time.time_ns() // 1_000_000
    monkeypatch.setenv("MERILO_CLOCK", f"{now_ms - 86_400_000}:{now_ms}:{RATE}")
    ready = tmp_path / "ready.json"
    with mosquitto() as broker, Collector(broker.port) as collector:
        arguments = ["run", "--ready", str(ready), "--mqtt-host", "127.0.0.1", "--mqtt-port", str(broker.port)]
        simulators = subprocess.Popen(
            [sys.executable, "-c", "from merilo_simulators.commands import app; app()", *arguments],
            env=os.environ,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert wait_for(ready.exists, 30)
            buses = json.loads(ready.read_text())["buses"]
            site = SITE.format(
                tty=buses["line"]["path"],
                panel=buses["panel"]["port"],
                rack=buses["rack"]["port"],
                topic=buses["mqtt"]["topic"],
                broker=broker.port,
            )
            with Process(tmp_path, config(broker.port, site, interval="10s")) as process:
                expected = {"main", "cooling", "office", "ups", "pdu1", "pdu2", "pdu1-outlet-1", "pdu2-outlet-4"}
                assert wait_for(lambda: expected <= _devices_with(collector, 3), 60), process.log[-3000:]
                assert process.stop() == 0
        finally:
            simulators.send_signal(signal.SIGTERM)
            simulators.wait(20)

    for device in expected:
        readings = sorted((r for r in collector.received.values() if r.device == device), key=lambda r: r.at_ms)
        counters = [r.values["active_energy_import_wh"] for r in readings if "active_energy_import_wh" in r.values]
        assert counters == sorted(counters), device
        assert any("active_power_w" in r.values for r in readings), device
        assert len({r.at_ms for r in readings}) == len(readings), device
    assert collector.different == []
    birth = wire.from_payload(collector.payloads("birth")[-1], wire.Birth)
    assert {"main", "pdu1-outlet-1", "pdu2-outlet-4"} <= set(birth.devices)
    assert birth.devices["main"].serial
    assert not [e for e in collector.events() if e.kind in ("identity_wrong", "device_silent")]


def _devices_with(collector: Collector, least: int) -> set[str]:
    counts: dict[str, int] = {}
    for reading in list(collector.received.values()):
        counts[reading.device] = counts.get(reading.device, 0) + ("active_energy_import_wh" in reading.values)
    return {device for device, count in counts.items() if count >= least}
