"""A run directory made ready for the next attempt of its job, whatever the attempts before left of it; and its log."""

import json
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.tables import Job, JobEvent
from trainer.files import drop_torn_line, write_atomically
from trainer.reporting import EVENTS_FILE
from trainer.run import LOG_FILE, RECIPE_FILE, RESULT_FILE


def prepare(session: Session, job: Job, directory: Path) -> None:
    """Write the recipe where it is missing, drop the result of an attempt before this one, and let events go on.

    In the transaction that makes the job run: a result that is there afterwards is this attempt's. Raises
    StorageFailure or OSError where the disk refuses.
    """
    if not (directory / RECIPE_FILE).exists():  # submitted to, or begun on, a machine with another disk
        write_atomically(directory / RECIPE_FILE, json.dumps(job.recipe, indent=2) + "\n")
    (directory / RESULT_FILE).unlink(missing_ok=True)
    if _last_sequence(directory) < job.events_seen:
        # numbered from 1 again, the new events would pass for ones already stored
        _restore_events(session, job, directory)


def log_tail(directory: Path, size: int) -> str:
    """The last ``size`` bytes of what the job's process wrote; empty where it wrote nothing yet."""
    path = directory / LOG_FILE
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read(size).decode("utf-8", "replace")


def _last_sequence(directory: Path) -> int:
    path = directory / EVENTS_FILE
    lines = drop_torn_line(path).splitlines() if path.exists() else []
    return int(json.loads(lines[-1])["sequence"]) if lines else 0


def _restore_events(session: Session, job: Job, directory: Path) -> None:
    rows = session.scalars(select(JobEvent).where(JobEvent.job == job.id).order_by(JobEvent.sequence))
    events = ({"sequence": row.sequence, "time": row.time.isoformat(), "type": row.type, **row.data} for row in rows)
    write_atomically(directory / EVENTS_FILE, "".join(json.dumps(event) + "\n" for event in events))
