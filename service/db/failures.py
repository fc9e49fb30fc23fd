"""What a database driver's exception means to whoever asked."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from trainer.errors import AssayError, InvalidInput, Overloaded, StorageFailure

_STORAGE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_CORRUPT")
_CONTENTION = ("SQLITE_BUSY", "SQLITE_LOCKED")
_DISK_FULL = "53100"  # of PostgreSQL


def database_failure(error: DBAPIError) -> AssayError:
    """The domain error for a driver's error."""
    if isinstance(error, DataError):
        return InvalidInput("a value cannot be stored or compared: too large, or with a NUL character")
    found = _sqlite_failure(error.orig) if isinstance(error.orig, sqlite3.Error) else _postgres_failure(error.orig)
    if found is None and isinstance(error, OperationalError):
        return Overloaded("the database does not answer; check that it runs and its URL, and try again")
    return found or AssayError("the database refused the request; see the log")


def _sqlite_failure(error: sqlite3.Error) -> AssayError | None:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(_STORAGE):
        return StorageFailure(f"the database cannot be used ({error}); free space or check the file")
    return Overloaded("the database is busy; try again") if name.startswith(_CONTENTION) else None


def _postgres_failure(error: BaseException | None) -> AssayError | None:
    """Of an error that came from the server, which has a code of its own; None where none did."""
    code = getattr(error, "sqlstate", None)
    if code == _DISK_FULL:
        return StorageFailure("the database's disk is full; free space")
    if code is None or not isinstance(error, psycopg.OperationalError):
        return None
    return Overloaded(f"the database cannot do this now ({str(error).partition(chr(10))[0]}); try again")


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn driver errors of the block into domain errors, for callers that are not HTTP routes."""
    try:
        yield
    except DBAPIError as error:
        raise database_failure(error) from error
