"""/: which scorers can be trusted now, what is under way, and what came in last."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from evaluation.standing import Standing, standing
from evaluation.statistics.asked_columns import LEAD_WITHIN
from evaluation.verdict import leads_of
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
from service.estimates import as_estimates
from service.jobs.kinds import AUDIT_KINDS, EVALUATION_KINDS, STRESS_KINDS
from service.jobs.samples import SAMPLES

router = APIRouter()

RUNS_LOOKED_AT = 100
"""For what is trusted now; a scorer that none of them measured is told in the history."""

_LATEST = 8
_AT_ONCE = 12
"""Scorers by one oracle; weaker ones are folded."""


@dataclass(frozen=True)
class TrustedScorer:
    """A scorer by one oracle, in the latest run that measured it."""

    weakest: CorrelationRecord
    standing: Standing


@dataclass(frozen=True)
class Trusted:
    """How far scorers can be trusted by one oracle, the surest first."""

    oracle: str
    scorers: list[TrustedScorer]

    @property
    def sentence(self) -> str:
        """How many hold, and whether they are worth more than what costs nothing."""
        holding = [each.standing for each in self.scorers if each.standing.holds]
        graded = any(each.standing.steps for each in self.scorers)
        tested = "where r is defined" if any(each.undefined for each in holding) else "tested"
        where = f" at every temperature {tested}" if graded else ""
        compared = [each for each in holding if each.controls]
        beating = sum(each.beats_controls for each in compared)
        if len(self.scorers) == 1:
            (only,) = self.scorers
            if not holding:
                partly = only.standing.words if only.standing.tone == "part" else ""
                how = f"agrees with {self.oracle} {partly}" if partly else f"is not shown to agree with {self.oracle}"
                return f"{only.weakest.scorer} {how}."
            beside = ("and beats" if beating else "but does not beat") + " every trivial control"
            return f"{only.weakest.scorer} agrees with {self.oracle}{where}{f', {beside}' if compared else ''}."
        agree = "agrees" if len(holding) == 1 else "agree"
        # an older version has a row of its own for as long as its last run is among the latest
        names = {each.weakest.scorer for each in self.scorers}
        things = "scorers" if len(names) == len(self.scorers) else "scorer versions"
        said = f"{len(holding) or 'None'} of {len(self.scorers)} {things} {agree} with {self.oracle}{where}"
        if not compared:
            return f"{said}."
        beat = "beat" if beating > 1 else "beats"
        if beating == len(holding):
            beside = f", and {beat} every trivial control"
        elif len(holding) == 1:
            beside = "; it does not beat every trivial control"
        elif len(compared) == 1:
            beside = f"; the one beside trivial controls {beat if beating else 'does not beat'} them all"
        elif len(compared) < len(holding):
            beside = f"; {beating or 'none'} of the {len(compared)} beside trivial controls {beat} them all"
        else:
            beside = f"; {beating or 'none'} of them {beat} every trivial control"
        return f"{said}{beside}."


_KEPT = TypeAdapter(list[Trusted])


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
        runs = list_runs(session, RunFilter(EVALUATION_KINDS, but=f"{SAMPLES}:"), limit=_LATEST).data
        active = [
            job
            for status in ("running", "queued")
            for job in queries.list_jobs(session, JobFilter(status=status), limit=10).data
        ]
        return render(
            request,
            "overview.html",
            here="overview",
            trusted=_trusted(session, request.app.state.drawn),
            looked_at=RUNS_LOOKED_AT,
            at_once=_AT_ONCE,
            runs=runs,
            leading=leading_by_run(session, [run.id for run in runs]),
            active=active,
            seen=events_seen(session, active),
            latest=_latest(session),
            monitoring=monitored(session),
        )

    return answer(request, page)


def _trusted(session: Session, kept: Drawn) -> list[Trusted]:
    """Kept for as long as the runs are the same: what a run that succeeded found never changes."""
    # what the schedule makes, one audit for each scorer and period, has a part of the page for itself
    kinds = (*STRESS_KINDS, *AUDIT_KINDS)
    runs = latest_runs(session, kinds=kinds, most=RUNS_LOOKED_AT, but=f"{SAMPLES}:")
    text = kept.get(("trusted", *runs), lambda: _KEPT.dump_json(_by_oracle(session, runs)))
    return _KEPT.validate_json(text)


def _by_oracle(session: Session, runs: Sequence[str]) -> list[Trusted]:
    """Whichever oracle most scorers were compared with first."""
    weakest = latest_by_scorer(session, runs)
    wanted = CorrelationFilter(
        runs=list({row.run for row in weakest}),
        statistics=[WITHIN],
        statistic_prefixes=[LEAD_WITHIN],
        strata=["all"],
    )
    by_run: dict[tuple[str, str], list[CorrelationRecord]] = {}
    for row in queries.correlations(session, wanted) if weakest else []:
        by_run.setdefault((row.run, row.oracle), []).append(row)
    leads = {place: leads_of(as_estimates(rows)) for place, rows in by_run.items()}
    found: dict[str, list[TrustedScorer]] = {}
    for row in weakest:
        place = (row.run, row.oracle)
        path = [each for each in by_run[place] if each.statistic == WITHIN and each.scorer == row.scorer]
        path = [each for each in path if each.scorer_version == row.scorer_version]
        graded = [each for each in path if each.temperature is not None]
        its = standing(as_estimates(graded or path), leads[place].get(row.scorer, []))
        found.setdefault(row.oracle, []).append(TrustedScorer(row, its))
    return [Trusted(oracle, found[oracle]) for oracle in sorted(found, key=lambda name: (-len(found[name]), name))]


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
