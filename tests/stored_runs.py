"""Runs in the database, stored at once where a server stores them in pieces."""

from pathlib import Path

from sqlalchemy.orm import Session

from service.db.ingest import Ingestion
from service.db.tables import Job


def ingest_run(session: Session, run: str, directory: Path) -> None:
    """Store what is in ``directory`` as what the job ``run`` left."""
    ingestion = Ingestion(run, directory)
    for batch in ingestion.batches():
        ingestion.insert(session, batch)
    ingestion.conclude(session, session.get_one(Job, run).kind)
