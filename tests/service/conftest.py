"""Databases for tests: a SQLite file and a real PostgreSQL. A test that asks for one runs on both."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest
import uvicorn
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from evaluation.prompt_marks import mark_of
from service.db.correlation_columns import store_columns
from service.db.ids import new_id
from service.db.keys import create_key
from service.db.prompt_sets import add_prompts
from service.db.schema import upgrade
from service.db.session import make_engine, sessions, writing
from service.db.tables import Correlation, Job, Table
from service.db.trust import store_weakest
from service.jobs.executors.local_process import LocalExecutor
from service.settings import Settings
from tests.postgres import start_postgres
from trainer.recipe import Recipe

COUNTING = Path(__file__).with_name("counting_recipe.py")


class Databases(Protocol):
    """Databases of one kind."""

    def empty(self) -> str:
        """The URL of a new database without tables."""

    def migrated(self) -> str:
        """The URL of a database with the tables of this code and nothing in them."""

    def give_back(self, url: str) -> None:
        """The test that asked for a migrated one is over."""


class SqliteDatabases:
    def __init__(self, new_directory: Callable[[], Path]) -> None:
        self._new_directory = new_directory
        self._template = new_directory() / "template.db"
        _upgrade(f"sqlite:///{self._template}")

    def empty(self) -> str:
        return f"sqlite:///{self._new_directory() / 'assay.db'}"

    def migrated(self) -> str:
        path = self._new_directory() / "assay.db"
        shutil.copy(self._template, path)
        return f"sqlite:///{path}"

    def give_back(self, url: str) -> None:
        pass


class PostgresDatabases:
    """One server; a database is emptied and used again, because making one writes 14 MB."""

    def __init__(self, server_url: str) -> None:
        self._url = make_url(server_url).set(drivername="postgresql+psycopg")
        self._admin = create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._free: list[str] = []
        self._emptying: dict[str, Engine] = {}
        self._execute("ALTER SYSTEM SET fsync = off")  # nothing here needs to survive a power cut
        self._execute("SELECT pg_reload_conf()")

    def empty(self) -> str:
        name = f"test_{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url.set(database=name).render_as_string(hide_password=False)

    def migrated(self) -> str:
        if self._free:
            return self._free.pop()
        url = self.empty()
        _upgrade(url)
        return url

    def give_back(self, url: str) -> None:
        # its connection is kept: to open one takes as long as to empty the tables
        engine = self._emptying.setdefault(url, create_engine(url, isolation_level="AUTOCOMMIT"))
        with engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            connection.execute(text(f"TRUNCATE {', '.join(Table.metadata.tables)}"))
        self._free.append(url)

    def close(self) -> None:
        for engine in (self._admin, *self._emptying.values()):
            engine.dispose()

    def _execute(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(lambda: tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgres_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresDatabases]:
    with start_postgres(tmp_path_factory.mktemp("postgres")) as server:
        databases = PostgresDatabases(server.get_uri())
        yield databases
        databases.close()


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Databases of one kind; whatever needs one is tested on both kinds."""
    found: Databases = request.getfixturevalue(f"{request.param}_databases")
    return found


