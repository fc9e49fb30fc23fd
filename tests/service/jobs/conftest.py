"""A dispatcher whose child processes count."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import get_job
from service.db.records import TERMINAL, JobRecord
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors import Executor
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.queue import submit
from service.settings import Settings
from trainer.recipe import Recipe

WaitFor = Callable[..., JobRecord]
Submit = Callable[..., str]


@pytest.fixture
def submit_counting(make_session: sessionmaker[Session], settings: Settings, counting: Callable[..., Recipe]) -> Submit:
    """Queues a counting recipe; returns the job's id."""
    return lambda **fields: submit(make_session, counting(**fields), settings)


@pytest.fixture
def start_dispatcher(
    make_session: sessionmaker[Session], settings: Settings, counting_executor: Executor
) -> Iterator[Callable[[], Dispatcher]]:
    """Starts a dispatcher that is stopped at the end of the test."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Dispatcher:
            dispatcher = Dispatcher(settings.model_copy(update=changes), make_session, counting_executor)
            dispatcher.start()
            stack.callback(dispatcher.stop)
            return dispatcher

        yield start


@pytest.fixture
def start_process(
    settings: Settings, counting_executor: LocalExecutor
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a dispatcher in a process of its own, with changed settings; all are killed at the end of the test."""
    with ExitStack() as stack:

        def start(**changes: Any) -> subprocess.Popen[bytes]:
            changed = settings.model_copy(update=changes)
            program = Path(__file__).with_name("dispatcher_process.py")
            command = [sys.executable, str(program), changed.model_dump_json(), json.dumps(counting_executor.command)]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def wait_for(engine: Engine, make_session: sessionmaker[Session]) -> WaitFor:
    """Waits until a job is in one of the states, any terminal one by default, and a condition holds."""

    def wait(job_id: str, *statuses: str, until: Callable[[JobRecord], bool] = lambda job: True) -> JobRecord:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with make_session() as session:
                job = get_job(session, job_id)
            if job.status in (statuses or TERMINAL) and until(job):
                return job
            if job.status in TERMINAL:
                break
            time.sleep(0.02)
        raise AssertionError(job.model_dump_json(indent=2))

    return wait
