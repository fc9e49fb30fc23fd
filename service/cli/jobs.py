"""``assay jobs``: recorded runs of recipes, on a server or in the local database.

Both are asked through the API: without ``--url`` the application is opened in this process, without its dispatcher.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import AsJson, DatabaseUrl, ServerUrl
from service.cli.printing import note, print_json, print_table, say
from service.cli.recipes import Overrides, RecipeFile
from service.db.records import JobRecord, JobStatus
from service.settings import load_settings
from service.wording import ago, count, duration
from trainer.recipe import apply_overrides, read_recipe

if TYPE_CHECKING:
    from service.client import AssayClient

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Its id, as `assay jobs list` shows it.")]
IdempotencyKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="The same key with the same recipe gives the same job.")
]


def make_family() -> typer.Typer:
    """The commands of this family."""
    family = typer.Typer(name="jobs", help="Recorded runs of recipes: queued, running and done.")
    family.command("list")(list_jobs)
    for command in (show, logs, cancel, resume, submit):
        family.command()(command)
    return family


def list_jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, the newest first.")] = 50,
    as_json: AsJson = False,
    url: ServerUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """List jobs, newest first."""
    with _client(url, database_url) as client:
        found = client.jobs(status=status, limit=limit)
    if as_json:
        print_json({"data": found})
        return
    rows = [(job.id, job.kind, job.name, _state(job), ago(job.created_at)) for job in found]
    print_table(("job", "kind", "name", "status", "created"), rows)


def show(job: JobId, as_json: AsJson = False, url: ServerUrl = None, database_url: DatabaseUrl = None) -> None:
    """Show one job."""
    with _client(url, database_url) as client:
        found = client.job(job)
    if as_json:
        print_json(found)
        return
    facts = [
        ("job", found.id),
        ("recipe", f"{found.kind} {found.name}"),
        ("status", _state(found)),
        ("created", f"{found.created_at:%Y-%m-%d %H:%M:%S} UTC, {ago(found.created_at)}"),
        ("attempts", f"{found.attempts} of {found.max_attempts}"),
        *[("published", f"{artifact.name}@{artifact.version}") for artifact in found.artifacts],
        *([("error", f"{found.error.detail} ({found.error.code})")] if found.error else []),
    ]
    for name, value in facts:
        say(f"{name:<10}{value}")


def logs(job: JobId, url: ServerUrl = None, database_url: DatabaseUrl = None) -> None:
    """Print what a job said."""
    with _client(url, database_url) as client:
        say(client.logs(job).rstrip("\n"))


def cancel(job: JobId, as_json: AsJson = False, url: ServerUrl = None, database_url: DatabaseUrl = None) -> None:
    """Ask a job to stop; its checkpoint stays."""
    with _client(url, database_url) as client:
        _tell(client.cancel(job), as_json)


def resume(job: JobId, as_json: AsJson = False, url: ServerUrl = None, database_url: DatabaseUrl = None) -> None:
    """Queue a stopped or failed job again; it continues from its last checkpoint."""
    with _client(url, database_url) as client:
        _tell(client.resume(job), as_json)
    if url is None:
        note("`assay serve` runs what is queued")


def submit(
    recipe: RecipeFile,
    overrides: Overrides = None,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
    url: ServerUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Queue a recipe for a server to run."""
    content = apply_overrides(read_recipe(recipe), overrides or [])
    with _client(url, database_url) as client:
        _tell(client.submit(content, idempotency_key), as_json)
    if url is None:
        note("`assay serve` runs what is queued")


def _tell(job: JobRecord, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        say(f"{job.id} {_state(job)}")


def _state(job: JobRecord) -> str:
    """Status with what there is to add in few words."""
    if job.status == "queued" and job.queue_position is not None:
        reason = f": {job.waiting_reason}" if job.waiting_reason else ""
        return f"queued, {job.queue_position} in line{reason}"
    if job.status == "running" and job.cancel_requested:
        return "running, stopping"
    if job.status == "running" and job.progress is not None:
        how_far = job.progress
        left = f", about {duration(how_far.eta_seconds)} left" if how_far.eta_seconds else ""
        return f"running, {how_far.stage} {how_far.done:,} of {count(how_far.total, how_far.unit)}{left}"
    return job.status


@contextmanager
def _client(url: str | None, database_url: str | None) -> "Iterator[AssayClient]":
    if url is not None:
        from service.client import AssayClient
        from service.client.requests import Patience

        with AssayClient(url, patience=Patience(attempts=1)) as client:
            yield client
        return
    from service.local_client import local_client

    with local_client(load_settings(database_url=database_url)) as client:
        yield client
