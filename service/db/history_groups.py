"""Groups of correlations made one number each: the latest, the least, the greatest, a mean, or a count.

SQL sums or picks, and ``evaluation.statistics.combining`` says what the sums mean.
"""

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Select, Subquery, func, select
from sqlalchemy.orm import Session

from evaluation.statistics.combining import CONFIDENCE, CORRELATIONS, Combined, Sums, inverse_variance, mean
from service.db.history import kind_of, read_page, stream
from service.db.history_filter import HistoryFilter, Plain, restrictions
from service.db.keyset import By
from service.db.pages import DEFAULT_LIMIT
from service.db.records import Page
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
_GROUP = "group_"
_PICKED = ("latest", "min", "max")
_COUNTS = ("n_prompts", "n_responses", "n_dropped")
_SMALLEST_ERROR = 1e-9
"""A smaller standard error is rounding, and its inverse square no weight."""

Row = dict[str, Any]


class HistoryGroup(BaseModel):
    """One number for a group of correlations, with its interval or the reason why there is none."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    group: dict[str, str | int | float | None]
    """What its rows have in common, by dimension; ``day``, ``week`` and ``month`` are the dates they begin at."""
    agg: Agg
    estimate: float | None
    lower: float | None
    upper: float | None
    standard_error: float | None
    """In the estimate's own unit."""
    heterogeneity: float | None
    """I² of ``combined``: the share of the runs' differences that their errors do not explain."""
    n_rows: int
    """Correlations in the group."""
    n_undefined: int
    """Those of them without an estimate."""
    n_used: int
    """Those of them that this number is made of."""
    n_runs: int
    """Runs that these are of."""
    n_prompts: int
    """Of the rows used, as are the two below: the most of any row of a run, summed over runs."""
    n_responses: int
    n_dropped: int
    chosen_run: str | None
    """Whose row this is, where one was chosen."""
    first_at: datetime
    last_at: datetime
    method: str
    undefined_reason: str | None


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


