"""Many rows at once, as fast as each database takes them: COPY on PostgreSQL, one prepared statement on SQLite.

Rows are prepared by their columns' types as in any other statement, so that what is stored is the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import psycopg
from sqlalchemy import Column, Connection, Table, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

_ROWS_AT_ONCE = 2000

Row = dict[str, Any]
_Prepare = Callable[[Any], Any] | None


def insert_rows(session: Session, table: Table, rows: Iterable[Row]) -> int:
    """Insert ``rows``, which all have the same columns, in the session's transaction; return how many.

    Raises what the database raises for a row that it refuses: IntegrityError among others.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return 0
    connection = session.connection()
    columns = [column for column in table.columns if column.key in first]  # in the order that a statement has them
    values = _values(connection, columns, chain([first], rows))
    if connection.dialect.name == "postgresql":
        return _copy(connection, columns, values)
    statement = str(insert(table).compile(dialect=connection.dialect, column_keys=[column.key for column in columns]))
    count = 0
    while chunk := list(islice(values, _ROWS_AT_ONCE)):
        connection.exec_driver_sql(statement, chunk)
        count += len(chunk)
    return count


def _values(connection: Connection, columns: Sequence[Column[Any]], rows: Iterable[Row]) -> Iterator[tuple[Any, ...]]:
    dialect = connection.dialect
    prepared: list[tuple[str, _Prepare]] = [
        (column.key, column.type.dialect_impl(dialect).bind_processor(dialect)) for column in columns
    ]
    for row in rows:
        yield tuple(row[name] if prepare is None else prepare(row[name]) for name, prepare in prepared)


def _copy(connection: Connection, columns: Sequence[Column[Any]], values: Iterable[tuple[Any, ...]]) -> int:
    names = ", ".join(f'"{column.name}"' for column in columns)
    statement = f'COPY "{columns[0].table.name}" ({names}) FROM STDIN'
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    count = 0
    try:
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in values:
                copy.write_row(row)
                count += 1
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error, dialect=connection.dialect) from error
    return count
