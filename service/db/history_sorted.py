"""Lists of the history that no index has in their order: the rows of a page are found in columns."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from service.db.correlation_columns import MEASURED
from service.db.history_columns import Mask, Numbers, Rows, read_rows, turn
from service.db.history_filter import HistoryFilter, given
from service.db.history_grouping import Key, key_of_rows
from service.db.history_masks import bounded, fields_of, fitting, shared
from service.db.history_memory import remembered, remembers
from service.db.keyset import By, Value, cursor_after, key_of
from service.db.pages import check_limit
from service.db.records import CorrelationRecord, Page

_FEW_LEFT = {"statistic", "oracle", "stratum", "temperature"}
"""Of what has all of these, an index leaves few rows."""
_IN_ORDER: tuple[set[str], ...] = (
    *({"statistic"}, {"scorer"}, {"statistic", "scorer"}, {"scorer", "scorer_version"}, {"policy"}, set()),
)
"""Of what has one value of just these, or of everything, an index has the newest first."""


def sorted_page(
    session: Session, where: HistoryFilter, order: Sequence[By], spelling: str, *, cursor: str | None, limit: int
) -> Page[CorrelationRecord] | None:
    """A page of rows in an order that tells them apart, the last two of it being run and number.

    None where the database has them in their order, or nearly. It has the order of texts, which is not ours.
    """
    check_limit(limit)
    key = None if cursor is None else key_of(order, cursor, spelling)
    picked = where.where is not None or order[0].kind in (int, float)
    named = {name for name, _ in given(where)} | bounded(where)
    one_of_each = all(len(values) == 1 for _, values in given(where))
    if order[0].kind is str or named >= _FEW_LEFT or (not picked and one_of_each and named in _IN_ORDER):
        return None
    if not remembers(session) and not (picked and "statistic" in named):
        return None
    told = {*CorrelationRecord.model_fields, *(by.name for by in order)}
    with turn(session):
        rows = remembered(session, fields_of(where) | told)
        if rows is None and picked and "statistic" in named:
            rows = read_rows(session, fields_of(where) | told, *shared(where))
        if rows is None:
            return None
        found = _first(fitting(session, where, rows), order, key, limit + 1, told)
    following = cursor_after([found[limit - 1][by.name] for by in order], spelling) if len(found) > limit else None
    return Page(data=[CorrelationRecord.model_validate(row) for row in found[:limit]], next=following)


def _first(
    rows: Rows, order: Sequence[By], key: Sequence[Value] | None, n: int, told: Collection[str]
) -> list[dict[str, Any]]:
    """What is ``told`` of the first ``n`` rows in an order, or of the first behind a key."""
    [leading, *_] = _sortable(rows, order[:1], key)
    behind = leading.of_rows[leading.of_rows > leading.value]
    last = np.partition(behind, n - 1)[n - 1] if len(behind) > n else np.inf  # sorting all takes long
    rows = rows.those((leading.of_rows >= leading.value) & (leading.of_rows <= last))
    columns = _sortable(rows, order, key)
    left = np.flatnonzero(_after(columns))
    return rows.records(left[np.lexsort([column.of_rows[left] for column in reversed(columns)])][:n], told)


class _Sortable(NamedTuple):
    of_rows: Numbers
    """(rows,) which rise in the order asked for, what is missing being last."""
    value: float
    """The key's, or one before all."""


def _sortable(rows: Rows, order: Sequence[By], key: Sequence[Value] | None) -> list[_Sortable]:
    found = []
    for place, by in enumerate(order):
        if by.name in MEASURED:
            of_rows, value_of = _signed(rows.measured(by.name), -1.0 if by.descending else 1.0)
        else:
            of_rows, value_of = _placed(key_of_rows(by.name, rows, by.descending))
        found.append(_Sortable(of_rows, -np.inf if key is None else value_of(key[place])))
    return found


def _signed(values: Numbers, sign: float) -> tuple[Numbers, Callable[[Any], float]]:
    of_rows: Numbers = np.where(np.isnan(values), np.inf, sign * values)
    return of_rows, lambda value: np.inf if value is None else sign * value


def _placed(key: Key) -> tuple[Numbers, Callable[[Any], float]]:
    return (2 * key.places + 1).astype(np.float64), key.before


def _after(columns: Sequence[_Sortable]) -> Mask:
    """(rows,) which of them lie behind the values, compared column by column."""
    after: Mask = np.zeros(len(columns[0].of_rows), bool)
    for of_rows, value in reversed(columns):
        after = (of_rows > value) | ((of_rows == value) & after)
    return after
