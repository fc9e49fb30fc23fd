"""Leftovers go once they are old and nobody holds or needs them; what a job may still read stays."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db.session import writing
from service.db.tables import Job
from service.jobs import run_lock
from service.jobs.leftovers import tidy
from service.settings import Settings


def make(path: Path, hours: float) -> Path:
    """A file untouched for so long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")
    for each in (path, path.parent):
        os.utime(each, (time.time() - 3600 * hours,) * 2)
    return path


def test_rows_of_requests_go_with_the_last_job_that_names_them(
    make_session: sessionmaker[Session], settings: Settings, submit_counting: Callable[..., str]
) -> None:
    needed, forgotten, young = (settings.uploads_dir / f"{digit * 64}.jsonl" for digit in "abc")
    make(needed, 5)
    make(forgotten, 5)
    make(settings.uploads_dir / f".{forgotten.name}.12-34.tmp", 5)
    make(young, 0.5)
    job_id = submit_counting()
    with writing(make_session) as session:
        job = session.get_one(Job, job_id)
        job.recipe = {**job.recipe, "path": str(needed)}

    assert tidy(make_session, settings) == 2
    assert sorted(settings.uploads_dir.iterdir()) == [needed, young]
    with writing(make_session) as session:
        session.delete(session.get_one(Job, job_id))
    assert tidy(make_session, settings) == 1
    assert sorted(settings.uploads_dir.iterdir()) == [young]


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_checkpoint_half_written_goes_unless_a_process_works_there(
    make_session: sessionmaker[Session], settings: Settings
) -> None:
    left = [make(settings.runs_dir / job / "checkpoints/.staging/state.pt", 2) for job in ("job_1", "job_2")]
    whole = make(settings.runs_dir / "job_1/checkpoints/step-00000001/state.pt", 2)
    young = make(settings.runs_dir / "job_3/checkpoints/.staging/state.pt", 0.1)
    lock = run_lock.acquire(settings.runs_dir / "job_2")
    assert tidy(make_session, settings) == 1
    assert [path.exists() for path in (*left, whole, young)] == [False, True, True, True]
    os.close(lock)
    assert tidy(make_session, settings) == 1


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_artifacts_half_written_go(make_session: sessionmaker[Session], settings: Settings) -> None:
    make(settings.artifact_dir / ".staging/0123/model.safetensors", 2)
    make(settings.artifact_dir / "kept/1/manifest.json", 2)
    assert tidy(make_session, settings) == 1
    assert list((settings.artifact_dir / ".staging").iterdir()) == []
    assert (settings.artifact_dir / "kept/1/manifest.json").is_file()
