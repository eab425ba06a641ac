"""Runs the steps on a connection that is already in a transaction."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    import sqlalchemy as sa


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("merilo_adapters.registry.migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def script() -> ScriptDirectory:
    """All steps."""
    return ScriptDirectory.from_config(_config())


def is_known(revision: str) -> bool:
    """Whether this release has a way from that schema."""
    return revision in {step.revision for step in script().walk_revisions()}


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Brings the database behind the connection to the revision, inside the connection's transaction."""
    command.upgrade(_config(connection), revision)
