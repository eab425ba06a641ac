"""Runs the steps on a connection that is already in a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from merilo_adapters.registry.migrations import Steps

if TYPE_CHECKING:
    import sqlalchemy as sa


def _config(steps: Steps, connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(steps.folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def script(steps: Steps) -> ScriptDirectory:
    """All steps of a folder."""
    return ScriptDirectory.from_config(_config(steps))


def is_known(steps: Steps, revision: str) -> bool:
    """Whether there is a way from that schema."""
    return revision in {step.revision for step in script(steps).walk_revisions()}


def upgrade(connection: sa.Connection, steps: Steps) -> None:
    """Brings the database behind the connection to the last schema, inside the connection's transaction."""
    command.upgrade(_config(steps, connection), steps.head)
