"""What people come for: start a job and watch it, stop it, try a scorer, move an alias. Through the pages alone."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Error, Page, expect

from evaluation.figures import Evidence
from evaluation.report import write_report
from evaluation.statistics.asked_columns import LEAD_WITHIN
from service.app import create_app
from service.db.keys import create_key
from service.db.session import make_engine, sessions, writing
from service.settings import Settings
from tests.correlation_lines import as_estimate

TINY = """kind: sft
name: from-the-browser
policy: {scratch: {hidden_size: 16, layers: 1, heads: 2, max_tokens: 128}}
data: {kind: product_world, size: 64, validation_size: 8}
batch: {size: 8}
max_steps: 40
"""

LAST_STEP = "(document.querySelector('.canvas')?.data?.[0].x.at(-1) ?? 0)"


def wait_until(page: Page, condition: str) -> None:
    """As Playwright's own, which the pages' content security policy forbids."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(Error):  # of a page that is just being read again
            if page.evaluate(condition):
                return
        page.wait_for_timeout(200)
    pytest.fail(f"this did not come about: {condition}")


IN_SIGHT = """() => {
    const button = document.querySelector(".side button[value='submit']").getBoundingClientRect();
    const [x, y] = [button.x + button.width / 2, button.y + button.height / 2];
    return document.elementFromPoint(x, y)?.value === "submit";
}"""


@pytest.mark.parametrize("what", ["stress-test", "training-job"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_what_starts_the_job_is_in_sight_all_the_way_down_a_long_form(
    visit: Callable[..., Any], seeds: Any, keep: Callable[..., None], what: str, scheme: str
) -> None:
    visited = visit(width=390, height=780, scheme=scheme)
    visited.go(f"{seeds.url}/new/{what}")
    page = visited.page
    height = page.locator(".recipe .inputs").bounding_box()["height"]
    assert height > 2 * 780, "a form that fits needs no bar"
    for place in (0, 0.3, 0.6, 0.9):
        page.evaluate(f"scrollTo(0, {place * height})")
        assert page.evaluate(IN_SIGHT), place
    # what has the focus is not behind it
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.evaluate("(() => document.activeElement.getBoundingClientRect().bottom)()")
        assert focused <= 780
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#checked")).to_be_in_viewport()
    expect(page.locator("#checked")).to_contain_text("to put right")
    keep(page, f"new-{what}-checked-390-{scheme}")


def test_a_job_is_started_from_the_form_and_watched_to_its_end(
    visit: Callable[..., Any], seeds: Any, keep: Callable[..., None]
) -> None:
    visited = visit()
    visited.go(f"{seeds.url}/new/training-job")
    page = visited.page

    # what has to be said is asked for, at its place
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#checked")).to_contain_text("to put right")
    expect(page.locator("[id='complaint:/name']")).to_have_text("has to be filled in")
    page.get_by_role("link", name="/name").click()
    expect(page.locator("[id='field:/name']")).to_be_focused()
    keep(page, "new-training-job-wrong")

    # another kind of recipe has other fields, and what was typed stays
    page.get_by_label("name", exact=False).first.fill("kept")
    page.get_by_label("kind", exact=True).select_option("reward_model")
    expect(page.locator("[id='field:/loss']")).to_be_visible()
    expect(page.locator("[id='field:/name']")).to_have_value("kept")

    # YAML is read into the form
    page.get_by_label("As YAML").fill(TINY)
    page.get_by_role("button", name="Read it into the form").click()
    expect(page.locator("[id='field:/policy/scratch/hidden_size']")).to_have_value("16")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#checked")).to_contain_text("Nothing is wrong with it")
    expect(page.locator("#checked")).to_contain_text("Steps40")
    keep(page, "new-training-job-checked")

    page.get_by_role("button", name="Start the job").click()
    page.wait_for_url(re.compile(r"/assay/jobs/job_"))
    keep(page, "job-queued")
    status = page.locator(".eyebrow .status")
    # by events and without anybody's help: it runs, its curves grow, and it ends
    expect(page.locator("#metrics tbody tr").first).to_be_visible(timeout=120_000)
    keep(page, "job-live")
    expect(status).to_have_text("succeeded", timeout=120_000)
    expect(page.locator("#figures [data-figure]").first).to_be_visible()
    page.get_by_role("link", name="from-the-browser@1").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("from-the-browser@1")
    keep(page, "version-from-the-browser")
    assert visited.wrong == []


def test_a_running_job_is_watched_cancelled_and_resumed(visit: Callable[..., Any], seeds: Any) -> None:
    visited = visit()
    visited.go(f"{seeds.url}/new/training-job")
    page = visited.page
    page.get_by_label("As YAML").fill(TINY.replace("max_steps: 40", "max_steps: 100000").replace("from-", "long-from-"))
    page.get_by_role("button", name="Read it into the form").click()
    expect(page.locator("[id='field:/max_steps']")).to_have_value("100000")
    page.get_by_role("button", name="Start the job").click()
    expect(page.locator(".eyebrow .status")).to_have_text("running", timeout=120_000)
    # its curves, its table and its log move on, on one and the same page
    wait_until(page, f"{LAST_STEP} > 0")
    page.evaluate(f"window.before = [{LAST_STEP}, document.querySelector('#log').textContent]")
    wait_until(
        page, f"window.before && {LAST_STEP} > before[0] && document.querySelector('#log').textContent !== before[1]"
    )

    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".eyebrow .status")).to_have_text("cancelled", timeout=120_000)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".eyebrow .status")).to_have_text(re.compile("queued|running"), timeout=120_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".eyebrow .status")).to_have_text("cancelled", timeout=120_000)

    page.get_by_role("link", name="Use as a draft").click()
    # a stored recipe has every default spelled out; the draft says what somebody would write
    text = page.get_by_label("As YAML").input_value()
    assert "max_steps: 100000" in text
    assert "optimizer" not in text
    assert visited.wrong == []


