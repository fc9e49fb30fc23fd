"""Servers that carry out jobs, and what each has for them: for refusing what none can do and saying why a job waits.

What is given to whom is decided by each server for its own devices; nothing here is a claim.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.db.tables import Worker
from service.slots import Machine

_HEARD_OF_SECONDS = 120.0
_KEPT_DAYS = 1


def register(session: Session, owner: str, machine: Machine) -> None:
    """Say that ``owner`` is there, and forget those that have not said so for a day."""
    now = datetime.now(UTC)
    session.merge(Worker(owner=owner, machine=machine.model_dump(mode="json"), seen_at=now))
    session.execute(delete(Worker).where(Worker.seen_at < now - timedelta(days=_KEPT_DAYS)))


def unregister(session: Session, owner: str) -> None:
    """Say that ``owner`` carries out no more jobs."""
    session.execute(delete(Worker).where(Worker.owner == owner))


def present(session: Session) -> dict[str, Machine]:
    """The machines of the servers that were heard of lately, by owner."""
    since = datetime.now(UTC) - timedelta(seconds=_HEARD_OF_SECONDS)
    rows = session.scalars(select(Worker).where(Worker.seen_at > since).order_by(Worker.owner))
    return {row.owner: Machine.model_validate(row.machine) for row in rows}
