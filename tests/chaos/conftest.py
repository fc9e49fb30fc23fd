"""An installation to be hurt: servers, a database and jobs, of which anything may be killed at any moment."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from service.db.schema import upgrade
from service.db.session import make_engine
from service.settings import Settings
from tests.ports import port_of, reserved
from tests.postgres import start_postgres
from trainer.files import write_atomically

pytest.register_assert_rewrite("tests.chaos.undisturbed")  # so that it tells as well what it saw instead

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).with_name("chaos_server.py")
PATIENCE_SECONDS = 300.0
LIMITS = httpx.Timeout(30.0)
GONE = (httpx.HTTPError, httpx.StreamError)


class Sqlite:
    """A file, which nobody can restart."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory / 'assay.db'}"

    def crash(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Postgres:
    """A server of its own, so that others are not hurt."""

    def __init__(self, directory: Path) -> None:
        (directory / "postgres").mkdir()
        self._server = start_postgres(directory / "postgres")
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")

    def crash(self) -> bool:
        """Every connection is dropped and nothing is tidied up; then it recovers from its log."""
        pid = self._server.get_pid()
        assert pid is not None
        postmaster = psutil.Process(pid)
        postmaster.send_signal(signal.SIGQUIT)
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster.wait(30)
        deadline = time.monotonic() + 30
        while True:
            self._server.ensure_pgdata_inited()  # another pytest closes the directory above to the database's user
            try:
                self._server.ensure_postgres_running()
            except subprocess.CalledProcessError:  # the last of its processes is not gone yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return True

    def close(self) -> None:
        self._server.cleanup()


class Follower(threading.Thread):
    """A client that follows a job's events and comes back with Last-Event-ID, to any server, until the job ends."""

    def __init__(self, urls: list[str], path: str) -> None:
        super().__init__(daemon=True)
        self._urls = urls
        self._path = path
        self.seen: list[str] = []
        self.status: str | None = None
        self.connections = 0
        self.over = threading.Event()

    def run(self) -> None:
        while self.status is None and not self.over.is_set():
            url = self._urls[self.connections % len(self._urls)]
            self.connections += 1
            with contextlib.suppress(*GONE):
                self._follow(url)
            time.sleep(0.1)

    def _follow(self, url: str) -> None:
        headers = {"accept": "text/event-stream"}
        if self.seen:
            headers["last-event-id"] = self.seen[-1]
        with httpx.stream("GET", url + self._path, headers=headers, timeout=LIMITS) as answer:
            if answer.status_code == 204:  # the job ended while nobody was connected, and all of it has been seen
                job = httpx.get(url + self._path.removesuffix("/events"), timeout=LIMITS)
                if job.status_code == 200:
                    self.status = json.dumps({"status": job.json()["status"]})
            if answer.status_code != 200:
                return
            id_ = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    id_ = value
                elif name == "event" and value == "end":
                    id_ = "end"
                elif name == "data" and id_ == "end":
                    self.status = value
                elif line == "" and id_ not in {"", "end"}:  # only a whole event is one
                    self.seen.append(id_)
                    id_ = ""


class World:
    """Servers on one database, and the hand that kills."""

    def __init__(
        self,
        directory: Path,
        database: Sqlite | Postgres,
        servers: int,
        seed: int,
        slots: int,
        rows_at_once: int | None = None,
        clocks: Path | None = None,
        **changes: Any,
    ) -> None:
        self.random = random.Random(seed)
        self.database = database
        self.engine = make_engine(database.url)
        upgrade(self.engine)
        hurried: dict[str, Any] = {"poll_seconds": 0.05, "lease_seconds": 2.0, "job_slots": slots, "max_attempts": 100}
        self.settings = Settings(
            database_url=database.url,
            artifact_dir=directory / "artifacts",
            runs_dir=directory / "runs",
            **{**hurried, **changes},
        )
        self.held = directory / "held"
        """A file: while it is there, what goes in small pieces is not finished."""
        self._arguments = [] if rows_at_once is None else [str(rows_at_once), str(self.held)]
        self._clocks = clocks
        self._directory = directory
        self._log = directory / "servers.txt"
        self._reserved = [reserved() for _ in range(servers)]
        self._ports = [port_of(holder) for holder in self._reserved]
        self._servers = [self._start(index) for index in range(servers)]
        self.urls = [f"http://127.0.0.1:{port}" for port in self._ports]
        self.kills: dict[str, int] = {}

    def submit(self, path: str, recipe: dict[str, Any], key: str) -> str:
        """As a stubborn client does: the same key until somebody says 202."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(*GONE):
                url = self.random.choice(self.urls)
                answer = httpx.post(url + path, json=recipe, headers={"idempotency-key": key}, timeout=LIMITS)
                if answer.status_code == 202:
                    return str(answer.json()["id"])
                assert answer.status_code >= 500, answer.text
            self.restart_dead_servers()
            time.sleep(0.1)
        raise TimeoutError(self._log.read_text()[-4000:])

    def hurt(self) -> None:
        """Kill something."""
        name, act = self.random.choice(
            [
                *[("job", lambda: self._kill_job(first=True))] * 4,
                *[("child", lambda: self._kill_job(first=False))] * 4,
                *[("server", self._kill_server)] * 2,
                ("database", self.database.crash),
            ]
        )
        if act() is not False:
            self.kills[name] = self.kills.get(name, 0) + 1

    def kill_servers(self) -> None:
        """All of them, until ``restart_dead_servers``."""
        for server in self._servers:
            server.kill()
            server.wait()

    def restart_dead_servers(self) -> None:
        """What an operator's supervisor does."""
        for index, server in enumerate(self._servers):
            if server.poll() is not None:
                self._servers[index] = self._start(index)

    def processes(self) -> list[psutil.Process]:
        """Every process of any job."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("ASSAY_RUN_DIRECTORY", "").startswith(str(self.settings.runs_dir)):
                    found.append(process)
        return found

    def close(self) -> None:
        self.kill_servers()
        for process in self.processes():
            process.kill()
        for holder in self._reserved:
            holder.close()
        self.engine.dispose()

    def _kill_job(self, first: bool) -> bool:
        processes = self.processes()
        pids = {process.pid for process in processes}
        with contextlib.suppress(psutil.Error):
            chosen = [process for process in processes if (process.ppid() not in pids) == first]
            if chosen:
                self.random.choice(chosen).kill()
                return True
        return False

    def _kill_server(self) -> None:
        server = self.random.choice(self._servers)
        server.kill()
        server.wait()
        self.restart_dead_servers()

    def set_clock(self, index: int, hours: float) -> None:
        """Let the wall clock of one server and of the jobs it starts be wrong by so much from now on."""
        write_atomically(self._clock(index), f"{hours:+}h")

    def _clock(self, index: int) -> Path:
        return self._directory / f"clock-{index}"

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        settings = self.settings.model_copy(update={"port": self._ports[index]})
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if self._clocks is not None:
            if not self._clock(index).exists():
                self.set_clock(index, 0)
            environment |= {
                "LD_PRELOAD": str(self._clocks),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock(index)),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # which a jump leaves alone
                "NO_FAKE_STAT": "1",  # and so it does with what files say already
            }
        with self._log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, str(SERVER), settings.model_dump_json(), *self._arguments],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture(params=[Sqlite, Postgres])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sqlite | Postgres]:
    """An empty one of each kind."""
    made = request.param(tmp_path)
    yield made
    made.close()


@pytest.fixture
def make_world(database: Sqlite | Postgres, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """``make_world`` takes what ``World`` does, on each kind of database."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> World:
            world = World(tmp_path, database, **options)
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture
def follow() -> Callable[[World, str], Follower]:
    """Starts a client that follows a job's events."""

    def start(world: World, path: str) -> Follower:
        follower = Follower(world.urls, path)
        follower.start()
        return follower

    return start
