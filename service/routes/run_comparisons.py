"""GET /v1/comparisons/runs: does one run, or one scorer of two, agree better with an oracle than another?"""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from evaluation.statistics.bootstrap import BootstrapSettings
from evaluation.statistics.run_comparison import RunComparison
from service.access import needs
from service.run_comparisons import compared_runs

router = APIRouter(prefix="/v1/comparisons", tags=["stress tests"], dependencies=[needs("read")])


class RunPair(BaseModel):
    """What to compare."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    a: str
    """A stress test."""
    b: str
    """Another; or the same, with two scorers."""
    scorer_a: str | None = None
    """A scorer of the first run; without it, every scorer that both runs have."""
    scorer_b: str | None = None
    """A scorer of the second run; the first's unless said."""
    draws: Annotated[int, Query(ge=100, le=20_000)] = 2000
    """Bootstrap samples."""
    confidence: Annotated[float, Query(gt=0.5, lt=1)] = 0.95
    """Of the intervals; those of one oracle and temperature hold all at once."""


class RunComparisons(BaseModel):
    """The differences, over all common temperatures first."""

    a: str
    b: str
    data: list[RunComparison]


@router.get("/runs", summary="Compare two runs, or two scorers")
def get_run_comparisons(request: Request, pair: Annotated[RunPair, Query()]) -> RunComparisons:
    """atanh r of `a` minus that of `b` within prompts, with interval and verdict: better, worse or not resolved.

    On common responses, or common prompts; `method` says which, and names runs without common prompts unpaired.
    """
    settings = BootstrapSettings(draws=pair.draws, confidence=pair.confidence)
    with request.app.state.sessions() as session:
        found = compared_runs(
            session, pair.a, pair.b, scorer_a=pair.scorer_a, scorer_b=pair.scorer_b, settings=settings
        )
    return RunComparisons(a=pair.a, b=pair.b, data=found)
