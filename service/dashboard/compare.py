"""/compare: is one run, or one scorer of a run, better than another, and on which prompts do they part?"""

from collections.abc import Sequence
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from evaluation.figures import differences_between
from evaluation.statistics.run_comparison import RunComparison
from evaluation.wording import interval, number
from service.dashboard.comparing import Asked, Compared, compared
from service.dashboard.figures import as_json
from service.dashboard.rendering import answer, render
from service.db.records import RunRecord
from service.db.runs import RunFilter, get_run, list_runs
from service.jobs.kinds import EVALUATION_KINDS, STRESS_KINDS
from service.run_comparisons import scorers_of
from trainer.errors import AssayError, NotFound

router = APIRouter()

_CHOICE = 100
"""Runs to choose from."""


@router.get("/compare")
def compare(request: Request, a: str = "", b: str = "", scorer_a: str = "", scorer_b: str = "") -> Response:
    """Two runs, or two scorers of one run."""

    def page(session: Session) -> Response:
        asked = Asked(a, b or a, scorer_a, scorer_b)
        choice = list_runs(session, RunFilter(STRESS_KINDS, status="succeeded"), limit=_CHOICE).data
        runs = {run.id: run for run in choice}
        for each in filter(None, (asked.a, asked.b)):
            if each not in runs:
                runs[each] = get_run(session, each, EVALUATION_KINDS)
        found, complaint = None, None
        if asked.is_complete:
            try:
                found = compared(session, request.app.state.drawn, asked)
            except AssayError as error:
                complaint = error.detail
        return render(
            request,
            "compare.html",
            here="compare",
            asked=asked,
            runs=list(runs.values()),
            scorers=[scorers_of(session, each) for each in (asked.a, asked.b)],
            complaint=complaint,
            found=found,
            names=_names(asked, runs) if asked.a else ("", ""),
            sentence=sentence(found.rows, *_names(asked, runs)) if found else None,
            figures=_figures(asked, found) if found else [],
            query=asked.query(),
        )

    return answer(request, page)


@router.get("/compare/figure.json")
def figure(request: Request, a: str, b: str, oracle: str, scorer_a: str = "", scorer_b: str = "") -> Response:
    """The forest plot of the same comparison by one oracle."""
    asked = Asked(a, b, scorer_a, scorer_b)
    with request.app.state.sessions() as session:
        runs = {each: get_run(session, each, EVALUATION_KINDS) for each in (a, b)}
        found = compared(session, request.app.state.drawn, asked)
    rows = [each for each in found.rows if each.oracle == oracle]
    if not rows:
        raise NotFound(f"no comparison by {oracle}")
    content = as_json([differences_between(rows, *_names(asked, runs))])
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-cache"})


def sentence(rows: Sequence[RunComparison], a: str, b: str) -> str:
    """What the differences over all temperatures say by the first oracle."""
    oracle = rows[0].oracle
    overall = [each for each in rows if each.oracle == oracle and each.temperature is None]
    if len(overall) == 1:
        return _told(overall[0], a, b)
    counts = {verdict: sum(each.verdict == verdict for each in overall) for verdict in ("better", "worse")}
    unsure = len(overall) - counts["better"] - counts["worse"]
    return (
        f"Of {len(overall)} scorers, {counts['better']} agree better with {oracle} on {a}, {counts['worse']} on {b}; "
        f"of {unsure} it is not resolved."
    )


def _told(row: RunComparison, a: str, b: str) -> str:
    if row.estimate is None or row.lower is None or row.upper is None:
        return f"{a} and {b} cannot be compared: {row.undefined_reason}."
    value = f"{number(row.estimate)} {interval(row.lower, row.upper)} in atanh r"
    if row.verdict == "not resolved":
        return f"Whether {a} or {b} agrees better with {row.oracle} is not resolved: {value}."
    better, worse = (a, b) if row.verdict == "better" else (b, a)
    return f"{better} agrees better with {row.oracle} than {worse}: A − B is {value}."


def _names(asked: Asked, runs: dict[str, RunRecord]) -> tuple[str, str]:
    """How both sides are called: by what differs."""
    a, b = runs[asked.a], runs[asked.b]
    if asked.a == asked.b:
        return asked.scorer_a or a.name, asked.scorer_b or b.name
    one, other = (a.name, b.name) if a.name != b.name else (f"{a.name} ({a.id[-6:]})", f"{b.name} ({b.id[-6:]})")
    if asked.scorer_a == asked.scorer_b or not (asked.scorer_a and asked.scorer_b):
        return one, other
    return f"{asked.scorer_a} on {one}", f"{asked.scorer_b} on {other}"


def _figures(asked: Asked, found: Compared) -> list[dict[str, str]]:
    """A forest plot by each oracle, to come later."""
    oracles = dict.fromkeys(each.oracle for each in found.rows)
    api = f"/v1/comparisons/runs?{asked.query()}"
    return [
        {
            "name": f"differences-{place}",
            "oracle": oracle,
            "title": f"Differences by {oracle}",
            "json": f"/compare/figure.json?{asked.query()}&{urlencode({'oracle': oracle})}",
            "api": api,
        }
        for place, oracle in enumerate(oracles)
    ]
