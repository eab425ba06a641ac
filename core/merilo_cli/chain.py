"""The programs of one machine, set up and started in the order they depend on each other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from merilo.ids import GatewayKey
from merilo_adapters.installation import ENVIRONMENT_FILE
from merilo_cli.broker import answers, broker_program, free_port
from merilo_cli.supervisor import Program, Supervisor, merilo

Say = Callable[[str], None]
PAGE_FILE = "page"
"""In the data folder while the page is served: its address."""


@dataclass(slots=True)
class Chain:
    """One machine's programs and where they are."""

    data: Path
    say: Say
    clock: str = ""
    store: str = ""
    broker_port: int = 0
    page_port: int = 0
    broker_name: str = ""
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = {"MERILO_DATA": str(self.data), "MERILO_CLOCK": self.clock, "PYTHONUNBUFFERED": "1"}
        if self.store:
            environment["MERILO_STORE"] = self.store
        self.supervisor = Supervisor(self.data / "log", environment)

    @property
    def registry_url(self) -> str:
        """The registry of this machine."""
        return f"sqlite:///{self.data / 'registry.db'}"

    @property
    def page_url(self) -> str:
        """Where people look."""
        return f"http://127.0.0.1:{self.page_port}/"

    def login(self, key: GatewayKey) -> tuple[str, Path]:
        """The gateway's login and the file with its password; made once."""
        from merilo_adapters.registry import Registry

        path = self.data / f"{key.gateway}.login"
        if not path.exists():
            registry = Registry.open(self.registry_url, actor="setup")
            gateway, password = registry.add_gateway(key, int(time.time() * 1000))
            write_secret(path, f"{gateway.login}\n{password}\n")
        login, password = path.read_text(encoding="utf-8").split()
        password_file = self.data / f"{key.gateway}.password"
        write_secret(password_file, password + "\n")
        return login, password_file

    def start_broker(self, site_topic: str = "") -> None:
        """Starts the broker with the logins of the registry.

        Args:
            site_topic: Topic of a source of the site on this same broker; it gets the login ``site``.
        """
        from merilo_adapters.mosquitto_files import new_password, password_hash, write_files
        from merilo_adapters.registry import Registry

        registry = Registry.open(self.registry_url, actor="setup")
        folder = self.data / "broker"
        files = write_files(folder, self.data, registry.logins())
        write_secret(self.data / "collector.secret", files.collector_password)
        if site_topic:
            secret = self.data / "site.password"
            if not secret.exists():
                write_secret(secret, new_password())
            block = f"\nuser site\ntopic readwrite {site_topic}\n"
            write_secret(files.access, files.access.read_text(encoding="utf-8") + block)
            line = f"site:{password_hash(secret.read_text(encoding='utf-8').strip())}\n"
            write_secret(files.passwords, files.passwords.read_text(encoding="utf-8") + line)
        self.broker_port = free_port(self.broker_port or _kept(folder / "port"))
        (folder / "port").write_text(str(self.broker_port), encoding="utf-8")
        program, self.broker_name = broker_program(folder, self.broker_port, files.passwords, files.access)
        self.supervisor.start(program, lambda: answers(self.broker_port))
        self.say(f"broker     {self.broker_name} on 127.0.0.1:{self.broker_port}")

    def start_server(self, page_port: int) -> None:
        """Starts collector, books and page."""
        environment = {
            "MERILO_BROKER": f"mqtt://127.0.0.1:{self.broker_port}",
            "MERILO_BROKER_LOGIN": "collector",
            "MERILO_BROKER_PASSWORD_FILE": str(self.data / "collector.secret"),
        }
        lines = [f"{name}={value}" for name, value in environment.items()]
        lines += [f"MERILO_STORE={self.store}"] if self.store else []
        lines += [f"MERILO_CLOCK={self.clock}"] if self.clock else []
        write_secret(self.data / ENVIRONMENT_FILE, "\n".join(lines) + "\n")
        self.supervisor.start(Program("collector", merilo("collector", "run"), environment))
        self.supervisor.start(Program("books", merilo("books", "run"), environment))
        self.page_port = free_port(page_port)
        api = Program(
            "api", merilo("api", "run", "--port", str(self.page_port)), environment, stop_signal=signal.SIGTERM
        )
        self.supervisor.start(api, lambda: answers(self.page_port), 40.0)
        if page_port and self.page_port != page_port:
            self.say(f"page       port {page_port} is busy, took {self.page_port}")

    def start_gateway(self, file: Path) -> Program:
        """Starts the gateway of this file."""
        folder = self.data / "gateway"
        folder.mkdir(exist_ok=True)
        return self.supervisor.start(
            Program("gateway", merilo("gateway", "run", "-c", str(file), "--data", str(folder)))
        )

    def get(self, path: str) -> Any:
        """One answer of the API, None while it cannot be had."""
        try:
            address = f"http://127.0.0.1:{self.page_port}{path}"
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            return None


def write_secret(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    part = path.with_name(path.name + ".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as sink:
        sink.write(text)
    part.replace(path)


def _kept(path: Path) -> int:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


@contextlib.contextmanager
def alone(folder: Path, taken: Callable[[str], NoReturn]) -> Iterator[None]:
    """Holds a data folder for one supervisor; the lock goes with the process, whatever ends it.

    Args:
        taken: Told where the page of the one that holds it is.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder.parent / f"{folder.name}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            place = folder / PAGE_FILE
            taken(place.read_text(encoding="utf-8").strip() if place.exists() else "not yet up")
        yield


def until_told() -> threading.Event:
    """Set by Ctrl-C, by a request to end, and by a terminal that closes."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop
