"""Sums and counts over the rows of a group, the same on both databases: what ``combining`` makes one number of."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select, Subquery, func, select

from evaluation.statistics.combining import CORRELATIONS
from service.db.history_filter import Plain
from service.db.tables import RunPrompts

GROUP = "group_"
"""What columns that rows are grouped by begin with."""
COUNTS = ("n_prompts", "n_responses", "n_dropped")
_ONE = 1 - 1e-12
_SMALLEST_ERROR = 1e-9
"""A smaller standard error is rounding, and its inverse square no weight."""
LARGEST = 1e50
"""No measurement is beyond it in size, and squares of what is not can be added up."""
_NEXT_TO_NOTHING = 1e-100
"""What is below it in size is combined as 0: PostgreSQL refuses products that are too small for it."""


def groups_of(of: sa.FromClause) -> list[ColumnElement[Any]]:
    """What its rows are grouped by."""
    return [column for column in of.c if column.key.startswith(GROUP)]


def counts_of(base: Subquery) -> list[sa.Label[Any]]:
    """How many rows a group has, and when they were stored."""
    return [
        func.count().label("n_rows"),
        func.count(base.c.estimate).label("n_defined"),
        func.min(base.c.created_at).label("first_at"),
        func.max(base.c.created_at).label("last_at"),
    ]


def counted(base: Subquery) -> "Select[*tuple[Any, ...]]":
    """How many rows, runs, prompts and responses each group has."""
    most = [func.max(base.c[name]).label(name) for name in COUNTS]
    within = select(*groups_of(base), *counts_of(base), *most).group_by(*groups_of(base), base.c.run).subquery("within")
    added = {name: within.c[name] for name in ("n_rows", "n_defined", *COUNTS)} | {"n_used": within.c.n_rows}
    return select(*groups_of(within), *_over_runs(within, added), func.count().label("n_runs")).group_by(
        *groups_of(within)
    )


def summed(base: Subquery, agg: str, statistics: Sequence[Plain], dialect: str) -> "Select[*tuple[Any, ...]]":
    """The sums of ``combining.Sums`` for each group: within a run first, then over runs.

    ``standings`` lists the runs that are used, each as ``prompt_sets.Moved`` says.
    """
    terms = _terms(base, agg, statistics)
    row, groups = terms.c, groups_of(terms)
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
        *groups_of(within),
        *_over_runs(within, added),
        func.count(sa.case((within.c.n_used > 0, 1))).label("n_runs"),
        *(func.sum(within.c[name]).label(name) for name in ("weight", "weighted", "squares")),
        sa.type_coerce(listed(moved).filter(within.c.n_used > 0), sa.JSON).label("standings"),
    )
    return sums.outerjoin_from(within, RunPrompts, RunPrompts.run == within.c.run).group_by(*groups_of(within))


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


def _terms(base: Subquery, agg: str, statistics: Sequence[Plain]) -> sa.CTE:
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
    rows = select(*groups_of(base), *own, *(each.label(name) for name, each in made))
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
