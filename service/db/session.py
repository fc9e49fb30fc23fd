"""Engines and sessions: how each database is opened so that threads and processes can share it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExecutionContext, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from service.db.turns import Turns
from trainer.errors import InvalidInput
from trainer.files import storage_errors

_BUSY_TIMEOUT_SECONDS = 30
_WRITING = {"writing": True}


def make_engine(database_url: str, *, pool_size: int = 10, max_overflow: int = 20) -> Engine:
    """An engine for a SQLite file or a PostgreSQL server; connects at first use.

    To PostgreSQL it keeps up to ``pool_size`` connections open and makes ``max_overflow`` more while they are needed.
    Raises InvalidInput for any other URL, StorageFailure if a SQLite file's directory cannot be made.
    """
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise InvalidInput(f"database URL: cannot be read; write {_EXAMPLES}") from error
    backend = url.get_backend_name()
    if backend in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
        engine = create_engine(
            url, pool_pre_ping=True, pool_size=pool_size, max_overflow=max_overflow, hide_parameters=True
        )
        event.listen(engine, "before_cursor_execute", _choose_form)
        return engine
    if backend != "sqlite" or url.database in {None, "", ":memory:"}:
        raise InvalidInput(f"database URL: {backend}:{url.database or ''} is not supported; write {_EXAMPLES}")
    return _sqlite_engine(url)


_EXAMPLES = "sqlite:///assay.db or postgresql://user@host/database"


IN_BINARY = {"binary_results": True}
"""Execution options of a query for many bytes: PostgreSQL sends them as they are, which takes half the time of hex.

Not for every query: what SQLAlchemy asks of the catalogue has types that the driver reads as text alone.
"""


def _choose_form(
    _connection: Connection,
    cursor: psycopg.Cursor[Any],
    _statement: str,
    _parameters: object,
    context: ExecutionContext | None,
    _many: bool,
) -> None:
    if context is not None and context.execution_options.get("binary_results"):
        cursor.format = psycopg.pq.Format.BINARY


def _sqlite_engine(url: URL) -> Engine:
    directory = Path(str(url.database)).parent
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS}, hide_parameters=True)
    engine.update_execution_options(turns=Turns())
    event.listen(engine, "do_connect", _create_for_owner_alone)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_for_owner_alone(_dialect: object, _record: object, arguments: list[str], _options: object) -> None:
    """Its digests, recipes and samples are nobody else's. SQLite gives its other files the mode of this one."""
    with suppress(OSError):  # what is wrong with the place, connecting says
        os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL, 0o600))


def _configure_sqlite(connection: sqlite3.Connection, record: Any) -> None:  # noqa: ANN401 - pool internals
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`, not guessed by the driver
    # FULL: what was acknowledged outlasts a power cut, at 3.5 ms a commit where a disk takes that long to flush
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads before it writes is refused at once, whatever the busy timeout, if somebody wrote in
    # between. Those who intend to write therefore queue for the write lock at their start.
    immediate = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions for reading; what they return stays usable after they close. To change something use ``writing``."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def writing(make_session: sessionmaker[Session]) -> Iterator[Session]:
    """A session in a transaction that may write: committed at the end, rolled back if the block raises.

    On SQLite those of one process write in the order in which they came; within it, do not ask for another one.
    """
    turns: Turns | None = make_session.kw["bind"].get_execution_options().get("turns")
    with turns.mine(_BUSY_TIMEOUT_SECONDS) if turns else nullcontext(), make_session() as session, session.begin():
        session.connection(execution_options=_WRITING)
        yield session
