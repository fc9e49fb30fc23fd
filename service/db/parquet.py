"""A whole database as Parquet files, one a table, and back into an empty one of either kind.

For backups, for moving from SQLite to PostgreSQL, and for reading with anything that reads Parquet. Documents (recipes,
manifests, labels) are columns of JSON text; instants are microseconds UTC. ``database.json`` is written last: a
directory without it is not a complete export.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import JSON, BigInteger, Column, Connection, Double, Engine, LargeBinary, Table, func, select
from sqlalchemy.orm import Session

from service.db.bulk import insert_rows
from service.db.columns import UtcDateTime
from service.db.failures import database_errors
from service.db.schema import check, revision
from service.db.session import sessions, writing
from service.db.tables import Table as Tables
from trainer.errors import BrokenArtifact, Conflict, InvalidInput
from trainer.files import storage_errors, sync_tree, write_atomically

MARKER_FILE = "database.json"

_ROWS_AT_ONCE = 10_000

Row = dict[str, Any]


def export_database(engine: Engine, directory: Path) -> dict[str, int]:
    """Write every table to ``directory``, as it was at one moment; return how many rows each had.

    Raises Conflict for a directory with something in it, WrongSchema, StorageFailure where the disk refuses.
    """
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise Conflict(f"{directory} is not empty; export to a new directory")
        directory.chmod(0o700)  # digests of keys, recipes, responses
    check(engine)
    with database_errors(), engine.connect() as connection:
        if connection.dialect.name == "postgresql":  # SQLite's transactions are like that anyway
            connection.execution_options(isolation_level="REPEATABLE READ")
        with storage_errors(directory):
            counts = {table.name: _write(connection, table, directory) for table in Tables.metadata.sorted_tables}
            sync_tree(directory)
    marker = {"format": 1, "migration": revision(), "exported_at": datetime.now(UTC).isoformat(), "rows": counts}
    write_atomically(directory / MARKER_FILE, json.dumps(marker, indent=2) + "\n")
    return counts


def import_database(engine: Engine, directory: Path) -> dict[str, int]:
    """Store what ``export_database`` wrote, all of it or nothing, in a database without rows; return how many.

    Raises InvalidInput for a directory that is no complete export of this version's migration, Conflict for a database
    that is in use, BrokenArtifact for files that are not what was exported.
    """
    expected = _read_marker(directory)
    check(engine)
    counts = {}
    with database_errors(), writing(sessions(engine)) as session:
        for table in Tables.metadata.sorted_tables:
            if session.scalar(select(func.count()).select_from(table)):
                raise Conflict(f"the database has rows in {table.name}; import into a new one")
        for table in Tables.metadata.sorted_tables:
            counts[table.name] = _read(session, table, directory)
            if counts[table.name] != expected[table.name]:
                raise BrokenArtifact(
                    f"{_file(directory, table)} has {counts[table.name]} rows and {MARKER_FILE} says"
                    f" {expected[table.name]}; export again"
                )
    return counts


def _read_marker(directory: Path) -> dict[str, int]:
    content: Any = None
    with suppress(OSError, ValueError):
        content = json.loads((directory / MARKER_FILE).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("format") != 1:
        raise InvalidInput(f"{directory} holds no complete export: {MARKER_FILE} is missing or of another format")
    if content["migration"] != revision():
        raise InvalidInput(
            f"{directory} was exported at migration {content['migration']} and this version is at {revision()}; import"
            " with the version that exported, then run `assay db upgrade`"
        )
    rows: dict[str, int] = content["rows"]
    return rows


def _file(directory: Path, table: Table) -> Path:
    return directory / f"{table.name}.parquet"


def _write(connection: Connection, table: Table, directory: Path) -> int:
    schema = pa.schema([(column.key, _arrow(column)) for column in table.columns])
    documents = [column.key for column in table.columns if _is_document(column)]
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_ROWS_AT_ONCE)
    count = 0
    with pq.ParquetWriter(_file(directory, table), schema, compression="zstd") as writer:
        for part in connection.execute(query).mappings().partitions():
            rows = [dict(row) for row in part]
            for row in rows:
                for name in documents:
                    row[name] = None if row[name] is None else json.dumps(row[name])
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _read(session: Session, table: Table, directory: Path) -> int:
    try:
        with pq.ParquetFile(_file(directory, table)) as file:
            return insert_rows(session, table, _rows(table, file))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise BrokenArtifact(f"{_file(directory, table)} cannot be read ({error}); export again") from error


def _rows(table: Table, file: "pq.ParquetFile") -> Iterator[Row]:
    documents = [column.key for column in table.columns if _is_document(column)]
    for batch in file.iter_batches(_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            for name in documents:
                row[name] = None if row[name] is None else json.loads(row[name])
            yield row


def _is_document(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)


def _arrow(column: Column[Any]) -> "pa.DataType":
    match column.type:
        case BigInteger():
            return pa.int64()
        case Double():
            return pa.float64()
        case UtcDateTime():
            return pa.timestamp("us", tz="UTC")
        case LargeBinary():
            return pa.binary()
        case _:
            return pa.string()
