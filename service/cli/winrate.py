"""``assay winrate``: how often models beat a baseline, recorded like any job."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import ArtifactDir, AsJson, DatabaseUrl
from service.cli.printing import print_table, say
from service.cli.recorded import Output, run_recorded
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from evaluation.statistics.estimate import Estimate


def winrate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUTPUTS|ANNOTATIONS.json...|RUN_A RUN_B",
            help="As alpaca_eval writes them; .jsonl and .gz too. Or two stress tests, by id or directory.",
        ),
    ],
    oracle: Annotated[
        str | None,
        typer.Option(
            help="Who judges outputs: a registered scorer, or a control. Of stress tests: one of their oracles."
        ),
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
    output: Output = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Win rates against a baseline: raw, length-controlled, by length, of two models, or over temperature."""
    from service.jobs.kinds import parse_any_recipe

    settings = load_settings(database_url=database_url, artifact_dir=artifact_dir)
    content: dict[str, Any] = {
        "kind": "win_rate",
        "paths": [str(_place(each, settings)) for each in files],
        "oracle": oracle,
        "baseline": baseline,
        "reference": reference,
        "difficulty": None if difficulty is None else str(difficulty.absolute()),
        "length_buckets": buckets,
        "bootstrap": {"draws": draws},
    }
    run_recorded(parse_any_recipe(content), settings, output, as_json=as_json, show=_print_job)


def _place(name: Path, settings: Settings) -> Path:
    """A file or directory, or the directory of a run that is named by its id."""
    run = settings.runs_dir / name
    return (run if not name.exists() and run.is_dir() else name).absolute()


def _print_job(job: dict[str, Any]) -> None:
    result: dict[str, Any] = job["result"]
    if "temperatures" in result:
        _print_temperatures(result)
        say(f"\n{job['id']}: `assay report {job['id']}` draws it; --json prints every number with its counts")
        return
    _print_rates(result)
    say(f"\n{job['id']}: recorded; --json prints every number with its counts and method")


def _print_temperatures(result: dict[str, Any]) -> None:
    """A row for each temperature, and by each oracle the win rate, its reading and both policies' means."""
    from evaluation.statistics.averages import MEAN
    from evaluation.statistics.policy_wins import WIN_RATE
    from evaluation.wording import percent, ranged
    from service.estimates import estimates_in

    (one,), other = result["models"], result["baseline"]
    found = {(each.oracle, each.temperature, each.scorer, each.statistic): each for each in estimates_in(result)}
    for oracle in result["oracles"]:
        say(f"{one} over {other}, judged by {oracle}; wins in %, with 95 % intervals over prompts\n")
        headings = ["T", "win rate", "", f"mean of {one}", f"mean of {other}"]
        rows = [
            [
                f"{temperature:g}",
                percent(won := found.get((oracle, temperature, one, WIN_RATE + other))),
                _word(won),
                *(ranged(found.get((oracle, temperature, name, MEAN))) for name in (one, other)),
            ]
            for temperature in result["temperatures"]
        ]
        print_table(headings, rows, numbers=[heading for heading in headings if heading])
        say("")


def _print_rates(result: dict[str, Any]) -> None:
    from evaluation.statistics.win_rate import LEAD, LENGTH, LENGTH_CONTROLLED, WIN_RATE
    from evaluation.wording import percent
    from service.estimates import estimates_in

    estimates = estimates_in(result)
    whole = {(each.scorer, each.statistic): each for each in estimates if each.stratum == "all"}
    models = result["models"]
    say(f"against {result['baseline']}, judged by {result['oracle']}; in %, with 95 % intervals over instructions\n")
    headings = ["model", "win rate", "length-controlled", "characters", "battles"]
    rows = [
        [
            model,
            percent(whole[model, WIN_RATE]),
            percent(whole[model, LENGTH_CONTROLLED]),
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
                    for lead in [whole[model, statistic + LEAD + reference]]
                    for cell in (percent(lead), _word(lead))
                ),
            ]
            for model in models
            if model != reference
        ]
        print_table(headings, rows, numbers=("win rate", "length-controlled"))
    _print_buckets(models, [each for each in estimates if each.stratum != "all"])


def _print_buckets(models: Sequence[str], estimates: "Sequence[Estimate]") -> None:
    from evaluation.wording import percent

    buckets = sorted({each.stratum for each in estimates}, key=lambda name: int(name.split()[1].split("-")[0]))
    if not buckets:
        return
    found = {(each.scorer, each.stratum): each for each in estimates}
    say("\nwin rate by the output's length in characters\n")
    headings = ["model", *(name.removeprefix("length ") for name in buckets)]
    rows = [[model, *(percent(found.get((model, bucket))) for bucket in buckets)] for model in models]
    print_table(headings, rows, numbers=headings[1:])


def _characters(estimate: "Estimate") -> str:
    return "–" if estimate.estimate is None else f"{estimate.estimate:,.0f}"


def _word(estimate: "Estimate | None") -> str:
    from evaluation.wording import Reading, reading

    words = {Reading.ABOVE: "better", Reading.BELOW: "worse", Reading.UNRESOLVED: "not resolved"}
    return "" if estimate is None else words.get(reading(estimate), "")
