"""Entry point that Alembic calls; the connection comes from the caller, who also owns the transaction."""

from __future__ import annotations

from alembic import context

from merilo_adapters.registry.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
