"""A page of a job under way, when its server stops answering: it says so, goes on by itself, and shows the end."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Error, Page, Route, expect
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from service.app import create_app
from service.db.keys import create_key
from service.db.session import make_engine, sessions, writing
from service.db.tables import Job
from service.settings import Settings
from service.wording import duration

JOB = "job_under_way"


@dataclass(frozen=True)
class UnderWay:
    """A running job that nobody carries out, on a server whose pages are followed."""

    url: str
    sessions: sessionmaker[Session]

    def change(self, **fields: Any) -> None:
        """As whoever carries the job out would."""
        with writing(self.sessions) as session:
            session.execute(update(Job).where(Job.id == JOB).values(**fields))


@pytest.fixture
def under_way(serve_app: Callable[[FastAPI], str], own_settings: Settings) -> UnderWay:
    make_session = sessions(make_engine(own_settings.database_url))
    begun = datetime.now(UTC) - timedelta(minutes=5)
    with writing(make_session) as session:
        session.add(
            Job(
                id=JOB, kind="sft", name="watched", status="running", recipe={"kind": "sft"}, recipe_digest="d" * 64,
                labels={}, executor="local", attempts=1, max_attempts=3, lease_owner="somebody else",
                lease_expires_at=datetime.now(UTC) + timedelta(days=1), code_version="0", created_at=begun,
                started_at=begun,
                progress={"stage": "train", "done": 3, "total": 9, "unit": "step", "rate": 1.0, "eta_seconds": 6.0},
            )
        )  # fmt: skip
    return UnderWay(f"{serve_app(create_app(own_settings))}/jobs/{JOB}", make_session)


def told(seconds: float) -> str:
    """A stream that says how far the job is, and breaks."""
    progress = f'{{"stage": "train", "done": 4, "total": 9, "unit": "step", "eta_seconds": {seconds}}}'
    return f'retry: 1\n\nid: 1\nevent: progress\ndata: {{"data": {progress}}}\n\n'


def let_pass(page: Page, until: Callable[[], bool]) -> None:
    """Time of the page's own clock, which stands still otherwise; what it waits for takes as long as it takes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(Error):  # of a page that is just being read again
            if until():
                return
            page.clock.run_for(3_000)
        page.wait_for_timeout(50)
    pytest.fail("this did not come about")


@pytest.mark.parametrize(("status", "left"), [(204, 167.4), (503, 3600.0), (204, 45.0), (503, 7260.0)])
def test_a_page_whose_stream_the_browser_gave_up_shows_the_end_all_the_same(
    under_way: UnderWay, visit: Callable[..., Any], status: int, left: float
) -> None:
    page: Page = visit().page
    answers: list[dict[str, Any]] = [{"content_type": "text/event-stream", "body": told(left)}, {"status": status}]

    def answer(route: Route) -> None:
        if len(answers) == 1:
            under_way.change(status="cancelled", finished_at=datetime.now(UTC))
        route.fulfill(**answers.pop(0)) if answers else route.continue_()

    page.route("**/events?*", answer)
    page.clock.install()
    page.goto(under_way.url)
    # in the words in which the page itself is made
    expect(page.locator("[data-eta]")).to_have_text(f", about {duration(left)} left")
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    let_pass(page, lambda: page.get_by_role("button", name="Resume").count() == 1)
    expect(page.locator(".eyebrow .status")).to_have_text("cancelled")
    assert not answers


@pytest.mark.parametrize("status", [None, 503])
def test_a_page_says_that_its_server_does_not_answer_and_goes_on_once_it_does(
    under_way: UnderWay, visit: Callable[..., Any], keep: Callable[..., None], status: int | None
) -> None:
    page: Page = visit().page
    page.clock.install()
    page.goto(under_way.url)
    away = page.get_by_text("The server does not answer")
    expect(away).to_have_count(0)

    page.route(under_way.url, lambda route: route.fulfill(status=status) if status else route.abort())
    let_pass(page, away.is_visible)
    keep(page, f"job-away-{status}")
    page.unroute(under_way.url)
    let_pass(page, lambda: away.count() == 0)
    expect(page.locator("h1")).to_have_text("watched")


def test_one_slow_answer_does_not_keep_a_page_from_being_fresh(under_way: UnderWay, visit: Callable[..., Any]) -> None:
    page: Page = visit().page
    page.clock.install()
    page.goto(under_way.url)
    asked = ["once", "twice"]

    def answer(route: Route) -> None:
        if asked:
            under_way.change(labels={"asked": asked.pop(0)})
            page.clock.fast_forward(60_000)  # as long as a server that was just started may take
        route.continue_()

    page.route(under_way.url, answer)
    page.clock.run_for(3_000)
    expect(page.locator("#facts")).to_contain_text("once")
    page.clock.run_for(30_000)
    expect(page.locator("#facts")).to_contain_text("twice")


def test_a_page_whose_session_has_ended_leads_to_the_login(under_way: UnderWay, visit: Callable[..., Any]) -> None:
    page: Page = visit().page
    page.clock.install()
    page.goto(under_way.url)
    with writing(under_way.sessions) as session:
        create_key(session, "first", ["admin"])  # from the first one on keys are needed
    let_pass(page, lambda: "/login?next=" in page.url)
    expect(page.get_by_label("Key")).to_be_visible()
