"""A run that is killed at any moment ends, continued, in the very bits of one that was left alone: every recipe."""

import contextlib
import multiprocessing
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.recipes.killed_run import newest, run_and_die
from trainer.artifacts import ArtifactStore
from trainer.errors import Stopped
from trainer.recipes import parse_recipe
from trainer.reporting import STOP_FILE, read_events
from trainer.run import run_recipe

SHAPE = {"hidden_size": 32, "layers": 2, "heads": 2}
COMMON: dict[str, Any] = {
    "data": {"kind": "product_world", "size": 30, "validation_size": 8},
    "batch": {"size": 8, "micro": 3},  # four steps per epoch, the smallest of six rows
    "max_steps": 10,
    "checkpoint": {"every_steps": 1},
    "optimizer": {"learning_rate": 1e-3, "weight_decay": 0.1},
}
POLICY = {"policy": {"path": "base"}}
DROPOUT = {"rank": 4, "dropout": 0.2}
SMALL = {"width": 16, "layers": 1, "heads": 2, "dropout": 0.1}
GANPO = {"kind": "ganpo", **POLICY}
RECIPES: dict[str, dict[str, Any]] = {
    "sft": {"kind": "sft", "policy": {"scratch": SHAPE}},
    "sft-lora": {"kind": "sft", "policy": {"path": "base", "lora": DROPOUT}},
    "dpo": {"kind": "preference", **POLICY},
    "dpo-lora": {"kind": "preference", "policy": {"path": "base", "lora": DROPOUT}},
    "dpo-bfloat16": {"kind": "preference", "policy": {"path": "base", "dtype": "bfloat16"}},
    "dpo-checkpointed": {"kind": "preference", **POLICY, "gradient_checkpointing": True},
    "simpo": {"kind": "preference", **POLICY, "objective": {"kind": "simpo"}},
    "ipo": {"kind": "preference", **POLICY, "objective": {"kind": "ipo"}},
    "kto": {"kind": "preference", **POLICY, "objective": {"kind": "kto"}},
    "orpo": {"kind": "preference", **POLICY, "objective": {"kind": "orpo"}},
    "ganpo-transformer": {**GANPO, "adversarial": {"discriminator": {"kind": "transformer", **SMALL}}},
    "ganpo-mlp": {**GANPO, "adversarial": {"discriminator": {"kind": "mlp", "width": 16}}},
    "ganpo-mse": {**GANPO, "adversarial": {"discriminator": {"kind": "mse"}}},
    "ganpo-lora": {
        "kind": "ganpo",
        "policy": {"path": "base", "lora": DROPOUT},
        "adversarial": {"discriminator": {"kind": "transformer", **SMALL}},
    },
    "ganpo-saturating": {
        **GANPO,
        "adversarial": {"discriminator": {"kind": "last_token", "width": 16}, "loss": "saturating", "quad": False},
    },
    "ganpo-precomputed": {
        **GANPO,
        "reference": "precomputed",
        "share_prompts": True,
        "adversarial": {"discriminator": {"kind": "transformer", **SMALL}, "mask": "prompt_and_response"},
    },
    "encoder": {"kind": "reward_model", "backbone": {"path": "with-dropout", "architecture": "encoder"}},
    "decoder": {"kind": "reward_model", "backbone": {"path": "base", "architecture": "decoder"}},
    "discriminator": {
        "kind": "discriminator",
        "reference": {"path": "base"},
        "policy": {"path": "moved"},
        "discriminator": {"kind": "transformer", **SMALL},
    },
    "probe": {
        "kind": "discriminator",
        "reference": {"path": "base"},
        "loss": "bradley_terry",
        "discriminator": {"kind": "transformer", **SMALL},
    },
}
ROUNDS: dict[str, Any] = {
    "policy": {"path": "base"},
    "data": COMMON["data"],
    "rounds": 10,
    "optimizer": {"learning_rate": 1e-3},
    "ppo": {"rollouts": 8, "minibatch": 4, "max_response_tokens": 12, "kl": {"target": 0.5}},
    "evaluation": {"prompts": 2, "every_rounds": 3},
}
WARM_UP = {"max_steps": 4, "batch": {"size": 8}, "checkpoint": {"every_steps": 1}, "optimizer": {"learning_rate": 1e-3}}
PLAYED: dict[str, dict[str, Any]] = {
    "ppo": {"kind": "ppo", **ROUNDS, "reward_model": {"kind": "product_world"}},
    "gapo": {"kind": "gapo", **ROUNDS, "reward_model": {"warm_up": WARM_UP}, "replay": 20, "publish_every_rounds": 4},
}
"""In rounds; a killed one is played again."""
QUICK = ["gapo", "sft-lora", "kto", "ganpo-transformer", "encoder", "discriminator"]
STOPPED = ["dpo-lora", "dpo-bfloat16", "dpo-checkpointed", "ganpo-lora", "probe"]
"""One of each kind; all of them take minutes."""


