"""Rows of the history in groups, which come in an order of their own: what may be asked, and which row is in which."""

import operator
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import numpy as np

from service.db.history_columns import Mask, Places, Rows
from service.db.history_filter import Plain
from service.db.keyset import Value, kind_of
from service.db.tables import Correlation
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


def dimension_kind(name: str) -> Any:  # noqa: ANN401 - str, int or float
    """The Python type of a dimension's values."""
    return kind_of(_TABLE.c[name]) if name in _TABLE.c else str


_PERIODS: Mapping[str, Callable[[date], date]] = {
    "day": lambda day: day,
    "week": lambda day: day - timedelta(days=day.weekday()),
    "month": lambda day: day.replace(day=1),
}
"""On which day each begins."""


def columns_apart(grouping: Grouping) -> set[str]:
    """Columns of rows that the groups are told apart by."""
    return {"created_at" if name in _PERIODS else name for name in grouping.by}


@dataclass(frozen=True)
class Key:
    """A dimension's values in their order, and which of them each row has."""

    name: str
    values: Sequence[Plain]
    """What is missing is last."""
    descending: bool
    places: Places
    """(rows,)"""

    @property
    def kind(self) -> Any:  # noqa: ANN401 - str, int or float
        """The type of its values."""
        return dimension_kind(self.name)

    @property
    def nullable(self) -> bool:
        """Whether one may be missing."""
        return self.name in _TABLE.c and bool(_TABLE.c[self.name].nullable)

    def before(self, value: Value) -> int:
        """Twice the number of values before it, and one more where it is one of them: places among them and between."""
        passed: Callable[[Any, Any], bool] = operator.lt if self.descending else operator.gt
        before = sum(each is not None and (value is None or passed(value, each)) for each in self.values)
        return 2 * before + (value in self.values)


@dataclass(frozen=True)
class Groups:
    """Rows in groups, which are numbered in their order."""

    rows: Rows
    keys: Sequence[Key]
    """In the order of sorting."""
    of: Places
    """(rows,) the group of each."""
    n: int
    first: Places
    """(groups,) the oldest row of each."""
    last: Places
    """(groups,) the newest."""

    def count(self, of_rows: Mask | None = None) -> Places:
        """(groups,) how many rows there are, or how many of some."""
        return np.bincount(self.of if of_rows is None else self.of[of_rows], minlength=self.n)

    def common(self, some: slice) -> dict[str, list[Plain]]:
        """By dimension what the rows of each of some groups have in common."""
        rows = self.last[some]
        return {key.name: [key.values[place] for place in key.places[rows].tolist()] for key in self.keys}

    def begin_after(self, values: Sequence[Value]) -> int:
        """The first group behind those ``values`` of the keys, whether or not there is such a group any more."""
        passed = [key.before(value) for key, value in zip(self.keys, values, strict=True)]
        return bisect_right(range(self.n), passed, key=self._places)

    def _places(self, group: int) -> list[int]:
        row = self.last[group]
        return [2 * int(key.places[row]) + 1 for key in self.keys]


def grouped(rows: Rows, grouping: Grouping) -> Groups:
    """``rows`` have what ``columns_apart`` names."""
    names = sorted(grouping.by, key=lambda name: name != grouping.first)
    keys = [key_of_rows(name, rows, grouping.descending and name == grouping.first) for name in names]
    there, of = _told_apart(keys)
    n = len(there)
    first, last, in_order = np.empty(n, np.intp), np.empty(n, np.intp), np.arange(rows.n)
    first[of[::-1]] = in_order[::-1]  # of several for one place the last one stays
    last[of] = in_order
    return Groups(rows, keys, of, n, first, last)


def _told_apart(keys: Sequence[Key]) -> tuple[Places, Places]:
    """Of what all keys have together as one number: which occur, and (rows,) the place among these."""
    numbers, size = keys[0].places, len(keys[0].values)
    for key in keys[1:]:
        if size * len(key.values) > _MANY:
            there, numbers = dense(numbers, size)
            size = len(there)
        numbers, size = numbers * len(key.values) + key.places, size * len(key.values)
    return dense(numbers, size)


_MANY = 2**20


def key_of_rows(name: str, rows: Rows, descending: bool) -> Key:
    """Of a dimension or any other column of few different values."""
    column = rows.named("created_at" if name in _PERIODS else name)
    values = [_period(name, at) for at in column.values] if name in _PERIODS else column.values
    ordered: list[Any] = sorted({*values} - {None}, reverse=descending)
    ordered += [None] if None in values else []
    place = {value: number for number, value in enumerate(ordered)}
    return Key(name, ordered, descending, np.array([place[value] for value in values], np.intp).take(column.places))


def _period(name: str, at: datetime) -> str:
    return _PERIODS[name](at.date()).isoformat()


def is_few(size: int, n: int) -> bool:
    """Whether each of ``size`` numbers is sooner marked than ``n`` are sorted."""
    return size <= 20 * n


def occurring(numbers: Places, size: int) -> Places:
    """Which of 0 to ``size`` - 1 are among ``numbers``."""
    return np.flatnonzero(_marked(numbers, size)) if is_few(size, len(numbers)) else np.unique(numbers)


def dense(numbers: Places, size: int) -> tuple[Places, Places]:
    """Which of 0 to ``size`` - 1 are among ``numbers``, and the place of each of ``numbers`` among these."""
    if not is_few(size, len(numbers)):
        return np.unique(numbers, return_inverse=True)
    occurs = _marked(numbers, size)
    return np.flatnonzero(occurs), numbers if occurs.all() else (np.cumsum(occurs) - 1)[numbers]


def _marked(numbers: Places, size: int) -> Mask:
    occurs = np.zeros(size, bool)
    occurs[numbers] = True
    return occurs
