"""gateway.yaml: what it may say, and everything that is checked before the first connection is opened."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from merilo.bustime import Format
from merilo.errors import ConfigError
from merilo.ids import GatewayKey, check_id
from merilo.profile import MqttLink, Profile, RtuLink, TcpLink
from merilo.readplan import cost_ms
from merilo_adapters.mqtt import Broker, address
from merilo_adapters.profile_files import load_profile
from merilo_adapters.yaml_file import ConfigErrors, Marked, load_yaml, validate
from merilo_gateway.bus import line_time
from merilo_gateway.modbus import Endpoint
from merilo_gateway.units import Ct, CurrentA, DurationMs, PowerW, SizeBytes

INTERVAL_MIN_MS = 250
INTERVAL_MAX_MS = 3_600_000
DEVICES_MAX = 247
"""Addresses of one serial line, by the Modbus specification."""
SIZE_MIN = 1_000_000
SECRET_BYTES_MAX = 4_096
PARITY = {"none": "N", "even": "E", "odd": "O"}


def _id_of(kind: str) -> AfterValidator:
    def check(text: str) -> str:
        return check_id(kind, text)

    return AfterValidator(check)


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected the name of a time zone as Europe/Sofia, found {text!r}") from None
    return text


def _url(text: str) -> str:
    try:
        address(text)
    except ConfigError as error:
        raise ValueError(f"{error.what}. {error.hint}".rstrip(". ")) from None
    return text


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Url = Annotated[str, AfterValidator(_url)]
DeviceId = Annotated[str, _id_of("device")]
MeterId = Annotated[str, _id_of("meter")]
Interval = Annotated[DurationMs, Field(ge=INTERVAL_MIN_MS, le=INTERVAL_MAX_MS)]


class Secret(_Model):
    """Where a secret is: never the secret itself."""

    file: str | None = None
    env: str | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("expected exactly one of file and env")
        return self

    def read(self, where: str, environment: Mapping[str, str]) -> str:
        """The secret.

        Raises:
            ConfigError: It is not there, or others may read it.
        """
        if self.env is not None:
            if not environment.get(self.env):
                raise ConfigError(where, f"the variable {self.env} is not set", "Set it, or use {file: PATH}")
            return environment[self.env]
        path = Path(os.path.expandvars(self.file or ""))
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="utf-8")[:SECRET_BYTES_MAX].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(where, f"{path}: cannot be read, {error}", "Check path and permissions") from error
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            raise ConfigError(where, f"{path}: everybody may read it", f"chmod 600 {path}")
        if not text:
            raise ConfigError(where, f"{path}: is empty", "Write the secret into it")
        return text


class BrokerModel(_Model):
    """The broker in the centre."""

    url: Annotated[tuple[Url, ...], BeforeValidator(_one_or_more), Field(min_length=1, max_length=8, strict=False)]
    login: str = ""
    """The generated login of this gateway, ``gw-…``; also its client id."""
    password: Secret | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None


class OutboxModel(_Model):
    """Readings on disk."""

    size: Annotated[SizeBytes, Field(ge=SIZE_MIN)] = 1_000_000_000
    grace: DurationMs = 7 * 86_400_000
    backlog_rate: Annotated[float, Field(ge=0)] = 400.0
    """Readings a second that are sent after an outage, 0 for as fast as possible."""


class MeterModel(_Model):
    """A meter that the file proposes."""

    meter: MeterId
    phase: Literal["", "l1", "l2", "l3"] = ""
    role: str = ""


class _DeviceModel(_Model):
    id: DeviceId
    profile: str
    role: str = ""
    parent: str = ""
    max_power: PowerW | None = None
    fuse: CurrentA | None = None
    meters: Annotated[tuple[MeterModel, ...], Field(strict=False)] = ()


class DeviceModel(_DeviceModel):
    """One device of a bus."""

    unit: Annotated[int, Field(ge=0, le=247)]
    ct: Ct | None = None
    interval: Interval | None = None

    @property
    def ct_ratio(self) -> float | None:
        """Primary over secondary current."""
        return None if self.ct is None else self.ct[0] / self.ct[1]


class BusModel(_Model):
    """A serial line, a serial line behind a network converter, or Modbus TCP."""

    name: str = ""
    type: Literal["", "serial", "tcp", "rtu-over-tcp"] = ""
    device: str = ""
    host: str = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    baud: Annotated[int, Field(ge=300, le=1_000_000)] = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    devices: Annotated[tuple[DeviceModel, ...], Field(min_length=1, max_length=DEVICES_MAX, strict=False)]

    @model_validator(mode="after")
    def _has_one_place(self) -> BusModel:
        if bool(self.device) == bool(self.host):
            raise ValueError("expected either device (a serial port) or host (Modbus TCP, or type: rtu-over-tcp)")
        if self.type and (self.type == "serial") != bool(self.device):
            raise ValueError(f"type {self.type} does not go with {'device' if self.device else 'host'}")
        if self.parity != "none" and self.stop_bits == 2:
            raise ValueError("expected one stop bit with a parity bit")
        return self

    @property
    def endpoint(self) -> Endpoint:
        """Where the bus is."""
        text = f"8{PARITY[self.parity]}{self.stop_bits}"
        forms: Mapping[str, Format] = {"8N1": "8N1", "8E1": "8E1", "8O1": "8O1", "8N2": "8N2"}
        if self.device:
            return Endpoint(kind="serial", device=self.device, baud=self.baud, format=forms[text])
        kind: Literal["tcp", "rtu-over-tcp"] = "rtu-over-tcp" if self.type == "rtu-over-tcp" else "tcp"
        return Endpoint(kind=kind, host=self.host, port=self.port, baud=self.baud, format=forms[text])


class MqttInModel(_DeviceModel):
    """A source that publishes on a broker of the site."""

    topic: Annotated[str, Field(min_length=1, max_length=500)]
    broker: BrokerModel
    interval: Interval = 10_000
    """Messages are thinned to this; the first one of each slot is taken."""


class HttpModel(_Model):
    """Where ``merilo up`` serves the page."""

    port: Annotated[int, Field(ge=1, le=65535)] = 8080


class GatewayModel(_Model):
    """The whole file."""

    version: Literal[1]
    company: Annotated[str, _id_of("company")]
    site: Annotated[str, _id_of("site")]
    gateway: Annotated[str, _id_of("gateway")] = "gw1"
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    interval: Interval = 10_000
    uplink: Literal["plain", "metered"] = "plain"
    clock: Literal["auto", "trusted"] = "auto"
    """trusted: never wait for a time service; for machines whose clock is set by other means."""
    broker: BrokerModel = BrokerModel(url=("mqtt://127.0.0.1:1883",))
    outbox: OutboxModel = OutboxModel()
    name: str = ""
    """With store and http what a site.yaml has besides: for ``merilo up``, passed over here."""
    store: str = ""
    http: HttpModel | None = None
    profiles: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Folders with profiles of your own."""
    buses: Annotated[tuple[BusModel, ...], Field(strict=False, max_length=32)] = ()
    mqtt_in: Annotated[tuple[MqttInModel, ...], Field(strict=False, max_length=100)] = ()


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


def devices_of(model: GatewayModel) -> dict[str, DeviceModel | MqttInModel]:
    """All devices by id."""
    found: dict[str, Any] = {device.id: device for bus in model.buses for device in bus.devices}
    found |= {source.id: source for source in model.mqtt_in}
    return found
