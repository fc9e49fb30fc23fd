"""A run of the test's own, for what needs one without its recipe."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.artifacts import ArtifactStore
from trainer.recipe import Run
from trainer.reporting import Reporter


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Reporter(tmp_path / "run", quiet=True) as reporter:
        yield Run("job", tmp_path / "run", ArtifactStore(tmp_path / "artifacts"), reporter)
