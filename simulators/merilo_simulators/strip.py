"""A power strip that publishes its JSON to a broker, as NETIO strips do once MQTT-flex is switched on."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from merilo_adapters.clock import Clock
from merilo_simulators.devices.meter import Meter
from merilo_simulators.devices.netio import message

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
"""Period of the vendor's example configuration [s]."""
_KEEPALIVE_S = 60
_CONNECT_POLL_S = 0.05
"""How often the first connection is looked for: the first message leaves at once and not a period later."""


def publication(meter: Meter, at_ms: int) -> bytes | None:
    """What the strip sends at this instant under its faults; None where it is silent.

    A wire fault that only a bus can have (checksum, unit, exception) sends random bytes instead.
    """
    meter.faults.note_counters(at_ms)
    if meter.faults.is_out(at_ms):
        return None
    fault = meter.faults.strike(at_ms)
    if fault is None or fault.kind == "late":
        return message(meter, at_ms)
    if fault.kind == "silent":
        return None
    if fault.kind == "short":
        whole = message(meter, at_ms)
        return whole[: len(whole) // 2]
    return meter.faults.noise(64)


@dataclass(slots=True, kw_only=True)
class Strip:
    """Publishes while it runs; messages are QoS 0 and not retained. What falls due without a connection is lost."""

    meter: Meter
    clock: Clock
    topic: str
    interval_s: float = INTERVAL_S
    """Shown seconds between two messages [s]."""
    published: int = 0
    _client: Client | None = None
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def start(self, host: str, port: int, username: str | None = None, password: str | None = None) -> None:
        """Connects in the background (and again whenever the broker went away) and publishes from now on."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"netio-{self.meter.device_id}", protocol=MQTTv5)
        if username is not None:
            client.username_pw_set(username, password)
        client.connect_async(host, port, keepalive=_KEEPALIVE_S)
        client.loop_start()
        self._client = client
        self._task = asyncio.create_task(self._run(client))

    async def stop(self) -> None:
        """Stops publishing and disconnects."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    async def _run(self, client: Client) -> None:
        while not client.is_connected():
            await asyncio.sleep(_CONNECT_POLL_S)
        while True:
            payload = publication(self.meter, self.clock.now_ms())
            if payload is not None and client.is_connected():
                client.publish(self.topic, payload, qos=0, retain=False)
                self.published += 1
            await asyncio.sleep(self.clock.sleep_real_s(self.interval_s))
