"""On the product world PPO raises what the exact checker says of fresh responses."""

from pathlib import Path
from typing import Any

import pytest

from tests.trained import metrics_of
from trainer.artifacts import ArtifactStore
from trainer.recipes import parse_recipe
from trainer.run import run_recipe

WORLD: dict[str, Any] = {"kind": "product_world", "levels": [1, 2], "validation_size": 64}


@pytest.mark.slow
def test_ppo_on_the_checker_raises_the_share_of_responses_that_meet_all_constraints(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    imitate = {
        "kind": "sft",
        "name": "base",
        "policy": {"scratch": {"hidden_size": 64, "layers": 2, "heads": 4, "max_tokens": 96}},
        "data": {**WORLD, "size": 6000},
        "optimizer": {"learning_rate": 5e-3, "betas": [0.9, 0.98], "warmup_fraction": 0.05},
        "batch": {"size": 32},
        "max_steps": 500,
    }
    run_recipe(parse_recipe(imitate), tmp_path / "base", store, quiet=True)
    reinforce = {
        "kind": "ppo",
        "name": "tuned",
        "policy": {"path": "base"},
        "data": {**WORLD, "size": 2560, "seed": 1},
        "reward_model": {"kind": "product_world", "measure": "satisfied"},
        "rounds": 30,
        "optimizer": {"learning_rate": 2e-4, "schedule": "constant", "warmup_fraction": 0.0},
        "ppo": {
            "rollouts": 128,
            "minibatch": 32,
            "max_response_tokens": 40,
            "kl": {"coefficient": 0.02},
            "reward": {"scale": 4.0},
            "value": {"trunk": "detached", "learning_rate": 1e-3, "clip": None, "warmup_rounds": 2},
        },
        "evaluation": {"prompts": 0},
    }
    run_recipe(parse_recipe(reinforce), tmp_path / "tuned", store, quiet=True)
    rounds = metrics_of(tmp_path / "tuned")
    satisfied = [values["oracle/satisfied"] for values in rounds]
    assert sum(satisfied[-5:]) / 5 > sum(satisfied[:5]) / 5 + 0.1
