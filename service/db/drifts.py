"""Drift over time: what was measured of each scorer, once an hour of the clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from evaluation.statistics.drift import Counted
from service.db.keyset import By, after, cursor_of, key_of
from service.db.records import DriftRecord, Page
from service.db.tables import DriftRow, Table

_TABLE = Table.metadata.tables[DriftRow.__tablename__]
_ORDER = (
    By("hour", _TABLE.c.hour, datetime, descending=True),
    By("scorer", _TABLE.c.scorer, str),
    By("measure", _TABLE.c.measure, str),
)
_LIST = "drifts"


@dataclass(frozen=True)
class DriftFilter:
    """Which of them; what is empty or None keeps all."""

    scorers: Sequence[str] = ()
    measures: Sequence[str] = ()
    created_after: datetime | None = None
    """From this time on."""
    created_before: datetime | None = None
    """Before this time."""


def keep_drifts(
    session: Session,
    scorer: str,
    measured: dict[str, Counted],
    *,
    compared: tuple[int, str],
    now: datetime,
) -> None:
    """Store what was ``measured``, ``compared`` with so many responses of that kind, unless something of this hour is
    there: looks are many, and their windows overlap.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    if session.scalar(select(exists().where(DriftRow.hour == hour, DriftRow.scorer == scorer))):
        return
    facts = {"hour": hour, "scorer": scorer, "created_at": now, "n_reference": compared[0]}
    for measure, each in measured.items():
        session.add(DriftRow(**facts, measure=measure, reference_kind=compared[1], **each.model_dump()))


def list_drifts(
    session: Session, chosen: DriftFilter, *, cursor: str | None = None, limit: int = 100
) -> Page[DriftRecord]:
    """A part of them, the newest first. Raises InvalidInput for a cursor of another list."""
    query = select(DriftRow)
    if chosen.scorers:
        query = query.where(DriftRow.scorer.in_(chosen.scorers))
    if chosen.measures:
        query = query.where(DriftRow.measure.in_(chosen.measures))
    if chosen.created_after is not None:
        query = query.where(DriftRow.created_at >= chosen.created_after)
    if chosen.created_before is not None:
        query = query.where(DriftRow.created_at < chosen.created_before)
    if cursor is not None:
        query = query.where(after(_ORDER, key_of(_ORDER, cursor, _LIST)))
    query = query.order_by(*(order for by in _ORDER for order in by.order())).limit(limit + 1)
    found = session.scalars(query).all()
    following = cursor_of(_ORDER, found[limit - 1], _LIST) if len(found) > limit else None
    return Page(data=[DriftRecord.model_validate(row) for row in found[:limit]], next=following)


def forget_drifts(session: Session, before: datetime) -> None:
    """Delete what is older."""
    session.execute(delete(DriftRow).where(DriftRow.hour < before))
