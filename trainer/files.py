"""Files that are either complete or absent, and rows that name the line they were wrong on."""

import gzip
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.errors import InvalidInput, StorageFailure


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write below ``path`` into StorageFailure."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageFailure(f"cannot write {path}: {reason}; free space or choose another directory") from error


def sync(path: Path) -> None:
    """Make what a file holds, or renames inside a directory, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """The same for every file and directory of a tree."""
    for each in (*path.rglob("*"), path):
        sync(each)


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``; a reader sees the old content or the new, never a part.

    Raises StorageFailure where the disk refuses.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            with staging.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)
        sync(path.parent)


def sha256_of(file: Path) -> str:
    """Of a file's content, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def drop_torn_line(path: Path) -> bytes:
    """Cut off what a killed process left of the last line of ``path``; return the complete lines."""
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(complete))
    return complete


def read_jsonl(path: Path, limit: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(line number from 1, object)`` for the first ``limit`` non-blank lines of a JSONL file.

    Raises InvalidInput as ``read_lines`` and ``parse_row`` do.
    """
    for number, line in islice(read_lines(path), limit):
        yield number, parse_row(line, path, number)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield ``(line number from 1, line)`` for each non-blank line of a file, ``.gz`` or plain.

    Raises InvalidInput for a file that is absent or not complete.
    """
    if not path.is_file():
        raise InvalidInput(f"no such file: {path}")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (gzip.BadGzipFile, EOFError) as error:
        raise InvalidInput(f"{path}: not a complete gzip file ({error})") from error


def parse_row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    """The object on a line of a JSONL file. Raises InvalidInput naming the line if it is not UTF-8, JSON, an object."""
    try:
        row = json.loads(line.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}, line {number}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path}, line {number}: not JSON ({error.msg} at column {error.colno})") from error
    except RecursionError as error:
        raise InvalidInput(f"{path}, line {number}: JSON nested too deeply") from error
    if not isinstance(row, dict):
        raise InvalidInput(f"{path}, line {number}: expected an object, found {type(row).__name__}")
    return row
