"""``assay benchmark``: benchmarks of reward models and downstream tasks of policies, recorded like any job."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import ArtifactDir, AsJson, DatabaseUrl
from service.cli.printing import print_json, print_table, say
from service.cli.recipes import Overrides, RecipeFile
from service.settings import load_settings
from trainer.files import write_atomically
from trainer.recipe import apply_overrides, read_recipe

if TYPE_CHECKING:
    from evaluation.statistics.estimate import Estimate


def benchmark(
    recipe: RecipeFile,
    overrides: Overrides = None,
    output: Annotated[Path | None, typer.Option(metavar="OUT.json", help="Also write everything here.")] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Run a recipe of kind benchmark or downstream here. Interrupted, the same command continues."""
    from service.jobs.here import run_here
    from service.jobs.kinds import BENCHMARK_KINDS, parse_any_recipe, require_kind

    content = apply_overrides(read_recipe(recipe), overrides or [])
    require_kind(content, BENCHMARK_KINDS)
    parsed = parse_any_recipe(content)
    job = run_here(parsed, load_settings(database_url=database_url, artifact_dir=artifact_dir))
    result: dict[str, Any] = job["result"]
    if output is not None:
        write_atomically(output, json.dumps(result, allow_nan=False, indent=2) + "\n")
    if as_json:
        print_json(result)
        return
    _print_estimates(result, f"{100 * parsed.model_dump()['bootstrap']['confidence']:g} %")
    say(f"\n{job['id']}: its files are in {job['directory']}")


def _print_estimates(result: dict[str, Any], confidence: str) -> None:
    """A table for each suite, scorers beside each other; for tasks one table, metrics below each other."""
    from evaluation.statistics.estimate import Estimate

    estimates = [Estimate(**{name: row[name] for name in Estimate.model_fields}) for row in result["estimates"]]
    if result["kind"] == "downstream":
        rows = [[each.oracle, each.statistic, _number(each), str(each.n_responses)] for each in estimates]
        say(f"{result['policy']}, with {confidence} intervals over documents\n")
        print_table(["task", "metric", "value", "documents"], rows, numbers=["value", "documents"])
        return
    for suite in result["suites"]:
        own = [each for each in estimates if each.oracle == suite]
        # the suite's own rule for ties comes first; the other is in the JSON
        first = next(each.statistic for each in own if each.stratum == "all").removesuffix("_easy")
        _print_suite(suite, first, [each for each in own if _belongs(each.statistic, first)], confidence)


def _belongs(statistic: str, rule: str) -> bool:
    return statistic.removeprefix(rule) in {"", "_easy", "_normal", "_hard"}


def _print_suite(suite: str, rule: str, estimates: "Sequence[Estimate]", confidence: str) -> None:
    scorers = list(dict.fromkeys(each.scorer for each in estimates))
    found = {(each.stratum, each.statistic, each.scorer): each for each in estimates}
    say(f"\n{suite}, {rule.replace('_', ' ')} in %, with {confidence} intervals over prompts\n")
    keys = list(dict.fromkeys((each.stratum, each.statistic) for each in estimates))
    rows = [
        [f"{stratum}{statistic.removeprefix(rule).replace('_', ' ')}", *(_percent(found, key, s) for s in scorers)]
        for key in keys
        for stratum, statistic in [key]
    ]
    counts = {key: max(found[*key, s].n_responses for s in scorers if (*key, s) in found) for key in keys}
    table = [[*row, f"{counts[key]:,}"] for key, row in zip(keys, rows, strict=True)]
    print_table(["", *scorers, "items"], table, numbers=[*scorers, "items"])


def _percent(found: "dict[tuple[str, str, str], Estimate]", key: tuple[str, str], scorer: str) -> str:
    estimate = found.get((*key, scorer))
    return "–" if estimate is None else _number(estimate, 100, 1)


def _number(estimate: "Estimate", scale: float = 1.0, decimals: int = 3) -> str:
    from evaluation.wording import number

    if estimate.estimate is None:
        return "–"
    text = number(scale * estimate.estimate, decimals)
    if estimate.lower is None or estimate.upper is None:
        return text
    return f"{text} [{number(scale * estimate.lower, decimals)}, {number(scale * estimate.upper, decimals)}]"
