"""Two runs, or two scorers of one, side by side: what differs, how surely, and on which prompts."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from service.dashboard import comparing
from service.db.session import writing
from service.db.tables import Score
from service.run_comparisons import compared_scores

Sample = Callable[..., str]
JUDGED = [1.0, 2.0, 3.0]


def rows(scores: dict[str, list[list[float]]], judged: list[list[float]] | None = None) -> list[dict[str, Any]]:
    """Three responses to each prompt, with what each scorer said of them."""
    n_prompts = len(next(iter(scores.values())))
    return [
        {
            "prompt": f"p{prompt}",
            "text": f"answer {prompt} {place}",
            "scores": {name: values[prompt][place] for name, values in scores.items()},
            "judge": (judged or [JUDGED] * n_prompts)[prompt][place],
        }
        for prompt in range(n_prompts)
        for place in range(3)
    ]


def test_two_scorers_of_a_run_are_told_apart_with_the_prompts_on_which_they_part(
    browser: TestClient, read: Callable[..., str], sample: Sample
) -> None:
    # good picks the judge's best, or its second on every fourth prompt; poor its worst, its second, or on p0 its best
    good = [[1.0, 3.0, 2.0] if n % 4 == 3 else JUDGED for n in range(24)]
    poor = [JUDGED, *([2.0, 3.0, 1.0] if n % 4 == 1 else [3.0, 2.0, 1.0] for n in range(1, 24))]
    run = sample(rows({"good": good, "poor": poor}))
    address = f"/compare?a={run}&b={run}&scorer_a=good&scorer_b=poor"

    seen = read(address).replace("\xa0", " ")
    assert "good agrees better with judge than poor: A \N{MINUS SIGN} B is" in seen
    assert "Of 24 prompts, judge prefers A’s pick on 23 and B’s on 0" in seen
    assert "Beside each pick stands what judge gave it." in seen
    assert "A: good 3.000 answer 2 2 B: poor 1.000 answer 2 0" in seen
    assert "These are the 12 furthest apart, of 23." in seen
    assert seen.count("answer 0 ") == 0  # both pick the same there
    (figure,) = re.findall(r'data-figures="([^"]+)"', browser.get(address).text)
    (drawing,) = browser.get(figure.replace("&amp;", "&")).json()["drawings"]
    assert drawing["figure"]["layout"]["yaxis"]["ticktext"] == ["all T", "T = 1"]


def test_a_difference_that_does_not_exist_is_undefined_and_not_unresolved(
    read: Callable[..., str], sample: Sample
) -> None:
    flat = [[1.0, 1.0, 1.0]] * 24
    run = sample(rows({"flat": flat, "good": [JUDGED] * 24}))
    seen = read(f"/compare?a={run}&b={run}&scorer_a=flat&scorer_b=good")
    table = seen[seen.index("A is") :]
    assert "undefined" in table
    assert "not resolved" not in table[: table.index("Pale")]


def test_two_runs_are_compared_scorer_by_scorer_and_by_what_the_oracle_thinks_of_them(
    read: Callable[..., str], sample: Sample
) -> None:
    scores = {"rm": [JUDGED] * 5 + [[1.0, 3.0, 2.0]], "other": [[2.0, 1.0, 3.0]] * 6}
    one = sample(rows(scores), name="first")
    # better by one on every prompt but p5, where it is worse by two
    judged = [[2.0, 3.0, 4.0]] * 5 + [[-1.0, 0.0, 1.0]]
    two = sample(rows(scores, judged), name="second")

    seen = read(f"/compare?a={one}&b={two}").replace("\xa0", " ")
    assert "Of 2 scorers, 0 agree better with judge on first, 0 on second; of 2 it is not resolved." in seen
    # means: 2 for the first, and (5 * 3 + 0) / 6 for the second
    assert "2.000 for A, 2.500 for B. Of 6 prompts A is ahead on 1, B on 5." in seen
    assert "furthest apart" not in seen
    assert "p5 A: first 2.000 B: second 0.000" in seen


def test_what_is_still_to_be_chosen_is_asked_for(read: Callable[..., str], sample: Sample) -> None:
    assert "There is no finished stress test to compare yet." in read("/compare")
    assert "assay compare RUN_A RUN_B" in read("/compare")
    run = sample(rows({"rm": [JUDGED] * 2}))
    assert "choose a run" in read("/compare")
    assert "Choose another run, or two scorers of this one." in read(f"/compare?a={run}")


def test_what_cannot_be_compared_is_said_beside_the_form(
    browser: TestClient, read: Callable[..., str], sample: Sample, measure: Callable[..., str], row: Callable[..., Any]
) -> None:
    run = sample(rows({"rm": [JUDGED] * 2}))
    audit = measure({}, [row("rm", None, 0.5)], kind="audit")

    assert "keeps no scores of single responses (audit, succeeded); compare stress tests" in read(
        f"/compare?a={run}&b={audit}"
    )
    assert "has no scores of 'nobody'; it has rm" in read(f"/compare?a={run}&b={run}&scorer_a=rm&scorer_b=nobody")
    assert "no run run_none" in read("/compare?a=run_none", 404)


def test_more_scores_than_a_page_can_take_are_left_to_the_command_line(
    read: Callable[..., str], sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    # six responses, each with a score of two scorers and of the judge; that of the control is not read
    one, two = (sample(rows({"rm": [JUDGED] * 2, "other": [JUDGED] * 2})) for _ in range(2))
    monkeypatch.setattr(comparing, "MOST_SCORES", 35)
    seen = read(f"/compare?a={one}&b={two}")
    assert f"more than 35 scores are too many for a page; type `assay compare {one} {two}`" in seen
    assert "Of 2 scorers" not in seen

    monkeypatch.setattr(comparing, "MOST_SCORES", 36)
    assert "Of 2 scorers" in read(f"/compare?a={one}&b={two}")


def test_no_connection_is_held_while_a_comparison_is_computed_or_waited_for(
    browser: TestClient,
    app: FastAPI,
    sample: Sample,
    monkeypatch: pytest.MonkeyPatch,
    waiting: threading.Semaphore,
) -> None:
    one, two = (sample(rows({"rm": [JUDGED] * 2})) for _ in range(2))
    begun, may_end = threading.Event(), threading.Event()

    def slow(*arguments: Any, **settings: Any) -> Any:
        begun.set()
        assert may_end.wait(60)
        return compared_scores(*arguments, **settings)

    monkeypatch.setattr(comparing, "compared_scores", slow)
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(browser.get, f"/compare?a={one}&b={two}") for _ in range(2)]
        assert begun.wait(60)
        assert waiting.acquire(timeout=60)
        held = app.state.sessions.kw["bind"].pool.checkedout()
        may_end.set()
        assert [each.result().status_code for each in found] == [200, 200]
    assert held == 0


@pytest.mark.parametrize("chosen", ["", "&scorer_a=rm", "&scorer_b=rm"])
def test_a_run_beside_itself_with_one_scorer_alone_is_asked_for_the_other(
    browser: TestClient, sample: Sample, chosen: str
) -> None:
    run = sample(rows({"rm": [JUDGED] * 2}))
    answer = browser.get(f"/compare/figure.json?a={run}&b={run}&oracle=judge{chosen}")
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "a run compared with itself needs two scorers: choose one for either side",
    )


@pytest.mark.parametrize("b", ["", "run_none"])
def test_a_forest_plot_of_nothing_is_not_found(browser: TestClient, sample: Sample, b: str) -> None:
    run = sample(rows({"rm": [JUDGED] * 2}))
    assert browser.get(f"/compare/figure.json?a={run}&b={b or run}&oracle=judge").status_code in {404, 422}


def test_two_versions_of_a_scorer_are_offered_as_they_can_be_compared(
    browser: TestClient, sample: Sample, make_session: sessionmaker[Session]
) -> None:
    run = sample(rows({"rm": [JUDGED] * 6, "other": [[2.0, 1.0, 3.0]] * 5 + [[3.0, 1.0, 2.0]]}))
    with writing(make_session) as session:
        session.execute(update(Score).where(Score.scorer == "other").values(scorer="rm", scorer_version=4))

    page = browser.get(f"/compare?a={run}").text
    for side in ("scorer_a", "scorer_b"):
        select = page.partition(f'name="{side}"')[2].partition("</select>")[0]
        assert re.findall(r"<option>([^<]+)<", select) == ["rm@3", "rm@4"]
    compared = browser.get(f"/compare?a={run}&b={run}&scorer_a=rm%403&scorer_b=rm%404").text
    assert re.search(r"than rm@[34]: A \N{MINUS SIGN} B is", compared)
