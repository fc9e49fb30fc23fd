"""Jobs on a real Ray cluster end, stop, continue and are found again as those of this machine do."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import list_events
from service.db.records import JobRecord
from service.db.session import writing
from service.jobs import run_lock
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors import Unreachable
from service.jobs.executors.ray_job import RayExecutor
from service.jobs.queue import cancel, resume
from service.settings import Settings
from trainer.errors import Conflict, RunFailed

Sessions = sessionmaker[Session]
Submit = Callable[..., str]
Start = Callable[..., Dispatcher]
Wait = Callable[..., JobRecord]
COUNTING = Path(__file__).parents[1] / "counting_recipe.py"
COMMAND = [sys.executable, str(COUNTING)]

on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # the database has no part in this


@pytest.fixture
def executor(ray_cluster: Any, settings: Settings) -> RayExecutor:
    return RayExecutor(settings.artifact_dir, ray_cluster.dashboard, COMMAND)


@pytest.fixture
def start(make_session: Sessions, settings: Settings, executor: RayExecutor) -> Iterator[Start]:
    """Starts a dispatcher of the cluster's jobs, which is stopped at the end of the test."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Dispatcher:
            dispatcher = Dispatcher(settings.model_copy(update=changes), make_session, executor)
            dispatcher.start()
            stack.callback(dispatcher.stop)
            return dispatcher

        yield start


def begun(job: JobRecord) -> bool:
    return job.progress is not None


