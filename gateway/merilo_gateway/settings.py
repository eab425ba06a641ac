"""gateway.yaml: what it may say, and everything that is checked before the first connection is opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from merilo.errors import ConfigError
from merilo.ids import GatewayKey
from merilo.profile import MqttLink, Profile, RtuLink, TcpLink
from merilo.readplan import cost_ms
from merilo_adapters.mqtt import Broker
from merilo_adapters.profile_files import load_profile
from merilo_adapters.yaml_file import ConfigErrors, Marked, load_yaml, validate
from merilo_gateway.bus import line_time
from merilo_gateway.gateway_file import BrokerModel, DeviceModel, GatewayModel, MqttInModel


@dataclass(frozen=True, slots=True, kw_only=True)
class BusPlan:
    """How long one cycle of a bus takes."""

    bus: str
    lines: tuple[str, ...]
    """The calculation, one line a device."""
    load: float
    """Share of the time that the bus is busy; above 1 it cannot keep the interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A gateway as its file describes it, complete and checked."""

    model: GatewayModel
    marked: Marked = field(repr=False)
    models: Mapping[str, Profile]
    """Device id → profile."""
    broker: Broker
    sources: Mapping[str, Broker]
    """Id of an MQTT source → its broker."""
    config_hash: str

    @property
    def key(self) -> GatewayKey:
        """Which gateway this is."""
        return GatewayKey(self.model.company, self.model.site, self.model.gateway)

    @property
    def client_id(self) -> str:
        """Name at the broker: the login, or made of the ids where there is none."""
        return self.model.broker.login or f"merilo-{self.key.company}-{self.key.site}-{self.key.gateway}"

    def bus_name(self, number: int) -> str:
        """Name of a bus, for people."""
        bus = self.model.buses[number]
        return bus.name or bus.endpoint.text

    def plans(self) -> list[BusPlan]:
        """The bus time that the file asks for."""
        return [_bus_plan(self, number) for number in range(len(self.model.buses))]


def data_folder(option: Path | None, environment: Mapping[str, str]) -> Path:
    """Where the gateway keeps its state: the option, MERILO_DATA, STATE_DIRECTORY, /var/lib/merilo or the user's."""
    if option is not None:
        return option
    for name in ("MERILO_DATA", "STATE_DIRECTORY"):
        if environment.get(name):
            return Path(environment[name].split(":")[0])
    system = Path("/var/lib/merilo")
    if os.access(system, os.W_OK):
        return system
    return Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "merilo"


def load_settings(path: Path, environment: Mapping[str, str], *, secrets: bool = True) -> Settings:
    """Reads and checks the file.

    Args:
        path: gateway.yaml.
        environment: For ``{env: NAME}``.
        secrets: Read them too; without, the file can be checked on another machine.

    Raises:
        ConfigError: Something is wrong; all of it is said at once, each at its line.
    """
    return settings_from(load_yaml(path), environment, base=path.parent, secrets=secrets)


def settings_from(
    marked: Marked, environment: Mapping[str, str], *, base: Path = Path("."), secrets: bool = True
) -> Settings:
    """Checks a file that was read.

    Raises:
        ConfigError: Something is wrong.
    """
    _refuse_plain_secrets(marked)
    model = validate(GatewayModel, marked)
    problems = _Problems(marked)
    profiles = _profiles(model, problems, [base / folder for folder in model.profiles])
    _unique(model, problems)
    problems.raise_all()
    settings = Settings(
        model=model,
        marked=marked,
        models=profiles,
        broker=_broker(model.broker, ("broker",), marked, environment, secrets),
        sources={
            source.id: _broker(source.broker, ("mqtt_in", n, "broker"), marked, environment, secrets)
            for n, source in enumerate(model.mqtt_in)
        },
        config_hash=hashlib.sha256("\n".join(marked.lines).encode()).hexdigest()[:16],
    )
    for number, plan in enumerate(settings.plans()):
        if plan.load > 1:
            text = f"{plan.load:.0%} of the time of this bus is needed:\n" + "\n".join(f"  {x}" for x in plan.lines)
            problems.add(("buses", number), text, "Use a longer interval, a faster line or a second bus")
    problems.raise_all()
    return settings


def _refuse_plain_secrets(marked: Marked) -> None:
    """A secret in the file itself is refused before anything can show the line it stands in."""
    top = marked.data if isinstance(marked.data, dict) else {}
    sources = top.get("mqtt_in")
    brokers: list[tuple[tuple[str | int, ...], object]] = [(("broker",), top.get("broker"))]
    for n, source in enumerate(sources if isinstance(sources, list) else ()):
        if isinstance(source, dict):
            brokers.append((("mqtt_in", n, "broker"), source.get("broker")))
    for path, broker in brokers:
        if isinstance(broker, dict) and isinstance(broker.get("password"), str | int | float):
            where = marked.where((*path, "password"))
            what = "expected {file: PATH} or {env: NAME}, found the secret itself"
            hint = "Move it into a file that only the gateway can read, and change it"
            raise ConfigErrors([(where, what, hint)], [f"{where}: {what}. {hint}"])


