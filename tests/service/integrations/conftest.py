"""A real server over tiny reward models, which the environment names."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI


@pytest.fixture
def server(serve: Callable[[Any], str], scoring_routes: FastAPI, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its address. The scorer is ``tiny@1``."""
    url = serve(scoring_routes)
    monkeypatch.setenv("ASSAY_URL", url)
    monkeypatch.setenv("ASSAY_SCORER", "tiny@1")
    monkeypatch.delenv("ASSAY_API_KEY", raising=False)
    return url
