"""The end of a run: what its result, its exit and its last words make of the job."""

import logging
from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from service.db.ingest import ingest_run
from service.db.session import writing
from service.db.tables import Job
from service.jobs.events import EventTail, record_events
from service.jobs.leases import Lease, owned
from service.jobs.queue import end, requeue
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, StorageFailure
from trainer.run import LOG_FILE, NO_STORAGE, read_result

_LAST_WORDS_BYTES = 4096


def finish(
    make_session: sessionmaker[Session],
    job_id: str,
    lease: Lease,
    directory: Path,
    artifacts: ArtifactStore,
    exit_status: int | None,
) -> str | None:
    """Record how a run that is no longer running ended; store what it measured, in the same transaction.

    Returns the job's new status (``queued`` where it goes on), or None if the job belongs to somebody else by now.
    A run whose files cannot be stored has failed, and nothing of it is stored. Raises only what another try may mend.
    """
    try:
        with writing(make_session) as session:
            job = owned(session, job_id, lease)
            if job is None:
                return None
            _store_events(session, job, directory, artifacts)
            _decide(job, directory, exit_status)
            if job.status == "succeeded":
                session.flush()
                ingest_run(session, job_id, directory)
            return job.status
    except (OperationalError, InterfaceError):  # the database is away or full
        raise
    except Exception as error:
        logging.getLogger(__name__).warning("files of %s not stored", job_id, exc_info=error)
        code = error.code if isinstance(error, AssayError) else "internal"
        failure = (code, f"what the run left could not be stored: {error}")
    with writing(make_session) as session:
        job = owned(session, job_id, lease)
        if job is None:
            return None
        end(job, "failed", error=failure)
        return job.status


def _store_events(session: Session, job: Job, directory: Path, artifacts: ArtifactStore) -> None:
    tail = EventTail(directory, job.events_seen)
    while events := tail.read():
        record_events(session, job, events, artifacts)


def _decide(job: Job, directory: Path, exit_status: int | None) -> None:
    cancelled = job.cancel_requested_at is not None
    content = read_result(directory)
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