def recipe(name: str, store: ArtifactStore) -> Any:
    content = {**PLAYED[name], "name": name} if name in PLAYED else {**COMMON, **RECIPES[name], "name": name}
    with_dropout = str(store.root.parent / "with-dropout")  # a backbone with dropout comes from a directory
    if name == "encoder":
        content["backbone"] = {**content["backbone"], "path": with_dropout}
    if name == "gapo":
        content["reward_model"] = {"warm_up": {**WARM_UP, "backbone": {"path": with_dropout}}}
    return parse_recipe(content)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """What the recipes start from."""
    from transformers import BertConfig, BertForSequenceClassification

    from trainer.data.product_world import make_tokenizer

    root = tmp_path_factory.mktemp("resuming")
    store = ArtifactStore(root / "artifacts")
    short = {**COMMON, "max_steps": 2, **RECIPES["sft"]}
    run_recipe(parse_recipe({**short, "name": "base"}), root / "base", store, quiet=True)
    run_recipe(parse_recipe({**short, "name": "moved", "seed": 1}), root / "moved", store, quiet=True)
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    encoder = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=128,
            num_labels=1,
            hidden_dropout_prob=0.2,
            attention_probs_dropout_prob=0.2,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    encoder.save_pretrained(root / "with-dropout")
    tokenizer.save_pretrained(root / "with-dropout")
    return store


def weights(store: ArtifactStore, result: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Every tensor that a run published."""
    return {
        f"{role}/{file.name}/{key}": tensor
        for role, reference in result["artifacts"].items()
        for file in sorted(store.open(reference).path.glob("*.safetensors"))
        for key, tensor in load_file(file).items()
    }


def assert_same(store: ArtifactStore, resumed: dict[str, Any], straight: dict[str, Any]) -> None:
    ours, theirs = weights(store, resumed), weights(store, straight)
    assert theirs
    assert ours.keys() == theirs.keys()
    assert [key for key in theirs if not torch.equal(ours[key], theirs[key])] == []
    assert resumed["metrics"] == straight["metrics"]


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    """Children that start in no time: they are forked from a process that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [run_and_die.__module__, "trainer.recipes", "torch.distributed.checkpoint.state_dict"]
    )
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    yield context
    if before is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = before


def kill_at_random(name: str, store: ArtifactStore, directory: Path, processes: Any, rng: random.Random) -> None:
    """Let the recipe go on for 0 to 4 steps and up to 50 ms, or about a round, then kill it."""
    target = newest(directory) + rng.randrange(5)
    seconds = rng.uniform(0, 0.5 if name in PLAYED else 0.05)
    child = processes.Process(target=run_and_die, args=(recipe(name, store), directory, store, target, seconds))
    child.start()
    child.join()


def check_kills(name: str, store: ArtifactStore, directory: Path, processes: Any, kills: int) -> int:
    """Return how many times the recipe had to continue from a checkpoint."""
    straight = run_recipe(recipe(name, store), directory / "straight", store, quiet=True)
    rng, resumed, killed = random.Random(name), 0, directory / "killed"
    for _ in range(kills):
        kill_at_random(name, store, killed, processes, rng)
        resumed += newest(killed) > 0
    assert_same(store, run_recipe(recipe(name, store), killed, store, quiet=True), straight)
    steps = [event["step"] for event in read_events(killed) if event.get("stage") == "train" and "values" in event]
    assert set(steps) == set(range(1, 11))
    return resumed


@pytest.mark.parametrize("name", QUICK)
def test_killed_at_random_moments_a_recipe_ends_in_the_same_bits(
    name: str, store: ArtifactStore, tmp_path: Path, processes: Any
) -> None:
    assert check_kills(name, store, tmp_path, processes, kills=3) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RECIPES, *PLAYED])
def test_killed_many_times_every_recipe_ends_in_the_same_bits(
    name: str, store: ArtifactStore, tmp_path: Path, processes: Any
) -> None:
    assert check_kills(name, store, tmp_path, processes, kills=12) >= 2


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in STOPPED else pytest.mark.slow) for name in RECIPES]
)
def test_stopped_in_the_middle_of_an_epoch_a_recipe_ends_in_the_same_bits(
    name: str, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run_recipe(recipe(name, store), tmp_path / "straight", store, quiet=True)
    stopped = tmp_path / "stopped"
    with stop_after(6, stopped, monkeypatch), pytest.raises(Stopped, match="after step 6 of 10"):
        run_recipe(recipe(name, store), stopped, store, quiet=True)
    assert_same(store, run_recipe(recipe(name, store), stopped, store, quiet=True), straight)


@contextlib.contextmanager
def stop_after(step: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ask the run in ``directory`` to stop while it does ``step``."""
    from trainer.batches import BatchPlan

    def ask(self: BatchPlan, position: int) -> list[int]:
        if position == step - 1:
            (directory / STOP_FILE).touch()
        return plain(self, position)

    plain = BatchPlan.__getitem__
    with monkeypatch.context() as patch:
        patch.setattr(BatchPlan, "__getitem__", ask)
        yield
