"""A job that asks for several processes is carried out by as many, and none of them survives the others' death."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import get_job
from service.db.records import TERMINAL, JobRecord
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors.local_process import LocalExecutor
from service.jobs.kinds import parse_any_recipe
from service.jobs.queue import submit
from service.settings import Settings

ROOT = Path(__file__).parents[3]
TOGETHER = {
    "kind": "sft",
    "name": "together",
    "policy": {"scratch": {"hidden_size": 16, "layers": 1, "heads": 2}},
    "data": {"kind": "product_world", "size": 64, "validation_size": 8},
    "batch": {"size": 8, "micro": 4},
    "max_steps": 80,
    "checkpoint": {"every_steps": 20},
    "launch": {"processes": 2},
}


def workers(directory: Path) -> list[psutil.Process]:
    """Processes that work in a run directory, other than the launcher."""
    found = []
    for process in psutil.process_iter():
        try:
            variables = process.environ()
        except (psutil.Error, OSError):
            continue
        if variables.get("ASSAY_RUN_DIRECTORY") == str(directory.absolute()) and "LOCAL_RANK" in variables:
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_when_one_of_two_processes_is_killed_both_start_again_from_the_checkpoint(
    make_session: sessionmaker[Session], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    job_id = submit(make_session, parse_any_recipe(TOGETHER), settings)
    directory = settings.runs_dir / job_id
    dispatcher = Dispatcher(settings, make_session, LocalExecutor(settings.artifact_dir))

    def wait(condition: Callable[[JobRecord], bool], seconds: float = 200) -> JobRecord:
        deadline = time.monotonic() + seconds
        while True:
            with make_session() as session:
                job = get_job(session, job_id)
            if condition(job):
                return job
            assert job.status not in TERMINAL, (directory / "log.txt").read_text()
            assert time.monotonic() < deadline, job.model_dump_json(indent=2)
            time.sleep(0.05)

    dispatcher.start()
    try:
        wait(lambda job: (directory / "checkpoints/step-00000020").exists())
        found = workers(directory)
        assert len(found) == 2

        os.kill(found[1].pid, signal.SIGKILL)

        job = wait(lambda job: job.status in TERMINAL)
    finally:
        dispatcher.stop()
    assert (job.status, job.attempts) == ("succeeded", 2), (directory / "log.txt").read_text()
    assert [(artifact.name, artifact.version) for artifact in job.artifacts] == [("together", 1)]
    assert workers(directory) == []
    steps = [
        event["step"]
        for event in map(json.loads, (directory / "events.jsonl").read_text().splitlines())
        if event["type"] == "metrics" and event["stage"] == "train"
    ]
    assert steps.count(1) == 1  # it went on
    assert steps[-1] == 80
