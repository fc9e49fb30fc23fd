"""What a command is told to look at: a run in the database, or a file that an audit wrote."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import InvalidInput

if TYPE_CHECKING:
    from evaluation.statistics.estimate import Estimate

SOURCE_HELP = "A run, or what `assay audit --output` wrote."


def read_source(source: str, database_url: str | None) -> "tuple[dict[str, Any], list[Estimate]]":
    """Summary and estimates of a run or of a file. Raises NotFound or InvalidInput."""
    from service.estimates import read_run
    from service.settings import load_settings

    if source.endswith(".json") or Path(source).is_file():
        return read_audit(Path(source))
    return read_run(load_settings(database_url=database_url), source)


def read_audit(path: Path) -> "tuple[dict[str, Any], list[Estimate]]":
    """Summary and estimates from a file. Raises InvalidInput if `assay audit` did not write it."""
    from evaluation.statistics.estimate import Estimate

    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        fields = Estimate.model_fields
        required = {name for name, field in fields.items() if field.is_required()}
        estimates = [
            Estimate(**{name: row[name] for name in fields if name in row or name in required})
            for row in summary["estimates"]
        ]
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is not what `assay audit --output` writes; make it again") from error
    return summary, estimates
