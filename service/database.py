"""The database of an installation, opened for one piece of work."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from service.db.failures import database_errors
from service.db.schema import prepare
from service.db.session import make_engine
from service.settings import Settings


@contextmanager
def open_database(settings: Settings) -> Iterator[Engine]:
    """An engine on a database with this version's tables, which an empty one is given.

    Raises WrongSchema for a database at another migration, and what ``database_errors`` makes of a driver's failure.
    """
    with database_errors():
        engine = make_engine(settings.database_url)
        try:
            prepare(engine)
            yield engine
        finally:
            engine.dispose()
