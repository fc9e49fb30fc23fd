"""``assay winrate``: how often models beat a baseline, recorded like any job."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import ArtifactDir, AsJson, DatabaseUrl
from service.cli.printing import print_json, print_table, say
from service.settings import load_settings
from trainer.files import write_atomically

if TYPE_CHECKING:
    from evaluation.statistics.estimate import Estimate


def winrate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="OUTPUTS|ANNOTATIONS.json...", help="As alpaca_eval writes them; .jsonl and .gz too."),
    ],
    oracle: Annotated[
        str | None, typer.Option(help="Who judges outputs: a registered scorer, or a control such as length.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(metavar="MODEL", help="Whom outputs of the others meet.")] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Whose lead the differences are of. [default: the first model]")
    ] = None,
    difficulty: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows of instruction and instruction_difficulty.")
    ] = None,
    buckets: Annotated[int, typer.Option(min=1, max=50, help="Win rates by output length; 1 for none.")] = 4,
    draws: Annotated[int, typer.Option(min=100, max=100_000, help="Bootstrap samples.")] = 2000,
    output: Annotated[Path | None, typer.Option(metavar="OUT.json", help="Also write everything here.")] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Win rates against a baseline: raw, length-controlled, by length, and one model against another."""
    from service.jobs.here import run_here
    from service.jobs.kinds import parse_any_recipe

    content: dict[str, Any] = {
        "kind": "win_rate",
        "paths": [str(each.absolute()) for each in files],
        "oracle": oracle,
        "baseline": baseline,
        "reference": reference,
        "difficulty": None if difficulty is None else str(difficulty.absolute()),
        "length_buckets": buckets,
        "bootstrap": {"draws": draws},
    }
    job = run_here(parse_any_recipe(content), load_settings(database_url=database_url, artifact_dir=artifact_dir))
    result: dict[str, Any] = job["result"]
    if output is not None:
        write_atomically(output, json.dumps(result, allow_nan=False, indent=2) + "\n")
    if as_json:
        print_json(result)
        return
    _print_rates(result)
    say(f"\n{job['id']}: recorded; --json prints every number with its counts and method")


def _print_rates(result: dict[str, Any]) -> None:
    from evaluation.statistics.estimate import Estimate
    from evaluation.statistics.win_rate import LEAD, LENGTH, LENGTH_CONTROLLED, WIN_RATE

    estimates = [Estimate(**{name: row[name] for name in Estimate.model_fields}) for row in result["estimates"]]
    whole = {(each.scorer, each.statistic): each for each in estimates if each.stratum == "all"}
    models = result["models"]
    say(f"against {result['baseline']}, judged by {result['oracle']}; in %, with 95 % intervals over instructions\n")
    headings = ["model", "win rate", "length-controlled", "characters", "battles"]
    rows = [
        [
            model,
            _percent(whole[model, WIN_RATE]),
            _percent(whole[model, LENGTH_CONTROLLED]),
            _characters(whole[model, LENGTH]),
            str(whole[model, WIN_RATE].n_responses),
        ]
        for model in models
    ]
    print_table(headings, rows, numbers=headings[1:])
    reference = result["reference"]
    if reference is not None:
        say(f"\ndifference to {reference} on common instructions, in points\n")
        headings = ["model", "win rate", "", "length-controlled", ""]
        rows = [
            [
                model,
                *(
                    cell
                    for statistic in (WIN_RATE, LENGTH_CONTROLLED)
                    for cell in _difference(whole[model, statistic + LEAD + reference])
                ),
            ]
            for model in models
            if model != reference
        ]
        print_table(headings, rows, numbers=("win rate", "length-controlled"))
    _print_buckets(models, [each for each in estimates if each.stratum != "all"])


def _print_buckets(models: Sequence[str], estimates: "Sequence[Estimate]") -> None:
    buckets = sorted({each.stratum for each in estimates}, key=lambda name: int(name.split()[1].split("-")[0]))
    if not buckets:
        return
    found = {(each.scorer, each.stratum): each for each in estimates}
    say("\nwin rate by the output's length in characters\n")
    headings = ["model", *(name.removeprefix("length ") for name in buckets)]
    rows = [[model, *(_percent(found.get((model, bucket))) for bucket in buckets)] for model in models]
    print_table(headings, rows, numbers=headings[1:])


def _percent(estimate: "Estimate | None", scale: float = 100.0) -> str:
    from evaluation.wording import number

    if estimate is None or estimate.estimate is None:
        return "–"
    text = number(scale * estimate.estimate, 1)
    if estimate.lower is None or estimate.upper is None:
        return text
    return f"{text} [{number(scale * estimate.lower, 1)}, {number(scale * estimate.upper, 1)}]"


def _characters(estimate: "Estimate") -> str:
    return "–" if estimate.estimate is None else f"{estimate.estimate:,.0f}"


def _difference(estimate: "Estimate") -> tuple[str, str]:
    from evaluation.verdict import Reading, reading

    words = {Reading.ABOVE: "better", Reading.BELOW: "worse", Reading.UNRESOLVED: "not resolved"}
    return _percent(estimate), words.get(reading(estimate), "")
