"""Whose a running job is: claimed by one owner, kept by signs of life, taken over once its owner is silent.

No clock is compared with another's. An owner changes the lease's column at every sign of life; who wants to take over
waits, on its own monotonic clock, until nothing has changed for as long as a lease lasts. So neither machines whose
clocks differ nor a clock that jumps can make two owners believe that a job is theirs.
"""

import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from service.db.tables import Job
from service.slots import Need


@dataclass(frozen=True)
class Lease:
    """A claim on running jobs: whose they are, and for how long after a last sign of life."""

    owner: str
    seconds: float

    def fields(self) -> dict[str, Any]:
        """The columns that say so from now on."""
        return {"lease_owner": self.owner, "lease_expires_at": datetime.now(UTC) + timedelta(seconds=self.seconds)}


@dataclass(frozen=True)
class Sign:
    """An owner's last sign of life at a job; ``until`` is None where the owner has given the job up."""

    owner: str | None
    until: datetime | None


def signs(session: Session) -> dict[str, Sign]:
    """The last sign of life at every running job."""
    rows = session.execute(select(Job.id, Job.lease_owner, Job.lease_expires_at).where(Job.status == "running"))
    return {job_id: Sign(owner, until) for job_id, owner, until in rows}


class Silence:
    """Remembers since when each running job has shown the same sign of life."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._since: dict[str, tuple[Sign, float]] = {}

    def over(self, seen: Mapping[str, Sign], watched: Iterable[str]) -> dict[str, Sign]:
        """Which of the running jobs ``seen`` now may be taken over.

        Those given up, those silent for as long as a lease lasts, and our own that we do not watch: a claim whose
        commit the database carried out but could not tell us of.
        """
        now = time.monotonic()
        before = self._since
        self._since = {
            job_id: before[job_id] if job_id in before and before[job_id][0] == sign else (sign, now)
            for job_id, sign in seen.items()
        }
        known = set(watched)
        return {
            job_id: sign
            for job_id, (sign, since) in self._since.items()
            if job_id not in known
            and (sign.until is None or sign.owner == self._lease.owner or now - since >= self._lease.seconds)
        }


def waiting(session: Session) -> Iterator[tuple[str, Need]]:
    """Who waits, longest first, and for what."""
    query = select(Job.id, Job.recipe["launch"], Job.memory_bytes).where(Job.status == "queued")
    for job_id, launch, memory_bytes in session.execute(query.order_by(Job.created_at, Job.id)):
        yield job_id, Need.of(launch or {}, memory_bytes)


def running_here(session: Session) -> Iterator[tuple[Need, tuple[str, ...]]]:
    """What the jobs take whose processes are recorded to be on this machine, whoever follows them."""
    query = select(Job.recipe["launch"], Job.memory_bytes, Job.process).where(Job.status == "running")
    for launch, memory_bytes, process in session.execute(query):
        if process and process.get("host") == socket.gethostname():
            yield Need.of(launch or {}, memory_bytes), tuple(process.get("gpus", ()))


def claim(session: Session, lease: Lease, job_id: str | None = None) -> Job | None:
    """Take a job that waits, the one that has waited longest unless said; None if it does no longer."""
    first = (
        select(Job.id)
        .where(Job.status == "queued", *([] if job_id is None else [Job.id == job_id]))
        .order_by(Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # PostgreSQL; SQLite has one writer at a time anyway
    )
    now = datetime.now(UTC)
    taken = session.execute(
        update(Job)
        .where(Job.id == first.scalar_subquery(), Job.status == "queued")
        .values(
            status="running",
            attempts=Job.attempts + 1,
            started_at=func.coalesce(Job.started_at, now),
            process=None,
            **lease.fields(),
        )
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return None if taken is None else session.get_one(Job, taken, populate_existing=True)


def take_over(session: Session, lease: Lease, job_id: str, sign: Sign) -> Job | None:
    """Take a running job whose owner gave no sign of life after ``sign``; None if it did, or somebody was faster."""
    taken = session.execute(
        update(Job)
        .where(
            Job.id == job_id,
            Job.status == "running",
            Job.lease_owner.is_not_distinct_from(sign.owner),
            Job.lease_expires_at.is_not_distinct_from(sign.until),
        )
        .values(**lease.fields())
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return None if taken is None else session.get_one(Job, taken, populate_existing=True)


def owned(session: Session, job_id: str, lease: Lease) -> Job | None:
    """The running job, locked until the transaction ends, with its lease renewed; None if it is no longer ours."""
    renewed: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Job)
        .where(Job.id == job_id, Job.status == "running", Job.lease_owner == lease.owner)
        .values(**lease.fields())
        .execution_options(synchronize_session=False)
    )
    return session.get_one(Job, job_id, populate_existing=True) if renewed.rowcount else None


def renew(session: Session, lease: Lease) -> None:
    """A sign of life at every job of this owner that it has not given up."""
    session.execute(
        update(Job)
        .where(Job.status == "running", Job.lease_owner == lease.owner, Job.lease_expires_at.is_not(None))
        .values(**lease.fields())
        .execution_options(synchronize_session=False)
    )


def release(session: Session, lease: Lease) -> None:
    """Give every job of this owner up, so that others take it over at once."""
    session.execute(
        update(Job)
        .where(Job.status == "running", Job.lease_owner == lease.owner)
        .values(lease_expires_at=None)
        .execution_options(synchronize_session=False)
    )
