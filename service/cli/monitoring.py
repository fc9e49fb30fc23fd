"""``assay monitoring``: what is kept of production scoring. It works on the database and the run directories."""

from datetime import datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from service.cli.options import AsJson, DatabaseUrl
from service.cli.printing import print_json, say
from service.wording import count
from trainer.errors import InvalidInput


def make_family() -> typer.Typer:
    """The commands of this family."""
    family = typer.Typer(name="monitoring", help="What is kept of production scoring.")
    family.callback()(lambda: None)  # or its only command would need no name
    family.command()(forget)
    return family


def forget(
    prompt: Annotated[str | None, typer.Option(help="Everything about this very prompt.")] = None,
    prompt_hash: Annotated[str | None, typer.Option(help="The same by its hash, as the sample has it.")] = None,
    containing: Annotated[str | None, typer.Option(help="Whatever has this in its prompt or response.")] = None,
    before: Annotated[datetime | None, typer.Option(help="Whatever was scored before this time, in UTC.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and delete nothing.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete what somebody sent from the sample, from its files, and what audits made of it."""
    from service.database import open_database
    from service.db.session import sessions
    from service.monitoring.forgetting import Forget, forget_texts
    from service.settings import load_settings

    try:
        asked = Forget(prompt=prompt, prompt_hash=prompt_hash, containing=containing, before=before, dry_run=dry_run)
    except ValidationError as error:
        raise InvalidInput(f"forget: {error.errors()[0]['msg']}") from error
    settings = load_settings(database_url=database_url)
    with open_database(settings) as engine:
        found = forget_texts(sessions(engine), settings, asked)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    done = "would forget" if dry_run else "forgot"
    say(f"{done} {count(found.scores, 'score')}, and the texts of {count(len(found.audits), 'audit')}")
