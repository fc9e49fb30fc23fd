"""Files of JSON lines that commands read and write: a line that is wrong is named, a file is whole or not there."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from pydantic import ValidationError

from trainer.errors import InvalidInput
from trainer.files import read_jsonl, storage_errors
from trainer.recipe import Model

Line = TypeVar("Line", bound=Model)


def read_lines(path: Path, form: type[Line]) -> Iterator[Line]:
    """The objects of a JSONL file. Raises InvalidInput naming the line that is none."""
    for number, row in read_jsonl(path):
        try:
            yield form.model_validate(row)
        except ValidationError as error:
            raise InvalidInput(f"{path}, line {number}: {first_complaint(error)}") from error


def first_complaint(error: ValidationError) -> str:
    """Pydantic's first complaint in one line, after the field it is about."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears under ``path`` only if the block ends well. Raises StorageFailure."""
    if path is None:
        yield sys.stdout
        return
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        try:
            with staging.open("w", encoding="utf-8") as file:
                yield file
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)
