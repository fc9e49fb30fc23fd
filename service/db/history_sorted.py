"""Lists of the history that no index has in their order: the rows of a page are found in columns."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy.orm import Session

from service.db.correlation_columns import MEASURED
from service.db.history_columns import Mask, Numbers, Places, Rows, turn
from service.db.history_filter import HistoryFilter, given
from service.db.history_grouping import key_of_rows
from service.db.history_masks import fields_of, fitting, shared
from service.db.history_memory import rows_of
from service.db.keyset import By, Value, cursor_after, key_of
from service.db.pages import check_limit
from service.db.records import CorrelationRecord, Page

_OF_INDEX = {"statistic", "oracle", "stratum", "temperature"}
"""Of what has all of these, an index leaves few rows."""


def is_found_in_columns(where: HistoryFilter, first: By) -> bool:
    """Whether rows of a statistic are meant that a condition picks, or that a number sorts.

    Not those that a text sorts, for databases know orders of texts that are not ours.
    """
    named = {name for name, _ in given(where)}
    picked = where.where is not None or first.kind in (int, float)
    return "statistic" in named and not named >= _OF_INDEX and picked and first.kind is not str


def sorted_page(
    session: Session, where: HistoryFilter, order: Sequence[By], spelling: str, *, cursor: str | None, limit: int
) -> Page[CorrelationRecord]:
    """A page of rows in an order that tells them apart, the last two of it being run and number."""
    check_limit(limit)
    key = None if cursor is None else key_of(order, cursor, spelling)
    told = {*CorrelationRecord.model_fields, *(by.name for by in order)}
    with turn(session):
        rows = rows_of(session, fields_of(where) | told, *shared(where))
        rows = fitting(session, where, rows)
        columns = [_sortable(by, rows, None if key is None else key[place]) for place, by in enumerate(order)]
        found = rows.records(_first(columns, limit + 1, behind=key is not None), told)
    following = cursor_after([found[limit - 1][by.name] for by in order], spelling) if len(found) > limit else None
    return Page(data=[CorrelationRecord.model_validate(row) for row in found[:limit]], next=following)


def _sortable(by: By, rows: Rows, value: Value) -> tuple[Numbers, float]:
    """(rows,) numbers that rise in the order asked for, what is missing being last, and where ``value`` is in them."""
    if by.name not in MEASURED:
        key = key_of_rows(by.name, rows, by.descending)
        return (2 * key.places + 1).astype(np.float64), float(key.before(value))
    sign = -1.0 if by.descending else 1.0
    of_rows: Numbers = np.where(np.isnan(rows.measured(by.name)), np.inf, sign * rows.measured(by.name))
    return of_rows, np.inf if value is None else sign * value  # type: ignore[operator]


def _first(columns: Sequence[tuple[Numbers, float]], n: int, *, behind: bool) -> Places:
    """The first ``n`` rows in the order of the columns, or the first behind the values."""
    leading = columns[0][0]
    left = np.flatnonzero(_after(columns)) if behind else np.arange(len(leading))
    if len(left) > n:  # sorting all takes long
        left = left[leading[left] <= np.partition(leading[left], n - 1)[n - 1]]
    return left[np.lexsort([of_rows[left] for of_rows, _ in reversed(columns)])][:n]


def _after(columns: Sequence[tuple[Numbers, float]]) -> Mask:
    """(rows,) which of them lie behind the values, compared column by column."""
    after: Mask = np.zeros(len(columns[0][0]), bool)
    for of_rows, value in reversed(columns):
        after = (of_rows > value) | ((of_rows == value) & after)
    return after
