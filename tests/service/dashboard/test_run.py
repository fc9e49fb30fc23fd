"""The page of one run, of whatever kind: verdict, table, figures to come, recipe."""

import re
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

R = {"reward": {0.5: 0.6, 1.5: 0.4, 2.0: None}, "length": {0.5: 0.05, 1.5: 0.2, 2.0: 0.1}}


def figures(page: str) -> list[str]:
    """Names of the figures that a page leaves room for."""
    return re.findall(r'data-figures="[^"]*/figures/(\w+)\.json', page)


def test_a_run_has_its_table_with_intervals_and_says_why_a_number_is_missing(
    browser: TestClient, read: Callable[..., str], measure: Callable[..., str]
) -> None:
    run = measure(R)
    page, seen = browser.get(f"/runs/{run}").text, read(f"/runs/{run}")

    assert "reward orders responses to the same prompt as judge does" in seen
    assert "Scorer T = 0.5 T = 1.5 T = 2" in seen
    assert "reward 0.60 [0.50, 0.70] 0.40 [0.30, 0.50] \N{EN DASH} undefined: every score is the same" in seen
    assert "Trivial controls length 0.05 [\N{MINUS SIGN}0.05, 0.15]" in seen
    # 0.05 with an interval that holds zero is pale, 0.60 is not
    assert page.count(' class="n unsure"') == 2
    assert "prompt-cluster bootstrap" in seen
    assert "demo/policy" in seen


def test_a_name_is_broken_between_its_parts_and_is_text_all_the_same(
    browser: TestClient, measure: Callable[..., str]
) -> None:
    run = measure({"<i>ganpo/discriminator:difference": {0.5: 0.6}})
    assert "<span>&lt;i&gt;ganpo/<wbr>discriminator:<wbr>difference</span>" in browser.get(f"/runs/{run}").text


def test_a_run_is_shown_by_another_statistic_and_oracle(
    browser: TestClient, read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    run = measure(R, [row("reward", 0.5, 0.77, statistic="pearson_pooled", oracle="human & co")])
    chosen = f"/runs/{run}?statistic=pearson_pooled&oracle=human+%26+co"

    assert "Agreement with human & co" in read(chosen)
    assert "0.77 [0.67, 0.87]" in read(chosen)
    assert "0.40 [0.30, 0.50]" not in read(chosen)
    assert "agreement.json?oracle=human+%26+co&amp;statistic=pearson_pooled" in browser.get(chosen).text
    assert "has no charm; it has pearson_within" in read(f"/runs/{run}?statistic=charm", 404)


def test_a_run_leaves_room_for_what_it_has_and_for_nothing_else(
    browser: TestClient, measure: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    assert figures(browser.get(f"/runs/{measure(R)}").text) == ["agreement"]
    means = [row(name, t, t, statistic="mean", oracle=name) for name in ("judge", "length") for t in (0.5, 1.5)]
    page = browser.get(f"/runs/{measure(R, means)}").text
    assert figures(page) == ["agreement", "judgement", "texts"]
    # a mean is compared with nothing: what is averaged is no oracle
    assert "oracle=length" not in page


def test_every_figure_has_its_numbers_beside_it(browser: TestClient, measure: Callable[..., str]) -> None:
    page = browser.get(f"/runs/{measure(R)}").text
    (address,) = re.findall(r'href="([^"]*agreement\.csv[^"]*)"', page)
    assert browser.get(address.replace("&amp;", "&")).text.startswith("oracle,stratum,temperature,estimate")


def test_an_audit_has_the_same_page_with_statistics_across(
    browser: TestClient, read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    rows = [
        row("rm", None, value, statistic=statistic)
        for statistic, value in (("pearson_within", 0.5), ("pearson_pooled", 0.7))
    ]
    run = measure(
        *({}, rows),
        kind="audit",
        recipe={"kind": "audit", "path": "/data/judged.jsonl"},
        result={"notices": ["rm gave 3 of 9 rows no score"], "estimates": []},
    )
    page, seen = browser.get(f"/runs/{run}").text, read(f"/runs/{run}")

    assert "rm orders responses to the same prompt as judge does: r = 0.50 [0.40, 0.60]." in seen.replace("\xa0", " ")
    assert "Scorer r within prompts r pooled" in seen
    assert "rm 0.50 [0.40, 0.60] 0.70 [0.60, 0.80]" in seen
    assert "judged.jsonl" in seen
    assert "rm gave 3 of 9 rows no score" in seen
    assert figures(page) == ["correlations"]
    assert f'href="/v1/audits/{run}"' in page
    assert browser.get(f"/runs/{run}/figures/correlations.json").json()["drawings"]


def test_a_win_rate_has_its_figure(
    browser: TestClient, read: Callable[..., str], measure: Callable[..., str], row: Callable[..., dict[str, Any]]
) -> None:
    run = measure({}, [row("new", 1.0, 0.7, statistic="win_rate_over_old", oracle="judge")], kind="win_rate")
    assert figures(browser.get(f"/runs/{run}").text) == ["wins"]


def test_a_run_that_measured_nothing_yet_has_a_page(read: Callable[..., str], add_job: Callable[..., str]) -> None:
    assert "running" in read(f"/runs/{add_job(status='running')}")
    assert "no judge" in read(f"/runs/{add_job(status='failed', error_code='run_failed', error_detail='no judge')}")
    assert "This run measured nothing." in read(f"/runs/{add_job('audit')}")


def test_a_training_job_is_no_run(read: Callable[..., str], add_job: Callable[..., str]) -> None:
    job = add_job("sft")
    assert f"no run {job}" in read(f"/runs/{job}", 404)
