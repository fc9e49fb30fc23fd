"""A real `assay serve` with something to show, below a path prefix, and a real Chromium to look at it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, expect, sync_playwright
from sqlalchemy.orm import Session, sessionmaker

from evaluation.statistics.drift import Clustered, moved, share, share_moved
from service.db.aliases import point
from service.db.artifacts import record_artifact
from service.db.ids import new_id
from service.db.ingest import ingest_run
from service.db.monitored import keep_state
from service.db.schema import upgrade
from service.db.session import make_engine, sessions, writing
from service.db.tables import Job, JobMetric
from service.jobs.kinds import id_prefix
from service.monitoring.state import Drift, ScorerState
from tests.correlation_lines import estimate
from trainer.artifacts import Artifact, ArtifactStore

ROOT = Path(__file__).parents[2]
PREFIX = "/assay"
SCREENSHOTS = ROOT / "screenshots"

LONG = "a-name-as-long-as-people-make-them-when-a-sweep-writes-its-settings-into-it"
expect.set_options(timeout=60_000)  # busy cores are slow, not wrong

EVIL = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"


@dataclass
class Seeds:
    """What is in the database of the server under test, by what it is."""

    url: str
    """Of the server, with the prefix."""
    run: str
    job: str
    failed: str
    cancelled: str
    artifact: str
    """``NAME@VERSION`` with parents, children and probe pairs."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is. Skips, visibly, where none is installed and none could be."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("ASSAY_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium on PATH; `make browser` installs one where it can")
    return found


@pytest.fixture(scope="module")
def playwright(chromium: str) -> Iterator[Playwright]:
    # not for the session: its event loop would be in the way of tests that start their own
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    # a container's root can have no sandbox
    launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield launched
    launched.close()


@dataclass
class Visit:
    """A page, and all that went wrong on it."""

    page: Page
    wrong: list[str] = field(default_factory=list)
    """Errors of the console, violations of the content security policy among them, and uncaught ones."""
    asked: list[str] = field(default_factory=list)
    """Every address that was asked for."""

    def hear(self, said: ConsoleMessage) -> None:
        """Note an error, but not that the page itself is one that says so."""
        itself = said.text.startswith("Failed to load resource") and said.location.get("url") == self.page.url
        if said.type == "error" and not itself:
            self.wrong.append(f"{said.text} ({said.location.get('url')})")

    def go(self, address: str, status: int = 200) -> None:
        """Open ``address`` and wait until it is at rest."""
        answer = self.page.goto(address)
        assert answer is not None
        assert answer.status == status, f"{address}: {answer.status}"
        self.page.wait_for_load_state("load")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """``visit(width=..., scheme=...)``: a fresh browser profile with one page that notes all that goes wrong."""
    contexts = []

    def start(*, width: int = 1280, height: int = 900, scheme: str = "light") -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        visited = Visit(page)
        page.on("console", visited.hear)
        page.on("pageerror", lambda error: visited.wrong.append(str(error)))
        page.on("request", lambda request: visited.asked.append(request.url))
        return visited

    yield start
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    found = files("axe_playwright_python").joinpath("axe.min.js")
    return found.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def keep() -> Callable[[Page, str], None]:
    """``keep(page, name)``: a screenshot of all of it, for people to look at; git ignores the folder."""

    def take(page: Page, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    return take


@pytest.fixture(scope="session")
def seeds(
    chromium: str, tmp_path_factory: pytest.TempPathFactory, publisher: Callable[..., Artifact]
) -> Iterator[Seeds]:
    """The server's process, with a finished stress test, trained, failed and cancelled jobs, and artifacts."""
    directory = tmp_path_factory.mktemp("served")
    url = f"sqlite:///{directory / 'assay.db'}"
    engine = make_engine(url)
    upgrade(engine)
    make_session = sessions(engine)
    store = ArtifactStore(directory / "artifacts")
    first = publisher(store, "helpful", seed=1)
    second = publisher(store, "helpful", seed=2, temperature=2.0, parents=[first.as_parent("backbone")])
    publisher(store, LONG[:60], seed=3, parents=[second.as_parent("backbone"), first.as_parent("anchor")])
    with writing(make_session) as session:
        for artifact in store.all():
            record_artifact(session, artifact)
    point(make_session, second, "champion")

    _monitor(make_session, second.reference)
    add = _adder(make_session, directory / "runs")
    run = add("stress_test", name="demo-stress", labels={"study": "demo"})
    measured = directory / "runs" / run
    _write_measured(measured)
    with writing(make_session) as session:
        ingest_run(session, run, measured)
    job = add("ganpo", name="trained", log="step 1\nstep 2\ndone\n", metrics=_metrics())
    failed = add(
        "sft", "failed", name=EVIL, error_code="run_failed", error_detail=f"the loss is not finite {EVIL} {LONG}",
        log=f"{EVIL}\n" * 60,
    )  # fmt: skip
    cancelled = add("sft", "cancelled", name=LONG)
    engine.dispose()

    process, address = _serve(directory, url)
    yield Seeds(f"{address}{PREFIX}", run, job, failed, cancelled, second.reference)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) in {0, -signal.SIGTERM}  # which it ends by once all is put away
    assert process.stdout is not None
    process.stdout.close()


