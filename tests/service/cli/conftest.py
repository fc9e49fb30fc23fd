"""Where commands work."""

from pathlib import Path

import pytest


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation of its own for a test, told by the environment; returns its database."""
    url = f"sqlite:///{tmp_path / 'assay.db'}"
    monkeypatch.setenv("ASSAY_DATABASE_URL", url)
    monkeypatch.setenv("ASSAY_ARTIFACT_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("ASSAY_RUNS_DIR", str(tmp_path / "runs"))
    return url
