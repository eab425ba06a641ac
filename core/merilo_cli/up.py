"""``merilo up``: all programs of one real company on one machine, without simulators."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from merilo.errors import ConfigError
from merilo.ids import GatewayKey
from merilo_cli.chain import PAGE_FILE, Chain, alone, until_told, write_secret
from merilo_cli.site_file import SITE_FILE, WHAT_TO_DO, missing_ports
from merilo_cli.supervisor import merilo

PAGE_PORT = 8080
CHECK_MAX_S = 60.0
"""A file is checked within a second; a small machine that is busy starting gets a minute."""


def up(
    file: Annotated[Path, typer.Option("--config", "-c", help="site.yaml: gateway.yaml, and store, http, name.")],
    data: Annotated[Path | None, typer.Option(help="Data folder; else MERILO_DATA.")] = None,
) -> None:
    """Run gateway, broker, collector, books and page of one company until told to stop."""
    from merilo_adapters.installation import data_folder

    settings = read_site(file)
    check_file(file)
    folder = data_folder(data)

    def taken(page: str) -> NoReturn:
        hint = "Stop it first, or name another folder with --data"
        raise ConfigError(str(folder), f"another 'merilo up' holds this folder; its page: {page}", hint)

    with alone(folder, taken):
        _run(file, settings, folder)


def _run(file: Path, settings: Mapping[str, Any], folder: Path) -> None:
    stop = until_told()
    chain = Chain(folder, _say, store=str(settings.get("store", "")))
    key = GatewayKey(settings["company"], settings["site"], settings.get("gateway", "gw1"))
    _register(chain, key, settings)
    login, password = chain.login(key)
    try:
        chain.start_broker()
        path = folder / SITE_FILE
        write_secret(path, gateway_text(file, chain.broker_port, login, password))
        http = settings.get("http") or {}
        chain.start_server(int(http.get("port", PAGE_PORT)))
        (folder / PAGE_FILE).write_text(chain.page_url + "\n", encoding="utf-8")
        _say(f"page       {chain.page_url}")
        chain.start_gateway(path)
        _say(f"gateway    {'/'.join(key)}; data lie in {folder}")
        for line in missing_lines(settings):
            _say(line)
        while not stop.wait(1.0):
            for line in chain.supervisor.watch():
                _say(line)
    finally:
        (folder / PAGE_FILE).unlink(missing_ok=True)
        _say("stopping")
        chain.supervisor.stop_all()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_site(file: Path) -> Mapping[str, Any]:
    """The plain values of site.yaml; the gateway checks its own part completely when it starts.

    Raises:
        ConfigError: The file cannot be read, or a key that the programs need is not there.
    """
    from merilo_adapters.yaml_file import load_yaml

    found = load_yaml(file).data
    if not isinstance(found, dict):
        raise ConfigError(str(file), "expected keys such as company and site, found something else")
    for name in ("company", "site", "timezone"):
        if not isinstance(found.get(name), str):
            raise ConfigError(str(file), f"expected {name}, found none", f"Add a line '{name}: …'")
    return found


def check_file(file: Path) -> None:
    """Lets the gateway check the whole file before anything runs, so that what is wrong is said once and in full.

    Raises:
        SystemExit: Something is wrong; the gateway's own words and exit code.
    """
    command = merilo("gateway", "check", "--offline", "-c", str(file))
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_MAX_S, check=False)
    if done.returncode not in (0, 1):  # a finding is no reason not to begin
        _say(done.stderr.strip() or done.stdout.strip())
        sys.exit(done.returncode)


def missing_lines(settings: Mapping[str, Any]) -> list[str]:
    """What to say of serial ports that are in the file and not on this machine."""
    return [
        f"bus        {path} is not there: {WHAT_TO_DO}; it is opened as soon as it appears"
        for path in missing_ports(settings)
    ]


def gateway_text(file: Path, broker_port: int, login: str, password: Path) -> str:
    """site.yaml with this machine's broker: every line stays where it was, so that errors name the right one."""
    kept: list[str] = []
    skipping = False
    for line in file.read_text(encoding="utf-8").splitlines():
        if line[:1] not in (" ", "\t", "#", "-", ""):
            skipping = line.split(":")[0].strip() == "broker"
        kept.append("" if skipping else line)
    kept += [
        "broker:",
        f'  url: "mqtt://127.0.0.1:{broker_port}"',
        f"  login: {login}",
        f'  password: {{file: "{password}"}}',
    ]
    return "\n".join(kept) + "\n"


def _register(chain: Chain, key: GatewayKey, settings: Mapping[str, Any]) -> None:
    """Enters company and site once; afterwards the registry rules."""
    from merilo.site import Company, Site
    from merilo_adapters.registry import Registry

    now_ms = int(time.time() * 1000)
    registry = Registry.open(chain.registry_url, actor="up")
    if all(company.id != key.company for company in registry.companies()):
        registry.add_company(Company(id=key.company, name=str(settings.get("name", key.company)), created_ms=now_ms))
    if all(site.id != key.site for site in registry.sites(key.company)):
        zone = str(settings["timezone"])
        registry.add_site(Site(company=key.company, id=key.site, name=key.site, zone=zone), now_ms)
