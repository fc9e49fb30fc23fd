"""Curves and paired comparisons of a run: plain functions of a session."""

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from service.db.pages import DEFAULT_LIMIT, after_key, page_of
from service.db.records import ComparisonRecord, CurveRecord, Page
from service.db.tables import Comparison, Curve


def curve_page(
    session: Session,
    run: str,
    *,
    curves: Sequence[str] = (),
    scorers: Sequence[str] = (),
    temperatures: Sequence[float] = (),
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[CurveRecord]:
    """Points of one run's curves, a page at a time. Raises InvalidInput for a bad cursor or limit."""
    query = select(Curve).where(Curve.run == run)
    for column, values in ((Curve.curve, curves), (Curve.scorer, scorers)):
        if values:
            query = query.where(column.in_(values))
    if temperatures:
        query = query.where(Curve.temperature.in_(temperatures))
    rows = session.scalars(after_key(query, Curve.number, cursor, limit)).all()
    return page_of(rows, limit, lambda row: row.number, CurveRecord.model_validate)


def curve_points(session: Session, run: str, curves: Sequence[str] = ()) -> list[CurveRecord]:
    """Every point of one run's curves, or of those named, in the order of its file."""
    query = select(Curve).where(Curve.run == run).order_by(Curve.number)
    if curves:
        query = query.where(Curve.curve.in_(curves))
    return [CurveRecord.model_validate(row) for row in session.scalars(query)]


def comparison_page(
    session: Session, run: str, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[ComparisonRecord]:
    """Paired differences between scorers within one run, in the order of its file, a page at a time. Raises
    InvalidInput for a bad cursor or limit.
    """
    rows = session.scalars(after_key(_within(run), Comparison.id, cursor, limit)).all()
    return page_of(rows, limit, lambda row: row.id, ComparisonRecord.model_validate)


def run_comparisons(session: Session, run: str) -> list[ComparisonRecord]:
    """Every paired difference between scorers within one run, in the order of its file."""
    rows = session.scalars(_within(run).order_by(Comparison.id))
    return [ComparisonRecord.model_validate(row) for row in rows]


def _within(run: str) -> "Select[Comparison]":
    return select(Comparison).where(Comparison.run_a == run, Comparison.run_b == run)
