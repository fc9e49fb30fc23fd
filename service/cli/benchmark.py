"""``assay benchmark``: benchmarks of reward models and downstream tasks of policies, recorded like any job."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from service.cli.options import ArtifactDir, AsJson, DatabaseUrl
from service.cli.printing import print_table, say
from service.cli.recipes import Overrides, RecipeFile
from service.cli.recorded import Output, run_recorded
from service.settings import load_settings
from trainer.recipe import apply_overrides, read_recipe

if TYPE_CHECKING:
    from evaluation.statistics.estimate import Estimate


def benchmark(
    recipe: RecipeFile,
    overrides: Overrides = None,
    output: Output = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Run a recipe of kind benchmark or downstream here. Interrupted, the same command continues."""
    from service.jobs.kinds import BENCHMARK_KINDS, parse_any_recipe, require_kind

    content = apply_overrides(read_recipe(recipe), overrides or [])
    require_kind(content, BENCHMARK_KINDS)
    parsed = parse_any_recipe(content)
    confidence = f"{100 * parsed.model_dump()['bootstrap']['confidence']:g} %"

    def show(job: dict[str, Any]) -> None:
        _print_estimates(job["result"], confidence)
        say(f"\n{job['id']}: its files are in {job['directory']}")

    settings = load_settings(database_url=database_url, artifact_dir=artifact_dir)
    run_recorded(parsed, settings, output, as_json=as_json, show=show)


def _print_estimates(result: dict[str, Any], confidence: str) -> None:
    """A table for each suite, scorers beside each other; for tasks one table, metrics below each other."""
    from evaluation.wording import ranged
    from service.estimates import estimates_in

    estimates = estimates_in(result)
    if result["kind"] == "downstream":
        rows = [[each.oracle, each.statistic, ranged(each), str(each.n_responses)] for each in estimates]
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
    from evaluation.wording import percent

    scorers = list(dict.fromkeys(each.scorer for each in estimates))
    found = {(each.stratum, each.statistic, each.scorer): each for each in estimates}
    say(f"\n{suite}, {rule.replace('_', ' ')} in %, with {confidence} intervals over prompts\n")
    keys = list(dict.fromkeys((each.stratum, each.statistic) for each in estimates))
    rows = [
        [
            f"{stratum}{statistic.removeprefix(rule).replace('_', ' ')}",
            *(percent(found.get((*key, s))) for s in scorers),
        ]
        for key in keys
        for stratum, statistic in [key]
    ]
    counts = {key: max(found[*key, s].n_responses for s in scorers if (*key, s) in found) for key in keys}
    table = [[*row, f"{counts[key]:,}"] for key, row in zip(keys, rows, strict=True)]
    print_table(["", *scorers, "items"], table, numbers=[*scorers, "items"])
