"""Stress tests: a recipe in, a job that becomes correlations; and what they measured."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from service.access import needs
from service.db.curves import comparison_page, curve_page
from service.db.pages import DEFAULT_LIMIT
from service.db.queries import (
    CorrelationFilter,
    correlation_page,
    correlations,
    find_job,
    get_stress_test,
    list_stress_tests,
)
from service.db.records import (
    ComparisonRecord,
    CorrelationRecord,
    CurveRecord,
    Page,
    ResponseRecord,
    ScoreRecord,
    StressTestRecord,
)
from service.db.samples import response_page, score_page
from service.jobs.kinds import EVALUATION_KINDS, STRESS_KINDS
from service.routes.lifecycle import (
    Cursor,
    DryRun,
    IdempotencyKey,
    Limit,
    ListFilters,
    Validated,
    lifecycle_router,
    submit_body,
)

router = APIRouter(prefix="/v1/stress-tests", tags=["stress tests"], dependencies=[needs("read", changes="train")])


@router.post("", status_code=202, responses={200: {"model": Validated, "description": "A dry run's answer"}})
def post_stress_test(
    content: Annotated[dict[str, Any], Body()],
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    dry_run: DryRun = False,
) -> StressTestRecord | Validated:
    """Queue a stress test."""
    return submit_body(request, response, content, STRESS_KINDS, idempotency_key, dry_run, get_stress_test)


class StressTestFilters(ListFilters):
    policy: str | None = None
    """``NAME@VERSION``; only finished tests of it."""


@router.get("")
def get_stress_tests(request: Request, filters: Annotated[StressTestFilters, Query()]) -> Page[StressTestRecord]:
    """Stress tests in any state, newest first."""
    where = filters.job_filter(STRESS_KINDS)
    with request.app.state.sessions() as session:
        return list_stress_tests(session, where, policy=filters.policy, cursor=filters.cursor, limit=filters.limit)


@router.get("/{run}")
def get_one_stress_test(run: str, request: Request) -> StressTestRecord:
    """One test: its state, how far it is, what it covered."""
    with request.app.state.sessions() as session:
        return get_stress_test(session, run)


class CorrelationFilters(BaseModel):
    """Which correlations to return; a filter given several times accepts any of its values."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    temperature: list[float | Literal["pooled"]] = []
    """``pooled`` is all temperatures together."""
    scorer: list[str] = []
    oracle: list[str] = []
    statistic: list[str] = []
    stratum: list[str] = []
    format: Literal["json", "ndjson", "csv"] = "json"
    """json is paged; ndjson and csv are the whole run at once."""
    cursor: str | None = None
    """``next`` of the page before."""
    limit: Limit = DEFAULT_LIMIT


_CORRELATION_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"content": {media: {"schema": {"type": "string"}} for media in ("application/x-ndjson", "text/csv")}}
}


@router.get("/{run}/correlations", response_model=Page[CorrelationRecord], responses=_CORRELATION_FORMATS)
def get_correlations(
    run: str, request: Request, filters: Annotated[CorrelationFilters, Query()]
) -> Page[CorrelationRecord] | Response:
    """How far each scorer agrees with each oracle at each temperature, with intervals."""
    where = CorrelationFilter(
        runs=[run],
        temperatures=filters.temperature,
        scorers=filters.scorer,
        oracles=filters.oracle,
        statistics=filters.statistic,
        strata=filters.stratum,
    )
    with _session(request, run) as session:
        if filters.format == "json":
            return correlation_page(session, run, where, cursor=filters.cursor, limit=filters.limit)
        rows = correlations(session, where)
    if filters.format == "csv":
        return StreamingResponse(_csv(rows), media_type="text/csv")
    return StreamingResponse((row.model_dump_json() + "\n" for row in rows), media_type="application/x-ndjson")


Temperatures = Annotated[list[float], Query(alias="temperature", description="only these temperatures")]
PromptId = Annotated[str | None, Query(description="only this prompt")]
Scorers = Annotated[list[str], Query(alias="scorer", description="only these scorers, controls or oracles")]


@router.get("/{run}/curves")
def get_curves(
    run: str,
    request: Request,
    curves: Annotated[list[str], Query(alias="curve", description="only these curves")] = [],  # noqa: B006 - FastAPI copies it
    scorers: Scorers = [],  # noqa: B006 - FastAPI copies it
    temperatures: Temperatures = [],  # noqa: B006 - FastAPI copies it
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[CurveRecord]:
    """Best of N, reliability and accuracy by margin, point by point, with intervals."""
    with _session(request, run) as session:
        return curve_page(
            session, run, curves=curves, scorers=scorers, temperatures=temperatures, cursor=cursor, limit=limit
        )


@router.get("/{run}/comparisons")
def get_comparisons(
    run: str, request: Request, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Page[ComparisonRecord]:
    """Which scorer agrees better with an oracle on the same responses: differences with intervals and verdicts."""
    with _session(request, run) as session:
        return comparison_page(session, run, cursor=cursor, limit=limit)


@router.get("/{run}/responses")
def get_responses(
    run: str,
    request: Request,
    temperatures: Temperatures = [],  # noqa: B006 - FastAPI copies it
    prompt_id: PromptId = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[ResponseRecord]:
    """What the policy answered, with the prompts."""
    with _session(request, run) as session:
        return response_page(session, run, temperatures=temperatures, prompt_id=prompt_id, cursor=cursor, limit=limit)


@router.get("/{run}/scores")
def get_scores(
    run: str,
    request: Request,
    scorers: Scorers = [],  # noqa: B006 - FastAPI copies it
    temperatures: Temperatures = [],  # noqa: B006 - FastAPI copies it
    prompt_id: PromptId = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[ScoreRecord]:
    """What every scorer, control and oracle said about every response."""
    with _session(request, run) as session:
        return score_page(
            session,
            run,
            scorers=scorers,
            temperatures=temperatures,
            prompt_id=prompt_id,
            cursor=cursor,
            limit=limit,
        )


def _session(request: Request, run: str) -> Session:
    """A session that has seen the run exists. Raises NotFound."""
    session: Session = request.app.state.sessions()
    try:
        find_job(session, run, EVALUATION_KINDS)
    except BaseException:
        session.close()
        raise
    return session


def _csv(rows: Iterable[CorrelationRecord]) -> Iterator[str]:
    names = list(CorrelationRecord.model_fields)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names)
    writer.writeheader()
    for row in rows:
        writer.writerow(row.model_dump(mode="json"))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


router.include_router(lifecycle_router(EVALUATION_KINDS))
