"""An empty store of artifacts, and a run for what needs one without its recipe."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.artifacts import ArtifactStore
from trainer.recipe import Run
from trainer.reporting import Reporter


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Reporter(tmp_path / "run", quiet=True) as reporter:
        yield Run("job", tmp_path / "run", ArtifactStore(tmp_path / "artifacts"), reporter)
