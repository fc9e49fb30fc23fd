"""What a run left is stored in short transactions, and nobody sees a part of it, whoever is killed amid."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from service.db import deleting, ingest
from service.db.contents import contents_of
from service.db.queries import list_events
from service.db.records import JobRecord
from service.db.samples import response_page, score_page, thinned_scores
from service.db.session import writing
from service.db.tables import ArtifactRow, Correlation, Job, Prompt, Response, Score, StressTest
from service.jobs.dispatcher import Dispatcher
from service.jobs.executors import Process
from service.jobs.finish import finish
from service.jobs.leases import Lease, Sign, claim, release, renew, signs, take_over
from service.jobs.queue import cancel, submit
from service.jobs.watch import Watch
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.errors import RunFailed, StorageFailure
from trainer.manifest import Artifact
from trainer.recipe import Recipe
from trainer.run import run_recipe

Sessions = sessionmaker[Session]
MakeRecipe = Callable[..., Recipe]
ALICE, BOB = Lease("alice", 30.0), Lease("bob", 30.0)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(deleting, "ROWS_AT_ONCE", 7)


@pytest.fixture
def ended(make_session: Sessions, settings: Settings, counting: MakeRecipe) -> Callable[..., str]:
    """A job of Alice's whose process has ended and of which nothing is stored."""

    def make(**fields: Any) -> str:
        recipe = counting(**{"steps": 10, **fields})
        job_id = submit(make_session, recipe, settings)
        with writing(make_session) as session:
            assert claim(session, ALICE, job_id) is not None
        run_recipe(recipe, settings.runs_dir / job_id, settings.open_artifacts(), run_id=job_id, quiet=True)
        return job_id

    return make


def ending(make_session: Sessions, settings: Settings, job_id: str, lease: Lease = ALICE) -> Iterator[None]:
    artifacts = settings.open_artifacts()
    return finish(make_session, job_id, lease, settings.runs_dir / job_id, artifacts, 0, float("-inf"))


def counts(make_session: Sessions) -> list[int]:
    tables = (Prompt, Response, Score, Correlation, StressTest)
    with make_session() as session:
        return [session.scalars(select(func.count()).select_from(table)).one() for table in tables]


def status(make_session: Sessions, job_id: str) -> str:
    with make_session() as session:
        return session.get_one(Job, job_id).status


def hand_over(make_session: Sessions, job_id: str) -> None:
    """As after Alice was silent for as long as a lease lasts."""
    with make_session() as session:
        sign = signs(session)[job_id]
    with writing(make_session) as session:
        assert take_over(session, BOB, job_id, sign) is not None


def test_between_two_pieces_others_write_and_nobody_sees_a_part(
    make_session: Sessions, settings: Settings, ended: Callable[..., str], counting: MakeRecipe
) -> None:
    run = ended()
    seen = []

    for _ in ending(make_session, settings, run):
        submit(make_session, counting(), settings)  # which the lock of a transaction under way would hold up
        seen.append(sum(counts(make_session)))
        assert status(make_session, run) == "running"
        with make_session() as session:
            assert response_page(session, run).data == score_page(session, run).data == []
            assert thinned_scores(session, run, 10).n_total == 0
            assert not contents_of(session, run).responses

    assert seen == [0, 7, 14, 21, 28, 35, 40]  # after the events, 10 prompts, 10 responses and 20 scores
    assert counts(make_session) == [10, 10, 20, 1, 1]
    assert status(make_session, run) == "succeeded"
    with make_session() as session:
        assert len(response_page(session, run).data) == 10
        assert len(score_page(session, run).data) == 20
        assert contents_of(session, run).responses


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_what_a_killed_server_had_stored_is_replaced_by_the_next_one(
    make_session: Sessions, settings: Settings, ended: Callable[..., str], steps: int
) -> None:
    run = ended()
    killed = ending(make_session, settings, run)
    for _ in range(steps):
        next(killed)
    hand_over(make_session, run)
    scores = settings.runs_dir / run / "scores.jsonl"
    lines = scores.read_text().splitlines(keepends=True)
    scores.write_text("".join(reversed(lines)))  # as of a run that another machine did anew

    for _ in ending(make_session, settings, run, BOB):
        pass

    assert counts(make_session) == [10, 10, 20, 1, 1]
    assert status(make_session, run) == "succeeded"
    with make_session() as session:
        first = session.get_one(Score, (run, 1))
        assert (first.scorer, first.response) == ("judge", 10)
        sequences = [event.sequence for event in list_events(session, run, limit=500)]
        assert sequences == list(range(1, len(sequences) + 1))


def test_a_server_whose_job_was_taken_over_stores_nothing_more(
    make_session: Sessions, settings: Settings, ended: Callable[..., str]
) -> None:
    run = ended()
    slow = ending(make_session, settings, run)
    for _ in range(3):
        next(slow)
    hand_over(make_session, run)
    before = counts(make_session)

    assert list(slow) == []

    assert counts(make_session) == before == [10, 4, 0, 0, 0]
    assert status(make_session, run) == "running"


def test_files_that_contradict_each_other_leave_nothing_of_any_piece(
    make_session: Sessions, settings: Settings, ended: Callable[..., str]
) -> None:
    run = ended(torn=True)

    for _ in ending(make_session, settings, run):
        pass

    assert status(make_session, run) == "failed"
    assert counts(make_session) == [0, 0, 0, 0, 0]


