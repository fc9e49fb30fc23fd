"""What there is to choose from in the history, without reading all of it.

The index begins with statistic, oracle, stratum and temperature, so that each list is asked for below the choices
before it: the least value, then the least above that one, and so on, each by one look into the index.
"""

from typing import Any

from sqlalchemy import CTE, ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from service.db.tables import Correlation, Job


def values_of(session: Session, name: str, **chosen: str | float | None) -> list[Any]:
    """The values of a column of ``correlations`` below what was chosen before it, in their order; None is last."""
    column: ColumnElement[Any] = Correlation.__table__.c[name]
    below = [_is(Correlation.__table__.c[field], value) for field, value in chosen.items()]
    seen = values(column, *below)
    found = list(session.scalars(select(seen.c.value).where(seen.c.value.is_not(None))))
    missing = column.is_(None)
    if Correlation.__table__.c[name].nullable and session.scalar(select(exists().where(*below, missing))):
        found.append(None)
    return found


def values(column: ColumnElement[Any], *below: ColumnElement[bool]) -> CTE:
    """As ``value`` those of a column, each by one look into an index that has it after what ``below`` settles; NULL
    is the last."""
    seen = select(func.min(column).label("value")).where(*below).cte("seen", recursive=True)
    above = select(func.min(column)).where(*below, column > seen.c.value).correlate(seen).scalar_subquery()
    return seen.union_all(select(above).where(seen.c.value.is_not(None)))


def scorers_of(session: Session, **chosen: str | float | None) -> list[str]:
    """The scorers below choices of all the columns before, in their order: read from the index alone."""
    below = [_is(Correlation.__table__.c[field], value) for field, value in chosen.items()]
    # no bare column: SQLite would walk an index that has it in order, over all oracles and temperatures
    return sorted(session.scalars(select(Correlation.scorer.concat("")).where(*below).distinct()))


def names_of(session: Session, runs: set[str]) -> dict[str, str]:
    """The name of each run."""
    rows = session.execute(select(Job.id, Job.name).where(Job.id.in_(runs)))
    return {row.id: row.name for row in rows}


def _is(column: ColumnElement[Any], value: str | float | None) -> ColumnElement[bool]:
    return column.is_(None) if value is None else column == value
