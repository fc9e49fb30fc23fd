"""Before a job begins again, its directory holds what it must and nothing that would be taken for this attempt's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import list_events
from service.db.records import JobRecord
from service.db.session import writing
from service.db.tables import Job
from service.jobs.directory import log_tail, prepare
from service.jobs.dispatcher import Dispatcher
from service.jobs.queue import resume
from service.settings import Settings
from trainer.object_storage import Bucket
from trainer.run_mirror import RunMirror

Sessions = sessionmaker[Session]


def test_a_result_of_before_is_dropped_and_what_the_run_keeps_is_not(
    make_session: Sessions, settings: Settings, submit_counting: Callable[..., str]
) -> None:
    job_id = submit_counting()
    directory = settings.runs_dir / job_id
    for name in ("result.json", "checkpoint"):
        (directory / name).write_text('{"status": "failed"}')
    (directory / "events.jsonl").write_text('{"sequence": 1, "type": "failed"}\n{"sequence": 2, "ty')

    with writing(make_session) as session:
        job = session.get_one(Job, job_id)
        job.events_seen = 1
        prepare(session, job, directory)

    assert sorted(path.name for path in directory.iterdir()) == ["checkpoint", "events.jsonl", "recipe.json"]
    assert (directory / "events.jsonl").read_text() == '{"sequence": 1, "type": "failed"}\n'


def test_events_of_a_job_that_goes_on_with_another_disk_are_numbered_on(
    make_session: Sessions,
    settings: Settings,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: Callable[..., JobRecord],
) -> None:
    job_id = submit_counting(fail_at=2)
    dispatcher = start_dispatcher()
    assert wait_for(job_id).status == "failed"
    with make_session() as session:
        first = list_events(session, job_id)
    shutil.rmtree(settings.runs_dir / job_id)

    with writing(make_session) as session:
        resume(session, job_id)
    dispatcher.wake()
    assert wait_for(job_id).status == "failed"

    with make_session() as session:
        events = list_events(session, job_id)
    assert events[: len(first)] == first
    assert [event.sequence for event in events] == list(range(1, 2 * len(first) + 1))
    assert [event.data["attempt"] for event in events if event.type == "started"] == [1, 2]
    lines = (settings.runs_dir / job_id / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [event.sequence for event in events]


def test_of_a_log_in_storage_no_more_than_its_end_is_brought(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path / 'shared'}"
    directory = tmp_path / "elsewhere" / "job_1"
    directory.mkdir(parents=True)
    (directory / "log.txt").write_text("x" * 100_000 + "the end")
    mirror = RunMirror(Bucket(url), directory)
    mirror.start()
    mirror.close()
    brought, read = [], Bucket.read

    def spied(*arguments: Any, **asked: Any) -> bytes | None:
        brought.append(read(*arguments, **asked))
        return brought[-1]

    monkeypatch.setattr(Bucket, "read", spied)
    assert log_tail(settings.model_copy(update={"storage_url": url}), "job_1", 7) == "the end"
    assert brought[-1] == b"the end"
    assert log_tail(settings.model_copy(update={"storage_url": url}), "job_2", 7) == ""
