"""What a reader of the documentation has: a clone in which `make demo` has run, and its server.

The demonstration here is that of ``recipes/demo`` with models and numbers far smaller: enough for every command to do
what it does, too little for its numbers to mean anything.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.demo import RECIPES, STAGES, demo_settings
from service.settings import Settings
from trainer.recipe import apply_overrides, read_recipe

ROOT = Path(__file__).parents[2]
_STEPS = ["max_steps=2", "batch.size=4"]
_SMALL = ["scratch.hidden_size=16", "scratch.layers=1", "scratch.heads=2"]
_CHANGES = {
    "1-policy": [*_STEPS, "data.size=40", "data.validation_size=8", *(f"policy.{each}" for each in _SMALL)],
    "1-encoder-reward-model": [*_STEPS, "data.size=40", *(f"backbone.{each}" for each in _SMALL)],
    "2-decoder-reward-model": [*_STEPS, "data.size=40"],
    "2-ganpo": [*_STEPS, "data.size=40", "adversarial.discriminator.width=16", "adversarial.discriminator.layers=1"],
    "3-stress-test": [
        "prompts.limit=4",
        "temperatures=[0, 1.0, 1.5, 2.0]",
        "responses_per_prompt=4",
        "max_response_tokens=24",
        "bootstrap.draws=200",
    ],
}


@dataclass(frozen=True)
class Demonstration:
    """A directory as a clone is after `make demo`, and the address of its server."""

    directory: Path
    run_id: str
    url: str

    def environment(self) -> dict[str, str]:
        """A shell's: our commands first, and nothing that the reader has not set."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
        bin_directory = Path(sys.executable).parent
        return {
            **plain,
            "PATH": f"{bin_directory}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstration]:
    directory = tmp_path_factory.mktemp("clone")
    clone(directory)
    settings = demo_settings(directory / ".demo")
    settings.artifact_dir.mkdir(parents=True)
    jobs = [_run(name, settings) for stage in STAGES for name in stage]
    environment = {
        "ASSAY_DATABASE_URL": settings.database_url,
        "ASSAY_ARTIFACT_DIR": str(settings.artifact_dir),
        "ASSAY_RUNS_DIR": str(settings.runs_dir),
    }
    made = Demonstration(directory, jobs[-1]["id"], "")
    with (directory / ".demo" / "server.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--port", "0"],
            cwd=directory,
            env={**made.environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
        if "Assay is at" not in line:
            pytest.fail(f"no server: {line}{Path(log.name).read_text()}")
        yield Demonstration(directory, made.run_id, line.split()[3])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in {0, -signal.SIGTERM}


def _run(name: str, settings: Settings) -> dict[str, Any]:
    from evaluation.recipes import parse_recipe
    from service.jobs.here import run_here

    return run_here(parse_recipe(apply_overrides(read_recipe(RECIPES / f"{name}.yaml"), _CHANGES[name])), settings)


def clone(directory: Path) -> None:
    """What a reader's directory has of the repository: recipes to read, documents that hold examples."""
    shutil.copytree(ROOT / "recipes", directory / "recipes")
    shutil.copytree(ROOT / "docs" / "examples", directory / "docs" / "examples")


@pytest.fixture
def reader(demonstration: Demonstration, tmp_path: Path) -> Callable[[], Path]:
    """Makes a fresh directory of the reader's, in which the demonstration lies as in theirs."""

    def make() -> Path:
        clone(tmp_path)
        (tmp_path / ".demo").symlink_to(demonstration.directory / ".demo")
        return tmp_path

    return make
