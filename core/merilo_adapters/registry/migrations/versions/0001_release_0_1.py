"""First schema: release 0.1."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Builds all tables."""
    op.create_table(
        "changes",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("actor", sa.String(length=120), server_default="", nullable=False),
        sa.Column("action", sa.String(length=40), server_default="", nullable=False),
        sa.Column("subject", sa.String(length=400), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "companies",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("store_url", sa.Text(), nullable=True),
        sa.Column("raw_days", sa.Integer(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "decisions",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), server_default="", nullable=False),
        sa.Column("device", sa.String(length=32), server_default="", nullable=False),
        sa.Column("register", sa.String(length=64), server_default="", nullable=False),
        sa.Column("meter", sa.String(length=32), server_default="", nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("to_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=400), server_default="", nullable=False),
        sa.Column("evidence", sa.String(length=400), server_default="", nullable=False),
        sa.Column("author", sa.String(length=120), server_default="", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", sa.String(length=120), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_decisions_site", "decisions", ["company", "site"], unique=False)
    op.create_table(
        "events",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), server_default="", nullable=False),
        sa.Column("gateway", sa.String(length=32), server_default="", nullable=False),
        sa.Column("device", sa.String(length=32), server_default="", nullable=False),
        sa.Column("register", sa.String(length=64), server_default="", nullable=False),
        sa.Column("meter", sa.String(length=32), server_default="", nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=64), server_default="", nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=True),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_events_place", "events", ["company", "site", "at_ms"], unique=False)
    op.create_index(
        "ix_events_register", "events", ["company", "site", "gateway", "device", "register", "at_ms"], unique=False
    )
    op.create_table(
        "identities",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("serial_before", sa.String(length=120), server_default="", nullable=False),
        sa.Column("serial_after", sa.String(length=120), server_default="", nullable=False),
        sa.Column("profile_before", sa.String(length=120), server_default="", nullable=False),
        sa.Column("profile_after", sa.String(length=120), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("company", "site", "gateway", "device", "at_ms"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("company", sa.String(length=32), nullable=True),
        sa.Column("scopes", sa.String(length=200), server_default="", nullable=False),
        sa.Column("name", sa.String(length=120), server_default="", nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "register_facts",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("register", sa.String(length=64), nullable=False),
        sa.Column("valid_from_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step_mwh", sa.BigInteger(), nullable=False),
        sa.Column("rollover_mwh", sa.BigInteger(), nullable=True),
        sa.Column("max_power_mw", sa.BigInteger(), nullable=False),
        sa.Column("poll_interval_ms", sa.BigInteger(), nullable=False),
        sa.Column("zero_is_valid", sa.Boolean(), nullable=False),
        sa.Column("assumed", sa.String(length=120), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("company", "site", "gateway", "device", "register", "valid_from_ms"),
    )
    op.create_table(
        "versions",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "work_checkpoints",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("register", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("t_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("v_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("company", "site", "gateway", "device", "register", "kind", "t_ms"),
    )
    op.create_table(
        "work_book_rows",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("measurement", sa.String(length=40), nullable=False),
        sa.Column("series", sa.String(length=300), nullable=False),
        sa.Column("day_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("company", "measurement", "series", "day_ms"),
    )
    op.create_table(
        "work_counters",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "work_day_sums",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("day_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("company", "site", "gateway", "device", "day_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "work_dead_letters",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("company", sa.String(length=32), server_default="", nullable=False),
        sa.Column("site", sa.String(length=32), server_default="", nullable=False),
        sa.Column("gateway", sa.String(length=32), server_default="", nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "work_received",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.String(length=16), nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("company", "site", "gateway", "epoch", "first"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_work_received_last", "work_received", ["company", "site", "gateway", "epoch", "last"], unique=False
    )
    op.create_table(
        "work_touched",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("register", sa.String(length=64), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("company", "site", "gateway", "device", "register"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sites",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("country", sa.String(length=2), server_default="", nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.ForeignKeyConstraint(["company"], ["companies.id"], name="fk_sites_company"),
        sa.PrimaryKeyConstraint("company", "id"),
    )
    op.create_table(
        "gateways",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("login", sa.String(length=32), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["company", "site"], ["sites.company", "sites.id"], name="fk_gateways_site"),
        sa.PrimaryKeyConstraint("company", "site", "gateway"),
    )
    op.create_index("ux_gateways_login", "gateways", ["login"], unique=True)
    op.create_table(
        "meters",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("meter", sa.String(length=32), nullable=False),
        sa.Column("default_of", sa.String(length=100), server_default="", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["company", "site"], ["sites.company", "sites.id"], name="fk_meters_site"),
        sa.PrimaryKeyConstraint("company", "site", "meter"),
    )
    op.create_table(
        "devices",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=120), server_default="", nullable=False),
        sa.Column("serial", sa.String(length=120), server_default="", nullable=False),
        sa.Column("profile", sa.String(length=120), server_default="", nullable=False),
        sa.Column("profile_version", sa.String(length=120), server_default="", nullable=False),
        sa.Column("channel_of", sa.String(length=32), server_default="", nullable=False),
        sa.Column("interval_s", sa.Float(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("proposed_role", sa.String(length=32), server_default="", nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("born", sa.Boolean(), nullable=False),
        sa.Column("proposed_max_power_w", sa.Float(), nullable=True),
        sa.Column("decided_max_power_w", sa.Float(), nullable=True),
        sa.Column("proposed_zero_is_valid", sa.Boolean(), nullable=True),
        sa.Column("decided_zero_is_valid", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(
            ["company", "site", "gateway"],
            ["gateways.company", "gateways.site", "gateways.gateway"],
            name="fk_devices_gateway",
        ),
        sa.PrimaryKeyConstraint("company", "site", "gateway", "device"),
    )
    op.create_table(
        "meter_versions",
        sa.Column("company", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=32), nullable=False),
        sa.Column("meter", sa.String(length=32), nullable=False),
        sa.Column("valid_from_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("valid_to_ms", sa.BigInteger(), nullable=True),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("parent", sa.String(length=32), nullable=True),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=True),
        sa.Column("device", sa.String(length=32), nullable=True),
        sa.Column("phase", sa.String(length=2), server_default="", nullable=False),
        sa.Column("expression", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["company", "site", "meter"],
            ["meters.company", "meters.site", "meters.meter"],
            name="fk_meter_versions_meter",
        ),
        sa.PrimaryKeyConstraint("company", "site", "meter", "valid_from_ms"),
    )
    op.create_index(
        "ix_meter_versions_device", "meter_versions", ["company", "site", "gateway", "device"], unique=False
    )
    op.execute("INSERT INTO versions (name, value) VALUES ('registry', 1)")
