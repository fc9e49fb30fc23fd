"""``assay compare``: which of two runs agrees better with its oracle, or whether that is not resolved."""

from typing import Annotated

import typer

from service.cli.options import AsJson, DatabaseUrl
from service.cli.printing import note, print_json, print_table


def compare(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="A stress test.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="Another; or the same, with two scorers.")],
    scorer_a: Annotated[
        str | None, typer.Option(help="A scorer of the first run. Without it, every scorer that both have.")
    ] = None,
    scorer_b: Annotated[str | None, typer.Option(help="A scorer of the second; the first's unless said.")] = None,
    draws: Annotated[int, typer.Option(min=100, max=100_000, help="Bootstrap samples.")] = 2000,
    confidence: Annotated[float, typer.Option(help="Of the intervals, between 0.5 and 1.")] = 0.95,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Compare r within prompts between two runs, or two scorers of them, on the prompts that both answered."""
    from evaluation.statistics.bootstrap import BootstrapSettings
    from service.database import open_database
    from service.db.session import sessions
    from service.run_comparisons import compared_runs
    from service.settings import load_settings
    from trainer.errors import InvalidInput

    if not 0.5 < confidence < 1:
        raise InvalidInput(f"--confidence {confidence:g}: use a share between 0.5 and 1, such as 0.95")
    settings = BootstrapSettings(draws=draws, confidence=confidence)
    with open_database(load_settings(database_url=database_url)) as engine, sessions(engine)() as session:
        found = compared_runs(session, run_a, run_b, scorer_a=scorer_a, scorer_b=scorer_b, settings=settings)
    if as_json:
        print_json({"a": run_a, "b": run_b, "data": [each.model_dump(mode="json") for each in found]})
        return
    rows = [
        [
            each.scorer_a if each.scorer_a == each.scorer_b else f"{each.scorer_a} : {each.scorer_b}",
            each.oracle,
            "all" if each.temperature is None else f"{each.temperature:g}",
            _number(each.r_a),
            _number(each.r_b),
            _number(each.estimate),
            each.undefined_reason or f"[{_number(each.lower)}, {_number(each.upper)}]",
            each.verdict,
            f"{each.n_prompts}",
            f"{each.n_dropped}",
        ]
        for each in found
    ]
    headings = ["scorer", "oracle", "T", "r, A", "r, B", "A - B", "interval", "A is", "prompts", "dropped"]
    print_table(headings, rows, numbers=["T", "r, A", "r, B", "A - B", "prompts", "dropped"])
    for method in dict.fromkeys(each.method for each in found):
        note(f"A - B: {method}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
