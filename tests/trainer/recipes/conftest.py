"""A recipe in a process of its own, killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.artifacts import ArtifactStore
from trainer.recipe import Recipe

KillAfter = Callable[[Recipe, Path, ArtifactStore, int], None]

PROGRAM = """
import sys
from pathlib import Path
from tests.dying import die_when
from trainer.__main__ import main
from trainer.reporting import read_events

def trained(directory):
    return sum(event["type"] == "metrics" and event["stage"] == "train" for event in read_events(directory))

directory, steps, *words = sys.argv[1:]
die_when(lambda: trained(Path(directory)) >= int(steps))
sys.exit(main([*words, "--run-dir", directory]))
"""
"""``python -m trainer`` up to so many training steps."""


@pytest.fixture
def kill_after(tmp_path: Path) -> KillAfter:
    """Run a recipe in a directory, as anyone would; it is killed once it has recorded so many training steps."""

    def kill(recipe: Recipe, directory: Path, store: ArtifactStore, steps: int) -> None:
        directory.mkdir()
        (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
        words = [str(tmp_path / "recipe.json"), "--artifact-dir", str(store.root)]
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(directory), str(steps), *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL

    return kill
