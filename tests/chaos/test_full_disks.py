"""A full disk fails the job that meets it and says so; once there is room the job goes on as if nothing had been.

The disk is full for one file at a time (RLIMIT_FSIZE), which needs no rights and no mount.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import get_job, list_events
from service.db.records import TERMINAL, JobRecord
from service.db.schema import upgrade
from service.db.session import make_engine, sessions, writing
from service.db.tables import Score
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.queue import resume, submit
from service.settings import Settings
from trainer.recipe import Recipe

ROOT = Path(__file__).parents[2]
COUNTING = ROOT / "tests/service/counting_recipe.py"
LIMITED = (
    "import os, resource, sys; size = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (size, size));"
    " os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


class Installation:
    """A database, directories, and room on the disk that a test decides."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings(
            database_url=f"sqlite:///{directory / 'assay.db'}",
            artifact_dir=directory / "artifacts",
            runs_dir=directory / "runs",
            poll_seconds=0.05,
        )
        self.engine = make_engine(self.settings.database_url)
        upgrade(self.engine)
        self.sessions: sessionmaker[Session] = sessions(self.engine)
        self.executor = LocalExecutor(self.settings.artifact_dir)
        self.room(None)

    def room(self, size: int | None) -> None:
        """The largest file that jobs started from now on can write."""
        limited = [] if size is None else ["-c", LIMITED, str(size)]
        self.executor.command = [sys.executable, *limited, str(COUNTING)]

    def submit(self, **fields: Any) -> str:
        spec = importlib.util.spec_from_file_location("counting_recipe", COUNTING)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        recipe: Recipe = module.Counting(**{"kind": "sft", "name": "count", **fields})
        return submit(self.sessions, recipe, self.settings)

    def resume(self, job_id: str) -> None:
        with writing(self.sessions) as session:
            resume(session, job_id)

    def wait(self, job_id: str, until: Callable[[JobRecord], bool] = lambda job: job.status in TERMINAL) -> JobRecord:
        deadline = time.monotonic() + 60
        while True:
            with self.sessions() as session:
                job = get_job(session, job_id)
            if until(job):
                return job
            assert time.monotonic() < deadline, job.model_dump_json(indent=2)
            time.sleep(0.05)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    installation = Installation(tmp_path)
    dispatcher = Dispatcher(installation.settings, installation.sessions, installation.executor)
    dispatcher.start()
    yield installation
    dispatcher.stop()
    installation.engine.dispose()


def test_a_job_whose_events_find_no_room_fails_and_goes_on_when_there_is_some(installation: Installation) -> None:
    installation.room(4096)
    job_id = installation.submit(steps=100)

    job = installation.wait(job_id)

    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "storage_failure")
    assert "free space" in job.error.detail
    reached = int((installation.settings.runs_dir / job_id / "checkpoint").read_text())
    assert 0 < reached < 100
    installation.room(None)
    installation.resume(job_id)
    job = installation.wait(job_id)
    assert job.status == "succeeded"
    assert job.result is not None
    assert job.result["started_from"] == reached
    with installation.sessions() as session:
        events = list_events(session, job_id, limit=500)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def test_an_artifact_that_finds_no_room_is_not_published_at_all(installation: Installation) -> None:
    installation.room(65_536)
    job_id = installation.submit(weights=100_000)

    job = installation.wait(job_id)

    assert job.error is not None
    assert (job.status, job.error.code, job.artifacts) == ("failed", "storage_failure", [])
    artifacts = installation.settings.artifact_dir
    assert [path for path in artifacts.rglob("*") if path.is_file()] == []
    installation.room(None)
    installation.resume(job_id)
    assert [each.version for each in installation.wait(job_id).artifacts] == [1]
    assert (artifacts / "count/1/weights").stat().st_size == 100_000


def test_a_database_without_room_keeps_its_jobs_until_there_is_some(installation: Installation, tmp_path: Path) -> None:
    pages = {"largest": 10}  # fewer than there are: nothing can be added

    @event.listens_for(installation.engine, "checkout")
    def limit(connection: Any, record: Any, proxy: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages['largest']}").close()

    pages["largest"] = 2**30
    held = tmp_path / "held"
    held.touch()
    run = installation.submit(kind="stress_test", steps=400, held_by=str(held))
    installation.wait(run, lambda job: job.status == "running")
    pages["largest"] = 10
    held.unlink()
    deadline = time.monotonic() + 60
    while not (installation.settings.runs_dir / run / "result.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.0)  # time for several vain attempts to store it

    with installation.sessions() as session:
        assert get_job(session, run).status == "running"
        assert session.scalar(select(func.count()).select_from(Score)) == 0
    pages["largest"] = 2**30
    assert installation.wait(run).status == "succeeded"
    with installation.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Score)) == 800
