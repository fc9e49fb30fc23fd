"""The history's filter over columns: the same answers that ``history_filter`` has from SQL."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from evaluation.conditions import Comparison, Every, Not, Some, Tree
from service.db.correlation_columns import MEASURED, TABLE, moment_of
from service.db.history_columns import Mask, Numbers, Rows
from service.db.history_filter import (
    ORDER,
    HistoryFilter,
    Plain,
    Says,
    any_of,
    comparing,
    given,
    is_of_jobs,
    jobs_with,
)


def fields_of(where: HistoryFilter) -> set[str]:
    """Columns that ``fitting`` looks at."""
    named = {name for name, _ in given(where)} | bounded(where)
    return {name for name in named | {*_compared(where.where)} if not is_of_jobs(name)}


def bounded(where: HistoryFilter) -> set[str]:
    """Columns besides the time with a least or a greatest value."""
    return {"temperature"} if where.temperature_min is not None or where.temperature_max is not None else set()


def _compared(tree: Tree | None) -> Iterator[str]:
    match tree:
        case Comparison(name):
            yield name
        case Not(inner):
            yield from _compared(inner)
        case Every(trees) | Some(trees):
            for each in trees:
                yield from _compared(each)


def shared(where: HistoryFilter) -> list[ColumnElement[bool]]:
    """What the filter asks of whole rows of ``correlation_columns``, so that others are not read."""
    found = [any_of(values, TABLE.c[name]) for name, values in given(where) if name in {"run", "statistic"}]
    found += [
        TABLE.c.run.in_(jobs_with(name, partial(any_of, values))) for name, values in given(where) if is_of_jobs(name)
    ]
    if where.created_after is not None:
        found.append(TABLE.c.moment >= moment_of(where.created_after))
    if where.created_before is not None:
        found.append(TABLE.c.moment < moment_of(where.created_before))
    return found


def fitting(session: Session, where: HistoryFilter, rows: Rows) -> Rows:
    """Those that the filter keeps: fewer are looked at from one restriction to the next."""
    for name, values in given(where):
        rows = rows.those(_any_of(session, name, values, rows))
    for name, sign, bound in (
        ("temperature", ">=", where.temperature_min),
        ("temperature", "<=", where.temperature_max),
        ("created_at", ">=", where.created_after),
        ("created_at", "<", where.created_before),
    ):
        if bound is not None:
            rows = rows.those(_holds(session, Comparison(name, sign, bound), rows))
    return rows if where.where is None else rows.those(_holds(session, where.where, rows))


def _all(masks: Sequence[Mask]) -> Mask:
    together: Mask = np.logical_and.reduce(masks)
    return together


def _any_of(session: Session, name: str, values: Iterable[Plain], rows: Rows) -> Mask:
    if is_of_jobs(name):
        return _of_jobs(session, name, partial(any_of, [*values]), rows)
    return rows.named(name).holds({*values}.__contains__)


def _of_jobs(session: Session, name: str, says: Says, rows: Rows) -> Mask:
    return rows.named("run").holds({*session.scalars(jobs_with(name, says))}.__contains__)


def _holds(session: Session, tree: Tree, rows: Rows) -> Mask:
    match tree:
        case Not(inner):
            return ~_holds(session, inner, rows)
        case Every(trees):
            return _all([_holds(session, each, rows) for each in trees])
        case Some(trees):
            return ~_all([~_holds(session, each, rows) for each in trees])
        case Comparison(name) if is_of_jobs(name):
            return _of_jobs(session, name, partial(comparing, tree), rows)
        case Comparison(name) if name in MEASURED:
            return _are(tree, rows.measured(name))
        case Comparison(name):
            return rows.named(name).holds(partial(_is, tree))


def _is(it: Comparison, value: Plain) -> bool:
    if it.sign in ORDER:
        return value is not None and bool(ORDER[it.sign](value, it.value))
    return (value == it.value) is (it.sign == "==")


def _are(it: Comparison, values: Numbers) -> Mask:
    """NaN, which is a missing value, compares as such by itself."""
    if it.value is None:
        return np.isnan(values) if it.sign == "==" else ~np.isnan(values)
    compare = {**ORDER, "==": operator.eq, "!=": operator.ne}[it.sign]
    found: Mask = compare(values, it.value)
    return found
