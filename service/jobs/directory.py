"""A run directory made ready for the next attempt of its job, whatever the attempts before left of it; and its log."""

import json
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.tables import Job, JobEvent
from service.settings import Settings
from trainer.files import write_atomically
from trainer.object_storage import Bucket
from trainer.reporting import EVENTS_FILE, last_sequence
from trainer.run import LOG_FILE, RECIPE_FILE, RESULT_FILE
from trainer.run_mirror import stored_file


def prepare(session: Session, job: Job, directory: Path) -> None:
    """Write the recipe where it is missing, drop the result of an attempt before this one, and let events go on.

    In the transaction that makes the job run: a result that is there afterwards is this attempt's. Raises
    StorageFailure or OSError where the disk refuses.
    """
    if not (directory / RECIPE_FILE).exists():  # submitted to, or begun on, a machine with another disk
        write_atomically(directory / RECIPE_FILE, json.dumps(job.recipe, indent=2) + "\n")
    (directory / RESULT_FILE).unlink(missing_ok=True)
    if last_sequence(directory) < job.events_seen:
        # numbered from 1 again, the new events would pass for ones already stored
        _restore_events(session, job, directory)


def log_tail(settings: Settings, job_id: str, size: int) -> str:
    """The last ``size`` bytes of what the job's process wrote; of one on another machine, as they were stored last."""
    path = settings.runs_dir / job_id / LOG_FILE
    if not path.is_file():
        url = settings.storage_url
        stored = None if url is None else stored_file(Bucket(url), job_id, LOG_FILE, last=size)
        return (stored or b"").decode("utf-8", "replace")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read(size).decode("utf-8", "replace")


def _restore_events(session: Session, job: Job, directory: Path) -> None:
    rows = session.scalars(select(JobEvent).where(JobEvent.job == job.id).order_by(JobEvent.sequence))
    events = ({"sequence": row.sequence, "time": row.time.isoformat(), "type": row.type, **row.data} for row in rows)
    write_atomically(directory / EVENTS_FILE, "".join(json.dumps(event) + "\n" for event in events))
