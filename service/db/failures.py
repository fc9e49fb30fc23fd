"""What a database driver's exception means to whoever asked."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from trainer.errors import AssayError, InvalidInput, Overloaded, StorageFailure

_STORAGE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_CORRUPT")
_CONTENTION = ("SQLITE_BUSY", "SQLITE_LOCKED")


def database_failure(error: DBAPIError) -> AssayError:
    """The domain error for a driver's error."""
    if isinstance(error, DataError):
        return InvalidInput("a value cannot be stored or compared: too large, or with a NUL character")
    if isinstance(error.orig, sqlite3.Error):
        name = getattr(error.orig, "sqlite_errorname", "")
        if name.startswith(_STORAGE):
            return StorageFailure(f"the database cannot be used ({error.orig}); free space or check the file")
        if name.startswith(_CONTENTION):
            return Overloaded("the database is busy; try again")
    if isinstance(error, OperationalError):
        return Overloaded("the database does not answer; check that it runs and its URL, and try again")
    return AssayError("the database refused the request; see the log")


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn driver errors of the block into domain errors, for callers that are not HTTP routes."""
    try:
        yield
    except DBAPIError as error:
        raise database_failure(error) from error
