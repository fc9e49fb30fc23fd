"""`assay serve` for chained recipes: the real application, database and dispatcher, without models.

`chaos_server.py SETTINGS_JSON [ROWS_AT_ONCE]`: in how large pieces runs are stored and deleted, unless as everywhere.
"""

import sys
from pathlib import Path
from typing import Any

import uvicorn

sys.path.append(str(Path(__file__).parent))

from chained_recipe import parse

from service.app import create_app
from service.db import deleting, ingest
from service.jobs.executors.local_process import LocalExecutor, LocalProcess
from service.settings import Settings

settings = Settings.model_validate_json(sys.argv[1])
if sys.argv[2:]:
    deleting.ROWS_AT_ONCE = ingest.ROWS_AT_ONCE = int(sys.argv[2])
command = [sys.executable, str(Path(__file__).with_name("chained_recipe.py"))]


class Launched(LocalExecutor):
    """A chained recipe is a launcher of its child."""

    def start(self, directory: Path, launch: dict[str, Any]) -> LocalProcess:
        """See Executor."""
        return super().start(directory, {**launch, "processes": 2})


app = create_app(settings, parse_recipe=parse, executor=Launched(settings.artifact_dir, command))
app.state.scoring.start = lambda: None  # torch takes longer to import than the rest of the test
uvicorn.run(app, port=settings.port, log_level="error")
