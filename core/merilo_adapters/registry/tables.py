"""The registry's tables and the work tables. What this says and what the migrations build is tested to be equal.

Instants are UTC milliseconds, energies mWh; a level that does not apply is the empty text: keys stay comparable.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A key that numbers itself: SQLite does so for INTEGER only."""


def _id(name: str, *, key: bool = True) -> Column[str]:
    return Column(name, String(32), primary_key=key, nullable=False)


def _text(name: str, length: int) -> Column[str]:
    return Column(name, String(length), nullable=False, default="", server_default="")


def _ms(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _maybe_ms(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=True)


def _device(*, key: bool = True) -> list[Column[str]]:
    return [_id(name, key=key) for name in ("company", "site", "gateway", "device")]


def _register(*, key: bool = True) -> list[Column[str]]:
    return [*_device(key=key), Column("register", String(64), primary_key=key, nullable=False)]


# Registry -------------------------------------------------------------------------------------------------------------

versions = Table(
    "versions",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""One row: the number that grows with every change, for callers that cache."""

changes = Table(
    "changes",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _ms("at_ms"),
    _text("actor", 120),
    _text("action", 40),
    _text("subject", 400),
    Column("detail", Text, nullable=False),
)
"""Who changed what, append-only."""

companies = Table(
    "companies",
    metadata,
    _id("id"),
    Column("name", String(120), nullable=False),
    Column("store_url", Text, nullable=True),
    Column("raw_days", Integer, nullable=True),
    _ms("created_ms"),
)

sites = Table(
    "sites",
    metadata,
    _id("company"),
    _id("id"),
    Column("name", String(120), nullable=False),
    Column("zone", String(64), nullable=False),
    _text("country", 2),
    Column("currency", String(3), nullable=False),
    ForeignKeyConstraint(["company"], ["companies.id"], name="fk_sites_company"),
)

gateways = Table(
    "gateways",
    metadata,
    _id("company"),
    _id("site"),
    _id("gateway"),
    Column("login", String(32), nullable=False),
    Column("password_hash", Text, nullable=False),
    _ms("created_ms"),
    _maybe_ms("revoked_ms"),
    ForeignKeyConstraint(["company", "site"], ["sites.company", "sites.id"], name="fk_gateways_site"),
    Index("ux_gateways_login", "login", unique=True),
)

devices = Table(
    "devices",
    metadata,
    *_device(),
    _text("model", 120),
    _text("serial", 120),
    _text("profile", 120),
    _text("profile_version", 120),
    _text("channel_of", 32),
    Column("interval_s", Float, nullable=False),
    Column("confirmed", Boolean, nullable=False),
    _text("proposed_role", 32),
    _ms("first_seen_ms"),
    Column("born", Boolean, nullable=False),
    Column("proposed_max_power_w", Float, nullable=True),
    Column("decided_max_power_w", Float, nullable=True),
    Column("proposed_zero_is_valid", Boolean, nullable=True),
    Column("decided_zero_is_valid", Boolean, nullable=True),
    ForeignKeyConstraint(
        ["company", "site", "gateway"],
        ["gateways.company", "gateways.site", "gateways.gateway"],
        name="fk_devices_gateway",
    ),
)
"""``born``: a birth message described it. ``proposed``: what its gateway says; ``decided``: what a person said."""

register_facts = Table(
    "register_facts",
    metadata,
    *_register(),
    _ms("valid_from_ms", key=True),
    Column("step_mwh", BigInteger, nullable=False),
    Column("rollover_mwh", BigInteger, nullable=True),
    Column("max_power_mw", BigInteger, nullable=False),
    Column("poll_interval_ms", BigInteger, nullable=False),
    Column("zero_is_valid", Boolean, nullable=False),
    _text("assumed", 120),
)
"""What the ledger must know of a register from an instant on; ``assumed`` names the facts that nobody stated."""

identities = Table(
    "identities",
    metadata,
    *_device(),
    _ms("at_ms", key=True),
    _text("serial_before", 120),
    _text("serial_after", 120),
    _text("profile_before", 120),
    _text("profile_after", 120),
)
"""When another device appeared under a known id."""

meters = Table(
    "meters",
    metadata,
    _id("company"),
    _id("site"),
    _id("meter"),
    _text("default_of", 100),
    _ms("created_ms"),
    ForeignKeyConstraint(["company", "site"], ["sites.company", "sites.id"], name="fk_meters_site"),
)
"""Ids that are taken for ever; ``default_of``: gateway/device, or gateway/device/part, that proposed it."""

meter_versions = Table(
    "meter_versions",
    metadata,
    _id("company"),
    _id("site"),
    _id("meter"),
    _ms("valid_from_ms", key=True),
    _maybe_ms("valid_to_ms"),
    Column("role", String(32), nullable=False),
    Column("parent", String(32), nullable=True),
    Column("confirmed", Boolean, nullable=False),
    Column("gateway", String(32), nullable=True),
    Column("device", String(32), nullable=True),
    _text("phase", 2),
    Column("expression", Text, nullable=True),
    ForeignKeyConstraint(
        ["company", "site", "meter"], ["meters.company", "meters.site", "meters.meter"], name="fk_meter_versions_meter"
    ),
    Index("ix_meter_versions_device", "company", "site", "gateway", "device"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _id("company", key=False),
    _id("site", key=False),
    _text("gateway", 32),
    _text("device", 32),
    _text("register", 64),
    _text("meter", 32),
    Column("kind", String(20), nullable=False),
    _ms("from_ms"),
    _ms("to_ms"),
    Column("parameters", Text, nullable=False),
    _text("reason", 400),
    _text("evidence", 400),
    _text("author", 120),
    _ms("created_ms"),
    _maybe_ms("revoked_ms"),
    _text("revoked_by", 120),
    Index("ix_decisions_site", "company", "site"),
)
"""Append-only: a revoked one stays and carries when and by whom."""

events = Table(
    "events",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _id("company", key=False),
    _text("site", 32),
    _text("gateway", 32),
    _text("device", 32),
    _text("register", 64),
    _text("meter", 32),
    Column("kind", String(32), nullable=False),
    _text("code", 64),
    _ms("at_ms"),
    _maybe_ms("end_ms"),
    Column("parameters", Text, nullable=False),
    Column("gone", Boolean, nullable=False),
    Index("ix_events_place", "company", "site", "at_ms"),
    Index("ix_events_register", "company", "site", "gateway", "device", "register", "at_ms"),
)
"""Ledger events keep their number when they go (``gone``) and come again; the register is empty for all others."""

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("company", String(32), nullable=True),
    _text("scopes", 200),
    _text("name", 120),
    Column("secret_sha256", String(64), nullable=False),
    _ms("created_ms"),
    _maybe_ms("revoked_ms"),
)

# Work -----------------------------------------------------------------------------------------------------------------

touched = Table(
    "work_touched",
    metadata,
    *_register(),
    _ms("first_ms"),
    _ms("last_ms"),
    sqlite_with_rowid=False,
)

received = Table(
    "work_received",
    metadata,
    _id("company"),
    _id("site"),
    _id("gateway"),
    Column("epoch", String(16), primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Index("ix_work_received_last", "company", "site", "gateway", "epoch", "last"),
    sqlite_with_rowid=False,
)

dead_letters = Table(
    "work_dead_letters",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _ms("at_ms"),
    Column("topic", Text, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    _text("company", 32),
    _text("site", 32),
    _text("gateway", 32),
    Column("seq", BigInteger, nullable=True),
)

day_sums = Table(
    "work_day_sums",
    metadata,
    *_device(),
    _ms("day_ms", key=True),
    Column("count", BigInteger, nullable=False),
    Column("low", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The checksum's two 32-bit halves are summed apart, so that no sum leaves 64 bits; carried over when read."""

counters = Table(
    "work_counters",
    metadata,
    Column("scope", String(200), primary_key=True),
    Column("name", String(80), primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

book_rows = Table(
    "work_book_rows",
    metadata,
    Column("company", String(32), primary_key=True),
    Column("measurement", String(40), primary_key=True),
    Column("series", String(300), primary_key=True),
    _ms("day_ms", key=True),
    Column("hashes", LargeBinary, nullable=False),
)

checkpoints = Table(
    "work_checkpoints",
    metadata,
    *_register(),
    Column("kind", String(4), primary_key=True),
    _ms("t_ms", key=True),
    _ms("v_ms"),
    Column("blob", LargeBinary, nullable=False),
)
