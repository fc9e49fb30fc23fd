"""What a command is told to look at: a run in the database, or a file that an audit wrote."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import InvalidInput

if TYPE_CHECKING:
    from evaluation.figures import Evidence
    from evaluation.statistics.estimate import Estimate

SOURCE_HELP = "A run, or what `assay audit --output` wrote."


def read_source(source: str, database_url: str | None) -> "tuple[dict[str, Any], list[Estimate]]":
    """Summary and estimates of a run or of a file. Raises NotFound or InvalidInput."""
    from service.estimates import read_run
    from service.settings import load_settings

    if _is_file(source):
        summary, evidence = read_audit(Path(source))
        return summary, list(evidence.estimates)
    return read_run(load_settings(database_url=database_url), source)


def read_everything(source: str, database_url: str | None) -> "tuple[dict[str, Any], Evidence]":
    """Summary and everything that figures are drawn from, of a run, a file or a training run's directory.

    Raises NotFound or InvalidInput.
    """
    from service.evidence import read_directory, read_evidence
    from service.settings import load_settings

    if Path(source).is_dir():
        return read_directory(Path(source))
    if _is_file(source):
        return read_audit(Path(source))
    return read_evidence(load_settings(database_url=database_url), source)


def read_audit(path: Path) -> "tuple[dict[str, Any], Evidence]":
    """Summary and evidence from a file. Raises InvalidInput if `assay audit` did not write it."""
    from service.evidence import evidence_in

    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        return summary, evidence_in(summary)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is not what `assay audit --output` writes; make it again") from error


def _is_file(source: str) -> bool:
    return source.endswith(".json") or Path(source).is_file()
