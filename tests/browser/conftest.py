"""A real `assay serve` with something to show, below a path prefix, and a real Chromium to look at it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect, sync_playwright

from service.app import create_app
from service.db.schema import upgrade
from service.db.session import make_engine
from service.settings import Settings
from tests.browser.seeding import Stored, fill
from trainer.manifest import Artifact

ROOT = Path(__file__).parents[2]
PREFIX = "/assay"
SCREENSHOTS = os.environ.get("ASSAY_SCREENSHOTS")
"""The folder that screenshots go to, for people to look at; none are taken where it is not said."""

expect.set_options(timeout=60_000)  # busy cores are slow, not wrong


@dataclass(frozen=True)
class Seeds(Stored):
    """What is in the database of the server under test, and where that is."""

    url: str
    """With the prefix."""


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

    def begin_anew(self) -> None:
        """Forget what was heard of the page before, and its colours."""
        self.wrong.clear()
        self.asked.clear()
        self.page.emulate_media(color_scheme="light")

    def go(self, address: str, status: int = 200) -> None:
        """Open ``address`` and wait until it is at rest."""
        answer = self.page.goto(address)
        assert answer is not None
        assert answer.status == status, f"{address}: {answer.status}"
        self.page.wait_for_load_state("load")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """``visit(width=..., scheme=...)``: a fresh browser profile with one page that notes all that goes wrong."""
    contexts: list[BrowserContext] = []

    def start(*, width: int = 1280, height: int = 900, scheme: str = "light", scripts: bool = True) -> Visit:
        visited = _opened(browser, width, height, scheme, scripts)
        contexts.append(visited.page.context)
        return visited

    yield start
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def windows(browser: Browser) -> Iterator[dict[int, Visit]]:
    """A desktop's window and a phone's by their width, which stay open from page to page."""
    opened = {width: _opened(browser, width, height) for width, height in ((1280, 900), (390, 844))}
    yield opened
    for visited in opened.values():
        visited.page.context.close()


def _opened(browser: Browser, width: int, height: int, scheme: str = "light", scripts: bool = True) -> Visit:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        java_script_enabled=scripts,
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    visited = Visit(page)
    page.on("console", visited.hear)
    page.on("pageerror", lambda error: visited.wrong.append(str(error)))
    page.on("request", lambda request: visited.asked.append(request.url))
    return visited


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    found = files("axe_playwright_python").joinpath("axe.min.js")
    return found.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def keep() -> Callable[[Page, str], None]:
    """``keep(page, name)``: a screenshot of all of it, with the figures that come when somebody scrolls there."""

    def take(page: Page, name: str) -> None:
        if SCREENSHOTS is None:
            return
        for section in page.locator("[data-figures]").all():
            section.scroll_into_view_if_needed()
        expect(page.locator("[data-figures][aria-busy]")).to_have_count(0)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)

    return take


@pytest.fixture(scope="session")
def seeds(
    chromium: str, tmp_path_factory: pytest.TempPathFactory, publisher: Callable[..., Artifact]
) -> Iterator[Seeds]:
    """The server's process, with a finished stress test, trained, failed and cancelled jobs, and artifacts."""
    directory = tmp_path_factory.mktemp("served")
    url = f"sqlite:///{directory / 'assay.db'}"
    stored = fill(directory, url, publisher)
    process, address = _serve(directory, url)
    yield Seeds(**vars(stored), url=f"{address}{PREFIX}")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) in {0, -signal.SIGTERM}  # which it ends by once all is put away
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture(scope="session")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that was installed a minute ago: nothing is in its database."""
    settings = empty(tmp_path_factory.mktemp("empty"), root_path=PREFIX)
    with _answering(create_app(settings)) as address:
        yield f"{address}{PREFIX}"


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


@contextmanager
def _answering(app: FastAPI) -> Iterator[str]:
    """The address of ``app``, which a thread of this process serves."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    """For ``serve_app``: an empty database, and no jobs."""
    return empty(tmp_path)


def empty(directory: Path, **changes: str) -> Settings:
    """Of a server that carries out no jobs and in whose database nothing is."""
    settings = Settings(
        database_url=f"sqlite:///{directory / 'assay.db'}",
        artifact_dir=directory / "artifacts",
        runs_dir=directory / "runs",
        job_slots=0,
    ).model_copy(update=changes)
    engine = make_engine(settings.database_url)
    upgrade(engine)
    engine.dispose()
    return settings


@pytest.fixture
def serve_app() -> Iterator[Callable[[FastAPI], str]]:
    """``serve_app(app)``: the address of an application of the test's own, for what the shared server must not be."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(_answering(app))