class _Problems:
    """Collects what is wrong, with its place."""

    def __init__(self, marked: Marked) -> None:
        self._marked = marked
        self._errors: list[tuple[str, str, str]] = []
        self._shown: list[str] = []

    def add(self, path: Sequence[str | int], message: str, hint: str = "") -> None:
        self._errors.append((self._marked.where(path), message, hint))
        self._shown.append(self._marked.pretty(message, path, hint=hint))

    def raise_all(self) -> None:
        if self._errors:
            raise ConfigErrors(self._errors, self._shown)


def _profiles(model: GatewayModel, problems: _Problems, folders: Sequence[Path]) -> dict[str, Profile]:
    found: dict[str, Profile] = {}
    loaded: dict[str, Profile | ConfigError] = {}
    places: list[tuple[tuple[str | int, ...], DeviceModel | MqttInModel]] = [
        (("buses", b, "devices", d), device)
        for b, bus in enumerate(model.buses)
        for d, device in enumerate(bus.devices)
    ]
    places += [(("mqtt_in", n), source) for n, source in enumerate(model.mqtt_in)]
    for path, device in places:
        if device.profile not in loaded:
            try:
                loaded[device.profile] = load_profile(device.profile, folders)
            except ConfigError as error:
                loaded[device.profile] = error
        profile = loaded[device.profile]
        if isinstance(profile, ConfigError):
            problems.add((*path, "profile"), str(profile.what), str(profile.hint))
            continue
        found[device.id] = profile
        is_polled = isinstance(device, DeviceModel)
        if is_polled != isinstance(profile.default_link, RtuLink | TcpLink):
            problems.add((*path, "profile"), f"{device.profile} is {'an MQTT source' if is_polled else 'polled'}",
                         f"List it under {'mqtt_in' if is_polled else 'buses'}")  # fmt: skip
        if not is_polled and not isinstance(profile.default_link, MqttLink):
            continue
        if isinstance(device, DeviceModel) and device.unit == 0 and isinstance(profile.default_link, RtuLink):
            problems.add((*path, "unit"), "0 is the broadcast address: nobody answers", "Use 1 to 247")
    return found


def _unique(model: GatewayModel, problems: _Problems) -> None:
    seen: dict[str, str] = {}
    places: dict[tuple[str, int], str] = {}
    ends: dict[str, int] = {}
    for b, bus in enumerate(model.buses):
        where = bus.device or f"{bus.host}:{bus.port}"
        if ends.setdefault(where, b) != b:
            problems.add(("buses", b), f"{where} is bus {ends[where] + 1} already", "Join the two")
        for d, device in enumerate(bus.devices):
            path = ("buses", b, "devices", d)
            if device.id in seen:
                problems.add((*path, "id"), f"the id {device.id} is taken by {seen[device.id]}", "Give it another id")
            seen.setdefault(device.id, f"unit {device.unit} of {where}")
            other = places.setdefault((where, device.unit), device.id)
            if other != device.id:
                problems.add((*path, "unit"), f"unit {device.unit} of {where} is {other} already", "Check the address")
    for n, source in enumerate(model.mqtt_in):
        if source.id in seen:
            problems.add(("mqtt_in", n, "id"), f"the id {source.id} is taken by {seen[source.id]}", "Give it another")
        seen.setdefault(source.id, f"mqtt_in {source.topic}")
    if not model.buses and not model.mqtt_in:
        problems.add((), "expected at least one bus or mqtt_in, found none", "Add the devices of this site")


def _broker(
    model: BrokerModel, path: Sequence[str | int], marked: Marked, environment: Mapping[str, str], secrets: bool
) -> Broker:
    where = marked.where((*path, "password"))
    password = model.password.read(where, environment) if secrets and model.password is not None else ""
    if password and not model.login:
        raise ConfigError(marked.where(path), "a password without a login", "Add login: gw-…")

    def expanded(text: str | None) -> Path | None:
        return None if text is None else Path(os.path.expandvars(text))

    files = (expanded(model.ca_file), expanded(model.certificate_file), expanded(model.key_file))
    if secrets:
        for name, file in zip(("ca_file", "certificate_file", "key_file"), files, strict=True):
            if file is not None and not os.access(file, os.R_OK):
                raise ConfigError(marked.where((*path, name)), f"{file}: cannot be read", "Check path and permissions")
    return Broker(
        urls=model.url,
        login=model.login,
        password=password,
        ca_file=files[0],
        certificate_file=files[1],
        key_file=files[2],
    )


def _bus_plan(settings: Settings, number: int) -> BusPlan:
    bus = settings.model.buses[number]
    lines: list[str] = []
    load = 0.0
    for device in bus.devices:
        profile = settings.models[device.id]
        line = line_time(bus.endpoint, profile)
        plan = profile.plan(line)
        interval = device.interval or settings.model.interval
        cost = cost_ms(plan, line)
        share = cost / interval
        load += share
        words = sum(block.count for block in plan)
        lines.append(
            f"{device.id}: {len(plan)} reads, {words} words = {cost:.0f} ms of {interval / 1000:g} s = {share:.1%}"
        )
    lines.append(f"together {load:.1%} of {bus.endpoint.text}")
    return BusPlan(bus=settings.bus_name(number), lines=tuple(lines), load=load)
