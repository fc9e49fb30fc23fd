"""The demonstration, made once and served, and for each page a fresh directory beside it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from service.demo import STAGES, demo_settings
from service.settings import Settings
from tests import object_store
from tests.docs import clone as a_clone
from tests.docs.clone import Demonstration
from tests.docs.pages import Page
from tests.postgres import start_postgres
from trainer.recipe import read_recipe


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstration]:
    directory = a_clone.clone(tmp_path_factory.mktemp("clone"))
    settings = demo_settings(directory / ".demo")
    settings.artifact_dir.mkdir(parents=True)
    jobs = [_run(directory / "recipes" / "demo" / f"{name}.yaml", settings) for stage in STAGES for name in stage]
    environment = {
        "ASSAY_DATABASE_URL": settings.database_url,
        "ASSAY_ARTIFACT_DIR": str(settings.artifact_dir),
        "ASSAY_RUNS_DIR": str(settings.runs_dir),
    }
    with (directory / ".demo" / "server.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--port", "0"],
            cwd=directory,
            env={**a_clone.shell(directory), **environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
        if "Assay is at" not in line:
            pytest.fail(f"no server: {line}{Path(log.name).read_text()}")
        yield Demonstration(directory, jobs[-1]["id"], line.split()[3])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in {0, -signal.SIGTERM}


def _run(recipe: Path, settings: Settings) -> dict[str, Any]:
    from evaluation.recipes import parse_recipe
    from service.jobs.here import run_here

    return run_here(parse_recipe(read_recipe(recipe)), settings)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone to be in, in which nothing has been made."""
    monkeypatch.chdir(tmp_path)
    return a_clone.clone(tmp_path)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of a real server: where its programs are, and how libpq finds it."""
    with start_postgres(tmp_path_factory.mktemp("postgres")) as server:
        address = make_url(server.get_uri())
        yield {"PATH": str(server.bin_path), "PGUSER": str(address.username), "PGHOST": str(address.query["host"])}


@pytest.fixture
def reader(
    demonstration: Demonstration, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[[Page], tuple[Path, dict[str, str]]]:
    """``reader(page)``: a fresh directory, in which the demonstration lies as in a reader's, and their shell."""

    def make(page: Page) -> tuple[Path, dict[str, str]]:
        directory = a_clone.clone(tmp_path)
        (directory / ".demo").symlink_to(demonstration.directory / ".demo")
        a_clone.write_own_files(directory, demonstration.directory / ".demo" / "artifacts" / "demo-policy" / "1")
        environment = a_clone.shell(directory)
        script = page.script()
        if "s3://" in script:
            address = request.getfixturevalue("s3")
            environment |= object_store.environment(address)
            object_store.make_bucket(address, "bucket")
        if "createdb" in script:
            postgres = request.getfixturevalue("postgres")
            environment |= {**postgres, "PATH": f"{postgres['PATH']}{os.pathsep}{environment['PATH']}"}
            forget = [f"{postgres['PATH']}/dropdb", "--if-exists", "--force", "assay"]  # what another page has made
            subprocess.run(forget, env=environment, check=True)
        return directory, environment

    return make
