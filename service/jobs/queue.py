"""How a job changes state. Every change is one transaction, safe against other servers on the same database.

queued -> running -> succeeded | failed | cancelled | lost, and back to queued from the last three or when the
process died.
"""

import re
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from service.db.columns import storable
from service.db.ids import new_id
from service.db.queries import find_job
from service.db.records import TERMINAL
from service.db.session import writing
from service.db.tables import Job
from service.db.waiting import Waiting
from service.jobs.kinds import SEVERAL_PROCESSES, id_prefix
from service.settings import Settings
from service.slots import Need
from trainer.errors import Conflict, InvalidInput, Overloaded
from trainer.files import write_atomically
from trainer.manifest import code_version
from trainer.recipe import Recipe
from trainer.run import RECIPE_FILE

_LABEL = re.compile(r"[A-Za-z0-9._/-]{1,64}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def submit(
    make_session: sessionmaker[Session],
    recipe: Recipe,
    settings: Settings,
    *,
    idempotency_key: str | None = None,
    owner: str | None = None,
    memory_bytes: int | None = None,
) -> str:
    """Queue a recipe and return its job's id; the same key with the same recipe returns the job it made before.

    Each ``owner``, the id of an API key, has idempotency keys of its own. ``memory_bytes`` is what each of its
    processes certainly needs. Raises Conflict for the same key with another recipe, InvalidInput for what no server
    that was heard of lately can carry out, Overloaded past the limit of waiting jobs, StorageFailure where the run
    directory cannot be made: no job exists then.
    """
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise InvalidInput("Idempotency-Key: use 1 to 255 printable ASCII characters without spaces")
    if idempotency_key is not None and owner is not None:
        idempotency_key = f"{owner} {idempotency_key}"  # which nobody can send: it has a space
    job = new_job(recipe, settings, status="queued", idempotency_key=idempotency_key, memory_bytes=memory_bytes)
    try:
        with writing(make_session) as session:
            if known := _known(session, job):
                return known
            if reason := Waiting(session).refusal(Need.of(job.recipe["launch"], memory_bytes)):
                raise InvalidInput(
                    f"no server can carry this out: it {reason}; ask for less in launch, or for memory train adapters"
                    " (lora) or a smaller network",
                    pointer="/launch",
                )
            waiting = session.scalars(select(func.count()).select_from(Job).where(Job.status == "queued")).one()
            if waiting >= settings.max_queued_jobs:
                raise Overloaded(f"{waiting} jobs are waiting already; try again when some have run")
            add_with_directory(session, job, recipe, settings)
    except IntegrityError:  # the same key arrived twice at the same moment, and the other one won
        with make_session() as session:
            if known := _known(session, job):
                return known
        raise
    return job.id


def new_job(recipe: Recipe, settings: Settings, **fields: Any) -> Job:  # noqa: ANN401 - columns of every type
    """A row for ``recipe``, not stored yet. Raises InvalidInput for what no database can hold or executor can do."""
    content = recipe.model_dump(mode="json")
    for key, value in recipe.labels.items():
        check_label(key)
        if storable(value) != value:
            raise InvalidInput(f"label {key}: remove NUL characters and broken Unicode", pointer="/labels")
    kind = str(content["kind"])
    if recipe.launch.processes > 1 and kind not in SEVERAL_PROCESSES:
        raise InvalidInput(
            f"launch.processes is {recipe.launch.processes}: {kind} runs in one process;"
            f" {' | '.join(SEVERAL_PROCESSES)} run in several",
            pointer="/launch/processes",
        )
    return Job(
        id=new_id(id_prefix(kind)),
        kind=kind,
        name=recipe.name,
        recipe=content,
        recipe_digest=recipe.digest(),
        labels=dict(recipe.labels),
        executor=settings.executor,
        attempts=0,
        max_attempts=settings.max_attempts,
        events_seen=0,
        code_version=code_version(),
        created_at=datetime.now(UTC),
        **fields,
    )


