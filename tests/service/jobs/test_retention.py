"""Old ends are forgotten when an operator says so; artifacts and what still goes on are not."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Delete, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from service.db import deleting
from service.db.records import JobRecord
from service.db.samples import score_page
from service.db.session import writing
from service.db.tables import (
    ArtifactRow,
    Comparison,
    Correlation,
    Curve,
    Job,
    JobEvent,
    JobMetric,
    Prompt,
    Response,
    RunPrompts,
    Score,
    StressTest,
    WeakestAgreement,
)
from service.jobs import retention, run_lock
from service.jobs.dispatcher import Dispatcher
from service.jobs.queue import resume
from service.jobs.retention import forget
from service.settings import Settings
from trainer.errors import StorageFailure
from trainer.object_storage import Bucket
from trainer.reporting import read_events
from trainer.run_mirror import stored_runs

Sessions = sessionmaker[Session]
WaitFor = Callable[..., JobRecord]


def end(make_session: Sessions, job_id: str, status: str, days_ago: float) -> None:
    with writing(make_session) as session:
        job = session.get_one(Job, job_id)
        job.status, job.finished_at = status, datetime.now(UTC) - timedelta(days=days_ago)


def count(make_session: Sessions, table: type[Job | JobEvent | Score | Response | StressTest | ArtifactRow]) -> int:
    with make_session() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_old_jobs_go_with_their_rows_and_directories_and_their_artifacts_stay(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
) -> None:
    run, training, young = submit_counting(), submit_counting(kind="sft", name="kept"), submit_counting()
    start_dispatcher(job_slots=2)
    assert {wait_for(job).status for job in (run, training, young)} == {"succeeded"}
    for job_id, days in ((run, 10.1), (training, 11), (young, 9.9)):
        end(make_session, job_id, "succeeded", days)

    assert forget(make_session, settings) == 0
    assert forget(make_session, settings.model_copy(update={"keep_jobs_days": 10})) == 2

    assert [path.name for path in settings.runs_dir.iterdir()] == [young]
    assert count(make_session, Job) == count(make_session, StressTest) == 1
    assert (count(make_session, Response), count(make_session, Score)) == (3, 6)
    with make_session() as session:
        assert set(session.scalars(select(JobEvent.job))) == {young}
        assert session.get_one(ArtifactRow, ("kept", 1)).job is None
    assert (settings.artifact_dir / "kept/1/manifest.json").is_file()


def test_a_job_is_deleted_in_pieces_of_which_nobody_sees_a_part(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = submit_counting(steps=10)
    start_dispatcher()
    assert wait_for(run).status == "succeeded"
    end(make_session, run, "succeeded", 11)
    pieces = []
    real = deleting.next_deletion

    def watched(session: Session, job_id: str, *, reported: bool = False) -> Delete | None:
        assert score_page(session, run).data == []
        pieces.append([count(make_session, table) for table in (Score, Response, Job)])
        return real(session, job_id, reported=reported)

    monkeypatch.setattr(deleting, "ROWS_AT_ONCE", 8)
    monkeypatch.setattr(retention, "next_deletion", watched)

    assert forget(make_session, settings.model_copy(update={"keep_jobs_days": 10})) == 1

    assert pieces[:6] == [[20, 10, 1], [12, 10, 1], [4, 10, 1], [0, 10, 1], [0, 2, 1], [0, 0, 1]]
    assert [count(make_session, table) for table in (Score, Response, Job, JobEvent)] == [0, 0, 0, 0]


def test_a_job_resumed_while_it_is_deleted_keeps_what_comes_after(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = submit_counting(fail_at=2)
    dispatcher = start_dispatcher()
    assert wait_for(job_id).status == "failed"
    end(make_session, job_id, "failed", 11)
    dispatcher.stop()

    def late(session: Session, job: str, *, reported: bool = False) -> Delete | None:
        raise AssertionError("nothing of it may be deleted any more")

    real_writing = retention.writing
    transactions = iter(range(100))

    @contextmanager
    def slow(sessions: Sessions) -> Iterator[Session]:
        if next(transactions) == 1:
            resume_it(make_session, job_id)
        with real_writing(sessions) as session:
            yield session

    monkeypatch.setattr(retention, "writing", slow)
    monkeypatch.setattr(retention, "next_deletion", late)

    forget(make_session, settings.model_copy(update={"keep_jobs_days": 10}))

    with make_session() as session:
        assert session.get_one(Job, job_id).status == "queued"


@pytest.mark.parametrize("left", ["scores", "nothing"])
def test_a_job_resumed_amid_its_deletion_ends_as_if_it_had_never_run(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
    left: str,
) -> None:
    run = submit_counting(steps=10)
    dispatcher = start_dispatcher()
    assert wait_for(run).status == "succeeded"
    dispatcher.stop()
    before = contents(make_session)
    end(make_session, run, "succeeded", 11)
    real = deleting.next_deletion

    def then_die(session: Session, job_id: str, *, reported: bool = False) -> Delete | None:
        deletion = real(session, job_id, reported=reported)
        if deletion is None or (left == "scores" and contents(make_session)["scores"] == 12):
            raise KeyboardInterrupt
        return deletion

    monkeypatch.setattr(deleting, "ROWS_AT_ONCE", 8)
    monkeypatch.setattr(retention, "next_deletion", then_die)
    with pytest.raises(KeyboardInterrupt):
        forget(make_session, settings.model_copy(update={"keep_jobs_days": 10}))
    assert contents(make_session)["scores"] == (12 if left == "scores" else 0)
    assert contents(make_session)["correlations"] == 0
    resume_it(make_session, run)
    start_dispatcher()

    job = wait_for(run)

    assert (job.status, job.error) == ("succeeded", None)
    assert contents(make_session) == before
    in_file = [(event["sequence"], event["type"]) for event in read_events(settings.runs_dir / run)]
    with make_session() as session:
        rows = session.scalars(select(JobEvent).order_by(JobEvent.sequence)).all()
    assert [(row.sequence, row.type) for row in rows] == in_file
    assert in_file[-1][1] == "succeeded"


def contents(make_session: Sessions) -> dict[str, int]:
    """How many rows each table of measurements has."""
    with make_session() as session:
        measured = (Prompt, Response, Score, Correlation, WeakestAgreement, Curve, Comparison, StressTest, RunPrompts)
        return {
            table.__tablename__: session.scalars(select(func.count()).select_from(table)).one()
            for table in (*measured, JobMetric)
        }


def resume_it(make_session: Sessions, job_id: str) -> None:
    with writing(make_session) as session:
        resume(session, job_id)


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "lost"])
def test_directories_may_go_before_the_rows(
    make_session: Sessions, settings: Settings, submit_counting: Callable[..., str], status: str
) -> None:
    old, young = submit_counting(), submit_counting()
    end(make_session, old, status, 3)
    end(make_session, young, status, 1)
    (settings.runs_dir / "uploads").mkdir()

    assert forget(make_session, settings.model_copy(update={"keep_run_directories_days": 2})) == 1

    assert sorted(path.name for path in settings.runs_dir.iterdir()) == sorted([young, "uploads"])
    assert count(make_session, Job) == 2


@pytest.mark.parametrize("status", ["queued", "running"])
def test_what_has_not_ended_is_kept(
    make_session: Sessions, settings: Settings, submit_counting: Callable[..., str], status: str
) -> None:
    job_id = submit_counting()
    end(make_session, job_id, status, 1000)
    nothing = settings.model_copy(update={"keep_jobs_days": 0, "keep_run_directories_days": 0})

    assert forget(make_session, nothing) == 0
    assert (settings.runs_dir / job_id / "recipe.json").exists()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_what_was_interrupted_is_finished_by_the_next_round(
    make_session: Sessions, settings: Settings, submit_counting: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit_counting()
    end(make_session, job_id, "failed", 3)
    short = settings.model_copy(update={"keep_jobs_days": 1})
    with monkeypatch.context() as patch:
        patch.setattr(retention.shutil, "rmtree", lambda *_, **__: None)  # killed before it emptied the directory
        forget(make_session, short)
    assert [path.name for path in settings.runs_dir.iterdir()] == [f".deleted-{job_id}"]

    forget(make_session, short)

    assert list(settings.runs_dir.iterdir()) == []


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize("setting", ["keep_jobs_days", "keep_run_directories_days"])
def test_what_storage_has_goes_outside_of_any_transaction_and_is_tried_again(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    setting: str,
) -> None:
    job_id = submit_counting()
    end(make_session, job_id, "failed", 3)
    (tmp_path / "bucket").mkdir()
    bucket = Bucket(f"file://{tmp_path}/bucket")
    bucket.create(f"runs/{job_id}/1/index.json", b"{}")
    short = settings.model_copy(update={setting: 1, "storage_url": f"file://{tmp_path}/bucket"})

    def away(*_: object) -> None:
        with writing(make_session) as session:  # which SQLite lets one do at a time
            session.execute(update(Job).values(name="written meanwhile"))
        raise StorageFailure("no storage today")

    with monkeypatch.context() as patch:
        patch.setattr(retention, "forget_run", away)
        with pytest.raises(StorageFailure):
            forget(make_session, short)
    assert [path.name for path in settings.runs_dir.iterdir()] == [f".deleted-{job_id}"]

    forget(make_session, short)

    assert stored_runs(bucket) == set()
    assert list(settings.runs_dir.iterdir()) == []


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_what_storage_has_of_a_job_that_was_resumed_meanwhile_stays(
    make_session: Sessions, settings: Settings, submit_counting: Callable[..., str], tmp_path: Path
) -> None:
    job_id = submit_counting()
    (settings.runs_dir / f".deleted-{job_id}").mkdir()
    (tmp_path / "bucket").mkdir()
    bucket = Bucket(f"file://{tmp_path}/bucket")
    bucket.create(f"runs/{job_id}/2/index.json", b"{}")
    stored = settings.model_copy(update={"storage_url": f"file://{tmp_path}/bucket"})

    forget(make_session, stored)

    assert stored_runs(bucket) == {job_id}
    assert [path.name for path in settings.runs_dir.iterdir()] == [job_id]


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize("listed", ["before", "after"])
def test_a_job_that_is_resumed_while_its_copy_is_about_to_go_loses_nothing_of_its_new_life(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    listed: str,
) -> None:
    job_id = submit_counting()
    end(make_session, job_id, "failed", 3)
    (tmp_path / "bucket").mkdir()
    bucket = Bucket(f"file://{tmp_path}/bucket")
    bucket.create(f"runs/{job_id}/1/index.json", b"{}")
    find = Bucket.find

    def resumed(self: Bucket, prefix: str) -> object:
        found = find(self, prefix)
        if prefix == f"runs/{job_id}":
            with writing(make_session) as session:
                resume(session, job_id)
            bucket.create(f"runs/{job_id}/2/index.json", b"{}")
        return found if listed == "before" else find(self, prefix)

    monkeypatch.setattr(Bucket, "find", resumed)
    short = settings.model_copy(update={"keep_run_directories_days": 1, "storage_url": f"file://{tmp_path}/bucket"})

    forget(make_session, short)

    monkeypatch.undo()
    assert sorted(bucket.find(f"runs/{job_id}")) == [f"runs/{job_id}/{number}/index.json" for number in (1, 2)]


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_directories_of_jobs_that_another_server_forgot_go_once_they_are_left_alone(
    make_session: Sessions, settings: Settings, submit_counting: Callable[..., str]
) -> None:
    known = submit_counting()
    forgotten, young, locked = (f"run_{digit * 32}" for digit in "123")
    for name in (forgotten, young, locked, "run_of_mine"):
        (settings.runs_dir / name).mkdir()
    lock = run_lock.acquire(settings.runs_dir / locked)
    for directory in settings.runs_dir.iterdir():
        for path in (*directory.iterdir(), directory):
            os.utime(path, (time.time() - (1800 if directory.name == young else 7200),) * 2)

    assert forget(make_session, settings) == 0  # nothing goes unless it is asked for
    assert forget(make_session, settings.model_copy(update={"keep_jobs_days": 1})) == 1

    assert {path.name for path in settings.runs_dir.iterdir()} == {known, young, locked, "run_of_mine"}
    os.close(lock)
