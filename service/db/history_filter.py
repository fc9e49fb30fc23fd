"""Which correlations of all runs: what may be asked of the history, and what that is in SQL."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, false, func, not_, or_, select, true
from sqlalchemy.orm import Session

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
Says = Callable[[ColumnElement[Any]], ColumnElement[bool]]

_FEW = 50
"""One job in so many, or fewer, are few."""
_MOST_NAMED = 1000
"""SQLite takes some thousand parameters."""


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

    def keeps_all(self) -> bool:
        """Whether nothing restricts."""
        return replace(self, values={name: given for name, given in self.values.items() if given}) == HistoryFilter()


def restrictions(session: Session, where: HistoryFilter) -> list[ColumnElement[bool]]:
    """The filter as conditions on ``correlations``, all of which must hold. Looks which jobs it is about, if any."""
    found = [_over(session, name, partial(any_of, values)) for name, values in given(where)]
    bounds = (
        (Correlation.temperature, operator.ge, where.temperature_min),
        (Correlation.temperature, operator.le, where.temperature_max),
        (Correlation.created_at, operator.ge, where.created_after),
        (Correlation.created_at, operator.lt, where.created_before),
    )
    found += [compare(column, bound) for column, compare, bound in bounds if bound is not None]
    return found if where.where is None else [*found, _holds(session, where.where)]


def given(where: HistoryFilter) -> list[tuple[str, Sequence[Plain]]]:
    """Fields that must have any of some values."""
    labelled = {LABEL + key: values for key, values in where.labels.items()}
    return [(name, values) for name, values in {**where.values, **labelled}.items() if values]


def is_of_jobs(name: str) -> bool:
    """Whether a field is the job's."""
    return name == "name" or name.startswith(LABEL)


def jobs_with(name: str, says: Says) -> "Select[str]":
    """Those of which ``says`` holds, of their name or a label."""
    jobs = Job.__table__.c
    column: ColumnElement[Any] = jobs.name if name == "name" else jobs.labels[name.removeprefix(LABEL)].as_string()
    return select(Job.id).where(says(column))


def _over(session: Session, name: str, says: Says) -> ColumnElement[bool]:
    """What ``says`` says of a field."""
    if is_of_jobs(name):
        return _of_jobs(session, jobs_with(name, says))
    return says(Correlation.__table__.c[name])


def _of_jobs(session: Session, jobs: "Select[str]") -> ColumnElement[bool]:
    """Rows of jobs.

    Neither database knows how many jobs have a label or a name, and both would look up all rows of all of them to sort
    out the newest. That is right for few jobs, which are named here; else rows are read in their order and looked at,
    which a CASE does, for no index answers it.
    """
    few = min((session.scalar(select(func.count()).select_from(Job)) or 0) // _FEW, _MOST_NAMED)
    found = session.scalars(jobs.limit(few + 1)).all()
    if len(found) <= few:
        return Correlation.run.in_(found)
    return case((Correlation.run.in_(jobs), true()), else_=false())


def any_of(values: Sequence[Plain], column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a column has one of ``values``."""
    known = [value for value in values if value is not None]
    ways = [column == known[0] if len(known) == 1 else column.in_(known)] if known else []
    if len(known) < len(values):
        ways.append(column.is_(None))
    return or_(false(), *ways) if len(ways) > 1 else ways[0]


ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _holds(session: Session, tree: Tree) -> ColumnElement[bool]:
    """A condition as SQL that is true or false for every row, never NULL, so that ``not`` means what it says."""
    match tree:
        case Not(inner):
            return not_(_holds(session, inner))
        case Every(trees):
            return and_(*(_holds(session, each) for each in trees))
        case Some(trees):
            return or_(*(_holds(session, each) for each in trees))
        case Comparison(name):
            return _over(session, name, partial(comparing, tree))


def comparing(it: Comparison, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """A comparison of a column, never NULL either."""
    if it.sign in ORDER:
        return and_(column.is_not(None), ORDER[it.sign](column, it.value))
    same: ColumnElement[bool] = column.is_not_distinct_from(it.value)
    return same if it.sign == "==" else column.is_distinct_from(it.value)
