"""A score becomes a probability only where its artifact says how."""

from datetime import UTC, datetime
from typing import Any

import pytest

from evaluation.engine.probability import probability, sigmoid
from trainer.artifacts import ArtifactKind, Manifest


def manifest(kind: ArtifactKind, calibration: dict[str, float] | None) -> Manifest:
    rest: dict[str, Any] = {key: {} for key in ("recipe", "metrics", "files")}
    return Manifest(
        kind=kind, name="m", version=1, created_at=datetime(2026, 1, 1, tzinfo=UTC), job=None, recipe_digest="",
        parents=[], data_digest=None, code_version="", details={"calibration": calibration}, probes=[], **rest,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "calibration", "output", "expected"),
    [
        ("reward_model", {"temperature": 2.0}, 0, 0.7310586),  # sigma(2 / 2)
        ("reward_model", None, 0, None),
        ("discriminator", {"center": 1.0, "temperature": 1.0}, 0, 0.7310586),  # sigma(2 - 1)
        ("discriminator", {"center": 1.0, "temperature": 1.0}, 2, None),
        ("discriminator", None, 0, None),
        ("policy", None, 0, None),
    ],
)
def test_the_calibration_of_the_manifest_decides(
    kind: ArtifactKind, calibration: dict[str, float] | None, output: int, expected: float | None
) -> None:
    assert probability(manifest(kind, calibration), output, 2.0) == (expected and pytest.approx(expected))


def test_the_logistic_function_overflows_on_neither_side() -> None:
    assert (sigmoid(-1e9), sigmoid(0.0), sigmoid(1e9)) == (0.0, 0.5, 1.0)
