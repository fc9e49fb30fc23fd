"""A stress test shared by actors of a real cluster of two nodes, one of which is killed, has the rows of one alone."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ray_cluster import RayCluster
from trainer.artifacts import ArtifactStore
from trainer.reporting import STOP_FILE, read_events
from trainer.run import read_result

STORED = ("prompts.jsonl", "responses.jsonl", "scores.jsonl")
RECIPE: dict[str, Any] = {
    "kind": "stress_test",
    "name": "shared",
    "policy": {"path": "policy"},
    "prompts": {"kind": "product_world", "limit": 52},
    "temperatures": [1.0],
    "responses_per_prompt": 52,
    "max_response_tokens": 24,
    "scorers": ["rm"],
    "oracles": [{"kind": "product_world"}],
    "bootstrap": {"draws": 100},
}
ROWS = 52 * 52  # 3 batches of at most 1,280 to sample, 6 of at most 512 to score
SHARED = {"executor": {"ray_workers": 2}}  # one on each node

pytestmark = pytest.mark.ray


def start(
    directory: Path, store: ArtifactStore, address: str | None, recipe: dict[str, Any] = RECIPE, **launch: Any
) -> subprocess.Popen[bytes]:
    directory.mkdir(exist_ok=True)
    (directory / "recipe.json").write_text(json.dumps({**recipe, "launch": launch}))
    return subprocess.Popen(
        [sys.executable, "-m", "evaluation", "--run-dir", str(directory), "--artifact-dir", str(store.root)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **({"RAY_ADDRESS": address} if address else {})},
    )


@pytest.fixture(scope="module")
def alone(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("alone")
    assert start(directory, store, None).wait() == 0
    return directory


def test_a_killed_node_costs_its_unfinished_shards_and_no_row(
    ray_cluster: RayCluster, alone: Path, store: ArtifactStore, tmp_path: Path
) -> None:
    node = ray_cluster.add_node(cpus=1)
    process = start(tmp_path, store, ray_cluster.address, **SHARED)
    wait_for_rows(tmp_path / "responses.jsonl", 1, process)
    node.kill()
    kept = lines(tmp_path / "responses.jsonl")

    assert process.wait() == 0
    said = messages(tmp_path)
    assert 0 < len(kept) < ROWS
    assert set(kept) <= set(lines(tmp_path / "responses.jsonl"))
    assert sum("a worker was lost" in text for text in said) == 1
    for name in STORED:
        assert lines(tmp_path / name) == lines(alone / name), name
    assert read_result(tmp_path) == read_result(alone)


def test_one_that_is_asked_to_stop_stops_and_continues_with_more_or_fewer_workers(
    ray_cluster: RayCluster, alone: Path, store: ArtifactStore, tmp_path: Path
) -> None:
    process = start(tmp_path, store, ray_cluster.address, executor={"ray_workers": 2})
    wait_for_rows(tmp_path / "responses.jsonl", 1, process)
    (tmp_path / STOP_FILE).touch()
    assert process.wait() == 3

    process = start(tmp_path, store, ray_cluster.address, executor={"ray_workers": 1})
    wait_for_rows(tmp_path / "scores.jsonl", 1, process)
    process.terminate()
    assert process.wait() == 3

    assert start(tmp_path, store, None).wait() == 0
    for name in STORED:
        assert lines(tmp_path / name) == lines(alone / name), name


def test_what_a_worker_cannot_do_is_said_in_the_words_of_a_run_alone(
    ray_cluster: RayCluster, store: ArtifactStore, tmp_path: Path
) -> None:
    broken = ArtifactStore(tmp_path / "artifacts")
    shutil.copytree(store.root, broken.root)
    run = tmp_path / "run"
    few = {**RECIPE, "responses_per_prompt": 1}
    begun = start(run, broken, None, few)
    while not (run / "responses.jsonl").exists():  # versions are settled and their files verified
        assert begun.poll() is None
        time.sleep(0.05)
    begun.kill()
    begun.wait()
    weights = broken.open("rm").path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    process = start(run, broken, ray_cluster.address, few, **SHARED)

    assert process.wait() == 1
    result = read_result(run)
    assert result is not None
    assert result["error"]["code"] == "broken_artifact"


def test_without_a_cluster_the_run_says_how_to_have_one(store: ArtifactStore, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: make ray")
    assert start(tmp_path, store, "127.0.0.1:9", **SHARED).wait() == 1
    result = read_result(tmp_path)

    assert result is not None
    assert result["error"]["code"] == "run_failed"
    assert "run `ray start --head` here, set RAY_ADDRESS" in result["error"]["detail"]


def lines(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines())


def messages(directory: Path) -> list[str]:
    return [event["text"] for event in read_events(directory) if event["type"] == "message"]


def wait_for_rows(path: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
