"""Bring a database to this code's migration, or refuse to work on one that is not there."""

from importlib.metadata import distribution
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from service.db.correlation_columns import Watching, pack_all, unwatched
from service.db.failures import database_errors
from trainer.errors import WrongSchema

_CLONE = Path(__file__).resolve().parents[2]
_UPGRADE_LOCK = 0x6173736179  # any number that nobody else uses for a PostgreSQL advisory lock: "assay" in ASCII


def upgrade(engine: Engine, watching: Watching = unwatched) -> None:
    """Create the tables or migrate them, losing nothing, and store what follows from their rows and is not there, run
    by run, which ``watching`` sees.

    Raises WrongSchema for a database made by a newer version of this code.
    """
    with database_errors(), _exclusive(engine) as connection, connection.begin():
        if connection.dialect.name == "postgresql":  # two servers may start at once
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        here, head = _revisions(connection)
        if here != head:
            _refuse_unknown(here)
            command.upgrade(_config(connection), "head")
    with database_errors():
        pack_all(engine, watching)


def check(engine: Engine) -> None:
    """Raises WrongSchema where the database is at another migration than this code."""
    with database_errors(), engine.connect() as connection:
        here, head = _revisions(connection)
    if here == head:
        return
    _refuse_unknown(here)
    raise WrongSchema(
        f"the database is at migration {here or 'none'} and this version needs {head}; run `assay db upgrade`"
    )


def prepare(engine: Engine) -> None:
    """Create the tables of an empty database; raises WrongSchema for one at another migration, as ``check`` does.

    What follows from rows that an older server stored meanwhile is stored too.
    """
    with database_errors(), engine.connect() as connection:
        empty = not inspect(connection).get_table_names()
    if empty:
        upgrade(engine)
    else:
        check(engine)
        with database_errors():
            pack_all(engine)


def revision() -> str | None:
    """This code's migration."""
    return _scripts().get_current_head()


def _exclusive(engine: Engine) -> Connection:
    return engine.connect().execution_options(writing=True)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_directory()))
    config.attributes["connection"] = connection
    return config


def _revisions(connection: Connection) -> tuple[str | None, str | None]:
    """The migration of the database and the one of this code."""
    return MigrationContext.configure(connection).get_current_revision(), revision()


def _refuse_unknown(revision: str | None) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if revision is not None and revision not in known:
        raise WrongSchema(
            f"the database is at migration {revision}, which this version does not know; "
            "use the version of Assay that made it, or a newer one"
        )


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_directory()))


def _directory() -> Path:
    """Where the migrations are: in a clone beside the packages, else where the installation put them."""
    if (_CLONE / "pyproject.toml").is_file():
        return _CLONE / "alembic"
    files = distribution("reward-assay").files or []
    found = [Path(str(each.locate())) for each in files if each.match("reward-assay/alembic/env.py")]
    if not found:
        raise WrongSchema("this installation of Assay has no migrations; install it from its source tree or its wheel")
    return found[0].parent
