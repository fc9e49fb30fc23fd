"""Jobs run beside each other as devices allow; what waits says for what, and a restart forgets no device."""

import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import get_job
from service.db.records import JobRecord
from service.db.session import writing
from service.db.tables import Job, Worker
from service.db.workers import present, register, unregister
from service.jobs import dispatcher
from service.jobs.devices import Choice, machine_of, visible_gpus
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.queue import cancel, submit
from service.settings import Settings, load_settings
from service.slots import Gpu, Machine
from trainer.errors import InvalidInput
from trainer.recipe import Launch, Recipe

Sessions = sessionmaker[Session]
WaitFor = Callable[..., JobRecord]
on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)

GIB = 2**30
NAMES = [f"test-{os.getpid()}-{index}" for index in range(4)]  # what other tests' jobs have is taken here as well
FOUR = {"gpus": tuple(Gpu(name=name, memory_bytes=16 * GIB) for name in NAMES), "share_gpu": True}


def on(gpus: int, processes: int = 1) -> Launch:
    return Launch(processes=processes, gpus_per_process=gpus)


def given(make_session: Sessions, job_id: str) -> str:
    """The GPUs that a running job's process sees."""
    with make_session() as session:
        process = session.get_one(Job, job_id).process
    assert process is not None
    return psutil.Process(process["pid"]).environ()["CUDA_VISIBLE_DEVICES"]


def stop(make_session: Sessions, job_id: str) -> None:
    with writing(make_session) as session:
        cancel(session, job_id)


def running(job: JobRecord) -> bool:
    return job.progress is not None


@on_sqlite
def test_jobs_get_gpus_of_their_own_and_who_waits_says_for_what(
    settings: Settings,
    make_session: Sessions,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
) -> None:
    long = {"steps": 1000, "seconds_per_step": 0.05}
    first = submit_counting(**long, launch=on(1))
    second = submit_counting(**long, launch=on(1, 2), kind="sft", name="two")
    large = submit_counting(steps=1, launch=on(2))
    behind = submit_counting(steps=1, launch=on(1))
    plain = submit_counting(steps=1)
    start_dispatcher(**FOUR)

    wait_for(first, "running", until=running)
    wait_for(second, "running", until=running)
    assert wait_for(plain).status == "succeeded"  # the line for places is another one
    sees = [given(make_session, job_id).split(",") for job_id in (first, second)]
    assert sorted(sees[0] + sees[1]) == NAMES[:3]
    assert (len(sees[0]), len(sees[1])) == (1, 2)
    # one GPU is free; the job behind would fit and may not pass, or the large one would wait for ever
    assert wait_for(large, "queued").waiting_reason == "waits for 2 GPUs: 1 of 4 free"
    assert wait_for(behind, "queued").waiting_reason is None
    stop(make_session, first)
    assert wait_for(large).status == "succeeded"
    assert wait_for(behind).status == "succeeded"
    stop(make_session, second)
    wait_for(second)


@on_sqlite
def test_gpus_of_jobs_that_outlived_their_server_stay_taken(
    settings: Settings,
    make_session: Sessions,
    submit_counting: Callable[..., str],
    start_process: Callable[..., "subprocess.Popen[bytes]"],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
) -> None:
    two = {"gpus": FOUR["gpus"][:2], "share_gpu": True, "lease_seconds": 1.0}
    held = submit_counting(steps=1000, seconds_per_step=0.05, launch=on(1))
    server = start_process(**two)
    wait_for(held, "running", until=running)
    server.send_signal(signal.SIGKILL)
    server.wait()
    with writing(make_session) as session:
        for owner in present(session):
            unregister(session, owner)
    other, last = (submit_counting(steps=1000, seconds_per_step=0.05, launch=on(1)) for _ in range(2))

    start_dispatcher(**two)

    wait_for(other, "running", until=running)
    if given(make_session, other) == given(make_session, held):
        pytest.fail("one GPU was given to two jobs")
    waiting = "waits for a GPU: 0 of 2 free"
    assert wait_for(last, "queued", until=lambda job: job.waiting_reason == waiting).waiting_reason == waiting
    for job_id in (last, other, held):
        stop(make_session, job_id)
        assert wait_for(job_id).status == "cancelled"