@pytest.fixture
def empty_database_url(databases: Databases) -> str:
    """A database without tables."""
    return databases.empty()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A database at this code's migration."""
    url = databases.migrated()
    yield url
    databases.give_back(url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def make_session(engine: Engine) -> sessionmaker[Session]:
    return sessions(engine)


@pytest.fixture
def correlate(make_session: sessionmaker[Session]) -> Callable[..., str]:
    """``correlate([{...}, ...], at=time, **job)``: a run with these correlations, plain otherwise; returns its id.

    It stands on ten prompts of its own unless ``prompts`` names them; None are unknown ones.
    """

    def store(
        rows: list[dict[str, Any]], at: datetime | None = None, prompts: Iterable[str] | None = (), **job: Any
    ) -> str:
        created = at or datetime.now(UTC)
        plain = {
            **{"policy": "p@1", "scorer": "rm", "scorer_version": 1, "oracle": "judge", "temperature": 1.0},
            **{"stratum": "all", "statistic": "pearson_within", "estimate": 0.5, "lower": 0.4, "upper": 0.6},
            **{"standard_error": 0.075, "n_prompts": 10, "n_responses": 40, "n_dropped": 1},
            **{"method": "by hand", "undefined_reason": None, "code_version": "0"},
        }
        nothing = {"estimate": None, "lower": None, "upper": None, "standard_error": None}
        facts: dict[str, Any] = {
            **{"id": new_id("run"), "kind": "stress_test", "name": "nightly", "status": "succeeded", "recipe": {}},
            **{"recipe_digest": "0", "labels": {}, "executor": "local", "max_attempts": 1, "code_version": "0"},
            **{"created_at": created, **job},
        }
        with writing(make_session) as session:
            session.add(Job(**facts))
            session.flush()
            for number, row in enumerate(rows, 1):
                undefined = nothing if "undefined_reason" in row else {}
                place = {"run": facts["id"], "number": number, "created_at": created}
                session.add(Correlation(**{**plain, **undefined, **place, **row}))
            session.flush()
            store_weakest(session, facts["id"])
            store_columns(session, facts["id"])
            if prompts is not None:
                names = list(prompts) or [f"{facts['id']} {number}" for number in range(10)]
                add_prompts(session, facts["id"], (mark_of(name, name) for name in names))
        return str(facts["id"])

    return store


@pytest.fixture(scope="session")
def hurried() -> Settings:
    """Reading the environment for all of them takes 10 ms."""
    return Settings(poll_seconds=0.05, lease_seconds=3.0, cancel_grace_seconds=3.0)


@pytest.fixture
def settings(hurried: Settings, database_url: str, tmp_path: Path) -> Settings:
    """An installation of its own, in a hurry."""
    places = {"database_url": database_url, "artifact_dir": tmp_path / "artifacts", "runs_dir": tmp_path / "runs"}
    return hurried.model_copy(update=places)


class Server:
    """A real `assay serve`, with a key for everything and no jobs."""

    def __init__(
        self, directory: Path, *, program: str | None = None, database_url: str | None = None, **environment: str
    ) -> None:
        self.database_url = database_url or f"sqlite:///{directory / 'assay.db'}"
        _upgrade(self.database_url)
        engine = make_engine(self.database_url)
        with writing(sessions(engine)) as session:
            self.key, _ = create_key(session, "root", ["admin"])
        engine.dispose()
        self.auth = {"authorization": f"Bearer {self.key}"}
        self.directory = directory
        self._log = directory / "log.txt"
        ours = {"PYTHONPATH": str(Path(__file__).parents[2]), "ASSAY_DATABASE_URL": self.database_url}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *(["-c", program] if program else ["-m", "service.cli", "serve", "--port", "0"])],
                cwd=directory,
                env={**os.environ, **ours, "ASSAY_JOB_SLOTS": "0", **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "Assay is at" not in line:
            pytest.fail(f"no server: {line}{self.read_log()}")
        self.url = line.split()[3]
        self.port = int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self._process.pid

    def read_log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()

    def stop(self) -> int:
        """Tell it to stop, and wait for its exit status."""
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


@pytest.fixture(scope="session")
def start_server() -> type[Server]:
    """Starts a server in a directory; whoever does stops it."""
    return Server


@pytest.fixture(scope="session")
def counting_module() -> ModuleType:
    """tests/service/counting_recipe.py"""
    spec = importlib.util.spec_from_file_location("counting_recipe", COUNTING)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def counting(counting_module: ModuleType) -> Callable[..., Recipe]:
    """Makes a recipe that counts; a stress test unless said otherwise."""

    def make(**fields: Any) -> Recipe:
        recipe: Recipe = counting_module.Counting(**{"kind": "stress_test", "name": "count", **fields})
        return recipe

    return make


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A file by which counting recipes are held before their last step, and so at work until it is unlinked."""
    path = tmp_path / "held"
    path.touch()
    return path


@pytest.fixture
def counting_executor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> LocalExecutor:
    """Runs counting recipes in child processes."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return LocalExecutor(settings.artifact_dir, [sys.executable, str(COUNTING)])


def _upgrade(url: str) -> None:
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """``serve(app)``: the address of a real server in front of an ASGI application."""
    with ExitStack() as stack:

        def start(app: Any) -> str:
            listener = socket.create_server(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join()
                listener.close()

            stack.callback(stop)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield start
