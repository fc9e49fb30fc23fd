"""`assay serve` for chained recipes: the real application, database and dispatcher, without models.

`chaos_server.py SETTINGS_JSON [ROWS_AT_ONCE HELD]`: in how large pieces runs are stored and deleted, unless as
everywhere. While there is a file HELD the last piece of a run is not stored, nor are its prompts deleted.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import Delete
from sqlalchemy.orm import Session

sys.path.append(str(Path(__file__).parent))

from chained_recipe import parse

from service.app import create_app
from service.db import deleting, ingest
from service.db.tables import Prompt
from service.jobs import retention
from service.jobs.executors.local_process import LocalExecutor, LocalProcess
from service.settings import Settings

settings = Settings.model_validate_json(sys.argv[1])
command = [sys.executable, str(Path(__file__).with_name("chained_recipe.py"))]


class Launched(LocalExecutor):
    """A chained recipe is a launcher of its child."""

    def start(self, directory: Path, launch: dict[str, Any]) -> LocalProcess:
        """See Executor."""
        return super().start(directory, {**launch, "processes": 2})


def in_small_pieces(rows: int, held: Path) -> None:
    """A server that is to be killed amid all this is not done before whoever kills it gets there."""
    deleting.ROWS_AT_ONCE = ingest.ROWS_AT_ONCE = rows
    all_batches, any_deletion = ingest.Ingestion.batches, retention.next_deletion

    def wait() -> None:
        while held.exists():
            time.sleep(0.01)

    def batches(ingestion: ingest.Ingestion) -> Iterator[ingest.Batch]:
        *others, last = all_batches(ingestion)
        yield from others
        wait()
        yield last

    def next_deletion(session: Session, job_id: str, *, reported: bool = False) -> Delete | None:
        deletion = any_deletion(session, job_id, reported=reported)
        if deletion is not None and deletion.table.name == Prompt.__tablename__:
            wait()
        return deletion

    ingest.Ingestion.batches = batches  # type: ignore[method-assign]
    retention.next_deletion = next_deletion


if sys.argv[2:]:
    in_small_pieces(int(sys.argv[2]), Path(sys.argv[3]))
app = create_app(settings, parse_recipe=parse, executor=Launched(settings.artifact_dir, command))
app.state.scoring.start = lambda: None  # torch takes longer to import than the rest of the test
uvicorn.run(app, port=settings.port, log_level="error")
