"""The committed settings for FSDP on one and on two machines are accelerate's, and two launchers train one model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from tests.ports import port_of, reserved
from trainer.artifacts import ArtifactStore
from trainer.recipes import parse_recipe
from trainer.reporting import read_events
from trainer.run import run_recipe

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "docs/examples/accelerate"
RECIPE: dict[str, Any] = {
    "kind": "sft",
    "name": "small",
    "policy": {"scratch": {"hidden_size": 32, "layers": 2, "heads": 2}},
    "data": {"kind": "product_world", "size": 30, "validation_size": 8},
    "batch": {"size": 6, "micro": 2},
    "max_steps": 4,
    "checkpoint": {"every_steps": 2},
    "optimizer": {"learning_rate": 1e-3},
}


@pytest.mark.parametrize(("name", "machines", "processes"), [("one-node", 1, 8), ("two-nodes", 2, 16)])
def test_accelerate_reads_the_committed_settings(name: str, machines: int, processes: int) -> None:
    config = load_config_from_file(str(CONFIGS / f"fsdp-{name}.yaml"))  # which refuses unknown keys
    assert config.distributed_type == DistributedType.FSDP
    assert (config.num_machines, config.num_processes, config.mixed_precision) == (machines, processes, "no")
    assert config.fsdp_config["fsdp_version"] == 2
    assert config.fsdp_config["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"


def launch(rank: int, port: int, recipe: Path, directory: Path) -> "subprocess.Popen[str]":
    """As on machine ``rank`` of two, with one process each."""
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(CONFIGS / "fsdp-two-nodes.yaml"),
    ]
    command += ["--num_processes", "2", "--machine_rank", str(rank)]
    command += ["--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    command += ["-m", "trainer", str(recipe), "--run-dir", str(directory / "run")]
    command += ["--artifact-dir", str(directory / "artifacts")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_launchers_on_two_machines_train_what_one_process_trains(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps({**RECIPE, "batch": {"size": 6, "micro": 1}}))
    with (
        reserved() as holder,
        launch(0, port_of(holder), file, tmp_path) as first,
        launch(1, port_of(holder), file, tmp_path) as second,
    ):
        said = [node.communicate(timeout=300)[0] for node in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), "\n".join(said)
    assert said[0].count("published small@1") == 1
    assert "published" not in said[1]

    alone = ArtifactStore(tmp_path / "alone")
    run_recipe(parse_recipe(RECIPE), tmp_path / "alone-run", alone, quiet=True)
    ours, theirs = (
        load_file(store.open("small@1").path / "model.safetensors")
        for store in (ArtifactStore(tmp_path / "artifacts"), alone)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[key], theirs[key], rtol=0, atol=1e-4) for key in theirs)
    assert read_events(tmp_path / "run")[-1]["type"] == "succeeded"