def groups_page(
    session: Session,
    where: HistoryFilter,
    grouping: Grouping,
    *,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[HistoryGroup]:
    """Groups in the order of what they are grouped by. Raises InvalidInput, as ``check_grouping`` does."""
    query, order = _query(session, where, grouping)
    spelling = f"{','.join(grouping.by)} {grouping.agg} {grouping.first} {grouping.descending}"

    def convert(row: Any) -> HistoryGroup:  # noqa: ANN401 - a row
        return HistoryGroup(**_finished(row._mapping, grouping, where))

    return read_page(session, query, order, spelling, convert, cursor=cursor, limit=limit)


def stream_groups(session: Session, where: HistoryFilter, grouping: Grouping) -> Iterator[Row]:
    """All groups, as they come from the database."""
    query, order = _query(session, where, grouping)
    for row in stream(session, query.order_by(*(part for by in order for part in by.order()))):
        yield _finished(row, grouping, where)


def _query(session: Session, where: HistoryFilter, grouping: Grouping) -> "tuple[Select[*tuple[Any, ...]], list[By]]":
    check_grouping(grouping, where.values.get("statistic", ()))
    dialect = session.get_bind().dialect.name
    if dialect == "sqlite" and not _sqlite_has_atanh():
        driver = session.connection().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.create_function("atanh", 1, math.atanh, deterministic=True)
    dimensions = [_dimension(name, dialect).label(_GROUP + name) for name in grouping.by]
    base = select(*dimensions, *_TABLE.c).where(*restrictions(where)).subquery("base")
    query = _picked(base, grouping) if grouping.agg in _PICKED else _summed(base, grouping)
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
            _GROUP + name,
            columns[_GROUP + name],
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


def _groups(of: Subquery) -> list[ColumnElement[Any]]:
    return [column for column in of.c if column.key.startswith(_GROUP)]


def _picked(base: Subquery, grouping: Grouping) -> "Select[*tuple[Any, ...]]":
    """One row of each group, with what is counted over all of them."""
    newest = [base.c[name].desc() for name in ("created_at", "run", "number")]
    by_estimate = {"min": base.c.estimate.asc(), "max": base.c.estimate.desc()}
    chosen = [by_estimate[grouping.agg].nulls_last(), *newest] if grouping.agg in by_estimate else newest
    groups = _groups(base)
    over_all = {
        "n_rows": func.count(),
        "n_defined": func.count(base.c.estimate),
        "first_at": func.min(base.c.created_at),
        "last_at": func.max(base.c.created_at),
    }
    ranked = select(
        *base.c,
        *(counted.over(partition_by=groups).label(name) for name, counted in over_all.items()),
        func.row_number().over(partition_by=groups, order_by=chosen).label("place"),
    ).subquery("ranked")
    return select(*(column for column in ranked.c if column.key != "place")).where(ranked.c.place == 1)


def _summed(base: Subquery, grouping: Grouping) -> "Select[*tuple[Any, ...]]":
    """The sums of ``combining.Sums`` for each group: within a run first, then over runs."""
    usable, y, s, w = _terms(base, grouping.agg)

    def of_usable(value: ColumnElement[Any]) -> ColumnElement[Any]:
        return sa.case((usable, value))

    groups = _groups(base)
    within = (
        select(
            *groups,
            func.count().label("n_rows"),
            func.count(base.c.estimate).label("n_defined"),
            func.count(of_usable(base.c.number)).label("n_used"),
            func.count(of_usable(s)).label("n_errors"),
            func.sum(of_usable(w)).label("weight"),
            func.sum(of_usable(w * y)).label("weighted"),
            func.sum(of_usable(w * y * y)).label("squares"),
            func.sum(of_usable(w * s)).label("moved"),
            *(func.max(of_usable(base.c[name])).label(name) for name in _COUNTS),
            func.min(base.c.created_at).label("first_at"),
            func.max(base.c.created_at).label("last_at"),
        )
        .group_by(*groups, base.c.run)
        .subquery("within")
    )
    added = ("n_rows", "n_defined", "n_used", "n_errors", *_COUNTS)
    return select(
        *_groups(within),
        *(sa.cast(func.coalesce(func.sum(within.c[name]), 0), sa.BigInteger).label(name) for name in added),
        func.count(sa.case((within.c.n_used > 0, 1))).label("n_runs"),
        *(func.sum(within.c[name]).label(name) for name in ("weight", "weighted", "squares")),
        func.sum(within.c.moved * within.c.moved).label("spread"),
        func.min(within.c.first_at).label("first_at"),
        func.max(within.c.last_at).label("last_at"),
    ).group_by(*_groups(within))


def _terms(base: Subquery, agg: Agg) -> tuple[ColumnElement[Any], ...]:
    """Which rows count, and y, s and w of ``combining.Sums`` for them."""
    r, error = base.c.estimate, base.c.standard_error
    one = sa.literal(1.0, sa.Double)
    if agg == "count":
        return sa.true(), r, error, one
    if agg == "mean":
        return r.is_not(None), r, error, one
    correlation = base.c.statistic.in_(CORRELATIONS)
    usable = sa.and_(r.is_not(None), error > _SMALLEST_ERROR, sa.or_(sa.not_(correlation), func.abs(r) < 1))
    # guarded once more, for a database may compute it for rows that are not usable
    inside = sa.and_(correlation, func.abs(r) < 1)
    y = sa.case((inside, func.atanh(r, type_=sa.Double)), else_=r)
    s = sa.case((inside, error / (1 - r * r)), else_=error)
    return usable, y, s, 1 / (s * s)


def _finished(row: Mapping[str, Any], grouping: Grouping, where: HistoryFilter) -> Row:
    """A group as it is told: the fields of HistoryGroup."""
    group = {name: row[_GROUP + name] for name in grouping.by}
    shared = {
        "group": group,
        "agg": grouping.agg,
        "n_rows": row["n_rows"],
        "n_undefined": row["n_rows"] - row["n_defined"],
        **{name: row[name] for name in _COUNTS},
        **{name: row[name] for name in ("first_at", "last_at")},
    }
    if grouping.agg in _PICKED:
        return {**shared, **_of_one_row(row, grouping.agg)}
    statistic = group.get("statistic", next(iter(where.values.get("statistic", ())), None))
    numbers = {name: row[name] for name in ("n_used", "n_runs")}
    return {**shared, **numbers, "chosen_run": None, **_of_sums(row, grouping.agg, statistic in CORRELATIONS)}


def _of_one_row(row: Mapping[str, Any], agg: str) -> Row:
    which = {"min": "least", "max": "greatest"}.get(agg)
    chosen = f"; the {which} of {row['n_defined']}, its interval not widened for the choice" if which else ""
    copied = ("estimate", "lower", "upper", "standard_error", "undefined_reason")
    there = int(row["estimate"] is not None)
    return {
        **{name: row[name] for name in copied},
        "heterogeneity": None,
        "n_used": there,
        "n_runs": there,
        "chosen_run": row["run"],
        "method": row["method"] + chosen,
    }


def _of_sums(row: Mapping[str, Any], agg: str, correlation: bool) -> Row:
    nothing = {"estimate": None, "lower": None, "upper": None, "standard_error": None, "heterogeneity": None}
    if agg == "count":
        return {**nothing, "method": "count", "undefined_reason": "agg=count counts and estimates nothing"}
    how = "mean" if agg == "mean" else f"inverse-variance mean{' on the atanh scale' if correlation else ''}"
    method = (
        f"{how} of {row['n_used']} estimates of {row['n_runs']} runs, {100 * CONFIDENCE:g} % interval; "
        "runs as independent, rows of one run as moving together"
    )
    if not row["n_used"]:
        missing = "no row has an estimate" if agg == "mean" else "no row has an estimate with a standard error"
        return {**nothing, "method": method, "undefined_reason": missing}
    sums = Sums(
        n=row["n_used"],
        n_runs=row["n_runs"],
        weight=row["weight"],
        weighted=row["weighted"],
        squares=row["squares"],
        spread=row["spread"] if row["n_errors"] == row["n_used"] else None,
    )
    found: Combined = (mean if agg == "mean" else inverse_variance)(sums, correlation)
    return {
        **vars(found),
        "method": method,
        "undefined_reason": None if found.lower is not None else _why_no_interval(row),
    }


def _why_no_interval(row: Mapping[str, Any]) -> str:
    without = row["n_used"] - row["n_errors"]
    return f"{without} of them without a standard error" if without else "a correlation of 1 has no interval"
