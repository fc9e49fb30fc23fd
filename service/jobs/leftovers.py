"""What nobody needs and nobody will ask for: left by writers that were killed, or by what was forgotten since.

A thing goes only once nothing has touched it for an hour, and only where no lock says that its writer lives.
"""

import re
import shutil
import time
from pathlib import Path

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session, sessionmaker

from service.db.tables import Job
from service.jobs import run_lock
from service.jobs.retention import LEFT_ALONE_SECONDS
from service.settings import Settings
from trainer.artifacts import STAGING_DIRECTORY
from trainer.run_mirror import STAGING as MIRROR_STAGING
from trainer.shared_artifacts import SharedArtifactStore
from trainer.staging import CHECKPOINT_STAGING, last_touched, sweep

_UPLOAD = re.compile(r"[0-9a-f]{64}\.jsonl")


def tidy(make_session: sessionmaker[Session], settings: Settings) -> int:
    """Remove leftovers of artifacts, run directories and uploads; return how many things went."""
    gone = sweep(settings.artifact_dir / STAGING_DIRECTORY, LEFT_ALONE_SECONDS)
    if settings.runs_dir.is_dir():
        gone += sum(_tidy_run(directory) for directory in settings.runs_dir.iterdir() if directory.is_dir())
    gone += _tidy_uploads(make_session, settings.uploads_dir)
    artifacts = settings.open_artifacts()
    if isinstance(artifacts, SharedArtifactStore):
        gone += artifacts.collect()
    return gone


def _tidy_run(directory: Path) -> int:
    """A checkpoint or a copy half written, where no process works in the run directory."""
    gone = 0
    for left in (directory / CHECKPOINT_STAGING, directory / MIRROR_STAGING):
        if left.is_dir() and _untouched(left) and not run_lock.is_held(directory):
            shutil.rmtree(left, ignore_errors=True)
            gone += 1
    return gone


def _tidy_uploads(make_session: sessionmaker[Session], directory: Path) -> int:
    """Rows that came with a request of which no job is left, and files that were half written."""
    old = [path for path in directory.iterdir() if _untouched(path)] if directory.is_dir() else []
    if not old:
        return 0
    text = cast(Job.recipe, Text)
    with make_session() as session:
        recipes = session.scalars(select(text).where(text.contains(f"/{directory.name}/")))
        needed = {name for recipe in recipes for name in _UPLOAD.findall(recipe)}
    # looked at once more: a request that sends the same rows touches them
    unneeded = [path for path in old if path.name not in needed and _untouched(path)]
    for path in unneeded:
        path.unlink(missing_ok=True)
    return len(unneeded)


def _untouched(path: Path) -> bool:
    return time.time() - last_touched(path) >= LEFT_ALONE_SECONDS
