"""Rows as they lie in a file, in a directory saved by Hugging Face ``datasets``, or on its hub."""

import glob
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from trainer.artifacts import names_directory
from trainer.errors import AssayError, InvalidInput, NotFound, first_line
from trainer.files import parse_row, read_lines

_TABLE_FORMATS = {".parquet": "parquet", ".json": "json"}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Row:
    """One row: where it is, for whoever has to mend it, and its fields that are not null."""

    where: str
    content: dict[str, Any]

    def error(self, field: str, problem: str) -> InvalidInput:
        """What is wrong with ``field``, to be raised."""
        return InvalidInput(f"{self.where}, field {field!r}: {problem}")

    def missing(self, field: str) -> InvalidInput:
        """``field`` is not there; which are tells rows of another layout from a faulty one."""
        return self.error(field, f"missing; the row has {', '.join(self.content) or 'no fields'}")


@dataclass(frozen=True)
class Table:
    """A place where rows are.

    ``path`` is a JSONL file (``.gz`` or plain), a ``.parquet`` or ``.json`` file, a directory (beginning with ``.``,
    ``/`` or ``~``) written by ``save_to_disk``, or the id ``owner/name`` of a data set on the Hugging Face hub.
    """

    path: str
    split: str = "train"
    configuration: str | None = None
    streaming: bool = False

    def rows(self, limit: int | None) -> Iterator[Row | InvalidInput]:
        """The first ``limit`` rows, read no further than asked; a line that is no row comes as the error it is.

        Raises InvalidInput or NotFound where there is no such table or split.
        """
        if self.holds_splits:
            return self._numbered(self._saved if self._is_directory else self._on_hub, limit)
        if not Path(self.path).expanduser().is_file():
            raise InvalidInput(f"no such file: {self.path}")
        if self.split != "train":
            raise InvalidInput(f"{self.path} is a file and has no split {self.split!r}; give that split's own file")
        if Path(self.path).suffix in _TABLE_FORMATS:
            return self._numbered(self._in_file, limit)
        return islice(self._lines(), limit)

    @property
    def holds_splits(self) -> bool:
        """Whether this is a data set rather than one file of rows."""
        return self._is_directory or (
            _HUB_ID.fullmatch(self.path) is not None
            and not Path(self.path).is_file()
            and not self.path.endswith((".jsonl", ".gz", *_TABLE_FORMATS))
        )

    @property
    def _is_directory(self) -> bool:
        return names_directory(self.path) and Path(self.path).expanduser().is_dir()

    def _lines(self) -> Iterator[Row | InvalidInput]:
        path = Path(self.path).expanduser()
        for number, line in read_lines(path):
            try:
                yield _row(f"{self.path}, line {number}", parse_row(line, path, number))
            except InvalidInput as error:
                yield error

    def _numbered(self, opened: Callable[[], Iterable[dict[str, Any]]], limit: int | None) -> Iterator[Row]:
        place = f"{self.path} {self.split}" if self.holds_splits else self.path
        try:
            for number, content in enumerate(islice(opened(), limit), start=1):
                yield _row(f"{place}, row {number}", content)
        except AssayError:
            raise
        except Exception as error:  # whatever the many readers behind ``datasets`` raise
            raise InvalidInput(f"{place} cannot be read: {first_line(error)}") from error

    def _in_file(self) -> Iterable[dict[str, Any]]:
        import datasets

        path = str(Path(self.path).expanduser())
        # streaming reads the file where it lies, where loading would first copy it into a cache
        kind = _TABLE_FORMATS[Path(path).suffix]
        rows = datasets.load_dataset(kind, data_files=glob.escape(path), split="train", streaming=True)
        return cast(Iterable[dict[str, Any]], rows)

    def _saved(self) -> Iterable[dict[str, Any]]:
        import datasets

        try:
            found = datasets.load_from_disk(str(Path(self.path).expanduser()))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{self.path} is no directory written by save_to_disk: {first_line(error)}") from error
        if not isinstance(found, datasets.DatasetDict):
            if self.split != "train":
                raise InvalidInput(f"{self.path} holds one split only; leave data.split out")
            return cast(Iterable[dict[str, Any]], found)
        if self.split not in found:
            raise InvalidInput(f"{self.path} has no split {self.split!r}, only {', '.join(sorted(found))}")
        return cast(Iterable[dict[str, Any]], found[self.split])

    def _on_hub(self) -> Iterable[dict[str, Any]]:
        import datasets

        datasets.disable_progress_bars()  # the run has its own
        try:
            rows = datasets.load_dataset(self.path, self.configuration, split=self.split, streaming=self.streaming)
        except Exception as error:  # the hub's client, its HTTP library and its readers share no base class
            raise NotFound(
                f"cannot get data set {self.path}, split {self.split}, from the Hugging Face hub"
                f" ({first_line(error)}); check its name and the connection, or give a file or a saved directory"
            ) from error
        return cast(Iterable[dict[str, Any]], rows)


def _row(where: str, content: dict[str, Any]) -> Row:
    # tables fill the fields a row lacks with nulls
    return Row(where, {name: value for name, value in content.items() if value is not None})
