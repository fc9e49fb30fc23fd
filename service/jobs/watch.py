"""Follow one running job: store its events, keep its lease, carry out a cancellation, notice its end."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.db.tables import Job
from service.jobs.events import EventTail, record_events
from service.jobs.executors import Process
from service.jobs.finish import finish
from service.jobs.leases import Lease, owned
from service.jobs.queue import put_back
from service.jobs.strays import end_if_stray
from trainer.artifacts import ArtifactStore
from trainer.errors import StorageFailure
from trainer.reporting import STOP_FILE
from trainer.run import read_result

_SECONDS_FOR_STORAGE = 10.0
"""After which storage that was away is asked again."""
_PATIENCE_SECONDS = 300.0
"""For which the end of a run waits for it."""


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
        self._ended: float | None = None
        self._ending: Iterator[None] | None = None
        self._storage_again = float("-inf")

    def look(self) -> bool:
        """Bring the job's row up to date; True once there is nothing more to watch. May raise and be called again.

        Storage that is away delays what this job reported, and nothing else.
        """
        stored = True
        try:
            if time.monotonic() >= self._storage_again:
                if self._ending is not None or not self._process.is_running():
                    return self._end()
                stored = self.store_events()
        except StorageFailure as error:
            logging.getLogger(__name__).error("%s: trying again: %s", self.job_id, error.detail)
            self._storage_again = time.monotonic() + _SECONDS_FOR_STORAGE
        if not stored:
            # whoever took the job over follows this very process, or has given it up
            return end_if_stray(self._make_session, self.job_id, self._process)
        if self._ending is None and self._process.is_running():
            self._stop_if_cancelled()
        return False

    @property
    def hurried(self) -> bool:
        """Whether there is more to do at once."""
        return self._ending is not None

    def _end(self) -> bool:
        """The next step of recording how the run ended; True after the last."""
        if self._ended is None:
            self._ended = time.monotonic()
        if self._ending is None:
            self._process.kill()  # whatever the process started and left behind
            self._ending = finish(
                self._make_session,
                self.job_id,
                self._lease,
                self._directory,
                self._artifacts,
                self._process.exit_status(),
                give_up_at=self._ended + _PATIENCE_SECONDS,
            )
        try:
            for _ in self._ending:
                return False
        except BaseException:
            self._ending = None  # to begin again
            raise
        return True

    def store_events(self) -> bool:
        """Store new events and renew the lease in time; False if the job belongs to somebody else by now.

        Raises StorageFailure where what they tell of cannot be read at present.
        """
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

    def ask_to_stop(self) -> None:
        """Let the run save and end. To be called again and again: a run removes a stale request when it begins."""
        if self._ending is None:
            (self._directory / STOP_FILE).touch()

    def put_back(self) -> None:
        """End a run that is still at work; its job waits on, and this was not an attempt that failed.

        One that was cancelled and killed for it is over.
        """
        if self._ending is not None or not (self._process.is_running() or self._cancelled is not None):
            return
        self._process.kill()
        if read_result(self._directory) is not None:
            return  # it had ended, and whoever takes it over records how
        with writing(self._make_session) as session:
            if job := owned(session, self.job_id, self._lease):
                put_back(job, "its server ended before it had saved")

    def _stop_if_cancelled(self) -> None:
        """First a stop file, which lets the run save; then SIGTERM; then SIGKILL."""
        if self._cancelled is None:
            with self._make_session() as session:
                requested = session.scalars(select(Job.cancel_requested_at).where(Job.id == self.job_id)).first()
            if requested is None:
                return
            self._cancelled = time.monotonic()
        self.ask_to_stop()
        waited = time.monotonic() - self._cancelled
        if waited >= self._grace:
            self._process.kill()
        elif waited >= self._grace / 3 and not self._terminated:
            self._terminated = True
            self._process.terminate()
