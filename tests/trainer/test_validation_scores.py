"""The file of validation scores: read with the artifact's manifest in hand, and refused where it is another."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from trainer.artifacts import ArtifactStore, Contents
from trainer.errors import BrokenArtifact
from trainer.manifest import Artifact
from trainer.validation_scores import VALIDATION_FILE, ValidationScores, read_validation_scores

SCORES = ValidationScores(prompt=[0, 0, 1], characters=[3, 4, 5], cut=[False, True, False], scores={"score": [1, 2, 3]})


def publish(root: Path, *, scores: ValidationScores | None) -> Artifact:
    def write(directory: Path) -> None:
        (directory / "config.json").write_text("{}")
        if scores is not None:
            scores.save(directory)

    contents = Contents(kind="reward_model", recipe={}, recipe_digest="", metrics={}, details={}, probes=[], parents=[])
    return ArtifactStore(root).publish("rm", contents, write)


def test_what_was_saved_is_read_and_an_older_artifact_has_none(tmp_path: Path) -> None:
    artifact = publish(tmp_path, scores=SCORES)
    assert read_validation_scores(artifact) == SCORES
    artifact.verify()
    assert read_validation_scores(publish(tmp_path, scores=None)) is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_text(file.read_text().replace("3.0", "4.0")), "was changed after publishing"),
        (lambda file: file.unlink(), "is missing"),
    ],
)
def test_another_file_than_the_manifests_is_refused(tmp_path: Path, spoil: object, said: str) -> None:
    artifact = publish(tmp_path, scores=SCORES)
    spoil(artifact.directory / VALIDATION_FILE)  # type: ignore[operator]
    with pytest.raises(BrokenArtifact, match=said):
        read_validation_scores(artifact)


def test_columns_that_differ_in_length_are_no_scores(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="differ in length"):
        ValidationScores(prompt=[0, 1], characters=[3, 4], cut=[False, True], scores={"score": [1.0]})
    short = SCORES.model_copy(update={"cut": [False]})
    with pytest.raises(BrokenArtifact, match="unreadable"):
        read_validation_scores(publish(tmp_path, scores=short))
