"""The SQL of groups, the same on both databases: one row of each picked, or what ``history_sums`` makes of all."""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select, Subquery, func, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from service.db.history import kind_of
from service.db.history_filter import HistoryFilter, Plain, restrictions
from service.db.history_sums import GROUP, counted, counts_of, groups_of, summed
from service.db.keyset import By
from service.db.tables import Correlation, Job
from trainer.errors import InvalidInput

Dimension = Literal[
    "run",
    "name",
    "policy",
    "scorer",
    "scorer_version",
    "oracle",
    "temperature",
    "stratum",
    "statistic",
    "day",
    "week",
    "month",
]
"""``name`` is the job's; ``day``, ``week`` (its Monday) and ``month`` (its first) are of created_at, in UTC."""

Agg = Literal["latest", "min", "max", "mean", "combined", "count"]

_TABLE = Correlation.__table__
PICKED = ("latest", "min", "max")


@dataclass(frozen=True)
class Grouping:
    """What to group by, and what to make of each group."""

    by: Sequence[Dimension]
    agg: Agg = "latest"
    first: str | None = None
    """The dimension that groups are sorted by first; the others follow in their order."""
    descending: bool = False
    """Whether that one comes from its end."""


def check_grouping(grouping: Grouping, statistics: Sequence[Plain]) -> None:
    """Raises InvalidInput where groups would mix statistics: r and a regret have no mean and no least."""
    if grouping.agg != "count" and "statistic" not in grouping.by and len(set(statistics)) != 1:
        raise InvalidInput("a group would mix statistics: name one, as statistic=pearson_within, or group by it too")
    if len(set(grouping.by)) != len(grouping.by):
        raise InvalidInput("a dimension is named twice")
    if grouping.first is not None and grouping.first not in grouping.by:
        raise InvalidInput(f"groups are sorted by what they are grouped by: {', '.join(grouping.by)}")


def grouped(session: Session, where: HistoryFilter, grouping: Grouping) -> "tuple[Select[*tuple[Any, ...]], list[By]]":
    """The query, and the order that tells its groups apart. Raises InvalidInput, as ``check_grouping`` does."""
    check_grouping(grouping, where.values.get("statistic", ()))
    dialect = session.get_bind().dialect.name
    if dialect == "sqlite" and not _sqlite_has_atanh():
        driver = session.connection().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.create_function("atanh", 1, math.atanh, deterministic=True)
    narrowed = not where.only("statistic")
    asked = restrictions(session, where)
    dimensions = [_dimension(name, dialect).label(GROUP + name) for name in grouping.by]
    rows = select(*dimensions, *_TABLE.c).where(*asked)
    if narrowed and dialect == "sqlite":
        dimensions = [_not_by_index(each.element).label(each.name) for each in dimensions]
    base = select(*dimensions, *_TABLE.c).where(*asked).subquery("base")
    if grouping.agg == "latest" and narrowed:
        query = _latest(base)
    elif grouping.agg in PICKED:
        query = _picked(base, rows.subquery("again"), grouping.agg)
    elif grouping.agg == "count":
        query = counted(base)
    else:
        query = summed(base, grouping.agg, where.values.get("statistic", ()), dialect)
    return query, _order(query.selected_columns, grouping)


@cache
def _sqlite_has_atanh() -> bool:
    """Whether this Python's SQLite was built with mathematical functions."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT atanh(0)").close()
        except sqlite3.OperationalError:
            return False
    return True


def _order(columns: Any, grouping: Grouping) -> list[By]:  # noqa: ANN401 - a collection of columns
    first = [] if grouping.first is None else [grouping.first]
    names = [*first, *(name for name in grouping.by if name not in first)]
    return [
        By(
            GROUP + name,
            columns[GROUP + name],
            dimension_kind(name),
            descending=grouping.descending and name == grouping.first,
            nullable=name in _TABLE.c and bool(_TABLE.c[name].nullable),
        )
        for name in names
    ]


def dimension_kind(name: str) -> Any:  # noqa: ANN401 - str, int or float
    """The Python type of a dimension's values."""
    return kind_of(_TABLE.c[name]) if name in _TABLE.c else str


_PERIODS: Mapping[str, Sequence[str]] = {
    "day": (),
    "week": ("weekday 0", "-6 days"),  # on to Sunday, back to Monday
    "month": ("start of month",),
}
"""By what SQLite's date() takes a time to the first day of its period."""


