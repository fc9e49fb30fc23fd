"""Alembic's entry: migrates the connection it is handed, or the database of the settings from a shell."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import JSON, Connection, TypeDecorator

from service.db.session import make_engine
from service.db.tables import Table
from service.settings import load_settings


def migrate(connection: Connection) -> None:
    """Run what was asked for on ``connection``, in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        render_as_batch=True,  # SQLite alters a table by copying it
        compare_type=True,
        compare_server_default=True,
        render_item=render_plain_type,
    )
    with context.begin_transaction():
        context.run_migrations()


def render_plain_type(kind: str, item: object, autogen_context: Any) -> str | Literal[False]:  # noqa: ANN401
    """Write plain SQLAlchemy types into migrations, which must not change when this code does."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    if kind == "type" and isinstance(item, JSON):
        return "sa.JSON()"
    return False


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    engine = make_engine(load_settings().database_url)
    with engine.begin() as own:
        migrate(own)
    engine.dispose()
