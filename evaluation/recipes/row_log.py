"""A JSONL file that only grows: what was appended before a kill is there after it, and nothing else is."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trainer.files import drop_torn_line, read_jsonl, storage_errors

Row = dict[str, Any]


class RowLog:
    """Rows of a run that may be killed at any moment."""

    def __init__(self, path: Path) -> None:
        """Open ``path``, dropping what a killed process left of its last line."""
        self._path = path
        with storage_errors(path):
            path.touch()
            drop_torn_line(path)

    def __iter__(self) -> Iterator[Row]:
        """All complete rows, in order of their writing, one in memory at a time."""
        return (row for _, row in read_jsonl(self._path))

    def rows(self) -> list[Row]:
        """All of them at once."""
        return list(self)

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows at the end and hand them to the disk. Raises StorageFailure where it refuses."""
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        with storage_errors(self._path), self._path.open("ab") as file:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
