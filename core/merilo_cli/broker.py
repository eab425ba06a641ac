"""A broker for one machine: mosquitto where it is installed, else the embedded one."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

from merilo.errors import ConfigError
from merilo_cli.supervisor import Program

MOSQUITTO_PLACES = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")


def free_port(wanted: int = 0, host: str = "127.0.0.1") -> int:
    """The wanted port if nobody listens there, else one that the system gives."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigError("port", f"expected a free port on {host}, found none")


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def mosquitto_path() -> str | None:
    """Where mosquitto is, None if it is not installed."""
    found = shutil.which("mosquitto")
    return found or next((path for path in MOSQUITTO_PLACES if Path(path).exists()), None)


def broker_program(folder: Path, port: int, passwords: Path, access: Path) -> tuple[Program, str]:
    """The program that serves as broker on 127.0.0.1, and its name for people.

    Args:
        folder: For its configuration and files.
        port: Free port on the loopback interface.
        passwords: Generated password file; used by mosquitto only.
        access: Generated access list; used by mosquitto only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = mosquitto_path()
    if path is not None:
        settings = folder / "mosquitto.conf"
        settings.write_text(_mosquitto(port, passwords, access), encoding="utf-8")
        return Program("broker", [path, "-c", str(settings)]), "mosquitto"
    return Program("broker", [sys.executable, "-m", "merilo_cli.embedded_broker", str(port)]), "iotcore"


def _mosquitto(port: int, passwords: Path, access: Path) -> str:
    lines = [
        "per_listener_settings false",
        f"listener {port} 127.0.0.1",
        "allow_anonymous false",
        f"password_file {passwords}",
        f"acl_file {access}",
        "persistence false",
        "max_packet_size 262144",
        "max_inflight_messages 200",
        "max_queued_messages 10000",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]
    if _is_root():
        lines.append("user root")
    return "\n".join(lines) + "\n"


def _is_root() -> bool:
    import os

    return os.geteuid() == 0
