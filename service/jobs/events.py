"""Carry a run's ``events.jsonl`` into the database as it grows."""

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.db.artifacts import record_artifact
from service.db.tables import Job, JobEvent, JobMetric
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, StorageFailure
from trainer.reporting import EVENTS_FILE

_BYTES_AT_ONCE = 1 << 20

Event = dict[str, Any]


class EventTail:
    """Reads the events after ``seen`` as they are written, each once. A torn last line is not an event yet."""

    def __init__(self, directory: Path, seen: int) -> None:
        self._path = directory / EVENTS_FILE
        self._offset = 0
        self._seen = seen

    def read(self) -> list[Event]:
        """The next events, at most about a megabyte of them; empty only at the end of what is written."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            while True:
                file.seek(self._offset)  # what follows may be the rest of a line that was torn
                lines = _whole(file.readlines(_BYTES_AT_ONCE))
                if not lines:
                    return []
                self._offset += sum(map(len, lines))
                events: list[Event] = [event for event in map(json.loads, lines) if event["sequence"] > self._seen]
                if events:
                    self._seen = events[-1]["sequence"]
                    return events


def _whole(lines: list[bytes]) -> list[bytes]:
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


def record_events(session: Session, job: Job, events: Sequence[Event], artifacts: ArtifactStore) -> None:
    """Store events of ``job`` and what follows from them: progress, metrics, published artifacts.

    Raises StorageFailure where the artifacts cannot be read at present.
    """
    if not events:
        return
    fixed = {"sequence", "time", "type"}
    session.execute(
        insert(JobEvent),
        [
            {
                "job": job.id,
                "sequence": event["sequence"],
                "time": datetime.fromisoformat(event["time"]),
                "type": event["type"],
                "data": {name: value for name, value in event.items() if name not in fixed},
            }
            for event in events
        ],
    )
    _record_metrics(session, job.id, [event for event in events if event["type"] == "metrics"])
    for event in events:
        if event["type"] == "progress":
            job.progress = {name: value for name, value in event.items() if name not in fixed}
        elif event["type"] == "artifact":
            _index(session, artifacts, event)
    job.events_seen = events[-1]["sequence"]


def _record_metrics(session: Session, job_id: str, events: Sequence[Event]) -> None:
    """Store numbers; a step that a resumed run repeated replaces what it said before."""
    values = {
        (event["stage"], name, event["step"]): value for event in events for name, value in event["values"].items()
    }
    if not values:
        return
    rows = [
        {"job": job_id, "stage": stage, "name": name, "step": step, "value": value}
        for (stage, name, step), value in values.items()
    ]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(JobMetric)
    key = ["job", "stage", "name", "step"]
    session.execute(statement.on_conflict_do_update(index_elements=key, set_={"value": statement.excluded.value}), rows)


def _index(session: Session, artifacts: ArtifactStore, event: Event) -> None:
    try:
        record_artifact(session, artifacts.open(f"{event['name']}@{event['version']}"))
    except StorageFailure:  # which another try may find
        raise
    except AssayError as error:  # the run's own outcome says whether it matters
        logging.getLogger(__name__).warning("artifact not indexed: %s", error)
