"""Places to store in: a directory that machines share, and a bucket on a real S3-compatible server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.object_store import new_place
from trainer.artifacts import ArtifactStore
from trainer.shared_artifacts import SharedArtifactStore, open_artifacts


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to store; whatever asks for it is tested in both kinds of places."""
    if request.param == "file":
        return f"file://{tmp_path / 'shared'}"
    place: str = request.getfixturevalue("s3_place")()
    return place


@pytest.fixture
def s3_place(s3: str) -> Callable[[], str]:
    """Makes a bucket and returns the URL of a place in it."""
    return lambda: new_place(s3)


@pytest.fixture
def machine(url: str, tmp_path: Path) -> Callable[[str], SharedArtifactStore]:
    """``machine(name)``: the artifacts as another machine sees them, with a disk of its own."""

    def make(name: str) -> SharedArtifactStore:
        store: ArtifactStore = open_artifacts(tmp_path / name, url)
        assert isinstance(store, SharedArtifactStore)
        return store

    return make
