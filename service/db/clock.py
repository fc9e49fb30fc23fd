"""The time that all servers of a database agree on."""

from datetime import UTC, datetime

from sqlalchemy import func
from sqlalchemy.orm import Session


def now(session: Session) -> datetime:
    """PostgreSQL's own, whatever a server's clock says; servers of a SQLite file are on one machine and share its."""
    if session.get_bind().dialect.name == "postgresql":
        told: datetime = session.scalars(func.clock_timestamp().select()).one()
        return told.astimezone(UTC)
    return datetime.now(UTC)
