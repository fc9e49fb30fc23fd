"""Figures of a run come one by one, with the numbers behind them, and are drawn once."""

import csv
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from evaluation.figures import FIGURES
from service.dashboard import figures
from service.dashboard.drawn import Drawn
from service.dashboard.families import FAMILIES
from trainer.errors import InvalidInput

R = {"reward": {0.5: 0.6, 1.5: 0.4, 2.0: None}, "length": {0.5: 0.05, 1.5: 0.2, 2.0: 0.1}}


def test_every_builder_but_that_of_training_runs_has_its_place_on_the_page() -> None:
    assert {family.name for family in FAMILIES} == {build.__name__ for build in FIGURES} - {"training"}


def test_a_figure_is_json_with_title_caption_and_what_plotly_draws(
    browser: TestClient, measure: Callable[..., str]
) -> None:
    answer = browser.get(f"/runs/{measure(R)}/figures/agreement.json")

    (drawing,) = answer.json()["drawings"]
    assert drawing["title"] == "Agreement with judge: r within prompts"
    lines = {trace["name"]: trace for trace in drawing["figure"]["data"] if "name" in trace}
    assert lines.keys() == {"reward", "length"}
    assert lines["reward"]["y"] == [0.6, 0.4, None]
    assert "Bands are confidence intervals" in drawing["caption"]


def test_the_numbers_behind_a_figure_are_a_table(browser: TestClient, measure: Callable[..., str]) -> None:
    answer = browser.get(f"/runs/{measure(R)}/figures/agreement.csv?oracle=judge")

    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["scorer"], row["temperature"], row["estimate"]) for row in rows[:3]] == [
        ("reward", "0.5", "0.6"),
        ("reward", "1.5", "0.4"),
        ("reward", "2.0", ""),
    ]


def test_responses_behind_a_figure_have_a_row_each_and_an_empty_cell_where_nothing_was_said(
    browser: TestClient, sample: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    rows = [
        {"prompt": "p", "scores": {"rm": 1.5}, "judge": 2.0},
        {"prompt": "p", "scores": {"rm": None}, "judge": 4.0, "text": ""},
    ]
    run = sample(rows, [row("rm", 1.0, 0.5)])

    told = list(csv.DictReader(io.StringIO(browser.get(f"/runs/{run}/figures/scatter.csv").text)))
    assert [(each["score of rm"], each["judgement of judge"], each["degenerate"]) for each in told] == [
        ("1.5", "2.0", "False"),
        ("", "4.0", "True"),
    ]
    (drawing,) = browser.get(f"/runs/{run}/figures/scatter.json").json()["drawings"]
    assert drawing["title"] == "rm against judge, response by response"


def test_a_finished_run_s_figure_is_drawn_once_and_known_by_its_etag(
    browser: TestClient, measure: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/runs/{measure(R)}/figures/agreement.json"
    first, other = browser.get(address), browser.get(f"{address}?oracle=judge")
    assert other.headers["etag"] != first.headers["etag"]

    def fail(*_: object) -> None:
        raise AssertionError("drawn twice")

    monkeypatch.setattr(figures, "agreement_with", fail)
    assert browser.get(address).content == first.content
    # a proxy that compresses makes the tag a weak one
    for tag in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        assert browser.get(address, headers={"if-none-match": tag}).status_code == 304
    known = browser.get(address, headers={"if-none-match": first.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


def test_what_is_under_way_is_never_kept(
    app: FastAPI, browser: TestClient, measure: Callable[..., str], add_job: Callable[..., str]
) -> None:
    answer = browser.get(f"/runs/{add_job(status='running')}/figures/agreement.json")
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert app.state.drawn.held_bytes == 0


@pytest.mark.parametrize(
    "address", ["figures/charm.json", "figures/agreement.json?statistic=charm", "figures/agreement.json?oracle=nobody"]
)
def test_a_figure_that_a_run_does_not_have_is_not_found(
    browser: TestClient, measure: Callable[..., str], address: str
) -> None:
    answer = browser.get(f"/runs/{measure(R)}/{address}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_kept_is_bounded_and_the_least_wanted_goes_first() -> None:
    kept = Drawn(max_bytes=10)
    assert kept.get("a", lambda: b"aaaa") == b"aaaa"
    assert kept.get("b", lambda: b"bbbb") == b"bbbb"
    kept.get("a", lambda: b"----")  # wanted again, so that b is the oldest now
    kept.get("c", lambda: b"cccc")  # 12 bytes are too many

    assert kept.held_bytes == 8
    assert kept.get("a", lambda: b"new") == b"aaaa"
    assert kept.get("b", lambda: b"new") == b"new"
    assert kept.get("d", lambda: b"d" * 11) == b"d" * 11  # answered, though it cannot be kept
    assert kept.held_bytes == 0


def test_several_that_ask_for_the_same_at_once_wait_for_one_drawing(waiting: threading.Semaphore) -> None:
    kept, asked, begun, may_end = Drawn(), [], threading.Event(), threading.Event()

    def draw() -> bytes:
        asked.append(1)
        begun.set()
        may_end.wait(60)
        if len(asked) == 1:
            raise InvalidInput("not now")
        return b"drawn"

    for expected in (InvalidInput, b"drawn"):
        begun.clear()
        may_end.clear()
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(kept.get, "a", draw)
            assert begun.wait(60)
            others = [pool.submit(kept.get, "a", draw) for _ in range(2)]
            assert kept.get("b", lambda: b"other") == b"other"  # nobody waits for another key
            for _ in others:
                assert waiting.acquire(timeout=60)
            may_end.set()
            for each in (first, *others):
                error = each.exception()
                assert (type(error) if error else each.result()) == expected
    # once in vain, which is not kept, and once for good
    assert (len(asked), kept.get("a", draw)) == (2, b"drawn")
