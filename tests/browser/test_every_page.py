"""Every page in a real browser: wide and narrow, in light and in dark, without errors and for readers of every kind."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

PAGES = {
    "overview": "/",
    "runs": "/runs",
    "run": "/runs/{run}",
    "responses": "/runs/{run}/responses",
    "compare": "/compare",
    "compared": "/compare?a={run}&scorer_a=helpful&scorer_b=helpful:other",
    "history": "/history",
    "monitoring": "/monitoring",
    "jobs": "/jobs",
    "jobs-none": "/jobs?status=lost",
    "job": "/jobs/{job}",
    "job-failed": "/jobs/{failed}",
    "job-cancelled": "/jobs/{cancelled}",
    "artifacts": "/artifacts",
    "artifact": "/artifacts/helpful",
    "version": "/artifacts/{artifact}",
    "try": "/try",
    "new-stress-test": "/new/stress-test?recipe=demo/3-stress-test",
    "new-training-job": "/new/training-job?recipe=demo/2-ganpo",
    "api": "/docs",
    "login": "/login",
    "missing": "/jobs/job_none",
}
WAYS = [(1280, "light"), (390, "dark")]

WIDER_THAN_THE_WINDOW = """() => [...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(".scroll, .figure, pre"))
    .slice(0, 5).map((each) => each.outerHTML.slice(0, 120))"""

SERIOUS = """async () => {
    const found = await axe.run(document, { resultTypes: ["violations"] });
    return found.violations.filter((each) => ["serious", "critical"].includes(each.impact))
        .map((each) => `${each.id}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))}`);
}"""

REACHABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((each) => each.checkVisibility() && !each.disabled && each.tabIndex >= 0 && each.type !== "hidden")
    .filter((each) => each.type !== "radio").length"""

FOCUSED = """() => {
    const at = document.activeElement;
    if (at === document.body) return "the browser's own";  // after the last and before the first
    const style = getComputedStyle(at);
    const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    return shown ? `${at.tagName} ${at.textContent.trim().slice(0, 40)}` : `no outline: ${at.outerHTML.slice(0, 150)}`;
}"""


def address(seeds: Any, name: str) -> str:
    return f"{seeds.url}{PAGES[name].format(**vars(seeds))}"


@pytest.mark.parametrize(("width", "scheme"), WAYS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_used_by_everybody(
    visit: Callable[..., Any],
    seeds: Any,
    axe: str,
    keep: Callable[..., None],
    name: str,
    width: int,
    scheme: str,
) -> None:
    visited = visit(width=width, scheme=scheme)
    visited.go(address(seeds, name), 404 if name == "missing" else 200)
    page = visited.page
    keep(page, f"{name}-{width}-{scheme}")

    assert visited.wrong == []
    assert page.title() != "taken", "a stored text was run as a script"
    # the page as a whole never scrolls sideways; wide tables and figures do so inside their own frame
    assert page.evaluate("document.documentElement.scrollWidth") <= width, page.evaluate(WIDER_THAN_THE_WINDOW)
    assert {urlsplit(asked).hostname for asked in visited.asked} == {"127.0.0.1"}, "something came from elsewhere"
    assert [each for each in visited.asked if not urlsplit(each).path.startswith("/assay/")] == []
    page.evaluate(axe)
    assert page.evaluate(SERIOUS) == []
    if scheme == "light":
        walk_by_keyboard(page, focused_at_once=name == "login")


def walk_by_keyboard(page: Any, *, focused_at_once: bool) -> None:
    """From the top through all that can be reached, or much of it: every stop is seen, and the first skips the rest."""
    reachable = page.evaluate(REACHABLE)
    seen: list[str] = []
    for _ in range(min(reachable, 40)):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
    assert [each for each in seen if each.startswith("no outline")] == []
    assert len(set(seen)) >= 5
    if not focused_at_once:
        assert seen[0] == "A Skip to content"
