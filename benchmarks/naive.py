"""What one writes in an afternoon: from MQTT straight into InfluxDB. It acknowledges before it stores, so it loses.

A baseline, run beside the collector on the same messages: ``python benchmarks/naive.py BROKER_PORT WRITE_URL [TOKEN]``.
"""

from __future__ import annotations

import json
import queue
import sys
import urllib.request
from datetime import datetime

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

LINES = 5_000
url, token = sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
waiting: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()


def send(lines: list[str]) -> None:
    headers = {"Authorization": f"Token {token}"} if token else {}
    request = urllib.request.Request(url, "\n".join(lines).encode(), headers, method="POST")
    urllib.request.urlopen(request, timeout=30).read()


def arrived(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
    waiting.put((message.topic, bytes(message.payload)))


client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="naive", clean_session=False)
client.on_message = arrived
client.connect("127.0.0.1", int(sys.argv[1]))
client.subscribe("merilo/v1/+/+/+/readings", qos=1)
client.loop_start()
lines: list[str] = []
while True:
    try:
        topic, payload = waiting.get(timeout=0.05)
    except queue.Empty:
        if lines:
            send(lines)
            lines = []
        continue
    _, _, company, site, gateway, _ = topic.split("/")
    for reading in json.loads(payload)["readings"]:
        at = int(datetime.fromisoformat(reading["at"]).timestamp() * 1000)
        fields = ",".join(f"{name}={value}" for name, value in reading["values"].items())
        lines.append(
            f"readings,company={company},site={site},gateway={gateway},device={reading['device']} {fields} {at}"
        )
    if len(lines) >= LINES:
        send(lines)
        lines = []
