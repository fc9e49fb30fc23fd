"""What the image does, done here: its install step and its entry point, in a fresh folder, with jobs that are run.

With REHEARSED_IMAGE the same is done by containers of an image that was built. It says what starts one, but for what
is to be done in it: ``REHEARSED_IMAGE='docker run --rm assay' make rehearsal``.
"""

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.postgres import start_postgres

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
USER = 10001
RECIPE: dict[str, Any] = {
    "kind": "sft",
    "name": "rehearsed",
    "policy": {"scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 64}},
    "data": {"kind": "product_world", "size": 32},
    "batch": {"size": 8},
    "max_steps": 3,
}
PAIR = {"scorers": ["rehearsed@1"], "items": [{"prompt": "product mug | color red", "response": "the color is red ."}]}
PATIENCE_SECONDS = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Start = Callable[[list[str], Mapping[str, str]], tuple[list[str], Mapping[str, str]]]
"""The command, and the environment of its own, that does words as a container with further variables would."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``/opt/assay`` of the image: what the Dockerfile copies, installed as it says."""
    root = tmp_path_factory.mktemp("opt") / "assay"
    for line in re.findall(r"^COPY ([^-].*)$", DOCKERFILE, re.MULTILINE):
        *sources, target = line.split()
        place = root / Path(target).relative_to("/opt/assay")
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    (command,) = re.findall(r"^RUN (/opt/assay/.*)$", DOCKERFILE, re.MULTILINE)
    subprocess.run(command.replace("/opt/assay", str(root)).split(), check=True)
    return root


@pytest.fixture
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty database of a real PostgreSQL, as compose has it."""
    with start_postgres(tmp_path_factory.mktemp("postgres")) as server:
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        yield url.render_as_string(hide_password=False)


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Start:
    """Containers on one database and one directory for ``/data``."""
    if image := os.environ.get("REHEARSED_IMAGE"):
        return in_an_image(shlex.split(image), tmp_path, database_url)
    return in_a_folder(request.getfixturevalue("installed"), tmp_path, database_url)


def in_a_folder(root: Path, data: Path, database_url: str) -> Start:
    """The entry point and the variables of the Dockerfile, with other places."""
    settings = dict(re.findall(r"(ASSAY_\w+)=(\S+?)(?: \\)?$", DOCKERFILE, re.MULTILINE))
    assert settings.keys() == {"ASSAY_ARTIFACT_DIR", "ASSAY_RUNS_DIR", "ASSAY_DATABASE_URL"}
    environment = {
        "PATH": f"{root}/venv/bin:{os.environ['PATH']}",
        "HOME": str(data),
        **{name: value.replace("/data", str(data)) for name, value in settings.items()},
        "ASSAY_DATABASE_URL": database_url,
    }

    def start(words: list[str], variables: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
        program, *rest = words
        return [program.replace("/opt/assay", str(root)), *rest], {**environment, **variables}

    return start


def in_an_image(run: list[str], data: Path, database_url: str) -> Start:
    """A container of its own for whatever is done, in the network of this machine."""
    *engine, image = run
    os.chown(data, USER, USER)
    url = make_url(database_url)
    sockets = Path(str(url.query["host"]))
    sockets.chmod(0o755)
    engine += ["--network", "host", "--volume", f"{data}:/data", "--volume", f"{sockets}:{sockets}"]

    def start(words: list[str], variables: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
        program, *rest = words
        variables = {"ASSAY_DATABASE_URL": database_url, **variables}
        given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        return [*engine, *given, "--entrypoint", program, image, *rest], os.environ

    return start


def dockerfile_words(instruction: str) -> list[str]:
    """The JSON list of words of an instruction."""
    (words,) = re.findall(rf"^{instruction}.*?(\[.+\])$", DOCKERFILE, re.MULTILINE)
    found: list[str] = json.loads(words)
    return found


class Server:
    """A server that is healthy by the image's own check."""

    def __init__(self, start: Start, data: Path, *words: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        port = {"ASSAY_PORT": str(self.port)}
        command, environment = start([*dockerfile_words("ENTRYPOINT"), *words], port)
        self._process = subprocess.Popen(command, env=environment, cwd=data)
        check, environment = start(dockerfile_words("HEALTHCHECK"), port)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while subprocess.run(check, env=environment, capture_output=True, check=False).returncode:
            assert self._process.poll() is None
            assert time.monotonic() < deadline, "never healthy"
            time.sleep(0.5)
        self.url = f"http://127.0.0.1:{self.port}"

    def terminate(self) -> None:
        """As a container's end begins."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """For its end in good order."""
        assert self._process.wait(timeout=90) in {0, -signal.SIGTERM, 128 + signal.SIGTERM}


@pytest.fixture
def serve(start: Start, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """``serve(word)`` starts a server; those that are left end with the test."""
    servers: list[Server] = []

    def serve(*words: str) -> Server:
        servers.append(Server(start, tmp_path, *words))
        return servers[-1]

    yield serve
    for server in servers:
        server.terminate()
    for server in servers:
        server.wait()


@pytest.fixture
def key(start: Start, tmp_path: Path) -> str:
    """Of a database that has been migrated."""

    def run(*words: str) -> str:
        command, environment = start([*dockerfile_words("ENTRYPOINT"), *words], {})
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("migrate")
    return re.findall(r"assay_\S+", run("keys", "create", "--name", "rehearsal", "--scope", "admin"))[-1]


def ask(url: str, key: str, body: object = None) -> Any:
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def wait_for(url: str, key: str, found: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not found(answer := ask(url, key)):
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    return answer


def ended(job: Any) -> bool:
    return job["status"] in {"succeeded", "failed", "lost", "cancelled"}


def post_while_it_stops(server: Server, path: str, key: str, body: object) -> tuple[int, Any]:
    """The answer to a request of which the server has half when it is told to stop, half when it listens no more."""
    content = json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.putrequest("POST", path)
        connection.putheader("authorization", f"Bearer {key}")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(content)))
        connection.endheaders(content[:9])
        time.sleep(0.5)
        server.terminate()
        while not refuses(server):
            time.sleep(0.01)
        connection.send(content[9:])
        answer = connection.getresponse()
        return answer.status, json.load(answer)


def refuses(server: Server) -> bool:
    with suppress(ConnectionRefusedError), closing(socket.create_connection(("127.0.0.1", server.port), timeout=5)):
        return False
    return True


def test_what_an_api_took_and_a_worker_did_is_there_for_the_next_containers(
    serve: Callable[..., Server], key: str
) -> None:
    api, worker = serve("api"), serve("worker")
    assert ask(f"{api.url}/readyz", "")["checks"] == {
        "database": "ok",
        "dispatcher": "off: this server runs no jobs",
    }
    assert ask(f"{worker.url}/readyz", "")["checks"] == {"database": "ok", "dispatcher": "ok"}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(f"{api.url}/v1/training-jobs", "none")
    queued = ask(f"{api.url}/v1/training-jobs", key, RECIPE)
    job = wait_for(f"{api.url}/v1/training-jobs/{queued['id']}", key, ended)
    assert job["status"] == "succeeded", job
    scored = ask(f"{api.url}/v1/scores", key, PAIR)["items"][0]["scores"][0]["rehearsed@1"]
    assert scored["score"] < 0  # a log-probability

    status, last = post_while_it_stops(api, "/v1/training-jobs", key, RECIPE)
    assert status == 202
    api.wait()

    api = serve("api")
    assert ask(f"{api.url}/v1/training-jobs/{queued['id']}", key) == job
    assert ask(f"{api.url}/v1/scores", key, PAIR)["items"][0]["scores"][0]["rehearsed@1"] == scored
    again = wait_for(f"{api.url}/v1/training-jobs/{last['id']}", key, ended)
    assert (again["status"], again["artifacts"][0]["version"]) == ("succeeded", 2)


def test_a_job_whose_worker_is_stopped_goes_on_in_another_to_the_same_weights(
    serve: Callable[..., Server], key: str
) -> None:
    api, worker = serve("api"), serve("worker")
    jobs = f"{api.url}/v1/training-jobs"
    recipe = {**RECIPE, "max_steps": 1000}
    alone = wait_for(f"{jobs}/{ask(jobs, key, recipe)['id']}", key, ended)

    url = f"{jobs}/{ask(jobs, key, recipe)['id']}"
    wait_for(url, key, lambda job: job["progress"] and job["progress"]["done"] > 100)
    worker.terminate()
    worker.wait()
    stopped = ask(url, key)
    assert (stopped["status"], stopped["attempts"]) == ("queued", 0)
    assert 100 < stopped["progress"]["done"] < 1000
    serve("worker")
    job = wait_for(url, key, ended)

    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert [each["version"] for each in (*alone["artifacts"], *job["artifacts"])] == [1, 2]
    first, second = (ask(f"{api.url}/v1/artifacts/rehearsed@{version}", key)["files"] for version in (1, 2))
    assert "model.safetensors" in first
    assert first == second
