"""Responses are read beside all their scores, by prompt or by disagreement, whatever a model wrote in them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.dashboard.texts import visible
from service.db.pages import encode_cursor

Sample = Callable[..., str]


def cells(page: str) -> list[str]:
    """Samples on a page, in order, by their replicate (from 1)."""
    return re.findall(r"sample (\d+)</a>", page)


@pytest.fixture
def four(sample: Sample) -> str:
    """Four responses to p, of which rm and the judge disagree most about the fourth, and two to q, where they agree.

    Places by rm 1 2 3 4 from the first on, by the judge 2 3 4 1: gaps of 1/3, 1/3, 1/3 and 1.
    """
    judged = [3.0, 2.0, 1.0, 4.0]
    rows = [
        {
            "prompt": "p",
            "T": 0.5 if n < 2 else 1.5,
            "scores": {"rm": 4.0 - n},
            "judge": judged[n],
            "text": f"answer {n}",
        }
        for n in range(4)
    ]
    rows += [{"prompt": "q", "T": 1.5, "scores": {"rm": value}, "judge": value, "text": "to q"} for value in (1.0, 2.0)]
    rows[0] |= {"finish_reason": "length", "tokens": 128}
    rows[1] |= {"tokens": 1}
    rows[5] |= {"text": "again and again and again " * 40}
    return sample(rows)


def test_responses_stand_prompt_by_prompt_with_every_score_and_their_marks(
    browser: TestClient, read: Callable[..., str], four: str
) -> None:
    page, seen = browser.get(f"/runs/{four}/responses").text, read(f"/runs/{four}/responses")

    assert cells(page) == ["1", "2", "3", "4", "5", "6"]
    assert "T = 0.5, sample 1 128 tokens cut off answer 0 judge 3.000 rm@3 4.000 length 1.000" in seen
    assert "T = 0.5, sample 2 1 token answer 1" in seen
    assert page.count("cut off</span>") == page.count("degenerate</span>") == 1


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("prompt=q", ["5", "6"]),
        ("temperature=0.5", ["1", "2"]),
        ("temperature=1.5&prompt=p", ["3", "4"]),
        ("only=truncated", ["1"]),
        ("order=disagreement", ["4", "1", "2", "3", "5", "6"]),
        # by themselves the two at T = 0.5 are in the same order by both, those at 1.5 the other way round
        ("order=disagreement&prompt=p&temperature=1.5", ["3", "4"]),
        ("order=disagreement&scorer=length&prompt=q", ["5", "6"]),
    ],
)
def test_responses_are_found_by_prompt_temperature_ending_and_disagreement(
    browser: TestClient, four: str, query: str, shown: list[str]
) -> None:
    assert cells(browser.get(f"/runs/{four}/responses?{query}").text) == shown


def test_places_are_told_and_ties_share_theirs(read: Callable[..., str], four: str) -> None:
    seen = read(f"/runs/{four}/responses?order=disagreement&prompt=p")
    assert "place 4 by rm@3, 1 by judge, of 4" in seen
    # the length control is 1 for all four, who share places 1 to 4
    assert "place 2.5 by length, 1 by judge, of 4" in read(
        f"/runs/{four}/responses?order=disagreement&prompt=p&scorer=length"
    )


@pytest.mark.parametrize("order", ["prompt", "disagreement"])
def test_pages_of_responses_follow_each_other_without_a_gap(browser: TestClient, sample: Sample, order: str) -> None:
    rows = [
        {"prompt": f"p{n % 3}", "T": (n % 4) / 2, "scores": {"rm": float(n * 7 % 11)}, "judge": float(n % 5)}
        for n in range(50)
    ]
    run = sample(rows)
    found: list[str] = []
    address: str | None = f"/runs/{run}/responses?order={order}"
    while address:
        page = browser.get(address).text
        found += cells(page)
        following = re.search(r'href="([^"]+)" rel="next">Next page', page)
        address = following[1].replace("&amp;", "&") if following else None
    assert sorted(map(int, found)) == list(range(1, 51))


def test_what_a_model_wrote_is_text_whatever_it_is(browser: TestClient, sample: Sample) -> None:
    evil = "<script>alert(1)</script>\u202eneddih\x00 &amp; \u200b"
    run = sample([{"prompt": "<b>p</b>", "asked": evil, "scores": {"<i>rm</i>": 1.0}, "judge": 1.0, "text": evil}])

    for address in (f"/runs/{run}/responses", f"/runs/{run}/responses/1"):
        page = browser.get(address).text
        assert "<script>alert" not in page
        assert "<b>p" not in page
        assert "<i>rm" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "\u202e" not in page
        assert page.count('title="right-to-left override">U+202E</span>') == 2
        assert "&amp;amp;" in page


def test_a_very_long_response_is_shortened_with_a_way_to_see_all_of_it(
    browser: TestClient, read: Callable[..., str], sample: Sample
) -> None:
    run = sample([{"prompt": "p", "scores": {"rm": 1.0}, "judge": 1.0, "text": "a" * 10**6 + "END"}])

    page = browser.get(f"/runs/{run}/responses").text
    assert len(page) < 30_000
    assert f'href="/runs/{run}/responses/1">All 1,000,003 characters' in page
    whole = browser.get(f"/runs/{run}/responses/1").text
    assert "aEND" in whole
    assert whole.count("a") > 10**6


def test_marks_of_what_cannot_be_seen_do_not_flood_a_page() -> None:
    assert str(visible("\u202e" * 5)).count("U+202E × 5") == 1
    assert len(visible("\u202e\u202d" * 500_000)) < 400_000
    assert str(visible("न\u200dम")) == "न\u200dम"  # scripts need joiners


def test_one_prompt_leads_to_the_next(browser: TestClient, four: str) -> None:
    page = browser.get(f"/runs/{four}/responses?prompt=p").text
    assert 'responses?prompt=q" rel="next">Next prompt' in page
    assert "Previous prompt" not in page


def test_what_a_run_does_not_have_is_said(
    read: Callable[..., str], four: str, measure: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    assert "has no prompt nowhere" in read(f"/runs/{four}/responses?prompt=nowhere", 404)
    assert "this run has no 'nobody'; it has rm@3, length" in read(f"/runs/{four}/responses?scorer=nobody", 422)
    assert "'warm' is no number" in read(f"/runs/{four}/responses?temperature=warm", 422)
    assert "No response is like this" in read(f"/runs/{four}/responses?temperature=9")
    assert "has no response 99" in read(f"/runs/{four}/responses/99", 404)
    audit = measure({}, [row("rm", None, 0.5)], kind="audit")
    assert "This run keeps no responses" in read(f"/runs/{audit}/responses")


def test_one_response_has_every_score_with_what_was_read_of_it(read: Callable[..., str], four: str) -> None:
    seen = read(f"/runs/{four}/responses/1")
    assert "judge oracle 3.0000 rm@3 scorer 4.0000 length log(1 + characters) control 1.0000" in seen
    assert "8 characters, 128 tokens" in seen


def test_a_temperature_of_many_digits_is_chosen_as_it_is(browser: TestClient, sample: Sample) -> None:
    run = sample(
        [{"prompt": "p", "T": t, "scores": {"rm": 1.0}, "judge": 1.0} for t in (0.7000000001, 0.7000000002, 2.0)]
    )

    page = browser.get(f"/runs/{run}/responses").text
    offered = re.findall(r'<option value="([\d.]+)"', page)
    assert offered == ["0.7000000001", "0.7000000002", "2"]
    for place, value in enumerate(offered, 1):
        page = browser.get(f"/runs/{run}/responses?temperature={value}").text
        assert cells(page) == [str(place)]
        assert f'<option value="{value}" selected>' in page


@pytest.mark.parametrize("number", [10**20, -(10**20), 2**63])
def test_a_number_that_no_database_holds_is_no_response(browser: TestClient, four: str, number: int) -> None:
    assert browser.get(f"/runs/{four}/responses/{number}").status_code == 404


@pytest.mark.parametrize("order", ["prompt", "disagreement"])
def test_a_made_up_cursor_is_refused(browser: TestClient, four: str, order: str) -> None:
    for key in ([10**400, 0, 0], [10**400, 0], ["1e400", "0"], ["nan", "0", "0"], ["x", "y", "z"], [[], {}, None]):
        address = f"/runs/{four}/responses?order={order}&cursor={encode_cursor(key)}"  # type: ignore[arg-type]
        assert browser.get(address).status_code == 422
