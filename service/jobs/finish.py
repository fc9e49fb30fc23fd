"""The end of a run: what its result, its exit and its last words make of the job."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from service.db.deleting import next_deletion
from service.db.ingest import Ingestion
from service.db.session import writing
from service.db.tables import Job
from service.jobs.events import EventTail, record_events
from service.jobs.leases import Lease, owned
from service.jobs.queue import end, requeue
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, StorageFailure
from trainer.run import LOG_FILE, NO_STORAGE, read_result

_LAST_WORDS_BYTES = 4096


class _NotOurs(Exception):
    """The job belongs to somebody else by now."""


def finish(
    make_session: sessionmaker[Session],
    job_id: str,
    lease: Lease,
    directory: Path,
    artifacts: ArtifactStore,
    exit_status: int | None,
    give_up_at: float,
) -> Iterator[None]:
    """Record how a run that is no longer running ended, after what it reported and measured, in short transactions.

    Goes on with the next at each step, until there are no more; ends at once where the job belongs to somebody else by
    now. What was measured is visible once the job has succeeded, which the last transaction says; what a server that
    was killed amid had stored is deleted first. A run whose files cannot be stored has failed, and nothing of them
    stays. Raises only what another try, from the beginning, may mend: a database that is away or, up to ``give_up_at``
    on the monotonic clock, storage that is.
    """
    ours = _Ours(make_session, job_id, lease)
    try:
        yield from _store(ours, directory, artifacts, exit_status)
    except (OperationalError, InterfaceError):  # the database is away or full
        raise
    except _NotOurs:
        return
    except Exception as error:
        if isinstance(error, StorageFailure) and time.monotonic() < give_up_at:
            raise
        logging.getLogger(__name__).warning("files of %s not stored", job_id, exc_info=error)
        code = error.code if isinstance(error, AssayError) else "internal"
        failure = (code, f"what the run left could not be stored: {error}")
        with suppress(_NotOurs):
            yield from _discard(ours)
            with ours.writing() as (_, job):
                end(job, "failed", error=failure)


@dataclass(frozen=True)
class _Ours:
    """A running job of this owner."""

    make_session: sessionmaker[Session]
    job_id: str
    lease: Lease

    @contextmanager
    def writing(self) -> Iterator[tuple[Session, Job]]:
        """A transaction in which the job is locked and its lease renewed. Raises _NotOurs."""
        with writing(self.make_session) as session:
            job = owned(session, self.job_id, self.lease)
            if job is None:
                raise _NotOurs
            yield session, job


def _store(ours: _Ours, directory: Path, artifacts: ArtifactStore, exit_status: int | None) -> Iterator[None]:
    with ours.writing() as (_, job):
        tail = EventTail(directory, job.events_seen)
    while events := tail.read():
        with ours.writing() as (session, job):
            record_events(session, job, events, artifacts)
        yield
    yield from _discard(ours)
    content = read_result(directory)
    ingestion = Ingestion(ours.job_id, directory)
    if content is not None and content["status"] == "succeeded":
        for batch in ingestion.batches():
            with ours.writing() as (session, _):
                ingestion.insert(session, batch)
            yield
    with ours.writing() as (session, job):
        _decide(job, content, directory, exit_status)
        if job.status == "succeeded":
            session.flush()
            ingestion.conclude(session, job.kind)


def _discard(ours: _Ours) -> Iterator[None]:
    """Delete what there is of the run's measurements: nobody ever saw it."""
    while True:
        with ours.make_session() as session:
            deletion = next_deletion(session, ours.job_id)
        if deletion is None:
            return
        with ours.writing() as (session, _):
            session.execute(deletion)
        yield


def _decide(job: Job, content: dict[str, Any] | None, directory: Path, exit_status: int | None) -> None:
    cancelled = job.cancel_requested_at is not None
    match content and content["status"]:
        case "succeeded":
            end(job, "succeeded", result=content["result"] if content else None)
        case "failed":
            error = content["error"] if content else {}
            end(job, "failed", error=(error["code"], error["detail"]))
        case "stopped" if cancelled:
            end(job, "cancelled")
        case "stopped":  # asked by somebody else, such as a machine shutting down: not an attempt that failed
            job.attempts -= 1
            requeue(job)
        case _ if cancelled:
            end(job, "cancelled")
        case _ if exit_status is not None and exit_status > 0:
            code = StorageFailure.code if exit_status == NO_STORAGE else AssayError.code
            end(job, "failed", error=(code, _last_words(directory, exit_status)))
        case _ if job.attempts < job.max_attempts:
            requeue(job)
        case _:
            end(job, "lost", error=("lost", f"its process died {job.attempts} times without a result; see its log"))


def _last_words(directory: Path, exit_status: int) -> str:
    """What a process that left no result said last."""
    path = directory / LOG_FILE
    words = path.read_bytes()[-_LAST_WORDS_BYTES:].decode("utf-8", "replace").split("\n") if path.exists() else []
    said = [line.strip() for line in words if line.strip()]
    return said[-1] if said else f"its process ended with status {exit_status} and said nothing"
