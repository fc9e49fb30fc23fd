"""Run a recipe in this process, recorded like any job: what `assay train`, `assay stress` and `assay audit` do."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, sessionmaker

from service.database import open_database
from service.db.queries import get_job
from service.db.session import sessions, writing
from service.db.tables import ArtifactRow, Job
from service.jobs import run_lock
from service.jobs.directory import prepare
from service.jobs.dispatcher import new_owner
from service.jobs.finish import finish
from service.jobs.leases import Lease, owned
from service.jobs.queue import add_with_directory, new_job, requeue
from service.jobs.renewal import Renewal
from service.jobs.watch import Watch
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, Conflict, InvalidInput, RunFailed, Stopped
from trainer.recipe import Recipe
from trainer.run import run_recipe
from trainer.run_mirror import mirror_of


def run_here(recipe: Recipe, settings: Settings, *, quiet: bool = False) -> dict[str, Any]:
    """Run ``recipe`` now and return its job, as the API shows it, plus ``directory``.

    The same recipe that was interrupted or failed before continues in its run directory. An empty database is given
    its tables. Raises what the recipe raised, after recording it.
    """
    if recipe.launch.processes > 1:
        raise InvalidInput(
            f"launch.processes is {recipe.launch.processes} and this is one: `python -m trainer RECIPE.yaml` and"
            " `assay jobs submit` start as many",
            pointer="/launch/processes",
        )
    with open_database(settings) as engine:
        make_session = sessions(engine)
        artifacts = settings.open_artifacts()
        lease = Lease(new_owner(), settings.lease_seconds)
        job_id, lock = _begin(recipe, settings, make_session, lease)
        directory = settings.runs_dir / job_id
        try:
            with _watched(job_id, directory, settings, make_session, lease, artifacts):
                mirror = mirror_of(artifacts, directory)
                run_recipe(recipe, directory, artifacts, run_id=job_id, quiet=quiet, mirror=mirror)
        finally:
            os.close(lock)
        with make_session() as session:
            job = get_job(session, job_id)
    if job.status == "failed":  # the run succeeded, or it would have raised, but its results could not be stored
        raise RunFailed(job.error.detail if job.error else f"{job.id} failed")
    return {**job.model_dump(mode="json"), "directory": str(directory)}


def find_done(recipe: Recipe, settings: Settings) -> str | None:
    """Id of the newest job that has done this very work and whose artifacts are still there."""
    artifacts = settings.open_artifacts()
    with open_database(settings) as engine, sessions(engine)() as session:
        for job in session.scalars(_same_work(recipe).where(Job.status == "succeeded")):
            rows = session.scalars(select(ArtifactRow).where(ArtifactRow.job == job.id))
            if all(_exists(artifacts, f"{row.name}@{row.version}") for row in rows):
                return job.id
    return None


def _exists(artifacts: ArtifactStore, reference: str) -> bool:
    try:
        artifacts.open(reference)
    except AssayError:
        return False
    return True


def _begin(recipe: Recipe, settings: Settings, make_session: sessionmaker[Session], lease: Lease) -> tuple[str, int]:
    """Make a job that runs here, or take up the last one if it was interrupted. Returns its id and the run's lock."""
    running = {"status": "running", "started_at": datetime.now(UTC), **lease.fields()}
    with writing(make_session) as session:
        last = session.scalars(_same_work(recipe).limit(1).with_for_update()).one_or_none()
        if last is not None and last.status in {"running", "cancelled", "failed", "lost"}:
            lock = _try_lock(settings.runs_dir / last.id)
            if lock is not None:
                requeue(last)
                prepare(session, last, settings.runs_dir / last.id)
                last.attempts += 1
                for name, value in running.items():
                    setattr(last, name, value)
                return last.id, lock
        job = new_job(recipe, settings, **running)
        job.attempts = 1
        add_with_directory(session, job, recipe, settings)
    return job.id, run_lock.acquire(settings.runs_dir / job.id)


def _same_work(recipe: Recipe) -> Select[Job]:
    """Jobs with an equal recipe, newest first."""
    return select(Job).where(Job.recipe_digest == recipe.digest()).order_by(Job.created_at.desc(), Job.id.desc())


def _try_lock(directory: Path) -> int | None:
    """The lock of a run directory; None if there is no directory or somebody works in it."""
    if not directory.is_dir():
        return None
    try:
        return run_lock.acquire(directory)
    except Conflict:
        return None


class _ThisProcess:
    """The process seen from its own watch: alive for as long as anybody can look, stopped by the stop file alone."""

    def is_running(self) -> bool:
        return True

    def exit_status(self) -> int | None:
        return None

    def terminate(self) -> None:
        pass

    def kill(self) -> None:
        pass

    def record(self) -> dict[str, Any]:
        return {}


@contextmanager
def _watched(
    job_id: str,
    directory: Path,
    settings: Settings,
    make_session: sessionmaker[Session],
    lease: Lease,
    artifacts: ArtifactStore,
) -> Iterator[None]:
    """While the block runs the job here, its events are stored and its lease is kept; at the end, its outcome."""
    watch = Watch(
        job_id,
        directory,
        _ThisProcess(),
        make_session=make_session,
        lease=lease,
        artifacts=artifacts,
        cancel_grace_seconds=settings.cancel_grace_seconds,
    )
    over = threading.Event()

    def follow() -> None:
        while not over.wait(settings.poll_seconds):
            try:
                watch.look()
            except Exception:
                logging.getLogger(__name__).exception("events of %s not stored; trying again", job_id)

    thread = threading.Thread(target=follow, name="watch", daemon=True)
    renewal = Renewal(make_session, lease)
    thread.start()
    renewal.start()
    try:
        yield
    except (Stopped, KeyboardInterrupt):
        with writing(make_session) as session:
            if job := owned(session, job_id, lease):
                job.cancel_requested_at = datetime.now(UTC)
        raise
    finally:
        over.set()
        thread.join()
        try:
            # without a result the recipe did not even begin: a failure, not a process that died
            for _ in finish(make_session, job_id, lease, directory, artifacts, exit_status=1, give_up_at=float("-inf")):
                pass
        finally:
            renewal.stop()
