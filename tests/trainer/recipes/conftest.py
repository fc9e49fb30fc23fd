"""A recipe in a process of its own, killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.artifacts import ArtifactStore
from trainer.recipe import Recipe
from trainer.reporting import read_events

KillAfter = Callable[[Recipe, Path, ArtifactStore, int], None]


@pytest.fixture
def kill_after(tmp_path: Path) -> KillAfter:
    """Run a recipe in a directory, as anyone would, until it has recorded so many training steps; then kill -9."""

    def kill(recipe: Recipe, directory: Path, store: ArtifactStore, steps: int) -> None:
        directory.mkdir()
        (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
        command = [sys.executable, "-m", "trainer", str(tmp_path / "recipe.json"), "--run-dir", str(directory)]
        process = subprocess.Popen(
            [*command, "--artifact-dir", str(store.root)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while (
            sum(event.get("stage") == "train" for event in read_events(directory) if event["type"] == "metrics") < steps
        ):
            assert time.monotonic() < deadline
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL

    return kill