def test_two_servers_of_a_machine_that_start_jobs_in_the_same_instant_never_give_one_gpu_out_twice(
    settings: Settings, make_session: Sessions, counting: Callable[..., Recipe], wait_for: WaitFor
) -> None:
    """By real processes; eight jobs and eight GPUs a round, so whoever chooses what another has just given is found."""
    eight = tuple(Gpu(name=f"race-{os.getpid()}-{index}", memory_bytes=None) for index in range(8))
    ready = settings.model_copy(
        update={"gpus": eight, "share_gpu": True, "poll_seconds": 0.01, "cancel_grace_seconds": 0.1}
    )
    works = LocalExecutor(settings.artifact_dir, ["/bin/sh", "-c", "exec sleep 300"])
    servers = [Dispatcher(ready, make_session, works) for _ in range(2)]
    for server in servers:
        server.start()
    try:
        owners: set[str] = set()
        rounds = 0
        while rounds < 4 or len(owners) < 2:  # until both have taken part
            rounds += 1
            assert rounds < 20
            jobs = [submit(make_session, counting(launch=on(1)), settings) for _ in eight]
            for job_id in jobs:
                wait_for(job_id, "running", until=lambda job: bool(recorded(make_session, job.id)))
            assert sorted(given(make_session, job_id) for job_id in jobs) == [gpu.name for gpu in eight]
            with make_session() as session:
                owners |= set(session.scalars(select(Job.lease_owner).where(Job.id.in_(jobs))))
            for job_id in jobs:
                stop(make_session, job_id)
            for job_id in jobs:
                assert wait_for(job_id).status == "cancelled"
    finally:
        for server in servers:
            server.stop()


def recorded(make_session: Sessions, job_id: str) -> object:
    with make_session() as session:
        return session.get_one(Job, job_id).process


@on_sqlite
def test_a_server_that_stands_still_while_it_chooses_a_gpu_holds_up_no_other_work(
    make_session: Sessions,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
) -> None:
    with Choice() as another:
        while not another.is_ours():  # other tests of this machine choose too
            time.sleep(0.01)
        on_a_gpu, plain = submit_counting(steps=1, launch=on(1)), submit_counting(steps=1)
        start_dispatcher(**FOUR)
        assert wait_for(plain).status == "succeeded"
        assert wait_for(on_a_gpu, "queued").attempts == 0
    assert wait_for(on_a_gpu).status == "succeeded"


@on_sqlite
@pytest.mark.parametrize("followed", [True, False])
def test_while_a_job_works_whose_gpus_nobody_knows_no_other_gets_any(
    followed: bool,
    settings: Settings,
    make_session: Sessions,
    submit_counting: Callable[..., str],
    counting_executor: LocalExecutor,
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
) -> None:
    held = submit_counting(steps=1000, seconds_per_step=0.05, launch=on(1))
    process = counting_executor.start(settings.runs_dir / held, {})  # as versions did that gave no GPUs out
    with writing(make_session) as session:
        job = session.get_one(Job, held)
        job.status, job.process, job.attempts = "running", process.record(), 1
        if not followed:  # its server was heard of a moment ago
            job.lease_owner, job.lease_expires_at = "another", datetime.now(UTC) + timedelta(seconds=60)
    other, plain = submit_counting(steps=1, launch=on(1)), submit_counting(steps=1)

    start_dispatcher(**FOUR)

    assert wait_for(plain).status == "succeeded"  # which came last, and could have been started last
    assert wait_for(other, "queued").attempts == 0
    if followed:
        stop(make_session, held)
        assert wait_for(other).status == "succeeded"
    process.kill()
    while process.is_running():
        time.sleep(0.01)


