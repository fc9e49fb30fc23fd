"""What routes and pages do with jobs on somebody's behalf: take a recipe, queue it, cancel a job, resume one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import State

from service.access import Caller
from service.db.queries import find_job, names_under_way
from service.db.session import writing
from service.jobs import cancel, resume, submit
from service.jobs.kinds import estimate_memory, require_kind
from service.jobs.samples import SAMPLES
from trainer.errors import InvalidInput
from trainer.recipe import Recipe

if TYPE_CHECKING:
    from trainer.dry_run.check import DryRun


def accept(state: State, content: dict[str, Any], kinds: tuple[str, ...]) -> Recipe:
    """The recipe that ``content`` describes, of one of ``kinds``.

    Raises InvalidInput for what it says wrongly, Forbidden for a place that the operator does not list, both with a
    pointer to the field.
    """
    require_kind(content, kinds)
    recipe: Recipe = state.parse_recipe(content)
    _check_places(state, recipe)
    return recipe


def planned(state: State, recipe: Recipe) -> "DryRun":
    """What a training recipe would do: its rows are read, its steps and memory worked out, nothing is trained."""
    from trainer.dry_run import check

    return check.dry_run(recipe, state.settings.open_artifacts())


def queue(state: State, caller: Caller, recipe: Recipe, idempotency_key: str | None = None) -> str:
    """The id of the recipe's new job, or of the one that the caller's ``idempotency_key`` made before.

    Raises as ``jobs.submit``, and InvalidInput for a key of the server's own: monitoring believes audits by their key,
    so that nobody who may queue jobs can write what production is trusted by.
    """
    if (idempotency_key or "").lower().startswith(f"{SAMPLES}:"):  # databases may compare without regard to capitals
        raise InvalidInput(
            f"Idempotency-Key: those that begin with {SAMPLES}: are the server's own audits'; choose another"
        )
    job_id = submit(
        state.sessions,
        recipe,
        state.settings,
        idempotency_key=idempotency_key,
        owner=None if caller.key is None else caller.key.id,
        memory_bytes=estimate_memory(recipe, state.scoring.artifacts) if state.settings.check_memory else None,
    )
    state.dispatcher.wake()
    return job_id


def cancel_job(state: State, job_id: str, kinds: tuple[str, ...] | None = None) -> None:
    """Cancel a waiting job, or ask a running one to save a checkpoint and stop. Raises NotFound, Conflict."""
    with writing(state.sessions) as session:
        cancel(session, job_id, kinds)
    state.dispatcher.wake()


def resume_job(state: State, job_id: str, kinds: tuple[str, ...] | None = None) -> None:
    """Queue a job that did not succeed again.

    Raises NotFound, Conflict, InvalidInput for a recipe of older code, and as ``accept`` where the operator's list is
    another one now.
    """
    with state.sessions() as session:
        stored = find_job(session, job_id, kinds).recipe
    recipe = state.parse_recipe(stored)  # recipes outlive the code that wrote them
    if not _is_monitoring(state, stored):
        _check_places(state, recipe)
    with writing(state.sessions) as session:
        resume(session, job_id, kinds)
    state.dispatcher.wake()


def _is_monitoring(state: State, stored: dict[str, Any]) -> bool:
    """Whether the server queued this audit itself, as the operator told it to: of a file that no request may name."""
    samples: Path = state.settings.runs_dir.absolute() / SAMPLES
    return Path(str(stored.get("path"))).parent == samples


def _check_places(state: State, recipe: Recipe) -> None:
    """Refuse a recipe that names what it may not, or what does not exist, before a job is made of it."""
    if state.owner:
        return
    from service.places import Places  # brings the statistics

    with state.sessions() as session:
        expected = names_under_way(session)
    Places(state.settings, state.scoring.artifacts, expected).check(recipe)
