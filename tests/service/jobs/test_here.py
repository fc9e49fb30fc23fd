"""A recipe run from a shell is a job like any other, and typing the command again continues it."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import CorrelationFilter, JobFilter, correlations, get_job, list_jobs, list_metrics
from service.db.session import writing
from service.db.tables import Job, JobEvent
from service.jobs import run_lock
from service.jobs.here import find_done, run_here
from service.jobs.leases import Lease, claim, signs
from service.jobs.queue import cancel, submit
from service.jobs.watch import Watch
from service.settings import Settings
from trainer.errors import InvalidInput, RunFailed, Stopped, StorageFailure, WrongSchema
from trainer.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
Sessions = sessionmaker[Session]


def job_ids(make_session: Sessions) -> list[str]:
    with make_session() as session:
        return [job.id for job in list_jobs(session).data]


def test_a_recipe_is_run_recorded_and_its_measurements_stored(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    answer = run_here(counting(steps=3), settings, quiet=True)

    assert (answer["status"], answer["result"]) == ("succeeded", {"policy": "my-policy@1", "started_from": 0})
    assert (Path(answer["directory"]) / "result.json").exists()
    assert not run_lock.is_held(Path(answer["directory"]))
    with make_session() as session:
        job = get_job(session, answer["id"])
        assert (job.status, job.attempts, job.cancel_requested) == ("succeeded", 1, False)
        assert [row.estimate for row in correlations(session, CorrelationFilter(runs=[job.id]))] == [0.5]
        assert len(list_metrics(session, job.id)[0].points) == 3


def test_the_last_events_of_a_long_run_are_stored_and_its_artifact_is_indexed(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    answer = run_here(counting(kind="sft", name="long", ballast=5), settings, quiet=True)

    file = Path(answer["directory"]) / "events.jsonl"
    assert file.stat().st_size > 1.2 * 2**20
    last = json.loads(file.read_text().splitlines()[-1])
    assert [(each["name"], each["version"]) for each in answer["artifacts"]] == [("long", 1)]
    with make_session() as session:
        stored = session.scalars(select(JobEvent).where(JobEvent.job == answer["id"]).order_by(JobEvent.sequence)).all()
        assert [event.sequence for event in stored] == list(range(1, last["sequence"] + 1))
        assert stored[-1].type == "succeeded"
        assert list_metrics(session, answer["id"])[0].points[-1] == (3, 1 / 3)


def test_the_same_recipe_runs_again_and_what_it_did_before_is_found(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    assert find_done(counting(), settings) is None
    first = run_here(counting(), settings, quiet=True)

    assert find_done(counting(), settings) == first["id"]
    assert find_done(counting(steps=4), settings) is None
    assert run_here(counting(), settings, quiet=True)["id"] != first["id"]
    assert len(job_ids(make_session)) == 2


def test_work_whose_artifact_is_gone_is_not_done(settings: Settings, counting: MakeRecipe) -> None:
    recipe = counting(kind="sft", name="my-policy")
    first = run_here(recipe, settings, quiet=True)
    assert first["artifacts"] == [{"name": "my-policy", "version": 1, "kind": "policy"}]
    assert find_done(recipe, settings) == first["id"]
    (settings.artifact_dir / "my-policy/1/manifest.json").unlink()

    assert find_done(recipe, settings) is None


def test_a_failure_is_recorded_and_raised_and_the_next_try_continues(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    for attempt in (1, 2):
        with pytest.raises(RunFailed, match="the loss is not finite"):
            run_here(counting(fail_at=2), settings, quiet=True)

        [job_id] = job_ids(make_session)
        with make_session() as session:
            job = get_job(session, job_id)
        assert (job.status, job.attempts) == ("failed", attempt)
        assert job.error is not None
        assert job.error.code == "run_failed"


def test_a_run_cancelled_from_outside_stops_and_continues_when_typed_again(
    make_session: Sessions, settings: Settings, counting: MakeRecipe, held: Path
) -> None:
    recipe = counting(held_by=str(held))

    def cancel_when_begun() -> None:
        while True:
            with writing(make_session) as session:
                for job in list_jobs(session, JobFilter(status="running")).data:
                    if job.progress is not None:
                        cancel(session, job.id)
                        return
            time.sleep(0.05)

    canceller = threading.Thread(target=cancel_when_begun)
    canceller.start()
    with pytest.raises(Stopped):
        run_here(recipe, settings, quiet=True)
    canceller.join()
    held.unlink()

    [job_id] = job_ids(make_session)
    with make_session() as session:
        assert get_job(session, job_id).status == "cancelled"
    answer = run_here(recipe, settings, quiet=True)
    assert (answer["id"], answer["status"]) == (job_id, "succeeded")
    assert answer["result"]["started_from"] == 2


def test_its_lease_is_kept_while_storage_does_not_answer(
    make_session: Sessions, settings: Settings, counting: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    real = Watch.look
    seen = set()

    def waits(watch: Watch) -> bool:
        over.wait(60)
        return real(watch)

    def listen() -> None:
        deadline = time.monotonic() + 30
        while len(seen) < 4 and time.monotonic() < deadline:
            with make_session() as session:
                seen.update(signs(session).values())
            time.sleep(0.02)
        over.set()
        with writing(make_session) as session:
            [job] = list_jobs(session).data
            cancel(session, job.id)

    monkeypatch.setattr(Watch, "look", waits)
    listener = threading.Thread(target=listen)
    listener.start()
    with pytest.raises(Stopped):
        run_here(
            counting(steps=2000, seconds_per_step=0.05), settings.model_copy(update={"lease_seconds": 0.6}), quiet=True
        )
    listener.join()

    assert len(seen) == 4
    assert len({sign.owner for sign in seen}) == 1
    assert "leases" not in {thread.name for thread in threading.enumerate()}


def test_a_run_whose_process_vanished_is_continued_without_waiting_for_its_lease(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    vanished = submit(make_session, counting(), settings)
    with writing(make_session) as session:
        claim(session, Lease("vanished", 1e6))

    assert run_here(counting(), settings, quiet=True)["id"] == vanished


def test_a_run_that_somebody_else_is_at_is_left_to_them(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    busy = submit(make_session, counting(), settings)
    with writing(make_session) as session:
        claim(session, Lease("busy", 1e6))
    lock = run_lock.acquire(settings.runs_dir / busy)

    assert run_here(counting(), settings, quiet=True)["id"] != busy

    os.close(lock)
    with make_session() as session:
        assert session.get_one(Job, busy).lease_owner == "busy"


def test_results_that_cannot_be_stored_fail_the_command(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    with pytest.raises(RunFailed, match=r"could not be stored: .* contradict each other"):
        run_here(counting(torn=True), settings, quiet=True)

    with make_session() as session:
        assert correlations(session, CorrelationFilter()) == []


def test_an_empty_database_is_given_its_tables(empty_database_url: str, tmp_path: Path, counting: MakeRecipe) -> None:
    settings = Settings(
        database_url=empty_database_url, artifact_dir=tmp_path / "artifacts", runs_dir=tmp_path / "runs"
    )

    assert run_here(counting(), settings, quiet=True)["status"] == "succeeded"


def test_a_database_at_another_migration_is_refused_before_anything_runs(
    empty_database_url: str, tmp_path: Path, counting: MakeRecipe
) -> None:
    from service.db.session import make_engine

    engine = make_engine(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE something_else (id INTEGER)")
    engine.dispose()
    settings = Settings(
        database_url=empty_database_url, artifact_dir=tmp_path / "artifacts", runs_dir=tmp_path / "runs"
    )

    with pytest.raises(WrongSchema):
        run_here(counting(), settings, quiet=True)

    assert not settings.runs_dir.exists()


def test_a_directory_that_cannot_be_written_leaves_no_job(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    settings.runs_dir.write_text("a file is in the way")

    with pytest.raises(StorageFailure):
        run_here(counting(), settings, quiet=True)

    assert job_ids(make_session) == []


def test_a_recipe_for_several_processes_is_sent_to_the_trainer(settings: Settings, counting: MakeRecipe) -> None:
    with pytest.raises(InvalidInput, match="python -m trainer"):
        run_here(counting(launch={"processes": 2}), settings, quiet=True)
