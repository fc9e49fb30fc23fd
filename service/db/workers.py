"""Servers that carry out jobs, and what each has for them: for refusing what none can do and saying why a job waits.

What is given to whom is decided by each server for its own devices; nothing here is a claim.
"""

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.db.clock import now
from service.db.tables import Worker
from service.slots import Machine

_HEARD_OF_SECONDS = 120.0
_KEPT_DAYS = 1


def register(session: Session, owner: str, machine: Machine) -> None:
    """Say that ``owner`` is there, and forget those that have not said so for a day."""
    time = now(session)
    session.merge(Worker(owner=owner, machine=machine.model_dump(mode="json"), seen_at=time))
    session.execute(delete(Worker).where(Worker.seen_at < time - timedelta(days=_KEPT_DAYS)))


def unregister(session: Session, owner: str) -> None:
    """Say that ``owner`` carries out no more jobs."""
    session.execute(delete(Worker).where(Worker.owner == owner))


def present(session: Session) -> dict[str, Machine]:
    """The machines of the servers that were heard of lately, by owner; one heard of in time to come is not one.

    After a clock was put back those that are there say so again, and those that are not would stay for as long.
    """
    time, lately = now(session), timedelta(seconds=_HEARD_OF_SECONDS)
    heard_of = select(Worker).where(Worker.seen_at > time - lately, Worker.seen_at < time + lately)
    rows = session.scalars(heard_of.order_by(Worker.owner))
    return {row.owner: Machine.model_validate(row.machine) for row in rows}
