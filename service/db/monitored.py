"""What monitoring knows: states of scorers, audits of the sample, and alerts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

from service.db.ids import new_id
from service.db.pages import after_key, decode_cursor, encode_cursor, page_of
from service.db.records import Page
from service.db.tables import Alert, Correlation, Job, MonitoredScorer
from trainer.errors import Conflict, NotFound

MOST_AUDITS = 30


@dataclass(frozen=True)
class Crossed:
    """A bound that is crossed now."""

    kind: str
    scorer: str
    subject: str
    lower: float
    threshold: float
    detail: str

    @property
    def key(self) -> str:
        """What it is about."""
        return f"{self.kind} {self.scorer} {self.subject}"


def audits_of(session: Session, scorer: str, statistic: str, key_prefix: str) -> list[tuple[Correlation, str]]:
    """Correlations that audits of the sample found of all responses, each with its job's idempotency key, the newest
    first; those of the newest audits.
    """
    query = (
        select(Correlation, Job.idempotency_key)
        .join(Job, Job.id == Correlation.run)
        .where(Job.idempotency_key.startswith(key_prefix), Correlation.scorer == scorer)
        .where(Correlation.statistic == statistic, Correlation.stratum == "all", Correlation.temperature.is_(None))
        .order_by(Correlation.created_at.desc(), Correlation.number)
    )
    return [(row, str(key)) for row, key in session.execute(query.limit(10 * MOST_AUDITS))]


def first_audit_of(session: Session, key_prefix: str) -> str | None:
    """The idempotency key of the first audit that was queued, whatever became of it."""
    query = select(Job.idempotency_key).where(Job.idempotency_key.startswith(key_prefix, autoescape=True))
    return session.scalar(query.order_by(Job.created_at, Job.id).limit(1))


def states(session: Session) -> list[dict[str, Any]]:
    """Of every monitored scorer that has one, by name."""
    query = select(MonitoredScorer.state).where(MonitoredScorer.state.is_not(None)).order_by(MonitoredScorer.scorer)
    return [state for state in session.scalars(query) if state]


def state_page(session: Session, *, cursor: str | None, limit: int) -> Page[dict[str, Any]]:
    """A part of them. Raises InvalidInput for a bad cursor or limit."""
    query = select(MonitoredScorer).where(MonitoredScorer.state.is_not(None))
    rows = session.scalars(after_key(query, MonitoredScorer.scorer, cursor, limit)).all()
    return page_of(rows, limit, lambda row: row.scorer, lambda row: row.state or {})


def keep_state(
    session: Session, scorer: str, *, reference: dict[str, Any] | None, state: dict[str, Any], now: datetime
) -> None:
    """Store what is known now; without a ``reference`` the one that is there stays."""
    row = session.get(MonitoredScorer, scorer, with_for_update=True)
    if row is None:
        row = MonitoredScorer(scorer=scorer)
        session.add(row)
    row.reference = reference or row.reference
    row.state, row.updated_at = state, now


def forget_states(session: Session, but: Sequence[str], now: datetime) -> None:
    """Drop the states of scorers that have no sample any more, and clear their alerts."""
    session.execute(delete(MonitoredScorer).where(MonitoredScorer.scorer.not_in(but)))
    settle_alerts(session, [], [key for key, scorer in open_keys(session) if scorer not in but], now)


def settle_alerts(session: Session, crossed: Iterable[Crossed], sound: Iterable[str], now: datetime) -> None:
    """Raise an alert for each bound that is crossed and has none, and clear those whose keys are ``sound``."""
    opened = {alert.open_key: alert for alert in session.scalars(select(Alert).where(Alert.open_key.is_not(None)))}
    for each in crossed:
        if (alert := opened.get(each.key)) is not None:
            alert.lower, alert.threshold, alert.detail = each.lower, each.threshold, each.detail
            continue
        facts = {name: getattr(each, name) for name in ("kind", "scorer", "subject", "lower", "threshold", "detail")}
        session.add(Alert(id=new_id("alt"), open_key=each.key, raised_at=now, tell_after=now, attempts=0, **facts))
    for key in sound:
        if (alert := opened.get(key)) is not None:
            alert.open_key, alert.cleared_at, alert.tell_after, alert.attempts = None, now, now, 0


def open_keys(session: Session) -> list[tuple[str, str]]:
    """``(key, scorer)`` of every alert that is open."""
    query = select(Alert.open_key, Alert.scorer).where(Alert.open_key.is_not(None))
    return [(str(key), scorer) for key, scorer in session.execute(query)]


def active_alerts(session: Session) -> dict[str, int]:
    """How many are open, by kind."""
    query = select(Alert.kind, func.count()).where(Alert.open_key.is_not(None)).group_by(Alert.kind)
    return {"trust": 0, "drift": 0, "stale": 0} | {row[0]: row[1] for row in session.execute(query)}


def list_alerts(
    session: Session, *, active: bool | None, cursor: str | None, limit: int
) -> tuple[list[Alert], str | None]:
    """A part of the alerts, the newest first, and the cursor of the next."""
    query = select(Alert).order_by(Alert.id.desc())
    if active is not None:
        query = query.where(Alert.open_key.is_not(None) if active else Alert.open_key.is_(None))
    if cursor is not None:
        query = query.where(Alert.id < decode_cursor(cursor, str))
    found = list(session.scalars(query.limit(limit + 1)))
    return found[:limit], encode_cursor(found[limit - 1].id) if len(found) > limit else None


def acknowledge(session: Session, alert_id: str, now: datetime) -> Alert:
    """Note that somebody has seen it; the first time stays. Raises NotFound, and Conflict for one that is cleared."""
    alert = session.get(Alert, alert_id, with_for_update=True)
    if alert is None:
        raise NotFound(f"no alert {alert_id}; GET /v1/alerts lists them")
    if alert.cleared_at is not None:
        raise Conflict(f"{alert_id} was cleared already; nothing is left to acknowledge")
    alert.acknowledged_at = alert.acknowledged_at or now
    return alert


def take_untold(session: Session, now: datetime, hold: timedelta) -> Alert | None:
    """An alert that the webhook is to be told, held back from others for a while; None where there is none.

    What was cleared before anybody could be told is not told.
    """
    untold = or_(
        and_(Alert.cleared_at.is_(None), Alert.told.is_(None)),
        and_(Alert.cleared_at.is_not(None), Alert.told == "raised"),
    )
    query = select(Alert).where(untold, Alert.tell_after <= now).order_by(Alert.id).limit(1)
    alert = session.scalars(query.with_for_update(skip_locked=True)).first()
    if alert is not None:
        alert.tell_after, alert.attempts = now + hold, alert.attempts + 1
    return alert
