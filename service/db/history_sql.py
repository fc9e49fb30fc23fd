"""The SQL of groups: one row of each picked, or sums over its rows, the same on both databases."""

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

from evaluation.statistics.combining import CORRELATIONS
from service.db.history import kind_of
from service.db.history_filter import HistoryFilter, Plain, restrictions
from service.db.keyset import By
from service.db.tables import Correlation, Job, RunPrompts
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
GROUP = "group_"
PICKED = ("latest", "min", "max")
COUNTS = ("n_prompts", "n_responses", "n_dropped")
_ONE = 1 - 1e-12
_SMALLEST_ERROR = 1e-9
"""A smaller standard error is rounding, and its inverse square no weight."""
LARGEST = 1e50
"""No measurement is beyond it in size, and squares of what is not can be added up."""
_NEXT_TO_NOTHING = 1e-100
"""What is below it in size is combined as 0: PostgreSQL refuses products that are too small for it."""


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
        query = _counted(base)
    else:
        query = _summed(base, grouping.agg, where.values.get("statistic", ()), dialect)
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


def _groups(of: sa.FromClause) -> list[ColumnElement[Any]]:
    return [column for column in of.c if column.key.startswith(GROUP)]


def _latest(base: Subquery) -> "Select[*tuple[Any, ...]]":
    """The row of each group that was stored last: of the few of its last moment, which indexes find."""
    groups = _groups(base)
    counted = select(*groups, *_counts(base)).group_by(*groups).subquery("counted")
    # the moment comes first, for databases join by equals, and by equals that may be missing only row against row
    ours = [base.c.created_at == counted.c.last_at]
    both = zip(groups, _groups(counted), strict=True)
    ours += [one.is_not_distinct_from(other) for one, other in both]
    last = [base.c.run.desc(), base.c.number.desc()]
    place = func.row_number().over(partition_by=_groups(counted), order_by=last).label("place")
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
    runs = select(*_groups(base), *moment, best.label("best"), *counts).group_by(*_groups(base), *moment)
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
    same = zip(_groups(rows), _groups(ranked), strict=True)
    it = [rows.c.run == ranked.c.run, rows.c.created_at == ranked.c.created_at]
    it += [one.is_not_distinct_from(other) for one, other in same]
    if agg != "latest":
        it.append(rows.c.estimate.is_not_distinct_from(ranked.c.best))
    number = select(func.max(rows.c.number)).where(*it).correlate(ranked).scalar_subquery()
    told = (column for column in ranked.c if column.key not in ("created_at", "best"))
    return _first_of(select(*told, number.label("number")).where(ranked.c.place == 1).subquery("picked"))


def _counts(base: Subquery) -> list[sa.Label[Any]]:
    return [
        func.count().label("n_rows"),
        func.count(base.c.estimate).label("n_defined"),
        func.min(base.c.created_at).label("first_at"),
        func.max(base.c.created_at).label("last_at"),
    ]


def _first_of(ranked: Subquery) -> "Select[*tuple[Any, ...]]":
    """Only what decides was sorted; the rest of the row is looked up."""
    own = [column for column in ranked.c if column.key not in ("run", "number", "place")]
    its_row = sa.and_(_TABLE.c.run == ranked.c.run, _TABLE.c.number == ranked.c.number)
    return select(*own, *_TABLE.c).join_from(ranked, _TABLE, its_row).where(ranked.c.place == 1)


def _counted(base: Subquery) -> "Select[*tuple[Any, ...]]":
    """How many rows, runs, prompts and responses each group has."""
    most = [func.max(base.c[name]).label(name) for name in COUNTS]
    within = select(*_groups(base), *_counts(base), *most).group_by(*_groups(base), base.c.run).subquery("within")
    added = {name: within.c[name] for name in ("n_rows", "n_defined", *COUNTS)} | {"n_used": within.c.n_rows}
    return select(*_groups(within), *_over_runs(within, added), func.count().label("n_runs")).group_by(*_groups(within))


