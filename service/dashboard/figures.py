"""/runs/{id}/figures/{name}: a figure of a run as JSON, and the numbers behind it as CSV, drawn when somebody looks."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from evaluation.figures import FIGURES, Drawing, Evidence, agreement_with
from evaluation.wording import CORRELATIONS
from service.dashboard.drawn import Drawn
from service.dashboard.families import FAMILIES, Family
from service.dashboard.rendering import stamp
from service.db import queries
from service.db.contents import contents_of
from service.db.queries import CorrelationFilter
from service.db.records import TERMINAL, RunRecord
from service.db.runs import get_run
from service.db.trust import WITHIN
from service.entity_tags import is_known
from service.estimates import as_estimates
from service.imports import heavy_imports
from service.jobs.kinds import EVALUATION_KINDS
from trainer.errors import NotFound

router = APIRouter()

_BY_NAME = {family.name: family for family in FAMILIES}


@router.get("/runs/{run_id}/figures/{name}.json")
def figure(request: Request, run_id: str, name: str, statistic: str = WITHIN, oracle: str | None = None) -> Response:
    """What one builder draws of a run: ``drawings``, each with title, caption and a plotly figure."""

    def drawn(session: Session, family: Family, oracle: str) -> bytes:
        return as_json(_drawings(session, run_id, family, statistic, oracle))

    return _answer(request, run_id, (name, statistic, oracle, "json"), drawn, "application/json")


@router.get("/runs/{run_id}/figures/{name}.csv")
def numbers(request: Request, run_id: str, name: str, statistic: str = WITHIN, oracle: str | None = None) -> Response:
    """The numbers that the figure shows, a row each."""

    def told(session: Session, family: Family, oracle: str) -> bytes:
        evidence = _evidence(session, run_id, family, statistic, oracle)
        return as_csv(_rows(evidence, family, oracle)).encode()

    return _answer(request, run_id, (name, statistic, oracle, "csv"), told, "text/csv")


def as_json(drawings: Sequence[Drawing]) -> bytes:
    """``drawings`` as the pages' script takes them."""
    found = []
    for each in drawings:
        told = json.dumps({"name": each.name, "title": each.title, "caption": each.caption})
        found.append(f'{told[:-1]}, "figure": {each.figure.to_json()}}}')
    return f'{{"drawings": [{", ".join(found)}]}}'.encode()


def figure_address(run_id: str, family: Family, statistic: str, oracle: str) -> dict[str, str]:
    """Below the path prefix: where a figure and its numbers are."""
    query = urlencode({"oracle": oracle, **({} if statistic == WITHIN else {"statistic": statistic})})
    return {form: f"/runs/{run_id}/figures/{family.name}.{form}?{query}" for form in ("json", "csv")}


def _answer(
    request: Request,
    run_id: str,
    asked: tuple[str, str, str | None, str],
    make: Callable[[Session, Family, str], bytes],
    media_type: str,
) -> Response:
    """What ``make`` gives, with an ETag where it is for good. Raises NotFound for what a run does not have."""
    name, statistic, oracle, _ = asked
    family = _BY_NAME.get(name)
    if family is None or statistic not in CORRELATIONS:
        raise NotFound(f"no figure {name} of {statistic}")
    with request.app.state.sessions() as session:
        run = get_run(session, run_id, EVALUATION_KINDS)
        etag = _etag(run, asked)
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if is_known(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)

        def content() -> bytes:
            oracles = contents_of(session, run_id).oracles
            if oracle is not None and oracle not in oracles:
                raise NotFound(f"{run_id} has no oracle {oracle}")
            return make(session, family, oracle or next(iter(oracles), ""))

        if run.status not in TERMINAL:
            return Response(content(), media_type=media_type, headers={"Cache-Control": "no-store"})
        kept: Drawn = request.app.state.drawn
        return Response(kept.get(etag, content), media_type=media_type, headers=headers)


def _etag(run: RunRecord, asked: Sequence[str | None]) -> str:
    """Changes with the run's attempts and with this code."""
    key = json.dumps([run.id, str(run.finished_at), run.attempts, stamp(), *asked])
    return f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"'


def _drawings(session: Session, run: str, family: Family, statistic: str, oracle: str) -> list[Drawing]:
    evidence = _evidence(session, run, family, statistic, oracle)
    if family.name == "agreement":
        return [agreement_with(evidence, statistic, oracle)]
    (build,) = (each for each in FIGURES if each.__name__ == family.name)
    return [each for each in build(evidence) if each.oracle in {None, oracle}]


def _evidence(session: Session, run: str, family: Family, statistic: str, oracle: str) -> Evidence:
    """What the family reads, and nothing else."""
    with heavy_imports():
        from service.evidence import comparisons_of, points_of, sampled_responses

    statistics = (statistic,) if family.name == "agreement" else family.statistics
    wanted = CorrelationFilter(
        runs=[run],
        oracles=[oracle] if family.by_oracle else [],
        statistics=statistics,
        statistic_prefixes=family.prefixes,
        strata=["all"],
    )
    return Evidence(
        estimates=as_estimates(queries.correlations(session, wanted)) if statistics or family.prefixes else [],
        points=points_of(session, run, family.curves) if family.curves else [],
        comparisons=comparisons_of(session, run) if family.comparisons else [],
        responses=sampled_responses(session, run) if family.responses else None,
    )


def _rows(evidence: Evidence, family: Family, oracle: str) -> list[dict[str, Any]]:
    """What a figure is drawn from, as a table."""
    if family.responses:
        return _response_rows(evidence)
    if family.comparisons:
        return [each.model_dump() for each in evidence.comparisons if each.oracle == oracle]
    if family.curves:
        return [each.model_dump() for each in evidence.points if each.oracle == oracle]
    return [each.model_dump() for each in evidence.estimates]


def _response_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """A row for each response shown; what is missing is empty."""
    found = evidence.responses
    if found is None:
        return []
    columns: dict[str, Any] = {"temperature": found.temperature, "degenerate": found.degenerate}
    columns |= {f"score of {name}": values for name, values in found.scores.items()}
    columns |= {f"judgement of {name}": values for name, values in found.judgements.items()}
    told = {
        name: [None if math.isnan(value) else value for value in values.tolist()] for name, values in columns.items()
    }
    return [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)]


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows that have the same columns, under their names; what is missing is empty."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
