"""Runs a site's devices until somebody says stop: servers, serial line, strip, control port, and the ready file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merilo_adapters.clock import Clock
from merilo_simulators.control import Control
from merilo_simulators.rtu import Pace, RtuLine
from merilo_simulators.site import Bus, Site, example_site
from merilo_simulators.strip import INTERVAL_S, Strip
from merilo_simulators.tcp import ModbusServer, Unknown
from merilo_simulators.truth import example_measures

log = logging.getLogger(__name__)

TOPIC = "netio/pdu1"
SITES = ("example",)
_BITS = 10
"""The example line runs 8N1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one run is told."""

    seed: int
    clock: Clock
    baud: int = 0
    """Pace of the serial line; 0: as fast as the machine."""
    response_ms: int = 0
    """Turnaround of the devices on the serial line [real ms]."""
    unknown: Unknown = "exception"
    """What the TCP gateway says for a unit that is not there."""
    mqtt_host: str = ""
    """Broker of the strip pdu1; empty: the strip does not publish."""
    mqtt_port: int = 1883
    mqtt_topic: str = TOPIC
    mqtt_user: str | None = None
    mqtt_password: str | None = None
    mqtt_interval_s: float = INTERVAL_S
    link: Path | None = None
    """Symbolic link kept on the serial port."""


class Running:
    """The example site on the wire, between start and stop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.site: Site = example_site(options.seed)
        clock = options.clock
        self.line = RtuLine(
            self.site.on("line"),
            clock,
            pace=Pace(baud=options.baud, bits=_BITS) if options.baud else None,
            response_ms=options.response_ms,
            link=options.link,
        )
        self.panel = ModbusServer(self.site.on("panel"), clock, unknown=options.unknown)
        self.rack = ModbusServer(self.site.on("rack"), clock, unknown="silent")
        self.strip = Strip(
            meter=self.site.meter("pdu1"), clock=clock, topic=options.mqtt_topic, interval_s=options.mqtt_interval_s
        )
        self.control = Control(self.site, self.switch)
        self._control_port = 0

    async def start(self) -> dict[str, Any]:
        """Starts everything on free loopback ports and gives what the ready file says."""
        buses: tuple[Bus, ...] = ("line", "panel", "rack", "mqtt")
        for bus in buses:
            await self.switch(bus, True)
        self._control_port = await self.control.start()
        return self.ready()

    async def stop(self) -> None:
        """Stops everything."""
        await self.control.stop()
        await self.strip.stop()
        await self.rack.stop()
        await self.panel.stop()
        await self.line.stop()

    async def switch(self, bus: str, on: bool) -> str:
        """Starts or stops one bus and gives where it is reached; a server takes its port again.

        Raises:
            ValueError: An unknown bus.
        """
        options = self.options
        if bus == "line":
            await self.line.stop()
            return await self.line.start() if on else ""
        if bus in ("panel", "rack"):
            server = self.panel if bus == "panel" else self.rack
            await server.stop()
            return str(await server.start(port=server.port)) if on else ""
        if bus == "mqtt":
            await self.strip.stop()
            if on and options.mqtt_host:
                await self.strip.start(options.mqtt_host, options.mqtt_port, options.mqtt_user, options.mqtt_password)
            return options.mqtt_topic if on else ""
        raise ValueError(f"bus {bus!r}: expected line, panel, rack or mqtt")

    def ready(self) -> dict[str, Any]:
        """Where everything is reached, for whoever writes the gateway's configuration."""
        options = self.options
        buses: dict[str, dict[str, Any]] = {
            "line": {
                "kind": "rtu",
                "path": str(options.link or self.line.path),
                "baud": options.baud or 9600,
                "parity": "N",
                "stop_bits": 1,
            },
            "panel": {"kind": "tcp", "host": "127.0.0.1", "port": self.panel.port},
            "rack": {"kind": "tcp", "host": "127.0.0.1", "port": self.rack.port},
        }
        if options.mqtt_host:
            buses["mqtt"] = {
                "kind": "mqtt",
                "host": options.mqtt_host,
                "port": options.mqtt_port,
                "topic": options.mqtt_topic,
            }
        return {
            "site": "example",
            "seed": options.seed,
            "clock": options.clock.to_text(),
            "pid": os.getpid(),
            "buses": buses,
            "devices": [
                {
                    "id": placed.meter.device_id,
                    "model": "netio_mqtt_flex" if placed.bus == "mqtt" else placed.meter.model.name,
                    "vendor": placed.meter.model.vendor,
                    "bus": placed.bus,
                    "unit": placed.meter.unit,
                    "serial": placed.meter.serial,
                }
                for placed in self.site.placed
                if placed.bus in buses
            ],
            "measures": [
                {
                    "meter": each.meter,
                    "device": each.device,
                    "register": each.register,
                    "phase": each.phase,
                    "circuit": each.circuit,
                }
                for each in example_measures()
            ],
            "control": {"host": "127.0.0.1", "port": self._control_port},
        }


def write_ready(path: Path, ready: dict[str, Any]) -> None:
    """Writes the ready file whole or not at all, so that a reader never sees half of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(ready, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


async def serve(options: Options, ready_file: Path | None) -> None:
    """Runs until SIGTERM or SIGINT; prints the ready object on one line, and writes the ready file."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = Running(options)
    try:
        ready = await running.start()
        if ready_file is not None:
            write_ready(ready_file, ready)
        print(json.dumps(ready), flush=True)
        await stop.wait()
    finally:
        await running.stop()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
    for name, meter in running.site.meters.items():
        if meter.faults.injected:
            log.info("faults injected device=%s counts=%s", name, dict(meter.faults.injected))
