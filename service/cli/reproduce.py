"""``assay reproduce``: the whole chain of recipes behind a result of the GANPO paper, and what came of its claims."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.options import ArtifactDir, AsJson, DatabaseUrl
from service.cli.printing import print_json, say
from service.settings import Settings, load_settings
from trainer.errors import InvalidInput
from trainer.files import write_atomically

if TYPE_CHECKING:
    from evaluation.reproduction.plan import Planned
    from evaluation.reproduction.result import Result
    from evaluation.reproduction.world import World
    from service.reproduction import Reproduced

ResultName = Literal["figure3", "figure4", "figure5", "table1", "table2", "table3", "table4"]
Scale = Literal["tiny", "paper"]


def reproduce(
    result: Annotated[ResultName, typer.Argument(help="A table or figure of arXiv 2601.22083.")],
    scale: Annotated[
        Scale,
        typer.Option(help="tiny: small models in the product world, here, in minutes. paper: the paper's models."),
    ],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the page (HTML and Markdown) and the JSON are written.")
    ] = Path("reproduction"),
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Replications, paired within each. [default: 3 tiny, 1 of the paper's]"),
    ] = None,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="At the paper's scale: where the files are that must be had.")
    ] = Path("reproduction-data"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the chain, what each step needs and what data must be had.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Run the chain behind a result and say of every claim: reproduced, not reproduced or reversed.

    Killed or interrupted, the same command continues; steps that another result has done are reused.
    """
    settings = load_settings(database_url=database_url, artifact_dir=artifact_dir)
    if dry_run:
        _print_plan(result, scale, seeds, data, settings, as_json)
        return
    found = _reproduced(result, scale, seeds, data, settings)
    content = [each.to_json() for each in found]
    pages = [_write(each, output, several=len(found) > 1) for each in found]
    if as_json:
        print_json(content[0] if len(content) == 1 else content)
        return
    for each, page in zip(found, pages, strict=True):
        _print(each)
        say(f"\n{each.minutes:.1f} minutes; the page is {page}")


def _reproduced(
    name: ResultName, scale: Scale, seeds: int | None, data: Path, settings: Settings
) -> "list[Reproduced]":
    from evaluation.reproduction.plan import missing
    from evaluation.reproduction.result import steps
    from evaluation.reproduction.results import RESULTS
    from evaluation.reproduction.tiny import TINY
    from service.reproduction import processes, reproduce

    result = RESULTS[name]
    worlds = _worlds(result, scale, seeds, data, settings)
    if scale == "paper":
        store = settings.open_artifacts()
        lacking = [what for each in worlds for what in missing(steps(result, each), data, store)]
        if lacking:
            raise InvalidInput(
                f"{name} at the paper's scale cannot run here; missing: {'; '.join(dict.fromkeys(lacking))}."
                " --dry-run shows the whole chain, --scale tiny runs here"
            )
    at_once = min(2, os.cpu_count() or 1) if scale == "tiny" else 1
    with processes(at_once) as pool:
        return [
            reproduce(
                result,
                each,
                replace(TINY, seeds=len(each)) if scale == "tiny" else Replications(len(each)),
                settings,
                pool,
                at_once,
            )
            for each in worlds
        ]


@dataclass(frozen=True)
class Replications:
    """All that is chosen at the paper's scale."""

    seeds: int


def _worlds(result: "Result", scale: Scale, seeds: int | None, data: Path, settings: Settings) -> "list[list[World]]":
    """The replications, by model. Raises InvalidInput for too few of them."""
    from evaluation.reproduction.paper import PaperWorld
    from evaluation.reproduction.tiny import TINY, TinyWorld

    replications = range(seeds or (TINY.seeds if scale == "tiny" else 1))
    result.check_seeds(len(replications))
    if scale == "tiny":
        questions = settings.runs_dir / "questions"
        return [[TinyWorld(seed, TINY, questions) for seed in replications]]
    return [[PaperWorld(seed, family, data) for seed in replications] for family in result.families]


def _plan(result: "Result", worlds: "Sequence[World]", data: Path, settings: Settings) -> "Planned":
    from evaluation.reproduction.plan import plan
    from evaluation.reproduction.result import steps

    return plan(steps(result, worlds), data, settings.open_artifacts())


def _print_plan(
    name: ResultName, scale: Scale, seeds: int | None, data: Path, settings: Settings, as_json: bool
) -> None:
    from rich.console import Console

    from evaluation.reproduction.results import RESULTS

    result = RESULTS[name]
    plans = [_plan(result, each, data, settings) for each in _worlds(result, scale, seeds, data, settings)]
    if as_json:
        rows = [
            {
                **each.model_dump(mode="json", exclude={"needs"}),
                "needs": [{"what": w, "here": h} for w, h in each.needs],
            }
            for each in plans
        ]
        print_json({"result": name, "scale": scale, "chains": rows})
        return
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    for each in plans:
        for table in each.tables():
            if table.rows:
                table.show(console)
        for sentence in dict.fromkeys(sentence for step in each.steps for sentence in step.unchecked):
            console.print(f"not checked: {sentence}", soft_wrap=True)


def _write(found: "Reproduced", output: Path, *, several: bool) -> Path:
    """Write the page, the same in Markdown, and the JSON; returns the page."""
    from evaluation.reproduction.page import html, markdown
    from service.reproduction import facts

    output.mkdir(parents=True, exist_ok=True)
    name = f"{found.result.key}-{found.title}" if several else found.result.key
    page = output / f"{name}.html"
    write_atomically(page, html(found.result, found.title, found.study, facts()))
    write_atomically(output / f"{name}.md", markdown(found.result, found.title, found.study, facts()))
    write_atomically(output / f"{name}.json", json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n")
    return page


def _print(found: "Reproduced") -> None:
    from rich.console import Console

    from evaluation.reproduction.page import summary, tables

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    for table in tables(found.result, found.study):
        table.show(console)
    say(f"\n{found.title}. {summary(found.study)}")
