"""The embedded broker for one machine and one company, where mosquitto is not installed: loopback only, no access list.

It forgets everything at a restart, which costs nothing: gateways keep their readings until they are acknowledged.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from pathlib import Path

SEGMENT_BYTES = 10_485_760
SEGMENTS = 3
"""What the broker may keep in memory of each kind of topic: 30 MB in all."""


def settings(port_v5: int, port_v4: int) -> str:
    """Configuration text: MQTT 5 on the first port, 3.1.1 on the second."""
    shared = "\n".join(
        (
            "connection_timeout_ms = 5000",
            "max_payload_size = 262144",
            "max_inflight_count = 200",
            "dynamic_filters = true",
        )
    )
    listeners = "\n".join(
        f'[{kind}.1]\nname = "{kind}"\nlisten = "127.0.0.1:{port}"\nnext_connection_delay_ms = 1\n'
        f"    [{kind}.1.connections]\n{shared}\n"
        for kind, port in (("v5", port_v5), ("v4", port_v4))
    )
    return (
        f"id = 0\n[router]\nid = 0\nmax_connections = 64\nmax_outgoing_packet_count = 200\n"
        f"max_segment_size = {SEGMENT_BYTES}\nmax_segment_count = {SEGMENTS}\n{listeners}"
    )


def main() -> int:
    """Runs until it is told to end."""
    from iotcore import Broker

    from merilo_cli.broker import free_port

    port = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broker.toml"
        path.write_text(settings(port, free_port()), encoding="utf-8")
        broker = Broker(config_path=str(path))
        broker.start()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()
        broker.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
