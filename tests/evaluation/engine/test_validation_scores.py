"""The scores that an artifact carries of its validation data are those that the engine gives."""

import json
from typing import Any

import pytest

from evaluation.engine.scoring import Pair, Scored, ScoringEngine
from trainer.artifacts import ArtifactStore
from trainer.data.sources import ProductWorldData
from trainer.manifest import Artifact
from trainer.recipes import parse_recipe
from trainer.run import run_recipe
from trainer.validation_scores import ValidationScores, read_validation_scores

SHAPE = {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 80}
LONG = "product lamp | " + " ; ".join(["color red"] * 30)
"""Longer than a window of 80 tokens with any response."""


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    found = ProductWorldData(kind="product_world", split="validation", size=12).preferences()
    texts = [(row.sides[0].prompt, *(side.response for side in row.sides)) for row in found]
    texts.append((LONG, "the color is red .", "the color is blue ."))
    return [dict(zip(("prompt", "chosen", "rejected"), each, strict=True)) for each in texts]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]) -> ArtifactStore:
    """``rm``, ``game`` with ``game/discriminator``, and ``probe``; training cut prompts to 12 tokens."""
    root = tmp_path_factory.mktemp("validation")
    store = ArtifactStore(root / "artifacts")
    held_out = root / "held_out.jsonl"
    held_out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"path": str(held_out), "validation": str(held_out), "max_prompt_tokens": 12}
    quick: dict[str, Any] = {"data": data, "max_steps": 8, "batch": {"size": 8}, "optimizer": {"learning_rate": 3e-2}}
    discriminator = {"kind": "mlp", "width": 16}
    for content in (
        {"kind": "reward_model", "name": "rm", "backbone": {"scratch": SHAPE}},
        {
            **{"kind": "ganpo", "name": "game", "policy": {"scratch": SHAPE}},
            "adversarial": {"discriminator": discriminator},
        },
        {
            **{"kind": "discriminator", "name": "probe", "reference": {"path": "game/reference"}},
            **{"loss": "bradley_terry", "discriminator": discriminator},
        },
    ):
        run_recipe(parse_recipe({**quick, **content}), root / str(content["name"]), store, quiet=True)
    return store


def validation_of(artifact: Artifact) -> ValidationScores:
    found = read_validation_scores(artifact)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "outputs"),
    [("rm", 1), ("game", 5), ("game/discriminator", 6), ("probe", 1)],
)
def test_every_output_is_served_as_it_was_recorded(
    store: ArtifactStore, engine: ScoringEngine, rows: list[dict[str, str]], name: str, outputs: int
) -> None:
    recorded = validation_of(store.open(name))
    assert tuple(recorded.scores) == engine.describe(name).outputs
    assert len(recorded.scores) == outputs
    pairs = [Pair(row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]
    assert len(recorded.prompt) == len(pairs)
    for output, scores in recorded.scores.items():
        assert max(scores) - min(scores) > 0.01, "or any order of them would do"
        served = engine.score(f"{name}:{output}", pairs, "truncate_prompt")
        told = sorted(zip(recorded.characters, recorded.cut, scores, strict=True))
        known: list[tuple[int, bool, float]] = []
        for pair, each in zip(pairs, served, strict=True):
            assert isinstance(each, Scored)
            known.append((len(pair.response), each.truncated_tokens > 0, each.score))
        for one, other in zip(told, sorted(known), strict=True):
            assert one[:2] == other[:2]
            assert one[2] == pytest.approx(other[2], abs=1e-4)
    assert 2 <= sum(recorded.cut) < 6, "as served: training cut most prompts, and the window cuts the long one"
