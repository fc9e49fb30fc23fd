"""recipes/product-world-large as its files have it, but a few steps small: what is to run on a GPU runs here."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.recipes import parse_recipe
from trainer.artifacts import ArtifactStore
from trainer.recipe import apply_overrides, read_recipe
from trainer.run import run_recipe

RECIPES = Path(__file__).parents[2] / "recipes" / "product-world-large"
SHAPE = ["scratch.hidden_size=32", "scratch.layers=1", "scratch.heads=2"]
ROWS = ["data.size=24", "data.validation_size=4"]
TRAINING = [*ROWS, "batch.size=8", "max_steps=2"]
ROUNDS = [*ROWS, "rounds=2", "ppo.rollouts=8", "ppo.minibatch=4", "ppo.max_response_tokens=8", "evaluation.prompts=2"]
CHAIN = [
    ("1-sft", [*(f"policy.{each}" for each in SHAPE), *TRAINING]),
    ("2-reward-model", [*(f"backbone.{each}" for each in SHAPE), *TRAINING]),
    ("3-ppo", ROUNDS),
    ("4-gapo", [*ROUNDS, "reward_model.batch.size=8", "reward_model_steps=2"]),
    ("5-stress-test", ["prompts.limit=3", "responses_per_prompt=2", "max_response_tokens=8", "bootstrap.draws=100"]),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    place = tmp_path_factory.mktemp("large")
    store = ArtifactStore(place / "artifacts")
    return {
        name: run_recipe(
            parse_recipe(apply_overrides(read_recipe(RECIPES / f"{name}.yaml"), changes)), place / name, store
        )
        for name, changes in CHAIN
    }


def test_the_chain_has_every_file() -> None:
    assert [file.stem for file in sorted(RECIPES.glob("*.yaml"))] == [name for name, _ in CHAIN]


def test_each_step_takes_what_the_one_before_published(results: dict[str, dict[str, Any]]) -> None:
    assert results["1-sft"]["artifacts"] == {"policy": "large-world-policy@1"}
    assert results["2-reward-model"]["artifacts"] == {"reward_model": "large-world-reward-model@1"}
    assert results["3-ppo"]["artifacts"] == {"policy": "large-world-ppo@1"}
    assert results["4-gapo"]["artifacts"] == {
        "policy": "large-world-gapo@1",
        "reward_model": "large-world-gapo/reward_model@1",
        "live_reward_model": "large-world-gapo/live_reward_model@1",
    }


def test_the_checker_judges_what_is_trained_in_both(results: dict[str, dict[str, Any]]) -> None:
    for name in ("3-ppo", "4-gapo"):
        metrics = results[name]["metrics"]
        assert {"oracle/satisfied", "oracle/gold", "held_out/oracle/satisfied"} <= set(metrics)
        assert results[name]["stopped_early"] is None
    assert "anchor/probability" in results["4-gapo"]["metrics"]
