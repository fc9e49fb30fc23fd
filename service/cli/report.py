"""``assay report``: what a run or an audit found, as one HTML file that needs no network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import DatabaseUrl
from service.cli.printing import say
from trainer.errors import InvalidInput

if TYPE_CHECKING:
    from evaluation.statistics.estimate import Estimate


def report(
    source: Annotated[
        str, typer.Argument(metavar="RUN_ID|OUT.json", help="A run, or what `assay audit --output` wrote.")
    ],
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    database_url: DatabaseUrl = None,
) -> None:
    """Write one static HTML file with verdict, figures and tables."""
    from evaluation.report import write_report
    from service.estimates import read_run
    from service.settings import load_settings

    if source.endswith(".json") or Path(source).is_file():
        summary, estimates = read_audit(Path(source))
    else:
        summary, estimates = read_run(load_settings(database_url=database_url), source)
    write_report(summary, estimates, output)
    say(str(output))


def read_audit(path: Path) -> "tuple[dict[str, Any], list[Estimate]]":
    """Summary and estimates from a file. Raises InvalidInput if `assay audit` did not write it."""
    from evaluation.statistics.estimate import Estimate

    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        fields = Estimate.model_fields
        estimates = [Estimate(**{name: row[name] for name in fields}) for row in summary["estimates"]]
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is not what `assay audit --output` writes; make it again") from error
    return summary, estimates
