"""``assay gate``: fail a pipeline where a scorer is no longer trusted."""

from typing import Annotated

import typer

from service.cli.options import AsJson, DatabaseUrl
from service.cli.printing import print_json, say
from service.cli.sources import SOURCE_HELP, read_source
from service.errors import EXIT_FAILED


def gate(
    source: Annotated[str, typer.Argument(metavar="RUN_ID|OUT.json", help=SOURCE_HELP)],
    min_lower: Annotated[float, typer.Option(help="What the lower end of every interval must reach.")],
    where: Annotated[
        str, typer.Option(metavar="CONDITION", help="Which estimates: \"temperature>=1.5 and scorer=='rm'\".")
    ] = "",
    statistic: Annotated[str, typer.Option(help="Which statistic.")] = "pearson_within",
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Exit with 0 if every interval chosen lies above a bound, with 1 if one does not, with 2 for bad input.

    Learned scorers are checked on all responses, unless the condition asks for something else.
    """
    from evaluation.conditions import parse_condition
    from evaluation.gate import gate as check

    condition = parse_condition(where) if where.strip() else lambda _: True
    _, estimates = read_source(source, database_url)
    checked = check(estimates, condition, statistic, min_lower)
    failed = [each for each in checked if not each.passes]
    if as_json:
        rows = [{**each.estimate.model_dump(mode="json"), "passes": each.passes} for each in checked]
        print_json({"passes": not failed, "min_lower": min_lower, "checked": rows})
    else:
        for each in checked:
            say(f"{'passes' if each.passes else 'FAILS '}  {each.sentence()}")
        say(f"{len(checked) - len(failed)} of {len(checked)} {statistic} have a lower end of {min_lower:g} or more")
    if failed:
        raise typer.Exit(EXIT_FAILED)
