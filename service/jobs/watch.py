"""Follow one running job: store its events, keep its lease, carry out a cancellation, notice its end."""

import time
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.db.tables import Job
from service.jobs.events import EventTail, record_events
from service.jobs.executors import Process
from service.jobs.finish import finish
from service.jobs.leases import Lease, owned
from service.jobs.strays import end_if_stray
from trainer.artifacts import ArtifactStore
from trainer.reporting import STOP_FILE


class Watch:
    """One running job of this owner. ``look`` is called again and again, by one thread, until it says so."""

    def __init__(
        self,
        job_id: str,
        directory: Path,
        process: Process,
        *,
        make_session: sessionmaker[Session],
        lease: Lease,
        artifacts: ArtifactStore,
        cancel_grace_seconds: float,
    ) -> None:
        self.job_id = job_id
        self._directory = directory
        self._process = process
        self._make_session = make_session
        self._lease = lease
        self._artifacts = artifacts
        self._grace = cancel_grace_seconds
        self._tail: EventTail | None = None
        self._renewed = float("-inf")
        self._cancelled: float | None = None
        self._terminated = False

    def look(self) -> bool:
        """Bring the job's row up to date; True once there is nothing more to watch. May raise and be called again."""
        if self._process.is_running():
            if not self.store_events():
                # whoever took the job over follows this very process, or has given it up
                return end_if_stray(self._make_session, self.job_id, self._process)
            self._stop_if_cancelled()
            return False
        self._process.kill()  # whatever the process started and left behind
        status = self._process.exit_status()
        finish(self._make_session, self.job_id, self._lease, self._directory, self._artifacts, status)
        return True

    def store_events(self) -> bool:
        """Store new events and renew the lease in time; False if the job belongs to somebody else by now."""
        if self._tail is None:
            with self._make_session() as session:
                seen = session.scalars(select(Job.events_seen).where(Job.id == self.job_id)).one_or_none()
            if seen is None:
                return False
            self._tail = EventTail(self._directory, seen)
        try:
            events = self._tail.read()
            if not events and time.monotonic() - self._renewed < self._lease.seconds / 3:
                return True
            with writing(self._make_session) as session:
                job = owned(session, self.job_id, self._lease)
                if job is None:
                    self._tail = None  # what was read is not stored: read it again, should the job come back
                    return False
                record_events(session, job, events, self._artifacts)
        except BaseException:
            self._tail = None
            raise
        self._renewed = time.monotonic()
        return True

    def _stop_if_cancelled(self) -> None:
        """First a stop file, which lets the run save; then SIGTERM; then SIGKILL."""
        if self._cancelled is None:
            with self._make_session() as session:
                requested = session.scalars(select(Job.cancel_requested_at).where(Job.id == self.job_id)).first()
            if requested is None:
                return
            self._cancelled = time.monotonic()
        (self._directory / STOP_FILE).touch()  # again and again: a run removes a stale one when it begins
        waited = time.monotonic() - self._cancelled
        if waited >= self._grace:
            self._process.kill()
        elif waited >= self._grace / 3 and not self._terminated:
            self._terminated = True
            self._process.terminate()
