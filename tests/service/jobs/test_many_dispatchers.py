"""Several dispatchers on one database, each a process of its own: no job runs twice and none is forgotten."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import list_events
from service.db.records import JobRecord
from service.db.tables import Job, JobEvent, StressTest, Worker
from service.settings import Settings

Sessions = sessionmaker[Session]
Submit = Callable[..., str]
StartProcess = Callable[..., subprocess.Popen[bytes]]
WaitFor = Callable[..., JobRecord]


def starts(directory: Path) -> int:
    path = directory / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def jobs_of(make_session: Sessions, process: subprocess.Popen[bytes]) -> dict[str, int]:
    """Running jobs that this dispatcher holds, with their processes."""
    with make_session() as session:
        rows = session.scalars(select(Job).where(Job.status == "running", Job.process.is_not(None)))
        return {
            job.id: int(job.process["pid"])
            for job in rows
            if job.process and job.lease_owner and f":{process.pid}:" in job.lease_owner
        }


def last_seen(make_session: Sessions, process: subprocess.Popen[bytes]) -> datetime | None:
    """When this dispatcher registered last, which it does now and then after it looked at its jobs."""
    with make_session() as session:
        return session.scalar(select(Worker.seen_at).where(Worker.owner.contains(f":{process.pid}:")))


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_three_dispatchers_share_the_jobs_and_start_each_once(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Submit,
    start_process: StartProcess,
    wait_for: WaitFor,
    held: Path,
) -> None:
    kinds = ("stress_test", "sft") * 6
    jobs = [submit_counting(kind=kind, name=f"n{n}", held_by=str(held)) for n, kind in enumerate(kinds)]
    processes = [start_process(job_slots=2) for _ in range(3)]
    wait_until(lambda: all(jobs_of(make_session, process) for process in processes))
    held.unlink()

    for job_id in jobs:
        job = wait_for(job_id)
        assert (job.status, job.attempts) == ("succeeded", 1)
        assert starts(settings.runs_dir / job_id) == 1
    assert sorted(path.name for path in settings.artifact_dir.glob("n*/*")) == ["1"] * 6
    with make_session() as session:
        assert session.scalar(select(func.count()).select_from(StressTest)) == 6
        started = select(func.count()).select_from(JobEvent).where(JobEvent.type == "started")
        assert session.scalar(started) == len(jobs)


def test_jobs_of_a_killed_dispatcher_are_taken_over_while_they_run(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Submit,
    start_process: StartProcess,
    wait_for: WaitFor,
    held: Path,
) -> None:
    jobs = [submit_counting(held_by=str(held)) for _ in range(4)]
    first = start_process(job_slots=2)
    wait_until(lambda: len(jobs_of(make_session, first)) == 2)
    ours = jobs_of(make_session, first)
    survivor, victim = ours
    wait_until(lambda: all(starts(settings.runs_dir / job_id) for job_id in ours))

    first.kill()
    first.wait()
    os.kill(ours[victim], signal.SIGKILL)
    second = start_process(job_slots=2, lease_seconds=1.5)

    wait_until(lambda: survivor in jobs_of(make_session, second))
    assert jobs_of(make_session, second)[survivor] == ours[survivor]  # the very process goes on
    held.unlink()
    for job_id in jobs:
        job = wait_for(job_id)
        assert (job.status, job.attempts) == ("succeeded", 2 if job_id == victim else 1)
        assert starts(settings.runs_dir / job_id) == job.attempts
        assert not (settings.runs_dir / job_id / "met").exists()


def test_a_dispatcher_that_was_away_too_long_leaves_its_jobs_to_the_other(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Submit,
    start_process: StartProcess,
    wait_for: WaitFor,
    held: Path,
) -> None:
    job_id = submit_counting(held_by=str(held))
    first = start_process(lease_seconds=1.0)
    wait_until(lambda: job_id in jobs_of(make_session, first))
    second = start_process(lease_seconds=1.0)
    first.send_signal(signal.SIGSTOP)
    wait_until(lambda: job_id in jobs_of(make_session, second))

    first.send_signal(signal.SIGCONT)
    for _ in range(2):  # between the two it has looked at its job
        seen = last_seen(make_session, first)
        wait_until(lambda seen=seen: last_seen(make_session, first) != seen)
    held.unlink()

    job = wait_for(job_id)
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert starts(settings.runs_dir / job_id) == 1
    with make_session() as session:
        events = list_events(session, job_id, limit=500)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def test_a_process_whose_job_runs_elsewhere_or_has_ended_is_ended(
    make_session: Sessions, settings: Settings, submit_counting: Submit, start_process: StartProcess, wait_for: WaitFor
) -> None:
    job_id = submit_counting(steps=1000, seconds_per_step=0.1, deaf=True)
    first = start_process(lease_seconds=1.0)
    wait_until(lambda: job_id in jobs_of(make_session, first))
    pid = jobs_of(make_session, first)[job_id]
    first.kill()
    first.wait()
    with make_session.begin() as session:  # as a machine that does not see the process decides
        job = session.get_one(Job, job_id)
        job.status, job.lease_owner, job.process = "cancelled", None, None

    start_process(lease_seconds=1.0)

    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert wait_for(job_id).status == "cancelled"