def test_a_form_is_drawn_again_where_a_choice_changes_it(visit: Callable[..., Any], seeds: Any) -> None:
    visited = visit()
    visited.go(f"{seeds.url}/new/stress-test")
    page = visited.page
    page.locator("[id='field:/name']").fill("mine")
    page.locator("[id='variant:/oracles/0']").select_option("llm_judge")
    expect(page.locator("[id='field:/oracles/0/model']")).to_be_visible()
    page.get_by_role("button", name="Add to oracles").click()
    expect(page.locator("[id='variant:/oracles/1']")).to_have_value("product_world")
    page.get_by_role("button", name="Remove oracles 1").click()
    expect(page.locator("[id='variant:/oracles/1']")).to_have_count(0)
    expect(page.locator("[id='variant:/oracles/0']")).to_have_value("product_world")

    temperatures = page.locator("[id='field:/temperatures']")
    temperatures.fill("0, 1, 3")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("[id='complaint:/temperatures']")).to_contain_text("less than or equal to 2")
    expect(temperatures).to_have_value("0, 1, 3")
    expect(page.locator("[id='field:/name']")).to_have_value("mine")
    assert "name: mine" in page.get_by_label("As YAML").input_value()

    # what was written beside the form is neither lost nor passed over
    text = page.get_by_label("As YAML")
    text.fill(text.input_value().replace("name: mine", "name: yours"))
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#checked")).to_contain_text("the YAML was edited: read it into the form first")
    assert "name: yours" in text.input_value()
    page.get_by_role("button", name="Read it into the form").click()
    expect(page.locator("[id='field:/name']")).to_have_value("yours")
    expect(page.locator("#checked")).not_to_contain_text("the YAML was edited")


def test_what_was_typed_is_there_on_the_way_back_and_after_a_reload(visit: Callable[..., Any], seeds: Any) -> None:
    visited = visit()
    visited.go(f"{seeds.url}/new/training-job")
    page = visited.page
    page.get_by_label("kind", exact=True).select_option("reward_model")
    expect(page.locator("[id='field:/loss']")).to_be_visible()
    page.locator("[id='field:/name']").fill("kept")
    page.get_by_role("link", name="Runs").click()
    page.wait_for_url(re.compile("/runs$"))
    page.go_back()
    for _ in range(2):
        expect(page.locator("[id='field:/loss']")).to_be_visible()
        expect(page.locator("[id='field:/name']")).to_have_value("kept")
        page.reload()
    visited.go(f"{seeds.url}/runs")  # whoever goes to the address they are at reloads the page
    visited.go(f"{seeds.url}/new/training-job")
    expect(page.locator("[id='field:/name']")).to_have_value("")
    assert visited.wrong == []


