"""/monitoring/figures: what is drawn of a monitored scorer, and the numbers behind it, as of the latest look."""

from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from evaluation.figures import Drawing
from evaluation.figures.drift import drift
from evaluation.figures.drift_over_time import drift_over_time
from evaluation.figures.trust import trust
from evaluation.statistics.drift import Counted
from evaluation.statistics.estimate import Estimated
from service.dashboard.figures import as_csv, as_json
from service.dashboard.later import Later
from service.db.drifts import DriftFilter, list_drifts
from service.db.monitored import audits_of, states
from service.db.records import DriftRecord
from service.db.tables import Correlation
from service.jobs.samples import SAMPLES
from service.monitoring.state import Drift, ScorerState
from service.settings import Settings
from trainer.errors import NotFound

router = APIRouter()

Name = Literal["trust", "drift", "drift-over-time"]
Row = dict[str, Any]

_FORMS = ("json", "csv")
_MOST_DRIFTS = 5 * 24 * 7 * 8
"""Five measures an hour, of eight weeks: the API has all."""


def figures_of(number: int, state: ScorerState) -> dict[str, Later | None]:
    """By name what can be drawn of the scorer that is ``number`` on its page, and None for what cannot."""
    measured = state.drift is not None and state.drift.n_prompts_now is not None
    there = {
        "trust": bool(state.trust),
        "drift": state.drift is not None and bool(state.drift.score.now),
        "drift-over-time": measured,
    }
    query = urlencode({"scorer": state.scorer})
    return {
        name: Later(
            f"{name}-{number}", title, **{form: f"/monitoring/figures/{name}.{form}?{query}" for form in _FORMS}
        )
        if there[name]
        else None
        for name, title in (
            ("trust", "Agreement, audit by audit"),
            ("drift", "Drift"),
            ("drift-over-time", "Drift over time"),
        )
    }


@router.get("/monitoring/figures/{name}.json")
def figure(request: Request, name: Name, scorer: str) -> Response:
    """``drawings``, each with title, caption and a plotly figure."""
    return _answer(request, scorer, lambda session, state: as_json([_DRAW[name](request, session, state)]), "json")


@router.get("/monitoring/figures/{name}.csv")
def numbers(request: Request, name: Name, scorer: str) -> Response:
    """The numbers that the figure shows, a row each."""
    return _answer(request, scorer, lambda session, state: as_csv(_TELL[name](request, session, state)).encode(), "csv")


def _answer(
    request: Request, scorer: str, make: Callable[[Session, ScorerState], bytes], form: Literal["json", "csv"]
) -> Response:
    """Raises NotFound for a scorer that is not monitored, or of which there is nothing to draw yet."""
    with request.app.state.sessions() as session:
        found = (ScorerState.model_validate(state) for state in states(session) if state["scorer"] == scorer)
        state = next(found, None)
        if state is None:
            raise NotFound(f"{scorer} is not monitored; /v1/monitoring tells what is")
        content = make(session, state)
    media_type = {"json": "application/json", "csv": "text/csv"}[form]
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-store"})


def _draw_trust(request: Request, session: Session, state: ScorerState) -> Drawing:
    settings: Settings = request.app.state.settings
    courses: dict[str, list[Any]] = {}
    for row in _audits(settings, session, state):
        courses.setdefault(row.oracle, []).append((row.created_at, Estimated.model_validate(row, from_attributes=True)))
    return trust(state.scorer, courses, settings.monitor_statistic, settings.monitor_min_lower)


def _tell_trust(request: Request, session: Session, state: ScorerState) -> list[Row]:
    names = ("created_at", "run", "oracle", "statistic", "estimate", "lower", "upper", "n_prompts", "n_responses")
    rows = _audits(request.app.state.settings, session, state)
    return [{name: getattr(row, name) for name in (*names, "undefined_reason")} for row in rows]


def _audits(settings: Settings, session: Session, state: ScorerState) -> list[Correlation]:
    """The oldest first. Raises NotFound before there is one."""
    rows = [row for row, _ in audits_of(session, state.scorer, settings.monitor_statistic, f"{SAMPLES}:")]
    if not rows:
        raise NotFound(f"no audit of {state.scorer} has ended yet")
    return rows[::-1]


def _draw_drift(request: Request, session: Session, state: ScorerState) -> Drawing:
    found = _drift(state)
    cut = [each for each in (found.cut_now, found.cut_reference) if each is not None]
    return drift(state.scorer, state.reference_name, found.score, found.length, cut)


def _tell_drift(request: Request, session: Session, state: ScorerState) -> list[Row]:
    found = _drift(state)
    rows: list[Row] = [
        {"measure": name, "percent": percent, "now": now, "reference": before}
        for name, moved in (("score", found.score), ("length", found.length))
        for percent, (now, before) in enumerate(zip(moved.now, moved.before, strict=True))
    ]
    cut = [None if each is None else each.estimate for each in (found.cut_now, found.cut_reference)]
    return [*rows, {"measure": "truncated", "percent": None, "now": cut[0], "reference": cut[1]}]


def _drift(state: ScorerState) -> Drift:
    """Raises NotFound before there is one."""
    if state.drift is None or not state.drift.score.now:
        raise NotFound(f"too little of {state.scorer} was scored to draw")
    return state.drift


def _draw_course(request: Request, session: Session, state: ScorerState) -> Drawing:
    settings: Settings = request.app.state.settings
    moves: dict[str, list[Any]] = {}
    for row in _course(session, state):
        moves.setdefault(row.measure, []).append((row.created_at, Counted.model_validate(row, from_attributes=True)))
    return drift_over_time(state.scorer, moves, settings.monitor_max_drift)


def _tell_course(request: Request, session: Session, state: ScorerState) -> list[Row]:
    return [row.model_dump(mode="json", exclude={"scorer"}) for row in _course(session, state)]


def _course(session: Session, state: ScorerState) -> list[DriftRecord]:
    """The oldest first, of the latest weeks. Raises NotFound before there is one."""
    rows = list_drifts(session, DriftFilter([state.scorer]), limit=_MOST_DRIFTS).data
    if not rows:
        raise NotFound(f"no drift of {state.scorer} was measured yet")
    return rows[::-1]


_DRAW = {"trust": _draw_trust, "drift": _draw_drift, "drift-over-time": _draw_course}
_TELL = {"trust": _tell_trust, "drift": _tell_drift, "drift-over-time": _tell_course}
