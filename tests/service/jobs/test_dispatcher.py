"""A submitted recipe becomes a child process, and its end becomes the job's, whatever happens in between."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import CorrelationFilter, correlations, get_stress_test, list_events, list_metrics
from service.db.records import JobRecord
from service.db.session import writing
from service.db.tables import ArtifactRow, Job, Score
from service.jobs import run_lock
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors import Unreachable
from service.jobs.executors.local_process import LocalExecutor, LocalProcess
from service.jobs.queue import cancel, resume
from service.settings import Settings

Sessions = sessionmaker[Session]
Submit = Callable[..., str]
Start = Callable[..., Dispatcher]
WaitFor = Callable[..., JobRecord]


# the database has no part in what these are about, and starting processes is slow
on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)


def pid_of(make_session: Sessions, job_id: str) -> int:
    with make_session() as session:
        process = session.get_one(Job, job_id).process
    assert process is not None
    return int(process["pid"])


def owner_of(make_session: Sessions, job_id: str) -> str | None:
    with make_session() as session:
        return session.get_one(Job, job_id).lease_owner


def begun(job: JobRecord) -> bool:
    return job.progress is not None


def test_a_stress_test_runs_and_its_measurements_are_stored(
    make_session: Sessions, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    run = submit_counting(steps=4)
    start_dispatcher()

    job = wait_for(run)

    assert (job.status, job.attempts, job.error) == ("succeeded", 1, None)
    assert job.result == {"policy": "my-policy@1", "started_from": 0}
    assert job.progress is not None
    assert (job.progress.stage, job.progress.done, job.progress.total) == ("count", 4, 4)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.created_at <= job.started_at <= job.finished_at
    with make_session() as session:
        test = get_stress_test(session, run)
        assert (test.policy, test.n_prompts, test.scorers, test.oracles) == ("my-policy@1", 4, ["helpful"], ["judge"])
        found = correlations(session, CorrelationFilter(runs=[run]))
        assert [(row.scorer, row.temperature, row.estimate, row.n_prompts) for row in found] == [
            ("helpful", 1.0, 0.5, 4)
        ]
        assert session.scalar(select(func.count()).select_from(Score)) == 8
        events = list_events(session, run)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert (events[0].type, events[-1].type) == ("started", "succeeded")
        [loss] = list_metrics(session, run)
        assert loss.points == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3)), (4, 0.25)]


def test_what_a_training_job_publishes_is_indexed(
    make_session: Sessions, settings: Settings, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    job_id = submit_counting(kind="sft", name="my-policy")
    start_dispatcher()

    job = wait_for(job_id)

    assert [(each.name, each.version, each.kind) for each in job.artifacts] == [("my-policy", 1, "policy")]
    with make_session() as session:
        row = session.get_one(ArtifactRow, ("my-policy", 1))
        manifest = json.loads((settings.artifact_dir / "my-policy/1/manifest.json").read_text())
        assert row.manifest == manifest
        assert row.job == job_id


@on_sqlite
def test_a_failed_run_says_why(submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor) -> None:
    job_id = submit_counting(fail_at=2)
    start_dispatcher()

    job = wait_for(job_id)

    assert job.status == "failed"
    assert job.attempts == 1
    assert job.error is not None
    assert (job.error.code, job.error.detail) == (
        "run_failed",
        "the loss is not finite at step 2; lower the learning rate",
    )


def test_results_that_contradict_each_other_fail_the_job_and_none_is_stored(
    make_session: Sessions, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    run = submit_counting(torn=True)
    start_dispatcher()

    job = wait_for(run)

    assert job.status == "failed"
    assert job.error is not None
    assert "what the run left could not be stored" in job.error.detail
    with make_session() as session:
        assert correlations(session, CorrelationFilter(runs=[run])) == []
        assert session.scalar(select(func.count()).select_from(Score)) == 0


@on_sqlite
def test_an_event_file_that_cannot_be_read_fails_its_job_only(
    settings: Settings, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    broken = submit_counting(steps=1000, seconds_per_step=0.05)
    start_dispatcher(job_slots=2)
    wait_for(broken, "running", until=begun)
    with (settings.runs_dir / broken / "events.jsonl").open("ab") as file:
        file.write(b"this is no event\n")
    (settings.runs_dir / broken / "stop").touch()

    job = wait_for(broken)

    assert job.status == "failed"
    assert job.error is not None
    assert "what the run left could not be stored" in job.error.detail
    assert wait_for(submit_counting()).status == "succeeded"


def test_a_killed_process_is_started_again_and_continues(
    make_session: Sessions, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    job_id = submit_counting(steps=5, die_at=3)
    start_dispatcher()

    job = wait_for(job_id)

    assert (job.status, job.attempts) == ("succeeded", 2)
    assert job.result is not None
    assert job.result["started_from"] == 2
    with make_session() as session:
        [loss] = list_metrics(session, job_id)
        assert [step for step, _ in loss.points] == [1, 2, 3, 4, 5]
        assert [event.data["attempt"] for event in list_events(session, job_id) if event.type == "started"] == [1, 2]


@on_sqlite
def test_a_process_that_always_dies_is_lost_and_can_be_resumed(
    make_session: Sessions, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    job_id = submit_counting(die_at=1)  # at the first step there is never a checkpoint to continue from
    dispatcher = start_dispatcher()

    job = wait_for(job_id)

    assert (job.status, job.attempts) == ("lost", 3)
    assert job.error is not None
    assert "died 3 times" in job.error.detail
    with writing(make_session) as session:
        assert resume(session, job_id).attempts == 0
    dispatcher.wake()
    assert wait_for(job_id).status == "lost"


def test_a_cancelled_run_stops_in_order_and_continues_when_resumed(
    make_session: Sessions, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor, held: Path
) -> None:
    job_id = submit_counting(held_by=str(held))
    dispatcher = start_dispatcher(cancel_grace_seconds=60.0)
    wait_for(job_id, "running", until=begun)
    with writing(make_session) as session:
        cancel(session, job_id)

    job = wait_for(job_id)

    assert (job.status, job.error, job.cancel_requested) == ("cancelled", None, True)
    with make_session() as session:
        assert list_events(session, job_id, limit=500)[-1].type == "stopped"
    held.unlink()
    with writing(make_session) as session:
        resume(session, job_id)
    dispatcher.wake()
    job = wait_for(job_id)
    assert job.status == "succeeded"
    assert job.result is not None
    assert job.result["started_from"] == 2


@on_sqlite
def test_a_run_that_will_not_stop_is_killed(
    make_session: Sessions, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    job_id = submit_counting(steps=1000, seconds_per_step=0.1, deaf=True)
    start_dispatcher(cancel_grace_seconds=0.3)
    wait_for(job_id, "running", until=begun)
    pid = pid_of(make_session, job_id)
    with writing(make_session) as session:
        cancel(session, job_id)

    assert wait_for(job_id).status == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@on_sqlite
def test_a_run_stopped_by_somebody_else_goes_on_and_it_does_not_count(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Submit,
    start_dispatcher: Start,
    wait_for: WaitFor,
    held: Path,
) -> None:
    job_id = submit_counting(held_by=str(held))
    start_dispatcher()
    wait_for(job_id, "running", until=begun)

    os.kill(pid_of(make_session, job_id), signal.SIGTERM)
    starts = settings.runs_dir / job_id / "starts"
    wait_for(job_id, "queued", "running", until=lambda _: starts.read_text().count("\n") == 2)
    held.unlink()

    job = wait_for(job_id)
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert job.result is not None
    assert job.result["started_from"] == 2


@on_sqlite
def test_jobs_wait_for_a_slot(submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor, held: Path) -> None:
    first, second, third = (submit_counting(held_by=str(held)) for _ in range(3))
    start_dispatcher(job_slots=2)
    for job_id in (first, second):
        wait_for(job_id, "running", until=begun)

    assert wait_for(third, "queued").queue_position == 1

    held.unlink()
    done = [wait_for(job) for job in (first, second, third)]
    assert [job.status for job in done] == ["succeeded"] * 3
    assert done[2].started_at is not None
    assert done[2].started_at >= min(job.finished_at for job in done[:2] if job.finished_at)


@on_sqlite
def test_a_child_that_refuses_its_recipe_fails_with_its_last_words(
    settings: Settings, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    job_id = submit_counting()
    (settings.runs_dir / job_id / "recipe.json").write_text('{"kind": "sft"}')
    start_dispatcher()

    job = wait_for(job_id)

    assert job.status == "failed"
    assert job.error is not None
    assert "recipe at /name: Field required" in job.error.detail


@on_sqlite
def test_a_run_directory_that_is_gone_is_made_again(
    settings: Settings, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    job_id = submit_counting()
    (settings.runs_dir / job_id / "recipe.json").unlink()
    (settings.runs_dir / job_id).rmdir()
    start_dispatcher()

    assert wait_for(job_id).status == "succeeded"


@on_sqlite
def test_a_run_that_cannot_be_started_fails_and_the_next_one_runs(
    settings: Settings, submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    blocked, fine = submit_counting(), submit_counting()
    (settings.runs_dir / blocked / "log.txt").mkdir()
    start_dispatcher()

    job = wait_for(blocked)

    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "storage_failure")
    assert wait_for(fine).status == "succeeded"


@pytest.fixture
def first_server(start_process: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """A server in a process of its own, whose jobs outlive it."""
    return start_process()


def test_a_running_process_is_adopted_after_a_restart(
    make_session: Sessions,
    first_server: subprocess.Popen[bytes],
    submit_counting: Submit,
    start_dispatcher: Start,
    wait_for: WaitFor,
    held: Path,
) -> None:
    job_id = submit_counting(held_by=str(held))
    wait_for(job_id, "running", until=begun)
    first_server.terminate()
    assert first_server.wait() == 0
    first = owner_of(make_session, job_id)

    start_dispatcher()
    wait_for(job_id, "running", until=lambda _: owner_of(make_session, job_id) != first)
    held.unlink()

    job = wait_for(job_id)
    assert (job.status, job.attempts) == ("succeeded", 1)
    with make_session() as session:
        assert [event.type for event in list_events(session, job_id, limit=500)].count("started") == 1


@on_sqlite
def test_an_adopted_process_can_be_cancelled(
    make_session: Sessions,
    first_server: subprocess.Popen[bytes],
    submit_counting: Submit,
    start_dispatcher: Start,
    wait_for: WaitFor,
) -> None:
    job_id = submit_counting(steps=1000, seconds_per_step=0.1, deaf=True)
    wait_for(job_id, "running", until=begun)
    pid = pid_of(make_session, job_id)
    first_server.terminate()
    first_server.wait()
    start_dispatcher(cancel_grace_seconds=0.3)
    with writing(make_session) as session:
        cancel(session, job_id)

    assert wait_for(job_id).status == "cancelled"
    with suppress(OSError):  # it is gone altogether
        assert Path(f"/proc/{pid}/cmdline").read_text() == ""


def test_a_server_killed_with_its_job_leaves_nothing_forgotten(
    make_session: Sessions,
    first_server: subprocess.Popen[bytes],
    submit_counting: Submit,
    start_dispatcher: Start,
    wait_for: WaitFor,
    held: Path,
) -> None:
    job_id = submit_counting(held_by=str(held))
    wait_for(job_id, "running", until=begun)
    child = pid_of(make_session, job_id)
    first_server.kill()
    first_server.wait()
    os.kill(child, signal.SIGKILL)
    held.unlink()

    start_dispatcher()

    job = wait_for(job_id)
    assert (job.status, job.attempts) == ("succeeded", 2)
    assert job.result is not None
    assert job.result["started_from"] == 2


def test_a_lock_tells_whether_somebody_works_in_a_directory(tmp_path: Path) -> None:
    assert not run_lock.is_held(tmp_path)
    descriptor = run_lock.acquire(tmp_path)
    assert run_lock.is_held(tmp_path)
    os.close(descriptor)
    assert not run_lock.is_held(tmp_path)


@on_sqlite
def test_a_process_that_was_killed_has_ended_though_nobody_can_see_what_it_works_for_any_more(
    settings: Settings,
    counting_executor: LocalExecutor,
    submit_counting: Submit,
    monkeypatch: pytest.MonkeyPatch,
    held: Path,
) -> None:
    """As while the system takes a large one's memory back: its environment is gone, and its end is still to come."""
    process = counting_executor.start(settings.runs_dir / submit_counting(held_by=str(held)), {})
    assert process.exit_status() is None
    monkeypatch.setattr(LocalProcess, "_all", lambda _: [])
    process.kill()
    assert process.exit_status() == -signal.SIGKILL


