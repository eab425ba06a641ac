"""Shapes of the answers, for the description of the API alone: what is sent is encoded from columns directly."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Instant = Field(
    description="RFC 3339 in UTC", examples=["2026-10-24T21:00:00Z"], json_schema_extra={"format": "date-time"}
)
State = Literal["metered", "bridged", "estimated", "missing"]


class Answer(BaseModel):
    """A body of this API; fields may be added, never renamed."""

    model_config = ConfigDict(extra="allow")


class Period(Answer):
    """[start, end) and the zone that cuts its days."""

    start: str = Instant
    end: str = Field(
        description="Excluded", examples=["2026-10-25T22:00:00Z"], json_schema_extra={"format": "date-time"}
    )
    tz: str = Field(examples=["Europe/Sofia"])


class Meta(Answer):
    """What a body is about."""

    period: Period
    resolution: str = Field(examples=["1h"])
    unit: str | None = Field(None, examples=["Wh"])
    generated_at: str | None = Field(
        description="When it was made; null where the period is over: then stored rows decide"
    )


class Notice(Answer):
    """Something to know or to do: a code with parameters, and words in the language that was asked for."""

    code: str = Field(examples=["gateway_silent"])
    level: Literal["fault", "warning", "step"]
    parameters: dict[str, Any]
    text: str = Field(examples=["Gateway gw1 is silent."])
    step: str = Field(description="What to do next", examples=["Check power and network there, then:"])
    command: str = Field(description="The command that does it, or empty", examples=["merilo gateway check"])


class Problem(Answer):
    """RFC 9457: what was refused, and why."""

    type: str
    title: str
    status: int
    code: str = Field(description="Closed code for programs", examples=["offset_missing"])
    detail: str = Field(examples=["from: expected an offset as in 2026-10-01T00:00:00+03:00 or tz=, found none"])
    errors: list[ProblemPart] = Field(default=[], description="Each fault with its place")


class ProblemPart(Answer):
    """One fault of a request."""

    pointer: str = Field(examples=["query/from"])
    code: str
    text: str


class CompanyRow(Answer):
    """A company."""

    id: str
    name: str
    raw_days: int | None = Field(description="Days that readings are kept as read; null: for ever")


class Companies(Answer):
    """The companies that this key may see."""

    companies: list[CompanyRow]
    next: None = None


class SiteRow(Answer):
    """One place of a company."""

    id: str
    name: str
    tz: str = Field(description="IANA zone that cuts its days and months")
    country: str
    currency: str


class Sites(Answer):
    """The sites of a company."""

    sites: list[SiteRow]
    next: None = None


class DeviceRow(Answer):
    """What a gateway talks to."""

    id: str
    gateway: str
    model: str
    serial: str
    profile: str
    channel_of: str | None = Field(description="The device this one is an outlet or branch of")
    interval_s: float = Field(description="Distance of its polls [s]")
    confirmed: bool
    proposed_role: str | None
    first_seen: str
    max_power_w: float | None = Field(description="Largest mean power it can truthfully show [W]")


class Devices(Answer):
    """The devices of a site."""

    devices: list[DeviceRow]
    next: None = None


class MeterVersion(Answer):
    """A meter as it is defined in [valid_from, valid_to)."""

    id: str
    role: str
    parent: str | None
    confirmed: bool
    device: str | None = Field(description="gateway/device")
    phase: str | None
    expression: str | None = Field(description="Sums, differences and shares of meters: a + b - 0.4*c")
    valid_from: str
    valid_to: str | None


class MeterRow(MeterVersion):
    """A meter: its present definition, and all dated ones."""

    versions: list[MeterVersion]


class Meters(Answer):
    """The meters of a site."""

    meters: list[MeterRow]
    next: None = None


class EnergySeries(Answer):
    """Rows of one meter in columns of equal length."""

    id: str
    role: str
    unit: Literal["Wh"]
    start: list[str]
    end: list[str]
    value: list[float | None] = Field(description="Energy towards the load [Wh]; null: missing, never 0")
    energy_metered_wh: list[float | None] = Field(description="Part from an intact register, course known [Wh]")
    energy_bridged_wh: list[float | None] = Field(description="Part whose total is known, its course is not [Wh]")
    energy_estimated_wh: list[float | None] = Field(description="Part by a stated rule or an operator [Wh]")
    energy_low_wh: list[float | None] = Field(description="What is known at least [Wh]")
    energy_export_wh: list[float | None] | None = Field(None, description="Energy towards the grid [Wh]")
    power_mean_w: list[float | None] = Field(description="Energy by the time that has energy [W]")
    power_max_w: list[float | None] = Field(description="Largest 15-minute mean of metered intervals [W]")
    coverage: list[float | None] = Field(description="Share of the 15-minute intervals metered or bridged, 0 to 1")
    state: list[State | None] | None = Field(None, description="Only with resolution=15m")


class Envelope(Answer):
    """One figure with everything that belongs to it."""

    meter: str
    value: float | None
    unit: str
    period: Period
    label: str = Field(description="complete, partial (gaps), or provisional (not over)")
    method: str
    method_version: str
    coverage: float
    estimated_share: float | None
    uncertainty: dict[str, Any] | None
    uncertainty_reason: str | None
    inputs: dict[str, Any]
    warnings: list[str]
    reason: str | None = Field(description="Set exactly when the value is null")
    id: str


class Energy(Answer):
    """Energy of the meters of a site."""

    meta: Meta
    series: list[EnergySeries]
    sums: list[Envelope] = Field(description="Each meter over the whole period")
    notices: list[Notice]
    next: None = None


class PlainSeries(Answer):
    """One quantity in columns of equal length."""

    id: str
    role: str | None = None
    quantity: str
    unit: str
    start: list[str]
    value: list[float | None]


class SeriesAnswer(Answer):
    """Power of meters, or readings of a device."""

    meta: Meta
    series: list[PlainSeries]
    notices: list[Notice]
    next: None = None


class QualitySeries(Answer):
    """Local days of one device in columns of equal length; a counter that no day has is left out."""

    id: str = Field(description="gateway/device")
    start: list[str]
    coverage: list[float | None]


class Quality(Answer):
    """Daily quality of the devices of a site."""

    meta: Meta
    series: list[QualitySeries]
    notices: list[Notice]
    next: None = None


class EventRow(Answer):
    """Something that happened."""

    number: int
    kind: str
    code: str = Field(examples=["reset"])
    at: str
    end: str | None
    gateway: str | None
    device: str | None
    register_: str | None = Field(alias="register")
    meter: str | None
    text: str = Field(description="In the language that was asked for")
    parameters: dict[str, Any]


class Events(Answer):
    """What happened, oldest first."""

    meta: Meta
    events: list[EventRow]
    next: str | None = Field(description="Address of the following events, null at the end")


class Booked(Answer):
    """Energy of a running period."""

    value: float | None = Field(description="Booked and provisional together [Wh]")
    booked_wh: float | None
    provisional_wh: float = Field(description="Since the last booked quarter of an hour, from live power [Wh]")
    coverage: float | None = Field(description="Of the booked part")
    start: str
    booked_until: str | None


class NowMeter(Answer):
    """A meter at present."""

    id: str
    role: str
    power_w: float | None = Field(description="Mean of the last whole minute [W]; null: none in the last 5 minutes")
    power_at: str | None
    today: Booked
    month: Booked


class Now(Answer):
    """What the page shows."""

    at: str
    tz: str
    total: NowMeter | None = Field(description="All meters of role main together")
    meters: list[NowMeter]
    notices: list[Notice]


class Health(Answer):
    """Does data move?"""

    at: str
    ok: bool
    companies: list[CompanyHealth]
    books: dict[str, int]
    rejected: dict[str, int] = Field(description="What was not taken, by reason")
    next: None = None


class CompanyHealth(Answer):
    """Everything that is known of one company's data."""

    id: str
    store: dict[str, Any]
    gateways: list[dict[str, Any]]
    devices: list[dict[str, Any]]
    sites: list[dict[str, Any]]
    rejected: dict[str, int]
    dead_letters: dict[str, int] = Field(description="Refused messages that are kept and can be replayed, by reason")
    notices: list[Notice]
