"""A file begins soon, however long it is."""

import io
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest

from service.exports import Format, write


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_the_first_part_waits_for_few_rows_and_the_file_has_all(kind: Format) -> None:
    taken = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for taken in range(1, 5001):
            yield {"number": taken}

    parts = write(kind, {"number": int}, rows())
    first = next(parts)
    assert 0 < taken <= 100
    content = b"".join([first, *parts])
    if kind == "parquet":
        assert pq.read_table(io.BytesIO(content))["number"].to_pylist() == list(range(1, 5001))
    else:
        assert content.count(b"\n") == 5000 + (kind == "csv")
