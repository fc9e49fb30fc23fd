"""/runs/{id}: what one run found, whatever its kind: verdict, table, figures, recipe."""

from pathlib import PurePath

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from evaluation.statistics.asked_columns import LEAD_WITHIN
from evaluation.statistics.policy_wins import WIN_RATE
from evaluation.wording import CORRELATIONS
from service.dashboard.families import AGREEMENT, families_of
from service.dashboard.figures import figure_address
from service.dashboard.later import Later
from service.dashboard.rendering import answer, render
from service.dashboard.tables import ScorerTable, scorers_by_statistic, scorers_by_temperature
from service.dashboard.views import seconds_taken, verdict_of
from service.db import queries
from service.db.contents import Contents, contents_of
from service.db.queries import CorrelationFilter
from service.db.records import CorrelationRecord, RunRecord
from service.db.runs import get_run, notices_of
from service.db.trust import WITHIN
from service.jobs.kinds import EVALUATION_KINDS
from service.wording import count, duration
from trainer.errors import NotFound

router = APIRouter()


@router.get("/runs/{run_id}")
def run(request: Request, run_id: str, statistic: str | None = None, oracle: str | None = None) -> Response:
    """One run: its verdict, table, figures and recipe."""

    def page(session: Session) -> Response:
        record = get_run(session, run_id, EVALUATION_KINDS)
        contents = contents_of(session, run_id)
        against = _chosen(oracle, list(contents.oracles), run_id)
        measured = [each for each in CORRELATIONS if against and _has(contents, each, against)]
        shown = _chosen(statistic, measured, run_id)
        found = _correlations(session, run_id) if against else []
        later = figures_of(run_id, contents, shown or WITHIN, against) if against else []
        return render(
            request,
            "run.html",
            here="runs",
            run=record,
            seen={run_id: record.events_seen},
            facts=_facts(record, found),
            notices=notices_of(session, run_id),
            verdict=verdict_of(found, against),
            table=_table(found, shown, against, contents),
            main=next((each for each in later if each.name in {"agreement", "correlations"}), None),
            later=[each for each in later if each.name not in {"agreement", "correlations"}],
            statistic=shown,
            statistics=measured if contents.is_graded else [],
            oracle=against,
            oracles=contents.oracles,
            has_responses=contents.responses,
            method=found[0].method if found else None,
        )

    return answer(request, page)


def figures_of(run_id: str, contents: Contents, statistic: str, oracle: str) -> list[Later]:
    """The figures that a run has by one oracle, in the order of reading."""
    found = []
    for family in families_of(contents, oracle):
        its = statistic if family is AGREEMENT else WITHIN
        found.append(Later(family.name, family.heading(oracle), **figure_address(run_id, family, its, oracle)))
    return found


def _correlations(session: Session, run_id: str) -> list[CorrelationRecord]:
    """What the verdict and the table are made of; a run has three times as many."""
    wanted = CorrelationFilter(
        runs=[run_id],
        statistics=CORRELATIONS,
        statistic_prefixes=[LEAD_WITHIN, WIN_RATE],
        strata=["all"],
    )
    return queries.correlations(session, wanted)


def _table(
    found: list[CorrelationRecord], statistic: str | None, oracle: str | None, contents: Contents
) -> ScorerTable | None:
    if statistic is None or oracle is None:
        return None
    if contents.is_graded:
        return scorers_by_temperature(found, statistic, oracle)
    return scorers_by_statistic(found, [each for each in CORRELATIONS if contents.flat(each, oracle)], oracle)


def _has(contents: Contents, statistic: str, oracle: str) -> bool:
    return contents.graded(statistic, oracle) or contents.flat(statistic, oracle)


def _chosen(asked: str | None, known: list[str], run_id: str) -> str | None:
    """What was asked for, or else the first. Raises NotFound for what is not known."""
    if asked is not None and asked not in known:
        raise NotFound(f"{run_id} has no {asked}; it has {', '.join(known) or 'nothing to show'}")
    return asked or next(iter(known), None)


def _facts(run: RunRecord, found: list[CorrelationRecord]) -> list[tuple[str, str]]:
    """What a reader needs to know of the run beside its verdict."""
    facts = []
    if policy := run.policy or run.recipe.get("policy", {}).get("path"):
        facts.append(("Policy", str(policy)))
    if path := run.recipe.get("path"):
        facts.append(("File", PurePath(str(path)).name))
    # an audit's own counts stand in its result, which is as large as everything it found
    responses = run.n_responses or max((row.n_total or row.n_responses for row in found), default=None)
    prompts = run.n_prompts or max((row.n_prompts for row in found), default=None)
    if responses is not None and prompts is not None:
        facts.append(("Responses", f"{responses:,} to {count(prompts, 'prompt')}"))
    if run.temperatures:
        facts.append(("Temperatures", ", ".join(f"{t:g}" for t in run.temperatures)))
    if (taken := seconds_taken(run)) is not None:
        facts.append(("Running for" if run.status == "running" else "Took", duration(taken)))
    return facts