def test_leases_are_kept_while_the_dispatcher_waits_for_something(
    make_session: Sessions,
    submit_counting: Callable[..., str],
    start_dispatcher: Callable[..., Dispatcher],
    wait_for: Callable[..., JobRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = submit_counting(steps=1000, seconds_per_step=0.05)
    start_dispatcher(lease_seconds=0.6)
    wait_for(job_id, "running", until=lambda job: job.progress is not None)
    over = threading.Event()
    real = Watch.look

    def waits(watch: Watch) -> bool:
        over.wait(60)
        return real(watch)

    monkeypatch.setattr(Watch, "look", waits)
    time.sleep(0.5)  # the look that was under way
    seen = set()
    deadline = time.monotonic() + 30
    while len(seen) < 4 and time.monotonic() < deadline:
        with make_session() as session:
            seen.add(signs(session)[job_id])
        time.sleep(0.02)
    over.set()
    with writing(make_session) as session:
        cancel(session, job_id)
    wait_for(job_id, "cancelled")
    assert len(seen) == 4


def test_a_job_that_was_given_up_shows_no_sign_of_life_again(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    job_id = submit(make_session, counting(), settings)
    with writing(make_session) as session:
        claim(session, ALICE, job_id)
        release(session, ALICE)

    with writing(make_session) as session:
        renew(session, ALICE)

    with make_session() as session:
        assert signs(session)[job_id] == Sign("alice", None)


@pytest.mark.parametrize("outage", [1, 2])
def test_an_artifact_is_indexed_when_storage_is_back(
    make_session: Sessions,
    settings: Settings,
    ended: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    outage: int,
) -> None:
    run = ended(kind="sft", name="mine")
    failing = iter(range(outage))
    real = ArtifactStore.open

    def unsteady(self: ArtifactStore, reference: str) -> Artifact:
        if next(failing, None) is not None:
            raise StorageFailure("the bucket does not answer")
        return real(self, reference)

    monkeypatch.setattr(ArtifactStore, "open", unsteady)
    monkeypatch.setattr("service.jobs.watch._SECONDS_FOR_STORAGE", 0.0)
    watch = Watch(
        run,
        settings.runs_dir / run,
        Ended(),
        make_session=make_session,
        lease=ALICE,
        artifacts=settings.open_artifacts(),
        cancel_grace_seconds=1.0,
    )

    looks = 1
    while not watch.look():
        looks += 1

    assert looks > outage
    assert status(make_session, run) == "succeeded"
    with make_session() as session:
        assert session.scalars(select(ArtifactRow.version).where(ArtifactRow.job == run)).all() == [1]


def test_storage_that_stays_away_fails_the_job_in_the_end(
    make_session: Sessions, settings: Settings, ended: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(kind="sft", name="mine")

    def away(self: ArtifactStore, reference: str) -> Artifact:
        raise StorageFailure("the bucket does not answer")

    monkeypatch.setattr(ArtifactStore, "open", away)
    patient = finish(
        make_session, run, ALICE, settings.runs_dir / run, settings.open_artifacts(), 0, time.monotonic() + 60
    )
    with pytest.raises(StorageFailure):
        list(patient)
    assert status(make_session, run) == "running"

    assert list(ending(make_session, settings, run)) == []

    with make_session() as session:
        job = session.get_one(Job, run)
        assert (job.status, job.error_code) == ("failed", "storage_failure")


class Ended:
    """A process that is over."""

    def is_running(self) -> bool:
        return False

    def exit_status(self) -> int | None:
        return 0

    def terminate(self) -> None:
        raise RunFailed("there is none")

    def kill(self) -> None:
        pass

    def record(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "place": str(Path.cwd())}


class AtWork:
    """A process until it is killed."""

    running = True

    def is_running(self) -> bool:
        return self.running

    def exit_status(self) -> int | None:
        return None

    def terminate(self) -> None: ...

    def kill(self) -> None:
        self.running = False

    def record(self) -> dict[str, Any]:
        return {}


def watched(make_session: Sessions, settings: Settings, run: str, process: Process, **options: Any) -> Watch:
    options = {"cancel_grace_seconds": 1.0, "lease": ALICE, "artifacts": settings.open_artifacts(), **options}
    return Watch(run, settings.runs_dir / run, process, make_session=make_session, **options)


def test_a_run_that_had_ended_when_its_container_did_is_recorded_by_the_next_server(
    make_session: Sessions, settings: Settings, ended: Callable[..., str]
) -> None:
    run = ended()  # its result is written, and it still closes its files
    watched(make_session, settings, run, AtWork()).put_back()
    assert status(make_session, run) == "running"

    hand_over(make_session, run)
    for _ in ending(make_session, settings, run, BOB):
        pass
    assert status(make_session, run) == "succeeded"


def test_a_run_that_was_killed_for_its_cancellation_as_its_container_ended_is_cancelled(
    make_session: Sessions, settings: Settings, counting: MakeRecipe
) -> None:
    run = submit(make_session, counting(), settings)
    with writing(make_session) as session:
        assert claim(session, ALICE, run) is not None
        cancel(session, run)
    process = AtWork()
    watch = watched(make_session, settings, run, process, cancel_grace_seconds=0.0)

    assert not watch.look()
    assert not process.running
    watch.put_back()

    assert status(make_session, run) == "cancelled"