@on_sqlite
def test_jobs_wait_where_nothing_can_be_started_and_then_run_as_if_nothing_had_been(
    make_session: Sessions,
    counting_executor: LocalExecutor,
    submit_counting: Submit,
    start_dispatcher: Start,
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = counting_executor.start

    def away(*_: object) -> LocalProcess:
        raise Unreachable("nobody is there")

    monkeypatch.setattr(counting_executor, "start", away)
    jobs = [submit_counting(steps=1), submit_counting(steps=1)]
    dispatcher = start_dispatcher()
    job = wait_for(jobs[0], "queued", until=lambda job: job.waiting_reason == "nobody is there")
    assert (job.attempts, job.error) == (0, None)
    assert wait_for(jobs[1], "queued").waiting_reason is None

    monkeypatch.setattr(counting_executor, "start", start)
    dispatcher.wake()
    ended = [wait_for(job_id) for job_id in jobs]
    assert [(job.status, job.attempts, job.error) for job in ended] == [("succeeded", 1, None)] * 2


@on_sqlite
def test_a_job_cancelled_while_it_could_not_be_started_is_cancelled(
    make_session: Sessions,
    counting_executor: LocalExecutor,
    submit_counting: Submit,
    start_dispatcher: Start,
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = submit_counting(steps=1)

    def away(*_: object) -> LocalProcess:
        with writing(make_session) as session:
            cancel(session, job_id)
        raise Unreachable("nobody is there")

    monkeypatch.setattr(counting_executor, "start", away)
    start_dispatcher()
    assert wait_for(job_id).status == "cancelled"


def test_what_does_not_answer_is_one_line_of_the_log_and_no_traceback(
    counting_executor: LocalExecutor,
    start_dispatcher: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = threading.Event()

    def nobody_answers(_: Path) -> set[str]:
        away.set()
        raise Unreachable("no cluster answers: start one")

    monkeypatch.setattr(counting_executor, "at_work", nobody_answers)
    dispatcher = start_dispatcher()
    assert away.wait(30)
    dispatcher.stop()  # which ends after the step that failed
    assert caplog.records[0].message == "dispatcher: _sweep failed; trying again: no cluster answers: start one"
    assert caplog.records[0].exc_info is None
