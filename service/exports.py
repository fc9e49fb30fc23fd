"""Rows as a file in parts, as they come: memory holds one part, however many rows there are."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, islice, repeat
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

Row = dict[str, Any]
Format = Literal["csv", "ndjson", "parquet"]

MEDIA_TYPES: Mapping[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}

_FIRST_ROWS = 100
"""So that a file begins soon."""
_ROWS_AT_ONCE = 2000
_ROWS_OF_A_GROUP = 20_000
"""Of Parquet, whose parts are read by columns and should not be small."""

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")

Columns = Mapping[str, type]
"""Names in their order, and what each holds: str, int, float, bool or datetime."""


def columns_of(model: type[BaseModel], *without: str) -> dict[str, type]:
    """The fields of a model that holds plain values, but for those named."""
    return {name: _plain(field.annotation) for name, field in model.model_fields.items() if name not in without}


def write(format: Format, columns: Columns, rows: Iterable[Row]) -> Iterator[bytes]:  # noqa: A002 - HTTP's word
    """``rows``, each with all ``columns``, as parts of a file."""
    writers: Mapping[str, Callable[[Columns, Iterable[Row]], Iterator[bytes]]] = {
        "csv": _csv,
        "ndjson": _ndjson,
        "parquet": _parquet,
    }
    return writers[format](columns, rows)


def _csv(columns: Columns, rows: Iterable[Row]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for part in _batched(rows, _ROWS_AT_ONCE):
        writer.writerows([_cell(row[name]) for name in columns] for row in part)
        yield _emptied(buffer)
    yield _emptied(buffer)


def _ndjson(columns: Columns, rows: Iterable[Row]) -> Iterator[bytes]:
    for part in _batched(rows, _ROWS_AT_ONCE):
        lines = ({name: _said(row[name]) for name in columns} for row in part)
        yield "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines).encode()


def _parquet(columns: Columns, rows: Iterable[Row]) -> Iterator[bytes]:
    import pyarrow as pa  # takes a while to import, and most requests need none
    import pyarrow.parquet as pq

    types = {
        **{str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()},
        datetime: pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for part in _batched(rows, _ROWS_OF_A_GROUP):
            writer.write_table(pa.table({name: [row[name] for row in part] for name in columns}, schema=schema))
            yield sink.taken()
    yield sink.taken()


def _batched(rows: Iterable[Row], size: int) -> Iterator[Sequence[Row]]:
    rows = iter(rows)
    sizes = chain([_FIRST_ROWS], repeat(size))
    while part := list(islice(rows, next(sizes))):
        yield part


class _Sink(io.RawIOBase):
    """A file that gives away what is written to it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._place = 0

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:  # noqa: ANN401 - whatever has a buffer
        self._parts.append(bytes(part))
        self._place += len(part)
        return len(part)

    def tell(self) -> int:
        return self._place

    def taken(self) -> bytes:
        found, self._parts = b"".join(self._parts), []
        return found


def _emptied(buffer: io.StringIO) -> bytes:
    found = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return found


def _cell(value: Any) -> Any:  # noqa: ANN401 - any plain value
    """As JSON says it; a text that spreadsheets would take for a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else _said(value)


def _said(value: Any) -> Any:  # noqa: ANN401 - any plain value
    """As JSON says it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def _plain(annotation: Any) -> type:  # noqa: ANN401 - a type as it was written
    if get_origin(annotation) is Literal:
        return str
    if isinstance(annotation, UnionType):
        return next(_plain(each) for each in get_args(annotation) if each is not type(None))
    assert isinstance(annotation, type)
    return annotation