def check_label(key: str) -> str:
    """Return ``key`` if a job can be found by it. Raises InvalidInput."""
    if not _LABEL.fullmatch(key):
        raise InvalidInput(f"label {key!r}: a key is 1 to 64 letters, digits, '.', '_', '-' or '/'", pointer="/labels")
    return key


def read_labels(texts: Iterable[str]) -> dict[str, str]:
    """Labels from ``key=value`` texts. Raises InvalidInput for what is written otherwise."""
    labels = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise InvalidInput(f"label {text!r}: write key=value")
        labels[check_label(key)] = value
    return labels


def add_with_directory(session: Session, job: Job, recipe: Recipe, settings: Settings) -> None:
    """Store a new job together with its run directory, or neither. Commits.

    A commit that fails may have been carried out nevertheless, so the directory stays then.
    """
    directory = settings.runs_dir / job.id
    try:
        session.add(job)
        session.flush()
        write_atomically(directory / RECIPE_FILE, recipe.model_dump_json(indent=2) + "\n")
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    session.commit()


def _known(session: Session, job: Job) -> str | None:
    """The id of the job made before with the same key, if any. Raises Conflict if that was another recipe."""
    if job.idempotency_key is None:
        return None
    known = session.scalars(select(Job).where(Job.idempotency_key == job.idempotency_key)).one_or_none()
    if known is None:
        return None
    if known.recipe != job.recipe:
        sent = job.idempotency_key.rpartition(" ")[2]
        raise Conflict(f"Idempotency-Key {sent!r} was used for another recipe, as {known.id}")
    return known.id


def end(job: Job, status: str, *, error: tuple[str, str] | None = None, result: dict[str, Any] | None = None) -> None:
    """Put a job into a terminal state; ``error`` is its code and detail."""
    job.status = status
    job.finished_at = datetime.now(UTC)
    job.result = result
    job.error_code, job.error_detail = error or (None, None)
    job.lease_owner = job.lease_expires_at = job.process = None


def requeue(job: Job) -> None:
    """Let a job continue from its last checkpoint when its turn comes."""
    job.status = "queued"
    job.finished_at = job.cancel_requested_at = None
    job.error_code = job.error_detail = None
    job.lease_owner = job.lease_expires_at = job.process = None


def put_back(job: Job, reason: str) -> None:
    """Let a job that was claimed and could not be started, for no fault of its own, wait on for ``reason``."""
    if job.cancel_requested_at is not None:
        end(job, "cancelled")
        return
    requeue(job)
    job.attempts -= 1
    job.error_detail = reason  # without a code it is no error


def cancel(session: Session, job_id: str, kinds: tuple[str, ...] | None = None) -> Job:
    """Cancel a waiting job at once, or ask a running one to stop. Raises NotFound, Conflict if it has ended."""
    job = _locked(session, job_id, kinds)
    if job.status in TERMINAL:
        raise Conflict(f"{job_id} has {_ENDED[job.status]} already")
    if job.status == "queued":
        end(job, "cancelled")
    if job.cancel_requested_at is None:
        job.cancel_requested_at = datetime.now(UTC)
    session.flush()
    return job


def resume(session: Session, job_id: str, kinds: tuple[str, ...] | None = None) -> Job:
    """Queue a cancelled, failed or lost job again. Raises NotFound, Conflict in any other state."""
    job = _locked(session, job_id, kinds)
    if job.status not in TERMINAL:
        raise Conflict(f"{job_id} is {job.status}; only what has ended can be resumed")
    if job.status == "succeeded":
        raise Conflict(f"{job_id} has succeeded; submit it again to repeat it")
    requeue(job)
    job.attempts = 0
    session.flush()
    return job


_ENDED = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled", "lost": "been lost"}


def _locked(session: Session, job_id: str, kinds: tuple[str, ...] | None) -> Job:
    find_job(session, job_id, kinds)
    return session.get_one(Job, job_id, with_for_update=True, populate_existing=True)
