"""``assay train``, ``assay stress`` and ``assay audit``: run a recipe here and now, recorded like any job."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from service.cli.options import ArtifactDir, AsJson, DatabaseUrl
from service.cli.printing import print_json, say
from service.cli.recorded import Output, run_recorded
from service.settings import Settings, load_settings
from trainer.recipe import apply_overrides, read_recipe

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="YAML or JSON.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changed settings: optimizer.learning_rate=1e-4")
]


def train(
    recipe: RecipeFile,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check data, steps and memory per GPU; fetch and write nothing.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Run a training recipe here and publish what it makes. Interrupted, the same command continues."""
    settings = load_settings(database_url=database_url, artifact_dir=artifact_dir)
    content = _read(recipe, overrides, training=True)
    if dry_run:
        _dry_run(content, settings, as_json)
        return
    job = _run(content, settings)
    if as_json:
        print_json(job)
        return
    for artifact in job["artifacts"]:
        say(f"published {artifact['name']}@{artifact['version']}")
    for name, value in (job["result"] or {}).get("metrics", {}).items():
        say(f"{name} {value:.4g}")


def stress(
    recipe: RecipeFile,
    overrides: Overrides = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Run a temperature stress test here. Interrupted, the same command continues."""
    settings = load_settings(database_url=database_url, artifact_dir=artifact_dir)
    job = _run(_read(recipe, overrides, training=False), settings)
    if as_json:
        print_json(job)
        return
    _print_verdict(job["id"], settings)


def audit(
    judged: Annotated[
        Path, typer.Argument(metavar="JUDGED.jsonl", help="Responses with scores and judgements; .gz too.")
    ],
    scorer: Annotated[
        list[str], typer.Option(help="A registered scorer, recorded:NAME in the file, or a control such as length.")
    ],
    oracle: Annotated[list[str], typer.Option(help="Whom to trust; named as scorers are.")],
    cluster: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What else makes responses alike, such as policy.")
    ] = None,
    output: Output = None,
    form: Annotated[Literal["json", "table"], typer.Option("--format", help="What to print.")] = "table",
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Measure scorers against oracles on responses somebody has judged already."""
    from service.jobs.kinds import parse_any_recipe

    settings = load_settings(database_url=database_url, artifact_dir=artifact_dir)
    content = {
        "kind": "audit",
        "path": str(judged.absolute()),
        "scorers": scorer,
        "oracles": oracle,
        "cluster": cluster,
    }
    recipe = parse_any_recipe(content)

    def show(job: dict[str, Any]) -> None:
        _print_verdict(job["id"], settings)

    run_recorded(recipe, settings, output, as_json=as_json or form == "json", show=show)


def _read(path: Path, overrides: list[str] | None, *, training: bool) -> dict[str, Any]:
    from service.jobs.kinds import STRESS_KINDS, TRAINING_KINDS, require_kind

    content = apply_overrides(read_recipe(path), overrides or [])
    require_kind(content, TRAINING_KINDS if training else STRESS_KINDS)
    return content


def _run(content: dict[str, Any], settings: Settings) -> dict[str, Any]:
    from service.jobs.here import run_here
    from service.jobs.kinds import parse_any_recipe

    return run_here(parse_any_recipe(content), settings)


def _dry_run(content: dict[str, Any], settings: Settings, as_json: bool) -> None:
    from trainer.dry_run.check import dry_run
    from trainer.dry_run.table import print_dry_run
    from trainer.recipes import parse_recipe

    report = dry_run(parse_recipe(content), settings.open_artifacts())
    if as_json:
        print_json(report)
    else:
        print_dry_run(report, Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160))


def _print_verdict(run_id: str, settings: Settings) -> None:
    from evaluation.report import table
    from evaluation.verdict import verdict
    from service.estimates import read_run

    _, estimates = read_run(settings, run_id)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table(estimates))
    found = verdict(estimates)
    for sentence in (found.headline, *found.findings):
        console.print(f"\n{sentence}", markup=False)
    console.print(f"\n{run_id}: `assay report {run_id}` writes it as one HTML file", markup=False)