@on_sqlite
def test_where_there_are_to_be_no_gpus_jobs_see_none(
    make_session: Sessions,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    job_id = submit_counting(steps=1000, seconds_per_step=0.05)
    start_dispatcher(gpus=())
    wait_for(job_id, "running", until=running)
    assert given(make_session, job_id) == ""
    stop(make_session, job_id)
    wait_for(job_id)


@on_sqlite
def test_a_server_is_heard_of_well_within_two_minutes_however_long_its_lease(
    make_session: Sessions, start_dispatcher: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dispatcher._LONGEST_SILENCE_SECONDS <= 30
    monkeypatch.setattr(dispatcher, "_LONGEST_SILENCE_SECONDS", 0.05)
    start_dispatcher(lease_seconds=900.0)
    seen: set[datetime] = set()
    deadline = time.monotonic() + 20
    while len(seen) < 2 and time.monotonic() < deadline:
        with make_session() as session:
            seen |= set(session.scalars(select(Worker.seen_at)))
        time.sleep(0.02)
    assert len(seen) == 2


@on_sqlite
def test_what_no_server_can_carry_out_is_refused_when_it_is_submitted(
    settings: Settings, make_session: Sessions, counting: Callable[..., Recipe]
) -> None:
    eight = counting(launch=on(1, 8), kind="sft")
    assert submit(make_session, eight, settings)  # no server was heard of: one that has them may come
    with writing(make_session) as session:
        register(session, "small", Machine(places=1, gpus=FOUR["gpus"], memory_bytes=8 * GIB))
    with pytest.raises(InvalidInput, match=r"no server can carry this out: it needs 8 GPUs and there are 4") as refused:
        submit(make_session, eight, settings)
    assert refused.value.pointer == "/launch"
    with pytest.raises(InvalidInput, match=r"needs about 21\.5 GB on each GPU and the largest has 17\.2 GB"):
        submit(make_session, counting(launch=on(1)), settings, memory_bytes=20 * GIB)
    with pytest.raises(InvalidInput, match=r"needs about 9\.7 GB of memory"):
        submit(make_session, counting(), settings, memory_bytes=9 * GIB)
    with writing(make_session) as session:
        register(session, "large", Machine(places=1, gpus=FOUR["gpus"] * 2))
    assert submit(make_session, eight, settings)


@on_sqlite
def test_memory_that_running_jobs_were_promised_is_waited_for(
    settings: Settings,
    make_session: Sessions,
    counting: Callable[..., Recipe],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: WaitFor,
) -> None:
    long = counting(steps=1000, seconds_per_step=0.05)
    first = submit(make_session, long, settings, memory_bytes=6 * GIB)
    second = submit(make_session, counting(steps=1), settings, memory_bytes=3 * GIB)
    start_dispatcher(job_slots=4, gpus=(), memory_bytes=8 * GIB)
    wait_for(first, "running", until=running)
    reason = "waits for memory: needs about 3.2 GB, and of 8.6 GB 2.1 GB is not promised to others"
    wait_for(second, "queued", until=lambda job: job.waiting_reason == reason)
    stop(make_session, first)
    assert wait_for(second).status == "succeeded"


@on_sqlite
def test_a_job_without_servers_says_so(make_session: Sessions, submit_counting: Callable[..., str]) -> None:
    job_id = submit_counting()
    with make_session() as session:
        assert get_job(session, job_id).waiting_reason == "no server carries out jobs at present"


def a_driver(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a tool on the path that answers as NVIDIA's does on a machine with three GPUs."""
    tool = directory / "nvidia-smi"
    lines = "\n".join(f"{index}, GPU-{index}{index}aa, {memory}" for index, memory in enumerate((81559, 81559, 24576)))
    tool.write_text(f"#!/bin/sh\ncat <<END\n{lines}\nEND\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_gpus_are_those_the_driver_shows_and_this_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    a_driver(tmp_path, monkeypatch)
    assert [gpu.name for gpu in visible_gpus()] == ["0", "1", "2"]
    assert visible_gpus()[2].memory_bytes == 24 * GIB
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-11aa,2")
    assert [gpu.name for gpu in visible_gpus()] == ["1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0,9,1")  # what follows one that is not there is not shown
    assert [gpu.name for gpu in visible_gpus()] == ["2", "0"]
    assert [gpu.name for gpu in machine_of(load_settings()).gpus or ()] == ["0"]  # 2 is the engine's cuda:0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == ()


def test_the_gpu_that_answers_requests_is_no_jobs_unless_it_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    a_driver(tmp_path, monkeypatch)

    def names(**changes: object) -> list[str]:
        return [gpu.name for gpu in machine_of(load_settings(**changes)).gpus or ()]

    assert names() == ["1", "2"]
    assert names(share_gpu=True) == names(scores_on_gpu=False) == ["0", "1", "2"]
    monkeypatch.setenv("ASSAY_GPUS", "5:40GiB,6:40GiB")
    assert names() == ["6"]
    monkeypatch.setenv("ASSAY_GPUS", "none")
    assert machine_of(load_settings()) == machine_of(load_settings(share_gpu=True))
    monkeypatch.setenv("ASSAY_GPUS", "0:much")
    with pytest.raises(InvalidInput, match="ASSAY_GPUS"):
        load_settings()
