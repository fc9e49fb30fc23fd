"""A score becomes a probability, and a difference a meaning, only where its artifact says how."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evaluation.engine.catalogue import scorer_info
from evaluation.engine.probability import contrasts, probability
from trainer.manifest import Artifact, ArtifactKind, Manifest, Parent


def manifest(kind: ArtifactKind, parents: dict[str, str] | None = None, **details: Any) -> Manifest:
    rest: dict[str, Any] = {key: {} for key in ("recipe", "metrics", "files")}
    return Manifest(
        kind=kind, name="m", version=1, created_at=datetime(2026, 1, 1, tzinfo=UTC), job=None, recipe_digest="",
        parents=[Parent(role=role, name=name, version=3, digest="") for role, name in (parents or {}).items()],
        data_digest=None, code_version="", details=details, probes=[], **rest,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "loss", "calibration", "is_first", "expected"),
    [
        ("reward_model", "bce", {"temperature": 2.0}, True, 0.7310586),  # sigma(2 / 2)
        ("reward_model", "bce", None, True, None),
        ("reward_model", "bradley_terry", {"temperature": 2.0}, True, None),  # which has no zero of its own
        ("reward_model", "bradley_terry", {"center": 1.0, "temperature": 2.0}, True, None),
        ("reward_model", None, {"temperature": 2.0}, True, None),
        ("discriminator", None, {"center": 1.0, "temperature": 1.0}, True, 0.7310586),  # sigma(2 - 1)
        ("discriminator", None, {"center": 1.0, "temperature": 1.0}, False, None),
        ("discriminator", None, None, True, None),
        ("policy", None, {"temperature": 2.0}, True, None),
    ],
)
def test_the_calibration_and_the_loss_of_the_manifest_decide(
    kind: ArtifactKind, loss: str | None, calibration: dict[str, float] | None, is_first: bool, expected: float | None
) -> None:
    found = probability(manifest(kind, loss=loss, calibration=calibration), is_first, 2.0)
    assert found == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        ("reward_model", {"loss": "bce", "contrasts": ["prompts"]}, ("prompts", "responses")),
        ("reward_model", {"loss": "bradley_terry", "contrasts": ["prompts"]}, ("prompts",)),
        ("reward_model", {"loss": "bradley_terry", "contrasts": ["prompts", "responses"]}, ("prompts", "responses")),
        ("reward_model", {"loss": "bradley_terry"}, ("responses",)),  # published before manifests said
        ("discriminator", {}, ("responses",)),
        ("policy", {}, ("responses",)),
    ],
)
def test_differences_mean_something_of_what_training_contrasted(
    kind: ArtifactKind, details: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert contrasts(manifest(kind, **details)) == expected


@pytest.mark.parametrize(
    ("kind", "parents", "details", "expected"),
    [
        ("policy", {"reference": "start", "reward_model": "m/live_reward_model", "anchor": "m/reward_model"}, {}, True),
        ("reward_model", {"warm_up": "warm", "anchor": "m/reward_model"}, {"serve_by_default": False}, True),
        ("reward_model", {"warm_up": "warm"}, {"serve_by_default": True}, False),
        ("reward_model", {"backbone": "start"}, {}, False),
    ],
)
def test_what_was_made_beside_an_anchor_points_to_it(
    kind: ArtifactKind, parents: dict[str, str], details: dict[str, Any], expected: bool, tmp_path: Path
) -> None:
    info = scorer_info(Artifact(tmp_path, manifest(kind, parents, **details), ""), loaded=False)
    assert info.prefer == ("m/reward_model@3" if expected else None)


def test_a_live_model_on_its_way_points_to_what_the_anchor_is_a_copy_of(tmp_path: Path) -> None:
    live = manifest("reward_model", {"warm_up": "warm"}, serve_by_default=False)
    assert scorer_info(Artifact(tmp_path, live, ""), loaded=False).prefer == "warm@3"