def _monitor(make_session: sessionmaker[Session], scorer: str) -> None:
    """What a look at the sample left: a scorer that has drifted, and one of which there is little."""
    rows = [Clustered(np.arange(200.0) + shift, np.arange(200)) for shift in (40, 0)]
    moved_by = moved(*rows, draws=50)
    drift = Drift(
        **{"n_now": 200, "n_reference": 200, "score": moved_by, "length": moved_by},
        **{
            "truncated": share_moved((20, 200), (4, 200)),
            "cut_now": share((20, 200)),
            "cut_reference": share((4, 200)),
        },
    )
    words = "validation data, 200 responses to 200 prompts"
    drifted = ScorerState(
        scorer=f"{scorer}:score", rows=200, reference=words, reference_kind="validation", drift=drift, trust=[]
    )
    young = ScorerState(scorer=f"{LONG}@1:score", rows=3, reference="the first 1,000 scores kept", drift=None, trust=[])
    with writing(make_session) as session:
        for state in (drifted, young):
            content = state.model_dump(mode="json")
            keep_state(session, state.scorer, reference=None, state=content, now=datetime.now(UTC))


def _serve(directory: Path, url: str) -> tuple["subprocess.Popen[str]", str]:
    with (directory / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--database-url", url],
            cwd=directory,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "ASSAY_ROOT_PATH": PREFIX,
                "ASSAY_ARTIFACT_DIR": str(directory / "artifacts"),
                "ASSAY_RUNS_DIR": str(directory / "runs"),
                "ASSAY_POLL_SECONDS": "0.2",
                "ASSAY_CANCEL_GRACE_SECONDS": "10",
            },
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "Assay is at" not in line:
        pytest.fail(f"no server: {line}{(directory / 'server.log').read_text()}")
    address = line.split()[3]
    # the first asker would wait for torch
    httpx.get(f"{address}/v1/scorers", timeout=120).raise_for_status()
    return process, address


def _adder(make_session: Any, runs: Path) -> Callable[..., str]:
    def add(
        kind: str,
        status: str = "succeeded",
        *,
        log: str = "",
        metrics: dict[str, list[float]] | None = None,
        **fields: Any,
    ) -> str:
        begun = datetime.now(UTC) - timedelta(hours=3)
        recipe = {"kind": kind, "name": "demo", "policy": {"path": "demo/policy"}}
        facts = {
            "recipe": recipe,
            "recipe_digest": "d" * 64,
            "labels": {},
            "executor": "local",
            "attempts": 1,
            "max_attempts": 3,
            "code_version": "0.1.0",
            "created_at": begun,
            "started_at": begun,
            "finished_at": begun + timedelta(seconds=754),
        }
        job = Job(id=new_id(id_prefix(kind)), kind=kind, status=status, **{**facts, **fields})
        directory = runs / job.id
        directory.mkdir(parents=True)
        (directory / "log.txt").write_text(log)
        with writing(make_session) as session:
            session.add(job)
            session.flush()
            for name, values in (metrics or {}).items():
                points = enumerate(values, start=1)
                session.add_all(
                    JobMetric(job=job.id, stage="train", name=name, step=10 * step, value=value)
                    for step, value in points
                )
        return job.id

    return add


def _metrics() -> dict[str, list[float]]:
    return {
        "loss": [2.0 / step for step in range(1, 121)],
        "rewards/margins": [step / 200 for step in range(1, 121)],
        "rewards/accuracies": [0.5 + step / 300 for step in range(1, 121)],
        "learning_rate": [5e-7] * 120,
    }


def _write_measured(directory: Path) -> None:
    """Two scorers and a control at three temperatures, with the prompts, responses and scores behind them."""
    temperatures = (0.0, 1.0, 2.0)
    r = {"helpful": (0.7, 0.5, 0.2), "helpful:other": (0.4, 0.3, None), "length": (0.1, 0.0, -0.1)}
    four = {"policy": "demo/policy@1", "n_prompts": 4}
    cells = [(name, *cell) for name, path in r.items() for cell in zip(temperatures, path, strict=True)]
    rows = [estimate(name, t, value, **four) for name, t, value in cells]
    means = [(name, t) for name in ("judge", "length") for t in temperatures]
    rows += [estimate(name, t, t, **four, statistic="mean", oracle=name) for name, t in means]
    _lines(directory / "correlations.jsonl", rows)
    prompts = [{"prompt_id": str(n), "prompt": f"prompt {n} {EVIL} {LONG}", "task": None} for n in range(4)]
    _lines(directory / "prompts.jsonl", prompts)
    cells = [(n, t, k) for n in range(4) for t in temperatures for k in range(1 if t == 0 else 2)]
    responses = [
        {
            "prompt_id": str(n), "temperature": t, "replicate": k, "response": f"response {k} {EVIL}\n{LONG}",
            "tokens": 12, "finish_reason": "stop", "mean_logprob": -1.5, "sampler": {"top_p": 1.0},
        }
        for n, t, k in cells
    ]  # fmt: skip
    _lines(directory / "responses.jsonl", responses)
    roles = {"helpful": "scorer", "helpful:other": "scorer", "length": "control", "judge": "oracle"}
    scores = [
        {
            "prompt_id": str(n), "temperature": t, "replicate": k, "scorer": name, "scorer_version": None, "role": role,
            "score": n - t + k * len(name) / 10, "tokens": 20, "truncated_tokens": 0, "error": None,
        }
        for n, t, k in cells
        for name, role in roles.items()
    ]  # fmt: skip
    _lines(directory / "scores.jsonl", scores)
    result = {
        "kind": "stress_test", "policy": "demo/policy@1", "temperatures": list(temperatures), "n_prompts": 4,
        "n_responses": len(cells), "scorers": ["helpful", "helpful:other"], "controls": ["length"],
        "oracles": ["judge"], "notices": [],
    }  # fmt: skip
    (directory / "result.json").write_text(json.dumps({"status": "succeeded", "result": result}))


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def serve_app() -> Iterator[Callable[[FastAPI], str]]:
    """``serve_app(app)``: the address of an application of the test's own, for what the shared server must not be."""
    stops: list[Callable[[], None]] = []

    def start(app: FastAPI) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join()
            with closing(listener):
                pass

        stops.append(stop)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for stop in stops:
        stop()
