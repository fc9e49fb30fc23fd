"""``assay report``: what a run or an audit found, as one HTML file that needs no network, and as image files."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.options import DatabaseUrl
from service.cli.printing import say
from service.cli.sources import read_everything


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN_ID|OUT.json|DIRECTORY",
            help="A run of any kind, what `assay audit --output` wrote, or a training run's directory.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option(metavar="DIRECTORY", help="Also write every figure here, as an image file.")
    ] = None,
    form: Annotated[Literal["png", "svg"], typer.Option("--format", help="Of the figures.")] = "png",
    database_url: DatabaseUrl = None,
) -> None:
    """Write one static HTML file with verdict, figures and tables, and the figures as images where asked."""
    from evaluation.report import write_report

    summary, evidence = read_everything(source, database_url)
    write_report(summary, evidence, output)
    say(str(output))
    if figures is not None:
        from evaluation.figures import draw
        from evaluation.figures.export import write_images

        for path in write_images(draw(replace(evidence, every_alike=True)), figures, form):
            say(str(path))
