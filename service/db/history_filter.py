"""Which correlations of all runs: what may be asked of the history, and what that is in SQL."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, String, and_, false, not_, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from evaluation.conditions import Comparison, Every, Fields, Not, Some, Tree
from service.db.tables import Correlation, Job

LABEL = "label."
"""Prefix of a job's labels among the fields of a condition."""

FIELDS = Fields(
    texts=(
        *("run", "name", "policy", "scorer", "oracle", "stratum", "statistic"),
        *("method", "undefined_reason", "code_version"),
    ),
    numbers=(
        *("scorer_version", "temperature", "estimate", "lower", "upper", "standard_error"),
        *("n_prompts", "n_responses", "n_dropped", "n_total", "n_truncated", "n_constant_prompts"),
    ),
    times=("created_at",),
    labels=LABEL,
)
"""What a condition may compare; ``name`` and labels are the job's."""

Plain = str | int | float | None


@dataclass(frozen=True)
class HistoryFilter:
    """All of these must hold; what is empty or None does not restrict."""

    values: Mapping[str, Sequence[Plain]] = field(default_factory=dict)
    """By column of ``correlations``, or ``name``: any of these values, None being a missing one."""

    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By key of a job's label: any of these values."""

    temperature_min: float | None = None
    temperature_max: float | None = None
    created_after: datetime | None = None
    """From this time on."""
    created_before: datetime | None = None
    """Before this time."""
    where: Tree | None = None


def restrictions(where: HistoryFilter) -> list[ColumnElement[bool]]:
    """The filter as conditions on ``correlations``, all of which must hold."""
    found = [_over(name, partial(_any_of, values)) for name, values in _given(where)]
    bounds = (
        (Correlation.temperature, operator.ge, where.temperature_min),
        (Correlation.temperature, operator.le, where.temperature_max),
        (Correlation.created_at, operator.ge, where.created_after),
        (Correlation.created_at, operator.lt, where.created_before),
    )
    found += [compare(column, bound) for column, compare, bound in bounds if bound is not None]
    return found if where.where is None else [*found, _holds(where.where)]


def _given(where: HistoryFilter) -> list[tuple[str, Sequence[Plain]]]:
    labelled = {LABEL + key: values for key, values in where.labels.items()}
    return [(name, values) for name, values in {**where.values, **labelled}.items() if values]


def _over(name: str, says: Callable[[ColumnElement[Any]], ColumnElement[bool]]) -> ColumnElement[bool]:
    """What ``says`` says of a field. Of a job's facts it is asked first which jobs it holds for: they are few."""
    if name == "name":
        return _Filtered(Correlation.run).in_(select(Job.id).where(says(Job.__table__.c.name)))
    if name.startswith(LABEL):
        label = Job.labels[name.removeprefix(LABEL)].as_string()
        return _Filtered(Correlation.run).in_(select(Job.id).where(says(label)))
    return says(Correlation.__table__.c[name])


class _Filtered(FunctionElement[str]):
    """A column that SQLite looks at row by row and does not look up.

    It does not know that many runs may have a job of one name, and would read and sort all their rows for the newest.
    """

    type = String()
    inherit_cache = True


@compiles(_Filtered)
def _plain(element: _Filtered, compiler: SQLCompiler, **keywords: Any) -> str:  # noqa: ANN401 - the compiler's own
    return compiler.process(element.clauses, **keywords)


@compiles(_Filtered, "sqlite")
def _without_index(element: _Filtered, compiler: SQLCompiler, **keywords: Any) -> str:  # noqa: ANN401
    return f"+{_plain(element, compiler, **keywords)}"  # https://sqlite.org/optoverview.html#uplus


def _any_of(values: Sequence[Plain], column: ColumnElement[Any]) -> ColumnElement[bool]:
    known = [value for value in values if value is not None]
    ways = [column == known[0] if len(known) == 1 else column.in_(known)] if known else []
    if len(known) < len(values):
        ways.append(column.is_(None))
    return or_(false(), *ways) if len(ways) > 1 else ways[0]


_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _holds(tree: Tree) -> ColumnElement[bool]:
    """A condition as SQL that is true or false for every row, never NULL, so that ``not`` means what it says."""
    match tree:
        case Not(inner):
            return not_(_holds(inner))
        case Every(trees):
            return and_(*map(_holds, trees))
        case Some(trees):
            return or_(*map(_holds, trees))
        case Comparison(name, sign, value) if sign in _ORDER:
            return _over(name, lambda column: and_(column.is_not(None), _ORDER[sign](column, value)))
        case Comparison(name, "==", value):
            return _over(name, lambda column: column.is_not_distinct_from(value))
        case Comparison(name, _, value):
            return _over(name, lambda column: column.is_distinct_from(value))
