"""Run a recipe here, keep what it returned where asked, and print it for programs or for people."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.printing import print_json
from trainer.files import write_atomically

if TYPE_CHECKING:
    from service.settings import Settings
    from trainer.recipe import Recipe

Output = Annotated[Path | None, typer.Option(metavar="OUT.json", help="Also write everything here.")]


def run_recorded(
    recipe: "Recipe",
    settings: "Settings",
    output: Path | None,
    *,
    as_json: bool,
    show: Callable[[dict[str, Any]], None],
) -> None:
    """``show`` is given the finished job, as the API has it, unless JSON was asked for."""
    from service.jobs.here import run_here

    job = run_here(recipe, settings)
    if output is not None:
        write_atomically(output, json.dumps(job["result"], allow_nan=False, indent=2) + "\n")
    if as_json:
        print_json(job["result"])
    else:
        show(job)
