"""What several processes train together is what one trains alone: replicated and sharded, at any accumulation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from accelerate import Accelerator, PartialState
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput
from trainer.processes import _shard, make_accelerator
from trainer.recipes import parse_recipe
from trainer.reporting import read_events
from trainer.run import run_recipe

ROOT = Path(__file__).parents[3]
SHAPE = {"hidden_size": 32, "layers": 2, "heads": 2}
DATA = {"kind": "product_world", "size": 30, "validation_size": 8}
# of 7 rows two processes at 2 each take 4 and 3, of 5 they take 4 and 1, where the second has nothing to do
COMMON = {"data": DATA, "max_steps": 6, "checkpoint": {"every_steps": 2}, "optimizer": {"learning_rate": 1e-3}}
RECIPES: dict[str, dict[str, Any]] = {
    "sft": {"kind": "sft", "policy": {"scratch": SHAPE}, "batch": {"size": 7, "micro": 4}},
    "dpo": {"kind": "preference", "policy": {"path": "base"}, "batch": {"size": 5, "micro": 4}},
    "kto": {
        "kind": "preference",
        "policy": {"path": "base"},
        "objective": {"kind": "kto"},
        "batch": {"size": 5, "micro": 2},
    },
    "lora": {"kind": "preference", "policy": {"path": "base", "lora": {"rank": 4}}, "batch": {"size": 7}},
    "ganpo": {
        "kind": "ganpo",
        "policy": {"path": "base"},
        "adversarial": {"discriminator": {"kind": "transformer", "width": 16, "layers": 1, "heads": 2}},
        "batch": {"size": 5, "micro": 4},
    },
    "judge": {
        "kind": "discriminator",
        "policy": {"path": "dpo"},
        "reference": {"path": "base"},
        # keys' biases, which a Transformer has, get no gradient but rounding
        "discriminator": {"kind": "mlp", "width": 16},
        "batch": {"size": 5, "micro": 4},
    },
    "mean": {
        "kind": "reward_model",
        "backbone": {"scratch": SHAPE, "pooling": "mean"},
        # differences of scores would leave the last bias no gradient but rounding, which Adam blows up
        "loss": "bce",
        "batch": {"size": 5, "micro": 2},
    },
}
DROPOUT = {"kind": "sft", "policy": {"path": "base", "lora": {"rank": 4, "dropout": 0.3}}, "batch": {"size": 7}}
APART: dict[str, dict[str, Any]] = {"dropout": DROPOUT, "dropout-stopped": DROPOUT}
"""What two processes do not do as one would: each draws what it drops by itself."""
LOW = {**RECIPES["sft"], "policy": {"scratch": SHAPE, "dtype": "bfloat16"}, "gradient_checkpointing": True}


def recipe(name: str, processes: int = 1) -> dict[str, Any]:
    """The same rows meet in a micro-batch however many processes share them."""
    content = {**RECIPES, **APART, "low": LOW}[name]
    batch = dict(content["batch"])
    if "micro" in batch:
        batch["micro"] //= processes
    return {**COMMON, **content, "name": name, "batch": batch}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """What one process makes of every recipe."""
    root = tmp_path_factory.mktemp("alone")
    store = ArtifactStore(root / "artifacts")
    base = parse_recipe({**COMMON, **RECIPES["sft"], "name": "base", "max_steps": 1})
    run_recipe(base, root / "base", store, quiet=True)
    for name in RECIPES:
        run_recipe(parse_recipe(recipe(name)), root / name, store, quiet=True)
    return store


def launch(launcher: list[str], recipes: list[str], alone: ArtifactStore, directory: Path, *more: str) -> ArtifactStore:
    """Let two processes run ``recipes``, starting from the same base; return where they published."""
    base = alone.open("base@1")
    store = ArtifactStore(directory / "artifacts")
    (store.root / "base").mkdir(parents=True)
    (store.root / "base" / "1").symlink_to(base.path)
    todo = directory / "recipes.json"
    todo.write_text(json.dumps([recipe(name, 2) for name in recipes]))
    script = Path(__file__).with_name("together.py")
    command = [sys.executable, "-m", "accelerate.commands.launch", *launcher, "--num_processes", "2"]
    command += ["--main_process_port", "0", str(script), str(store.root), str(directory), str(todo), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    logs = "".join(path.read_text() for path in directory.glob("*/log.txt"))
    assert done.returncode == 0, logs + done.stdout + done.stderr
    return store


def weights(store: ArtifactStore, name: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(store.open(f"{name}@1").path / "model.safetensors")


def compare(together: ArtifactStore, alone: ArtifactStore, name: str) -> None:
    ours, theirs = weights(together, name), weights(alone, name)
    assert ours.keys() == theirs.keys()
    for key in theirs:
        assert (ours[key] - theirs[key]).abs().max() < 1e-4, key


def test_the_tolerance_is_a_twentieth_of_what_training_moves(alone: ArtifactStore) -> None:
    before, after = weights(alone, "base"), weights(alone, "dpo")
    assert max(float((after[key] - before[key]).abs().max()) for key in after) > 2e-3


@pytest.fixture(scope="module")
def replicated(alone: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[ArtifactStore, Path]:
    directory = tmp_path_factory.mktemp("replicated")
    return launch(["--multi_gpu"], [*RECIPES, *APART], alone, directory, "dropout-stopped@2"), directory


@pytest.mark.parametrize("name", RECIPES)
def test_two_replicas_train_what_one_process_trains(
    name: str, alone: ArtifactStore, replicated: tuple[ArtifactStore, Path]
) -> None:
    compare(replicated[0], alone, name)


def test_two_replicas_train_the_discriminators_that_one_process_trains(
    alone: ArtifactStore, replicated: tuple[ArtifactStore, Path]
) -> None:
    compare(replicated[0], alone, "ganpo/discriminator")


def test_metrics_are_means_over_all_rows(alone: ArtifactStore, replicated: tuple[ArtifactStore, Path]) -> None:
    for name in RECIPES:
        theirs = [e["values"] for e in read_events(alone.root.parent / name) if e["type"] == "metrics"]
        ours = [e["values"] for e in read_events(replicated[1] / name) if e["type"] == "metrics"]
        assert len(ours) == len(theirs) == 6
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.keys() == other.keys()
            for key in ("loss", "grad_norm", "learning_rate", "rewards/margins"):
                assert mine.get(key) == pytest.approx(other.get(key), abs=1e-4), (name, key)


def test_the_first_process_alone_records_and_publishes(replicated: tuple[ArtifactStore, Path]) -> None:
    for name in RECIPES:
        events = read_events(replicated[1] / name)
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["type"] == "succeeded"
        assert len(replicated[0].versions(name)) == 1
        assert not (replicated[1] / name / "checkpoints").exists()


def test_one_that_is_told_to_stop_stops_all_at_the_same_step(replicated: tuple[ArtifactStore, Path]) -> None:
    first, second = ((replicated[1] / "dropout-stopped" / f"stopped-{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert "it continues from there" in first


def test_every_process_continues_with_its_own_random_numbers(replicated: tuple[ArtifactStore, Path]) -> None:
    straight, stopped = (weights(replicated[0], name) for name in APART)
    assert [key for key in straight if not torch.equal(straight[key], stopped[key])] == []


@pytest.fixture(scope="module")
def sharded(alone: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[ArtifactStore, Path]:
    flags = ["--use_fsdp", "--fsdp_version", "2"]
    directory = tmp_path_factory.mktemp("sharded")
    return launch(flags, [*RECIPES, "low"], alone, directory, "sft@2"), directory


@pytest.mark.parametrize("name", RECIPES)
def test_two_shards_train_what_one_process_trains(
    name: str, alone: ArtifactStore, sharded: tuple[ArtifactStore, Path]
) -> None:
    compare(sharded[0], alone, name)


def test_shards_in_bfloat16_hand_out_log_probabilities_in_float32(
    alone: ArtifactStore, sharded: tuple[ArtifactStore, Path]
) -> None:
    low, high = (
        [event["values"]["loss"] for event in read_events(directory) if event["type"] == "metrics"]
        for directory in (sharded[1] / "low", alone.root.parent / "sft")
    )
    assert low != high
    assert low == pytest.approx(high, rel=1e-3)  # rounded to bfloat16 itself a loss of 6 would be off by up to 2.6e-3
    assert {tensor.dtype for tensor in weights(sharded[0], "low").values()} == {torch.float32}


@pytest.mark.parametrize(("told", "policy"), [(None, transformer_auto_wrap_policy), ("NO_WRAP", None)])
def test_a_network_is_divided_layer_by_layer_unless_the_launcher_was_told_otherwise(
    told: str | None, policy: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PartialState._shared_state, "distributed_type", None)  # put back afterwards
    if told is not None:
        monkeypatch.setenv("FSDP_AUTO_WRAP_POLICY", told)
    monkeypatch.setenv("FSDP_VERSION", "2")
    accelerator = SimpleNamespace(state=SimpleNamespace())
    _shard(cast(Accelerator, accelerator), "no")
    assert accelerator.state.fsdp_plugin.auto_wrap_policy == policy


def test_the_first_version_of_fsdp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(InvalidInput, match="launch with --fsdp_version 2"):
        make_accelerator(torch.float32)


def test_a_recipe_that_asks_for_two_processes_is_run_by_two(alone: ArtifactStore, tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps({**recipe("sft", 2), "launch": {"processes": 2}}))
    command = [sys.executable, "-m", "trainer", str(file), "--run-dir", str(tmp_path / "run")]
    command += ["--artifact-dir", str(tmp_path / "artifacts")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("sft@1") == 1
    compare(ArtifactStore(tmp_path / "artifacts"), alone, "sft")
