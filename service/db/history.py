"""Correlations of all runs in any order, by the page or as a stream; ``history_groups`` makes one number of several."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from service.db.history_choices import values
from service.db.history_filter import HistoryFilter, restrictions
from service.db.history_sorted import sorted_page
from service.db.keyset import By, after, cursor_of, key_of, kind_of
from service.db.pages import DEFAULT_LIMIT, check_limit
from service.db.records import CorrelationRecord, Page
from service.db.tables import Correlation

SORTS = (
    *("created_at", "run", "policy", "scorer", "scorer_version", "oracle", "temperature", "stratum", "statistic"),
    *("estimate", "lower", "upper", "n_prompts", "n_responses"),
)
"""What rows may be sorted by."""

Row = dict[str, Any]

_TABLE = Correlation.__table__
_ROWS_AT_ONCE = 2000


@dataclass(frozen=True)
class Order:
    """The column a list is sorted by. Rows that are equal there come in the order of their runs and files."""

    name: str = "created_at"
    descending: bool = True


def rows_page(
    session: Session,
    where: HistoryFilter,
    order: Order = Order(),
    *,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[CorrelationRecord]:
    """Correlations, newest first unless told otherwise. Raises InvalidInput for a bad cursor or limit."""
    columns, spelling = _row_order(order), f"{order.name} {order.descending}"
    found = sorted_page(session, where, columns, spelling, cursor=cursor, limit=limit)
    if found is not None:
        return found
    query = select(*_TABLE.c).where(*restrictions(session, where))
    return read_page(session, query, columns, spelling, CorrelationRecord.model_validate, cursor=cursor, limit=limit)


def stream_rows(session: Session, where: HistoryFilter, order: Order = Order()) -> Generator[Row]:
    """All that fit, as they come from the database."""
    columns = [_TABLE.c[name] for name in CorrelationRecord.model_fields]
    query = _ordered(select(*columns).where(*restrictions(session, where)), _row_order(order))
    yield from stream(session, query)


def fingerprint(session: Session, where: HistoryFilter) -> list[Any]:
    """What changes when other correlations fit: those of a run are stored at once, and deleted with it.

    Of all correlations it is which runs there are, and their last rows; what fits otherwise is counted.
    """
    if where.keeps_all():
        runs = values(_TABLE.c.run)
        numbers = select(func.max(_TABLE.c.number)).where(_TABLE.c.run == runs.c.value).correlate(runs)
        last = and_(_TABLE.c.run == runs.c.value, _TABLE.c.number == numbers.scalar_subquery())
        query = select(_TABLE.c.run, _TABLE.c.number, _TABLE.c.created_at).join_from(runs, _TABLE, last)
        return [tuple(row) for row in session.execute(query)]
    counted = select(
        func.count(), func.max(Correlation.created_at), func.min(Correlation.run), func.max(Correlation.run)
    )
    return list(session.execute(counted.where(*restrictions(session, where))).one())


def read_page(
    session: Session,
    query: "Select[*tuple[Any, ...]]",
    order: Sequence[By],
    spelling: str,
    convert: Callable[[Any], Any],
    *,
    cursor: str | None,
    limit: int,
) -> Page[Any]:
    """A page of ``query`` in an order that tells all its rows apart."""
    if cursor is not None:
        query = query.where(after(order, key_of(order, cursor, spelling)))
    rows = session.execute(_ordered(query, order).limit(check_limit(limit) + 1)).all()
    following = cursor_of(order, rows[limit - 1], spelling) if len(rows) > limit else None
    return Page(data=[convert(row) for row in rows[:limit]], next=following)


def stream(session: Session, query: "Select[*tuple[Any, ...]]") -> Generator[Row]:
    """Rows of ``query`` by the database's own cursor, so that memory holds some of them at a time."""
    with session.execute(query.execution_options(yield_per=_ROWS_AT_ONCE)) as found:  # else the cursor stays open
        for row in found.mappings():
            yield dict(row)


def _ordered(query: "Select[*tuple[Any, ...]]", order: Sequence[By]) -> "Select[*tuple[Any, ...]]":
    return query.order_by(*(part for by in order for part in by.order()))


def _row_order(order: Order) -> list[By]:
    column = _TABLE.c[order.name]
    first = By(order.name, column, kind_of(column), order.descending, column.nullable)
    rest = [By(name, _TABLE.c[name], kind_of(_TABLE.c[name]), order.descending) for name in ("run", "number")]
    return [first, *(by for by in rest if by.name != first.name)]
