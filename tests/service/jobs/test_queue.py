"""A job changes state once, whoever asks and however often."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from service.db.queries import get_job
from service.db.session import writing
from service.db.tables import Job
from service.jobs.leases import Lease, Sign, claim, owned, release, signs, take_over
from service.jobs.queue import cancel, resume, submit
from service.settings import Settings
from trainer.errors import Conflict, InvalidInput, NotFound, Overloaded, StorageFailure
from trainer.recipe import Launch, Recipe

MakeRecipe = Callable[..., Recipe]
ALICE, BOB = Lease("alice", 30.0), Lease("bob", 30.0)


def count_jobs(make_session: sessionmaker[Session]) -> int:
    with make_session() as session:
        return session.scalars(select(func.count()).select_from(Job)).one()


def test_a_submitted_job_waits_with_its_recipe_in_its_directory(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    recipe = counting(steps=7, labels={"team": "x"})

    run = submit(make_session, recipe, settings)
    training = submit(make_session, counting(kind="sft"), settings)

    assert (run[:4], training[:4]) == ("run_", "job_")
    assert json.loads((settings.runs_dir / run / "recipe.json").read_text()) == recipe.model_dump(mode="json")
    with make_session() as session:
        job = get_job(session, run)
        assert (job.status, job.queue_position, job.labels) == ("queued", 1, {"team": "x"})
        assert job.recipe_digest == recipe.digest()
        assert get_job(session, training).queue_position == 2


def test_the_same_key_makes_one_job(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    first = submit(make_session, counting(), settings, idempotency_key="k1")

    assert submit(make_session, counting(), settings, idempotency_key="k1") == first
    assert submit(make_session, counting(), settings, idempotency_key="k2") != first
    with pytest.raises(Conflict, match=f"used for another recipe, as {first}"):
        submit(make_session, counting(steps=9), settings, idempotency_key="k1")
    assert count_jobs(make_session) == len(list(settings.runs_dir.iterdir())) == 2


def test_the_same_key_at_the_same_moment_makes_one_job(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: submit(make_session, counting(), settings, idempotency_key="k"), range(16)))

    assert len(ids) == 1
    assert [path.name for path in settings.runs_dir.iterdir()] == list(ids)


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "a\n"])
def test_a_key_that_is_no_key_is_refused(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe, key: str
) -> None:
    with pytest.raises(InvalidInput, match="Idempotency-Key"):
        submit(make_session, counting(), settings, idempotency_key=key)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [({"labels": {"a": "\x00"}}, "/labels"), ({"launch": Launch(processes=2)}, "/launch/processes")],
)
def test_what_cannot_be_stored_or_carried_out_is_pointed_at(
    make_session: sessionmaker[Session],
    settings: Settings,
    counting: MakeRecipe,
    fields: dict[str, object],
    pointer: str,
) -> None:
    with pytest.raises(InvalidInput) as caught:
        submit(make_session, counting(**fields), settings)

    assert caught.value.pointer == pointer


def test_a_full_queue_is_overloaded(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    small = settings.model_copy(update={"max_queued_jobs": 2})
    submit(make_session, counting(), small)
    submit(make_session, counting(), small)

    with pytest.raises(Overloaded, match="2 jobs are waiting"):
        submit(make_session, counting(), small)


def test_a_directory_that_cannot_be_made_leaves_no_job(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    settings.runs_dir.write_text("a file is in the way")

    with pytest.raises(StorageFailure, match="cannot write"):
        submit(make_session, counting(), settings)

    assert count_jobs(make_session) == 0


def test_jobs_are_claimed_once_each_in_the_order_they_came(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    ids = [submit(make_session, counting(kind=kind), settings) for kind in ("stress_test", "sft") * 6]

    def claim_one(_: int) -> str | None:
        with writing(make_session) as session:
            job = claim(session, ALICE)
            return job and job.id

    assert [claim_one(0), claim_one(0)] == ids[:2]
    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(claim_one, range(14)))
    # PostgreSQL skips what another transaction holds, so some claims may have found nothing
    with make_session() as session:
        running = session.scalars(select(Job.id).where(Job.status == "running")).all()
    assert sorted(filter(None, claimed)) == sorted(set(running) - set(ids[:2]))
    assert len(set(filter(None, claimed))) == len(list(filter(None, claimed))) >= 6


def test_a_claimed_job_belongs_to_its_owner_until_somebody_takes_it_over(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    job_id = submit(make_session, counting(), settings)
    with writing(make_session) as session:
        job = claim(session, ALICE)
        assert job is not None
        assert (job.status, job.attempts, job.lease_owner) == ("running", 1, "alice")

    with make_session() as session:
        heard = signs(session)[job_id]
    with writing(make_session) as session:
        assert owned(session, job_id, BOB) is None
        assert owned(session, job_id, ALICE) is not None
    with writing(make_session) as session:
        assert take_over(session, BOB, job_id, heard) is None  # alice has been heard of since
        heard = signs(session)[job_id]
        assert take_over(session, BOB, job_id, heard) is not None
    with writing(make_session) as session:
        assert owned(session, job_id, ALICE) is None
        assert take_over(session, ALICE, job_id, heard) is None


def test_a_released_job_is_given_up(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    job_id = submit(make_session, counting(), settings)
    with writing(make_session) as session:
        claim(session, ALICE)
    with writing(make_session) as session:
        release(session, BOB)
        assert signs(session)[job_id].until is not None
        release(session, ALICE)
        given_up = signs(session)[job_id]
        assert given_up == Sign("alice", None)
        assert take_over(session, BOB, job_id, given_up) is not None


def test_cancel_and_resume(make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe) -> None:
    job_id = submit(make_session, counting(), settings)
    with writing(make_session) as session:
        with pytest.raises(Conflict, match="is queued"):
            resume(session, job_id)
        assert cancel(session, job_id).status == "cancelled"
    with writing(make_session) as session:
        with pytest.raises(Conflict, match="has been cancelled already"):
            cancel(session, job_id)
        assert resume(session, job_id).status == "queued"
    with writing(make_session) as session:
        claim(session, ALICE)
    with writing(make_session) as session:
        job = cancel(session, job_id)
        assert job.status == "running"
        first = job.cancel_requested_at
        assert first is not None
        assert cancel(session, job_id).cancel_requested_at == first


def test_what_does_not_exist_or_is_of_another_kind_is_not_found(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    job_id = submit(make_session, counting(), settings)

    for change in (cancel, resume):
        with writing(make_session) as session:
            with pytest.raises(NotFound):
                change(session, "run_0")
            with pytest.raises(NotFound):
                change(session, job_id, ("sft",))


def test_what_succeeded_cannot_be_resumed(
    make_session: sessionmaker[Session], settings: Settings, counting: MakeRecipe
) -> None:
    job_id = submit(make_session, counting(), settings)
    with writing(make_session) as session:
        session.get_one(Job, job_id).status = "succeeded"

    with writing(make_session) as session, pytest.raises(Conflict, match="submit it again"):
        resume(session, job_id)
