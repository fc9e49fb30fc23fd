"""A server whose end is the end of its jobs lets them save first, and that is not an attempt that failed."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db.records import JobRecord
from service.db.session import writing
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.queue import cancel
from service.settings import Settings

Submit = Callable[..., str]
Start = Callable[..., Dispatcher]
WaitFor = Callable[..., JobRecord]

IN_A_NAMESPACE = ["unshare", "--fork", "--pid", "--mount-proc"]


def namespaces_work() -> bool:
    """As in a container: whose first process ends, ends all."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def begun(job: JobRecord) -> bool:
    return job.progress is not None and job.progress.done > 0


def test_jobs_save_and_wait_for_another_server_without_using_up_an_attempt(
    submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor, held: Path
) -> None:
    job_id = submit_counting(held_by=str(held))
    for _ in range(4):  # more often than attempts are allowed
        dispatcher = start_dispatcher(stop_jobs_at_exit=True)
        wait_for(job_id, "running", until=begun)
        dispatcher.stop()
        job = wait_for(job_id, "queued")
        assert (job.attempts, job.error) == (0, None)

    held.unlink()
    start_dispatcher()
    job = wait_for(job_id)

    assert (job.status, job.attempts) == ("succeeded", 1)
    assert job.result is not None
    assert job.result["started_from"] == 2


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_job_that_does_not_listen_is_ended_in_time_and_waits_all_the_same(
    submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor, settings: Settings
) -> None:
    job_id = submit_counting(steps=1000, seconds_per_step=0.05, deaf=True)
    dispatcher = start_dispatcher(stop_jobs_at_exit=True, cancel_grace_seconds=0.5)
    wait_for(job_id, "running", until=begun)

    dispatcher.stop()

    job = wait_for(job_id, "queued")
    assert (job.attempts, job.error) == (0, None)
    assert LocalExecutor(settings.artifact_dir).at_work(settings.runs_dir) == set()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_job_that_was_cancelled_is_not_queued_again(
    make_session: sessionmaker[Session], submit_counting: Submit, start_dispatcher: Start, wait_for: WaitFor
) -> None:
    job_id = submit_counting(steps=1000, seconds_per_step=0.05, deaf=True)
    dispatcher = start_dispatcher(stop_jobs_at_exit=True, cancel_grace_seconds=0.5)
    wait_for(job_id, "running", until=begun)
    with writing(make_session) as session:
        cancel(session, job_id)

    dispatcher.stop()

    assert wait_for(job_id).status == "cancelled"


@pytest.mark.skipif(not namespaces_work(), reason="unshare makes no process namespaces here")
@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_the_end_of_a_container_is_no_attempt_that_failed(
    submit_counting: Submit,
    wait_for: WaitFor,
    start_dispatcher: Start,
    settings: Settings,
    counting_executor: LocalExecutor,
    held: Path,
) -> None:
    job_id = submit_counting(held_by=str(held))
    own = settings.model_copy(update={"stop_jobs_at_exit": True})
    program = Path(__file__).with_name("dispatcher_process.py")
    command = [sys.executable, str(program), own.model_dump_json(), json.dumps(counting_executor.command)]
    for _ in range(2):
        with subprocess.Popen([*IN_A_NAMESPACE, *command]) as container:
            wait_for(job_id, "running", until=begun)
            (first,) = psutil.Process(container.pid).children()
            first.terminate()  # to the first process alone, as a container's runtime does
            assert container.wait(30) == 0
        assert wait_for(job_id, "queued").attempts == 0
        assert (settings.runs_dir / job_id / "checkpoint").exists()
        deadline = time.monotonic() + 30
        while LocalExecutor(settings.artifact_dir).at_work(settings.runs_dir):
            assert time.monotonic() < deadline, "the namespace ended, and its processes did not"

    held.unlink()
    start_dispatcher()
    job = wait_for(job_id)

    assert (job.status, job.attempts) == ("succeeded", 1)
    assert job.result is not None
    assert job.result["started_from"] == 2
