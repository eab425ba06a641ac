"""gateway.yaml as it may be written: every key, its type and its limits."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from merilo.bustime import Format
from merilo.errors import ConfigError
from merilo.ids import check_id
from merilo.schema import ROLES
from merilo_adapters.mqtt import address
from merilo_adapters.yaml_file import did_you_mean
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


def _role(text: str) -> str:
    if text and text not in ROLES:
        meant = did_you_mean(text, ROLES)
        raise ValueError(f"expected one of {', '.join(ROLES)}, found {text[:40]!r}{f'. {meant}' if meant else ''}")
    return text


def _interval(at_ms: int) -> int:
    if not INTERVAL_MIN_MS <= at_ms <= INTERVAL_MAX_MS:
        raise ValueError(f"expected a time from 250ms to 1h, found {at_ms / 1000:g}s")
    return at_ms


def _size(size: int) -> int:
    if size < SIZE_MIN:
        raise ValueError(f"expected at least 1 MB, found {size} bytes")
    return size


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Url = Annotated[str, AfterValidator(_url)]
DeviceId = Annotated[str, _id_of("device")]
MeterId = Annotated[str, _id_of("meter")]
Role = Annotated[str, AfterValidator(_role)]
Interval = Annotated[DurationMs, AfterValidator(_interval)]


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

    size: Annotated[SizeBytes, AfterValidator(_size)] = 1_000_000_000
    grace: DurationMs = 7 * 86_400_000
    backlog_rate: Annotated[float, Field(ge=0)] = 400.0
    """Readings a second that are sent after an outage, 0 for as fast as possible."""


class MeterModel(_Model):
    """A meter that the file proposes."""

    meter: MeterId
    phase: Literal["", "l1", "l2", "l3"] = ""
    role: Role = ""


class _DeviceModel(_Model):
    id: DeviceId
    profile: str
    role: Role = ""
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


def devices_of(model: GatewayModel) -> dict[str, DeviceModel | MqttInModel]:
    """All devices by id."""
    found: dict[str, Any] = {device.id: device for bus in model.buses for device in bus.devices}
    found |= {source.id: source for source in model.mqtt_in}
    return found
