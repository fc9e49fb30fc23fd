"""Any order of a list, and where in it a page begins: the same on both databases, with missing values last.

SQLite sorts NULL before everything and PostgreSQL after everything, and in SQL no comparison with NULL is true; so both
the order and the beginning of a page say what is meant.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, and_, false, literal, or_
from sqlalchemy.sql.elements import UnaryExpression

from service.db.columns import UtcDateTime
from service.db.pages import decode_cursor, encode_cursor
from trainer.errors import InvalidInput

Value = str | int | float | datetime | None


class Part(Protocol):
    """What a cursor has a value of."""

    @property
    def kind(self) -> type[str] | type[int] | type[float] | type[datetime]:
        """Of its values."""

    @property
    def nullable(self) -> bool:
        """Whether one may be missing."""


@dataclass(frozen=True)
class By:
    """One column of an order."""

    name: str
    column: ColumnElement[Any]
    kind: type[str] | type[int] | type[float] | type[datetime]
    descending: bool = False
    nullable: bool = False

    def order(self) -> list[UnaryExpression[Any]]:
        """For ORDER BY. Columns without NULL are left bare, so that an index can give their order."""
        ordered = self.column.desc() if self.descending else self.column.asc()
        return [ordered.nulls_last() if self.nullable else ordered]

    def beyond(self, value: Value, *, at_it_too: bool = False) -> ColumnElement[bool]:
        """What comes after ``value``, or at it."""
        if value is None:
            return self.at(None) if at_it_too else false()
        operators: tuple[Callable[..., ColumnElement[bool]], ...] = (
            (self.column.__le__, self.column.__lt__) if self.descending else (self.column.__ge__, self.column.__gt__)
        )
        after = operators[0 if at_it_too else 1](self._bound(value))
        return or_(after, self.column.is_(None)) if self.nullable else after

    def at(self, value: Value) -> ColumnElement[bool]:
        """What is equal to ``value``, missing values being equal."""
        return self.column.is_(None) if value is None else self.column == self._bound(value)

    def _bound(self, value: Value) -> ColumnElement[Any]:
        return literal(value, UtcDateTime) if isinstance(value, datetime) else literal(value, self.column.type)


def kind_of(column: ColumnElement[Any]) -> Any:  # noqa: ANN401 - one of By's kinds
    """The Python type of a column's values."""
    return datetime if isinstance(column.type, UtcDateTime) else column.type.python_type


def after(order: Sequence[By], key: Sequence[Value]) -> ColumnElement[bool]:
    """Rows behind the one with ``key`` in ``order``, whose columns together tell rows apart.

    The first column's bound stands by itself too, so that an index on it is entered in the right place.
    """
    ways = [
        and_(*(by.at(value) for by, value in zip(order[:place], key, strict=False)), order[place].beyond(key[place]))
        for place in range(len(order))
    ]
    return and_(order[0].beyond(key[0], at_it_too=True), or_(*ways))


def cursor_of(order: Sequence[By], row: Any, spelling: str) -> str:  # noqa: ANN401 - a row of any query
    """The cursor after ``row``; ``spelling`` says which list it is of."""
    return cursor_after([getattr(row, by.name) for by in order], spelling)


def cursor_after(key: Sequence[Value], spelling: str) -> str:
    """The same by the row's ``key``."""
    return encode_cursor([spelling, *(json.dumps(_written(value)) for value in key)])


def key_of(order: Sequence[Part], cursor: str, spelling: str) -> list[Value]:
    """The key in a cursor. Raises InvalidInput for one of another list, or of none."""
    found, *values = decode_cursor(cursor, list) or [None]
    if found != spelling or len(values) != len(order):
        raise InvalidInput("cursor: belongs to another list; start without it")
    try:
        return [_read(by, json.loads(value)) for by, value in zip(order, values, strict=True)]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput("cursor: not one this list gave; start without it") from error


def _written(value: Value) -> str | int | float | None:
    return value.isoformat() if isinstance(value, datetime) else value


def _read(by: Part, value: object) -> Value:
    if value is None and by.nullable:
        return None
    if by.kind is datetime and isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC)
    if isinstance(value, bool) or (isinstance(value, float) and math.isnan(value)):  # JSON has either, columns neither
        raise ValueError(value)
    if by.kind is float and isinstance(value, int | float):
        return float(value)
    if by.kind is int and isinstance(value, int) and abs(value) < 2**63:
        return value
    if by.kind is str and isinstance(value, str):
        value.encode()  # a made-up one may hold half a surrogate
        return value
    raise ValueError(value)
