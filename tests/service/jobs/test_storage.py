"""With object storage a job outlives its machine: another one, with a disk of its own, goes on and publishes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import list_events
from service.db.records import JobRecord
from service.db.session import writing
from service.db.tables import ArtifactRow, Job
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.leftovers import tidy
from service.jobs.retention import forget
from service.settings import Settings
from tests.object_store import new_place
from trainer.object_storage import Bucket
from trainer.run_mirror import stored_runs

on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
COUNTING = Path(__file__).parents[1] / "counting_recipe.py"


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """Another machine: the same database and storage, and a disk of its own."""
    return settings.model_copy(
        update={"artifact_dir": tmp_path / "elsewhere/artifacts", "runs_dir": tmp_path / "elsewhere/runs"}
    )


@pytest.fixture
def settings(settings: Settings, s3: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    return settings.model_copy(update={"storage_url": new_place(s3), "lease_seconds": 1.5})


def dispatch(settings: Settings, make_session: sessionmaker[Session]) -> Dispatcher:
    executor = LocalExecutor(settings.artifact_dir, [sys.executable, str(COUNTING)], storage_url=settings.storage_url)
    return Dispatcher(settings, make_session, executor)


@on_sqlite
def test_a_job_whose_machine_is_lost_goes_on_elsewhere_from_what_was_stored(
    settings: Settings,
    elsewhere: Settings,
    make_session: sessionmaker[Session],
    submit_counting: Callable[..., str],
    start_process: Callable[..., "subprocess.Popen[bytes]"],
    wait_for: Callable[..., JobRecord],
    held: Path,
) -> None:
    job_id = submit_counting(kind="sft", name="kept", steps=40, seconds_per_step=0.05, weights=1000, held_by=str(held))
    machine = start_process()
    bucket = Bucket(str(settings.storage_url))

    def stored_some(job: JobRecord) -> bool:
        whole = [key for key in bucket.find(f"runs/{job_id}") if key.endswith("index.json")]
        return job.progress is not None and job.progress.done >= 20 and bool(whole)

    wait_for(job_id, "running", until=stored_some)
    with make_session() as session:
        process = session.get_one(Job, job_id).process
    assert process is not None
    machine.kill()
    machine.wait()
    for each in [*psutil.Process(process["pid"]).children(recursive=True), psutil.Process(process["pid"])]:
        os.kill(each.pid, signal.SIGKILL)
    held.unlink()

    other = dispatch(elsewhere, make_session)
    other.start()
    try:
        job = wait_for(job_id)
    finally:
        other.stop()

    assert (job.status, job.attempts) == ("succeeded", 2)
    assert job.result is not None
    assert job.result["started_from"] > 0
    with make_session() as session:
        events = list_events(session, job_id, limit=500)
        row = session.get_one(ArtifactRow, ("kept", 1))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    steps = [event.data["step"] for event in events if event.type == "metrics"]
    assert set(steps) == set(range(1, 41))
    found = settings.open_artifacts().open("kept@1")  # as the first machine, back again, sees it
    found.verify()
    assert (found.manifest.job, found.digest) == (job_id, row.digest)


@on_sqlite
def test_what_storage_has_of_a_run_is_forgotten_with_it(
    settings: Settings,
    elsewhere: Settings,
    make_session: sessionmaker[Session],
    submit_counting: Callable[..., str],
    wait_for: Callable[..., JobRecord],
) -> None:
    old, young = submit_counting(steps=1), submit_counting(steps=1)
    dispatcher = dispatch(settings, make_session)
    dispatcher.start()
    wait_for(old)
    wait_for(young)
    dispatcher.stop()
    bucket = Bucket(str(settings.storage_url))
    assert stored_runs(bucket) == {old, young}
    with writing(make_session) as session:
        session.get_one(Job, old).finished_at = datetime.now(UTC) - timedelta(days=3)

    # by a server that has no run directory of it
    assert forget(make_session, elsewhere.model_copy(update={"keep_run_directories_days": 2})) == 1
    assert stored_runs(bucket) == {young}
    assert (settings.runs_dir / old).is_dir()
    assert forget(make_session, settings.model_copy(update={"keep_jobs_days": 2})) == 1
    assert tidy(make_session, settings) == 0
    assert stored_runs(bucket) == {young}
