"""``assay report``: what a run or an audit found, as one HTML file that needs no network."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import DatabaseUrl
from service.cli.printing import say
from service.cli.sources import SOURCE_HELP, read_source


def report(
    source: Annotated[str, typer.Argument(metavar="RUN_ID|OUT.json", help=SOURCE_HELP)],
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    database_url: DatabaseUrl = None,
) -> None:
    """Write one static HTML file with verdict, figures and tables."""
    from evaluation.report import write_report

    summary, estimates = read_source(source, database_url)
    write_report(summary, estimates, output)
    say(str(output))