@pytest.mark.ray
@on_sqlite
def test_a_job_runs_on_the_cluster_and_leaves_what_any_other_leaves(
    make_session: Sessions, settings: Settings, submit_counting: Submit, start: Start, wait_for: Wait
) -> None:
    job_id = submit_counting(kind="sft", name="my-policy")
    start()

    job = wait_for(job_id)

    assert (job.status, job.attempts) == ("succeeded", 1)
    assert [(artifact.name, artifact.version) for artifact in job.artifacts] == [("my-policy", 1)]
    assert {path.name for path in (settings.runs_dir / job_id).iterdir()} >= {
        "recipe.json", "events.jsonl", "log.txt", "lock", "result.json",
    }  # fmt: skip
    with make_session() as session:
        events = list_events(session, job_id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (events[0].type, events[-1].type) == ("started", "succeeded")


@pytest.mark.ray
@on_sqlite
def test_a_job_whose_recipe_fails_says_why(submit_counting: Submit, start: Start, wait_for: Wait) -> None:
    job_id = submit_counting(fail_at=2)
    start()

    job = wait_for(job_id)

    assert (job.status, job.attempts) == ("failed", 1)
    assert job.error is not None
    assert job.error.code == "run_failed"


@pytest.mark.ray
@on_sqlite
def test_a_process_that_dies_is_started_again_and_goes_on_from_its_checkpoint(
    submit_counting: Submit, start: Start, wait_for: Wait
) -> None:
    job_id = submit_counting(die_at=2, steps=4)
    start()

    job = wait_for(job_id)

    assert (job.status, job.attempts) == ("succeeded", 2)
    assert job.result is not None
    assert job.result["started_from"] == 1


@pytest.mark.ray
@on_sqlite
def test_a_process_that_cannot_begin_has_failed_with_its_last_words(
    submit_counting: Submit, executor: RayExecutor, start: Start, wait_for: Wait
) -> None:
    executor.command = [sys.executable, "-c", "import sys; sys.exit('no such thing here')"]
    job_id = submit_counting()
    start()

    job = wait_for(job_id)

    assert (job.status, job.attempts) == ("failed", 1)
    assert job.error is not None
    assert job.error.detail == "no such thing here"


@pytest.mark.ray
@on_sqlite
def test_a_cancelled_job_saves_and_a_resumed_one_goes_on(
    make_session: Sessions, submit_counting: Submit, start: Start, wait_for: Wait
) -> None:
    job_id = submit_counting(steps=400, seconds_per_step=0.05)
    dispatcher = start()

    def attempts() -> list[int]:
        with make_session() as session:
            return [event.data["attempt"] for event in list_events(session, job_id) if event.type == "started"]

    for attempt in (1, 2):
        # by its own event: the progress that the first attempt made stays until there is more
        wait_for(job_id, "running", until=lambda _, attempt=attempt: len(attempts()) == attempt)
        with writing(make_session) as session:
            cancel(session, job_id)
        dispatcher.wake()
        assert wait_for(job_id).status == "cancelled"
        if attempt == 1:
            with writing(make_session) as session:
                resume(session, job_id)
            dispatcher.wake()
    assert attempts() == [1, 2]


@pytest.mark.ray
@on_sqlite
def test_a_cancelled_job_that_is_deaf_is_killed(
    make_session: Sessions, settings: Settings, submit_counting: Submit, start: Start, wait_for: Wait
) -> None:
    job_id = submit_counting(steps=4000, seconds_per_step=0.05, deaf=True)
    start(cancel_grace_seconds=0.3)
    wait_for(job_id, "running", until=begun)
    with writing(make_session) as session:
        cancel(session, job_id)

    assert wait_for(job_id).status == "cancelled"
    assert not run_lock.is_held(settings.runs_dir / job_id)


@pytest.mark.ray
@on_sqlite
def test_another_server_takes_up_the_very_process_that_the_first_one_started(
    make_session: Sessions, settings: Settings, submit_counting: Submit, start: Start, wait_for: Wait
) -> None:
    job_id = submit_counting(steps=200, seconds_per_step=0.05)
    first = start()
    wait_for(job_id, "running", until=begun)
    first.stop()
    start()

    assert wait_for(job_id).attempts == 1
    assert len((settings.runs_dir / job_id / "starts").read_text().split()) == 1


@pytest.mark.ray
@on_sqlite
def test_a_job_waits_for_room_and_can_be_cancelled_meanwhile(
    make_session: Sessions,
    submit_counting: Submit,
    executor: RayExecutor,
    settings: Settings,
    start: Start,
    wait_for: Wait,
) -> None:
    job_id = submit_counting(launch={"threads": 64})  # more than the cluster has
    start(cancel_grace_seconds=1.0)
    wait_for(job_id, "running")
    while job_id not in executor.at_work(settings.runs_dir):
        time.sleep(0.1)
    with writing(make_session) as session:
        cancel(session, job_id)

    assert wait_for(job_id).status == "cancelled"


@pytest.mark.ray
@on_sqlite
def test_two_processes_never_work_in_one_directory(settings: Settings, executor: RayExecutor, counting: Any) -> None:
    directory = settings.runs_dir / "run_1"
    directory.mkdir(parents=True)
    (directory / "recipe.json").write_text(counting(steps=4000, seconds_per_step=0.05).model_dump_json())
    process = executor.start(directory, {})
    while not (directory / "events.jsonl").exists():
        time.sleep(0.1)

    with pytest.raises(Conflict, match="another process works in"):
        executor.start(directory, {})
    assert executor.find(directory).record() == process.record()
    assert executor.at_work(settings.runs_dir) == {"run_1"}
    process.kill()
    assert (process.is_running(), process.exit_status()) == (False, None)
    assert executor.at_work(settings.runs_dir) == set()


@on_sqlite
def test_where_no_cluster_answers_jobs_wait_and_say_what_to_do(
    make_session: Sessions, settings: Settings, submit_counting: Submit, wait_for: Wait
) -> None:
    first, second = submit_counting(), submit_counting()
    dispatcher = Dispatcher(settings, make_session, RayExecutor(settings.artifact_dir, "http://127.0.0.1:9", COMMAND))
    dispatcher.start()
    try:
        job = wait_for(first, "queued", until=lambda job: "no Ray cluster" in (job.waiting_reason or ""))
    finally:
        dispatcher.stop()

    assert (job.attempts, job.error) == (0, None)
    assert "start one with `ray start --head`, or set ASSAY_RAY_ADDRESS" in str(job.waiting_reason)
    assert wait_for(second, "queued").attempts == 0


@on_sqlite
def test_where_no_cluster_is_configured_a_job_fails_and_says_what_to_do(
    make_session: Sessions, settings: Settings, submit_counting: Submit, wait_for: Wait
) -> None:
    job_id = submit_counting()
    dispatcher = Dispatcher(settings, make_session, RayExecutor(settings.artifact_dir, "head:8265", COMMAND))
    dispatcher.start()
    try:
        error = wait_for(job_id).error
    finally:
        dispatcher.stop()

    assert error is not None
    assert error.code == "invalid_input"
    assert "head:8265 is no address of a Ray cluster: set ASSAY_RAY_ADDRESS" in error.detail


@pytest.mark.parametrize(
    ("method", "status", "error"),
    [("POST", 400, "refuses"), ("POST", 503, "no Ray cluster"), ("GET", 500, "no Ray cluster"), ("GET", 401, "no Ray")],
)
def test_what_ray_says_to_one_job_is_told_from_what_it_says_to_all(
    method: str, status: int, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(asked: str, url: str, **_: Any) -> httpx.Response:
        said = httpx.Response(status, text="no such thing") if asked == method else httpx.Response(200, json=[])
        said.request = httpx.Request(asked, url)
        return said

    monkeypatch.setattr(httpx, "request", answer)
    with pytest.raises(RunFailed, match=error) as raised:
        RayExecutor(tmp_path, "http://head:8265").start(tmp_path, {})
    assert isinstance(raised.value, Unreachable) == (error != "refuses")


def test_the_line_for_the_nodes_shell_holds_the_lock_writes_the_log_and_keeps_the_exit_status(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "a run's"
    directory.mkdir()
    program = (
        "import sys; from pathlib import Path; from service.jobs.run_lock import is_held;"
        "print(sys.argv[1:], is_held(Path(sys.argv[2]))); sys.exit(3)"
    )
    executor = RayExecutor(tmp_path, "http://127.0.0.1:9", [sys.executable, "-c", program])

    ended = subprocess.run(executor._entrypoint(directory), shell=True, check=False, env={**os.environ})

    assert ended.returncode == 3
    said = ["--run-dir", str(directory), "--artifact-dir", str(tmp_path)]
    assert (directory / "log.txt").read_text() == f"{said} True\n"


def test_a_process_that_finds_its_directory_taken_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "_SECONDS_TO_DIE", 0.1)
    lock = run_lock.acquire(tmp_path)
    try:
        with pytest.raises(SystemExit, match="another process works in"):
            run_lock.main(tmp_path, [sys.executable, "-c", json.dumps("never")])
    finally:
        os.close(lock)