def test_a_report_is_read_on_a_phone_without_scrolling_sideways(
    visit: Callable[..., Any], seeds: Any, keep: Callable[..., None]
) -> None:
    visited = visit(width=390, height=844)
    visited.go(f"{seeds.url}/v1/stress-tests/{seeds.run}/report.html")
    page = visited.page
    expect(page.locator(".canvas .main-svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    places = page.locator("figure, .canvas, .scroll:visible")
    assert places.count() > 3
    assert places.evaluate_all("(all) => all.every((each) => each.scrollWidth <= each.clientWidth + 1)")
    # each number under its temperature, and a legend that hides a line
    assert page.locator(".grid td").first.evaluate("(cell) => getComputedStyle(cell, '::before').content") == '"T = 0"'
    # lines are told apart by a line, and points by a point
    path = "(entry) => entry.querySelector('path').getAttribute('d')"
    assert page.locator(".legend button", has_text="text").evaluate(path) == "M13 5h0"
    entry = page.locator(".legend button").first
    assert entry.evaluate(path) == "M0 5H26"
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "false")
    keep(page, "report-390")
    assert visited.wrong == []


def test_nine_temperatures_of_a_report_fit_a_desktop_in_a_wide_font(visit: Callable[..., Any], tmp_path: Path) -> None:
    rows = [
        as_estimate("demo-ganpo/discriminator:difference", t, -0.5, statistic=statistic)
        for t in [0, 0.3, 0.5, 0.7, 1, 1.25, 1.5, 1.75, 2, None]
        for statistic in ("pearson_within", f"{LEAD_WITHIN}mean_logprob")
    ]
    write_report({"policy": "demo"}, Evidence(rows), tmp_path / "report.html")
    page = visit(width=1280).page
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.body.style.fontFamily = 'DejaVu Sans'")
    places = page.locator(".scroll:visible")
    assert places.count() == 2
    assert places.evaluate_all("(all) => all.map((each) => each.scrollWidth - each.clientWidth)") == [0, 0]


def test_responses_are_scored_and_ranked_by_every_chosen_scorer(
    visit: Callable[..., Any], seeds: Any, keep: Callable[..., None]
) -> None:
    visited = visit()
    visited.go(f"{seeds.url}/try")
    page = visited.page
    page.get_by_label("Prompt", exact=True).fill("product mug | color red")
    page.get_by_label("Response 1").fill("the color is red .")
    page.get_by_label("Response 2").fill("the color is blue .")
    page.get_by_role("button", name="Another response").click()
    expect(page.get_by_label("Response 3")).to_be_focused()
    page.get_by_label("Response 3").fill("red " * 200)  # longer than the model's window of 48 tokens
    for box in page.get_by_role("checkbox", name=re.compile("helpful|a-name")).all():
        box.check()
    page.get_by_role("button", name="Score", exact=True).click()

    table = page.locator(".ranked")
    expect(table.locator("tbody tr")).to_have_count(3)
    first = [
        float(cell.replace("\N{MINUS SIGN}", "-"))
        for cell in table.locator("tr td:nth-child(2) strong").all_inner_texts()[:2]
    ]
    assert first == sorted(first, reverse=True)
    expect(table.locator("tbody tr").nth(2)).to_contain_text("overlong input")
    expect(table).to_contain_text("p = 0.")
    page.get_by_text("The same from a shell").click()
    expect(page.locator("pre").first).to_contain_text(f"{seeds.url}/v1/scores")
    keep(page, "try-scored")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    keep(page, "try-scored-390")
    assert visited.wrong == []


def test_an_alias_moves_and_probe_pairs_are_scored_again(
    visit: Callable[..., Any], seeds: Any, keep: Callable[..., None]
) -> None:
    visited = visit()
    visited.go(f"{seeds.url}/artifacts/helpful")
    page = visited.page
    page.get_by_label("Alias", exact=True).fill("challenger")
    page.locator("select[name=version]").select_option("1")
    page.get_by_role("button", name="Point it there").click()
    expect(page.locator(".aliases")).to_contain_text("challenger means version 1")

    page.get_by_role("link", name="version 2").click()
    page.get_by_role("button", name="Score them again now").click()
    told = page.get_by_text("The largest difference is")
    expect(told).to_be_visible()
    assert float(told.locator("strong").inner_text()) < 1e-4
    expect(page.locator("svg.lineage")).to_contain_text("helpful@1")
    keep(page, "version-parity")
    assert visited.wrong == []


def test_a_session_changes_what_its_key_allows_from_these_pages_only(
    visit: Callable[..., Any], serve_app: Callable[[FastAPI], str], own_settings: Settings
) -> None:
    engine = make_engine(own_settings.database_url)
    with writing(sessions(engine)) as session:
        reading, _ = create_key(session, "reader", ["read"])
        training, _ = create_key(session, "trainer", ["read", "train"])
    engine.dispose()
    url = serve_app(create_app(own_settings))

    visited = visit()
    page = visited.page
    visited.go(f"{url}/jobs")
    assert "/login" in page.url
    page.get_by_label("Key").fill(training)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="New training job").click()
    page.get_by_label("As YAML").fill(TINY)
    page.get_by_role("button", name="Read it into the form").click()
    expect(page.locator("[id='field:/name']")).to_have_value("from-the-browser")
    page.get_by_role("button", name="Start the job").click()
    expect(page.locator(".eyebrow .status")).to_have_text(re.compile("queued"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".eyebrow .status")).to_have_text("cancelled")

    job = page.url
    visited.go(f"{url}/login")
    page.get_by_label("Key").fill(reading)
    page.get_by_role("button", name="Log in").click()
    visited.go(job)
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    assert page.evaluate("fetch(location.href + '/resume', { method: 'POST' }).then((answer) => answer.status)") == 403
    visited.go(f"{url}/new/training-job")
    expect(page.locator("[id='field:/name']")).to_be_disabled()
    expect(page.get_by_label("kind", exact=True)).to_be_disabled()
    expect(page.get_by_role("button", name="Check")).to_have_count(0)