def _summed(base: Subquery, agg: Agg, statistics: Sequence[Plain], dialect: str) -> "Select[*tuple[Any, ...]]":
    """The sums of ``combining.Sums`` for each group: within a run first, then over runs.

    ``standings`` lists the runs that are used, each as ``prompt_sets.Moved`` says.
    """
    terms = _terms(base, agg, statistics)
    row, groups = terms.c, _groups(terms)
    used = row.w.is_not(None)
    # of what is asked for alone: PostgreSQL refuses a square that is next to nothing
    squares = row.w * row.y * row.y if agg == "combined" else sa.case((used, 0.0))
    apart = ((row.lower, row.y), (row.y, row.upper))
    reaches = [sa.case((sa.and_(used, low < high), high - low), else_=0.0) for low, high in apart]
    within = (
        select(
            *groups,
            row.run,
            func.count().label("n_rows"),
            func.count(row.estimate).label("n_defined"),
            func.count(row.w).label("n_used"),
            func.count(sa.case((used, row.s))).label("n_errors"),
            func.sum(row.w).label("weight"),
            func.sum(row.w * row.y).label("weighted"),
            func.sum(squares).label("squares"),
            *(func.sum(row.w * each).label(f"moved_{place}") for place, each in enumerate([row.s, *reaches])),
            *(func.max(sa.case((used, row[name]))).label(name) for name in COUNTS),
            func.min(row.created_at).label("first_at"),
            func.max(row.created_at).label("last_at"),
        )
        .group_by(*groups, row.run)
        .subquery("within")
    )
    added = {name: within.c[name] for name in ("n_rows", "n_defined", "n_used", "n_errors", *COUNTS)}
    listed, one = _LISTS[dialect]
    moved = one(RunPrompts.digest, *(within.c[f"moved_{place}"] for place in range(3)))
    sums = select(
        *_groups(within),
        *_over_runs(within, added),
        func.count(sa.case((within.c.n_used > 0, 1))).label("n_runs"),
        *(func.sum(within.c[name]).label(name) for name in ("weight", "weighted", "squares")),
        sa.type_coerce(listed(moved).filter(within.c.n_used > 0), sa.JSON).label("standings"),
    )
    return sums.outerjoin_from(within, RunPrompts, RunPrompts.run == within.c.run).group_by(*_groups(within))


def _over_runs(within: Subquery, added: Mapping[str, ColumnElement[Any]]) -> list[sa.Label[Any]]:
    return [
        *(sa.cast(func.coalesce(func.sum(each), 0), sa.BigInteger).label(name) for name, each in added.items()),
        func.min(within.c.first_at).label("first_at"),
        func.max(within.c.last_at).label("last_at"),
    ]


_LISTS: Mapping[str, tuple[Any, Any]] = {
    "sqlite": (func.json_group_array, func.json_array),
    "postgresql": (func.json_agg, func.json_build_array),
}
"""By dialect: a group's rows as one list, and a row as one."""


def _terms(base: Subquery, agg: Agg, statistics: Sequence[Plain]) -> sa.CTE:
    """y, s and w of ``combining.Sums`` for each row, w being NULL for those that do not count, and the ends of its
    interval as y is: all made before they are summed, for sums name them some twenty times."""
    names = ("estimate", "standard_error", "lower", "upper")
    columns: list[ColumnElement[Any]] = [base.c[name] for name in names]
    r, error, *ends = columns
    whole = sa.and_(*(func.abs(each) <= LARGEST for each in (error, *ends)))  # without ends no error counts
    if agg == "mean":
        s, *reached = (sa.case((whole, each)) for each in (error, *ends))
        y, w = r, sa.case((func.abs(r) <= LARGEST, 1.0))
    else:
        correlation = _is_correlation(base, statistics)
        r, *ends = (_or_nothing(each) for each in (r, *ends))
        usable = sa.and_(
            func.abs(r) <= LARGEST, whole, error > _SMALLEST_ERROR, sa.or_(sa.not_(correlation), func.abs(r) < 1)
        )
        # guarded once more, for a database may compute it for rows that are not usable
        inside, scaled = sa.and_(correlation, func.abs(r) < 1), sa.and_(correlation, whole)
        y = sa.case((inside, func.atanh(r, type_=sa.Double)), else_=r)
        s = sa.case((inside, error / (1 - r * r)), else_=error)
        w = sa.case((usable, 1 / (s * s)))
        reached = [sa.case((scaled, func.atanh(_within_one(end), type_=sa.Double)), else_=end) for end in ends]
    made = zip(("y", "s", "w", "lower", "upper"), (y, s, w, *reached), strict=True)
    own = (base.c[name] for name in ("run", "estimate", "created_at", *COUNTS))
    rows = select(*_groups(base), *own, *(each.label(name) for name, each in made))
    return rows.cte("terms").prefix_with("MATERIALIZED")


def _is_correlation(base: Subquery, statistics: Sequence[Plain]) -> ColumnElement[bool]:
    """Whether a row's statistic is one; known for all of them where ``statistics`` are named."""
    known = {name in CORRELATIONS for name in statistics}
    if len(known) != 1:
        return base.c.statistic.in_(CORRELATIONS)
    return sa.true() if known.pop() else sa.false()


def _or_nothing(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """``value``, and 0 where it is next to nothing."""
    return sa.case((func.abs(value) < _NEXT_TO_NOTHING, sa.literal(0.0, sa.Double)), else_=value)


def _within_one(end: ColumnElement[Any]) -> ColumnElement[Any]:
    """An end with an atanh on every database, whatever the row is of."""
    return sa.case((end >= _ONE, _ONE), (end <= -_ONE, -_ONE), else_=end)
