"""/: which scorers can be trusted now, what is under way, and what came in last."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from evaluation.statistics.asked_columns import LEAD_WITHIN
from service.dashboard.drawn import Drawn
from service.dashboard.families import AGREEMENT
from service.dashboard.later import Later
from service.dashboard.monitoring import monitored
from service.dashboard.rendering import answer, render
from service.dashboard.run import figures_of
from service.dashboard.views import Verdict, events_seen, verdict_of
from service.db import queries
from service.db.contents import contents_of
from service.db.queries import CorrelationFilter, JobFilter
from service.db.records import CorrelationRecord, RunRecord
from service.db.runs import RunFilter, list_runs
from service.db.trust import WITHIN, latest_by_scorer, latest_runs, leading_by_run
from service.jobs.kinds import AUDIT_KINDS, EVALUATION_KINDS, STRESS_KINDS
from service.jobs.samples import SAMPLES

router = APIRouter()

RUNS_LOOKED_AT = 100
"""For what is trusted now; a scorer that none of them measured is told in the history."""

_LATEST = 8
_RECORDS = TypeAdapter(list[CorrelationRecord])


@dataclass(frozen=True)
class Trusted:
    """Where scorers are weakest by one oracle, the surest first."""

    oracle: str
    rows: list[CorrelationRecord]

    @property
    def sentence(self) -> str:
        """How many hold."""
        holding = sum(row.lower is not None and row.lower > 0 for row in self.rows)
        if len(self.rows) == 1:
            how = "still agrees" if holding else "is not shown to agree"
            return f"{self.rows[0].scorer} {how} with {self.oracle} where it is weakest."
        return f"{holding} of {len(self.rows)} scorers still agree with {self.oracle} where they are weakest."


@dataclass(frozen=True)
class Latest:
    """The last stress test that measured something."""

    run: RunRecord
    verdict: Verdict | None
    figure: Later | None


@router.get("/")
def overview(request: Request) -> Response:
    """What is trusted now."""

    def page(session: Session) -> Response:
        runs = list_runs(session, RunFilter(EVALUATION_KINDS), limit=_LATEST).data
        active = [
            job
            for status in ("running", "queued")
            for job in queries.list_jobs(session, JobFilter(status=status), limit=10).data
        ]
        return render(
            request,
            "overview.html",
            here="overview",
            trusted=trusted(_latest_by_scorer(session, request.app.state.drawn)),
            looked_at=RUNS_LOOKED_AT,
            runs=runs,
            leading=leading_by_run(session, [run.id for run in runs]),
            active=active,
            seen=events_seen(session, active),
            latest=_latest(session),
            monitoring=monitored(session),
        )

    return answer(request, page)


def trusted(rows: Sequence[CorrelationRecord]) -> list[Trusted]:
    """The rows by oracle, whichever most scorers were compared with first."""
    found = [Trusted(oracle, [row for row in rows if row.oracle == oracle]) for oracle in {row.oracle for row in rows}]
    return sorted(found, key=lambda each: (-len(each.rows), each.oracle))


def _latest_by_scorer(session: Session, drawn: Drawn) -> list[CorrelationRecord]:
    """Kept for as long as the runs are the same: what a run that succeeded found never changes."""
    # what the schedule makes, one audit for each scorer and period, has a part of the page for itself
    kinds = (*STRESS_KINDS, *AUDIT_KINDS)
    runs = latest_runs(session, kinds=kinds, most=RUNS_LOOKED_AT, but=f"{SAMPLES}:")
    text = drawn.get(("trusted", *runs), lambda: _RECORDS.dump_json(latest_by_scorer(session, runs)))
    return _RECORDS.validate_json(text)


def _latest(session: Session) -> Latest | None:
    run = next(iter(list_runs(session, RunFilter(STRESS_KINDS, status="succeeded"), limit=1).data), None)
    if run is None:
        return None
    contents = contents_of(session, run.id)
    oracle = next(iter(contents.oracles), None)
    if oracle is None:
        return Latest(run, None, None)
    telling = CorrelationFilter(runs=[run.id], statistics=[WITHIN], statistic_prefixes=[LEAD_WITHIN], strata=["all"])
    figures = figures_of(run.id, contents, WITHIN, oracle)
    figure = next((each for each in figures if each.name == AGREEMENT.name), None)
    return Latest(run, verdict_of(queries.correlations(session, telling), oracle), figure)