def _dimension(name: Dimension, dialect: str) -> ColumnElement[Any]:
    if name == "name":
        return select(Job.name).where(Job.id == Correlation.run).scalar_subquery()
    if name not in _PERIODS:
        return _TABLE.c[name]
    if dialect == "sqlite":
        return sa.type_coerce(func.date(Correlation.created_at, *_PERIODS[name]), sa.Text)
    day = func.date_trunc(name, func.timezone("UTC", Correlation.created_at))
    return sa.type_coerce(func.to_char(day, "YYYY-MM-DD"), sa.Text)


def _not_by_index(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same, but by no index: SQLite would read many rows in their groups' order rather than sort a few."""
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def _latest(base: Subquery) -> "Select[*tuple[Any, ...]]":
    """The row of each group that was stored last: of the few of its last moment, which indexes find."""
    groups = groups_of(base)
    counted = select(*groups, *counts_of(base)).group_by(*groups).subquery("counted")
    # the moment comes first, for databases join by equals, and by equals that may be missing only row against row
    ours = [base.c.created_at == counted.c.last_at]
    both = zip(groups, groups_of(counted), strict=True)
    ours += [one.is_not_distinct_from(other) for one, other in both]
    last = [base.c.run.desc(), base.c.number.desc()]
    place = func.row_number().over(partition_by=groups_of(counted), order_by=last).label("place")
    at_last = select(*counted.c, base.c.run, base.c.number, place).join_from(counted, base, sa.and_(*ours))
    return _first_of(at_last.subquery("ranked"))


def _picked(base: Subquery, rows: Subquery, agg: Agg) -> "Select[*tuple[Any, ...]]":
    """The row of each group with the least or the greatest estimate, the latest of equals; or the latest of all.

    Runs are compared, of which there are few; which of its ``rows`` it is is looked up in the run that was chosen, by
    whatever index has its groups.
    """
    moment = (base.c.created_at, base.c.run)
    counts = (func.count().label("n_rows"), func.count(base.c.estimate).label("n_defined"))
    extremes: dict[Agg, ColumnElement[Any]] = {"min": func.min(base.c.estimate), "max": func.max(base.c.estimate)}
    best = extremes.get(agg, sa.null())
    runs = select(*groups_of(base), *moment, best.label("best"), *counts).group_by(*groups_of(base), *moment)
    run = runs.subquery("of_runs").c
    extreme = run.best.asc() if agg == "min" else run.best.desc()
    newest = [run.created_at.desc(), run.run.desc()]
    order = newest if agg == "latest" else [extreme.nulls_last(), *newest]
    groups = [column for column in run if column.key.startswith(GROUP)]
    # one window for all of them is one sort and one pass
    window: dict[str, Any] = {"partition_by": groups, "order_by": order, "rows": (None, None)}
    ranked = select(
        *groups,
        *(sa.cast(func.sum(run[each.name]).over(**window), sa.BigInteger).label(each.name) for each in counts),
        func.min(run.created_at).over(**window).label("first_at"),
        func.max(run.created_at).over(**window).label("last_at"),
        *(run.created_at, run.run, run.best),
        func.row_number().over(**window).label("place"),
    ).subquery("ranked")
    same = zip(groups_of(rows), groups_of(ranked), strict=True)
    it = [rows.c.run == ranked.c.run, rows.c.created_at == ranked.c.created_at]
    it += [one.is_not_distinct_from(other) for one, other in same]
    if agg != "latest":
        it.append(rows.c.estimate.is_not_distinct_from(ranked.c.best))
    number = select(func.max(rows.c.number)).where(*it).correlate(ranked).scalar_subquery()
    told = (column for column in ranked.c if column.key not in ("created_at", "best"))
    return _first_of(select(*told, number.label("number")).where(ranked.c.place == 1).subquery("picked"))


def _first_of(ranked: Subquery) -> "Select[*tuple[Any, ...]]":
    """Only what decides was sorted; the rest of the row is looked up."""
    own = [column for column in ranked.c if column.key not in ("run", "number", "place")]
    its_row = sa.and_(_TABLE.c.run == ranked.c.run, _TABLE.c.number == ranked.c.number)
    return select(*own, *_TABLE.c).join_from(ranked, _TABLE, its_row).where(ranked.c.place == 1)
