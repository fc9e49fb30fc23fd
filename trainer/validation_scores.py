"""What a scorer said of responses held out from its training: numbers, for later scores to be compared with."""

import hashlib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from trainer.errors import BrokenArtifact
from trainer.manifest import Artifact

VALIDATION_FILE = "validation_scores.json"


class ValidationScores(BaseModel):
    """Columns of equal length, a row for each response, read as the scoring API reads pairs. No text is in them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal[1] = 1
    prompt: list[int]
    """Rows with the same number move together: responses to one prompt, or made for one row of the data."""
    characters: list[int]
    """Length of the response."""
    cut: list[bool]
    """Whether the pair fits the scorer only without the prompt's oldest tokens."""
    scores: dict[str, list[float]]
    """By output of the scorer, as served: neither calibrated nor standardised any further."""

    @model_validator(mode="after")
    def _of_equal_length(self) -> Self:
        rows = len(self.prompt)
        if not rows == len(self.characters) == len(self.cut) or any(len(each) != rows for each in self.scores.values()):
            raise ValueError("its columns differ in length")
        return self

    def save(self, directory: Path) -> None:
        """Write them among the files of an artifact."""
        (directory / VALIDATION_FILE).write_text(self.model_dump_json() + "\n", encoding="utf-8")


def read_validation_scores(artifact: Artifact) -> ValidationScores | None:
    """Those of an artifact; None where it has none. Fetches no other file.

    Raises BrokenArtifact where the file is not the one that the manifest names, or unreadable.
    """
    sha256 = artifact.manifest.files.get(VALIDATION_FILE)
    if sha256 is None:
        return None
    try:
        content = (artifact.directory_with(VALIDATION_FILE) / VALIDATION_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BrokenArtifact(
                f"{artifact.reference}: {VALIDATION_FILE} was changed after publishing; import it again"
            )
        return ValidationScores.model_validate_json(content)
    except FileNotFoundError as error:
        raise BrokenArtifact(
            f"{artifact.reference}: {VALIDATION_FILE} is missing; publish or import it again"
        ) from error
    except ValidationError as error:
        first = str(error).splitlines()[0]
        raise BrokenArtifact(
            f"{artifact.reference}: {VALIDATION_FILE} is unreadable ({first}); train it again"
        ) from error
