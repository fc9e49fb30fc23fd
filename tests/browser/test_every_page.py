"""Every page in a real browser: wide and narrow, in light and in dark, full and empty, without errors, by keyboard."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from evaluation.figures.facets import Facets

PAGES = {
    "overview": "/",
    "runs": "/runs",
    "runs-none": "/runs?name=none",
    "run": "/runs/{run}",
    "run-by-another-statistic": "/runs/{run}?statistic=pearson_pooled&oracle=judge",
    "responses": "/runs/{run}/responses",
    "responses-by-disagreement": "/runs/{run}/responses?order=disagreement",
    "response": "/runs/{run}/responses/1",
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
    "refused": "/runs?kind=no-such",
}
ERRORS = {"missing": 404, "refused": 422, "run-by-another-statistic": 404}

EMPTY = {
    "/": "make demo",
    "/runs": "assay stress RECIPE.yaml",
    "/compare": "assay stress RECIPE.yaml",
    "/history": "assay stress RECIPE.yaml",
    "/monitoring": "ASSAY_MONITOR_SHARE",
    "/jobs": "assay train RECIPE.yaml",
    "/artifacts": "assay artifacts import DIRECTORY NAME",
    "/try": "assay artifacts import DIRECTORY NAME",
    "/new/stress-test": "Start the job",
    "/new/training-job": "Start the job",
}
"""Of a server on which nothing has happened, with what each page says to do next."""

WIDER_THAN_THE_WINDOW = """() => [...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(".scroll, .figure, pre"))
    .slice(0, 5).map((each) => each.outerHTML.slice(0, 120))"""

# begun in one window before the other's is waited for: each has a process of its own
BEGIN = "(only) => { window.audit = axe.run(document, { resultTypes: ['violations'], ...only }); }"
SERIOUS = """async () => (await window.audit).violations
    .filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => `${each.id}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))}`)"""
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""What the dark colours can break and the light ones need not have."""

REACHABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((each) => each.checkVisibility() && !each.disabled && each.tabIndex >= 0 && each.type !== "hidden")"""

# where the focus is whenever a key is about to move it: by then the page has scrolled there
LISTEN = """() => {
    const middle = (low, high, end) => (Math.max(low, 0) + Math.min(high, end)) / 2;
    window.focused = () => {
        const at = document.activeElement;
        // figures are drawn meanwhile, so places are compared and not counted
        const onwards = Boolean(window.before?.compareDocumentPosition(at) & Node.DOCUMENT_POSITION_FOLLOWING);
        window.before = at;
        if (at === document.body) return { onwards, told: "the browser's own", faults: [] };
        const style = getComputedStyle(at);
        const shown = () => {
            const { left, right, top, bottom } = at.getClientRects()[0] ?? at.getBoundingClientRect();
            return document.elementFromPoint(middle(left, right, innerWidth), middle(top, bottom, innerHeight));
        };
        // a figure that came above it since may have moved it out of the window
        const seen = shown() ?? (at.scrollIntoView({ block: "nearest" }), shown());
        const faults = [];
        if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) === 0) faults.push("no outline");
        if (!at.contains(seen)) faults.push(`hidden behind ${seen?.outerHTML.slice(0, 80)}`);
        return {
            onwards,
            told: `${at.tagName} ${at.textContent.trim().slice(0, 40)}`,
            faults: faults.map((fault) => `${fault}: ${at.outerHTML.slice(0, 150)}`),
            several: at.type === "date",  // which has a stop for the day, the month, the year and the calendar
        };
    };
    window.stops = [];
    addEventListener("keydown", () => stops.push(focused()), true);
}"""
STOPS = "() => [...stops.splice(0), focused()].slice(1)"
STEPS = 25
BEGINNING = {"the browser's own", "A Skip to content"}
"""Where the focus is after a page's last stop: a browser without a window of its own has nothing in between."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_used_by_everybody(
    windows: Mapping[int, Any], seeds: Any, axe: str, keep: Callable[..., None], name: str
) -> None:
    address = f"{seeds.url}{PAGES[name].format(**vars(seeds))}"
    look_at(windows, address, axe, keep, name, ERRORS.get(name, 200))
    for visited in windows.values():
        walk_by_keyboard(visited.page, focused_at_once=name == "login")


@pytest.mark.parametrize("path", EMPTY)
def test_a_page_that_has_nothing_to_show_says_what_to_do_next(
    windows: Mapping[int, Any], nothing: str, axe: str, keep: Callable[..., None], path: str
) -> None:
    look_at(windows, f"{nothing}{path}", axe, keep, f"empty{path.replace('/', '-')}")
    for visited in windows.values():
        assert EMPTY[path] in visited.page.locator("main").inner_text()
        walk_by_keyboard(visited.page)


def look_at(
    windows: Mapping[int, Any], address: str, axe: str, keep: Callable[..., None], name: str, status: int = 200
) -> None:
    """Open ``address`` in every window and look at it in light and in dark."""
    for visited in windows.values():
        visited.begin_anew()
        visited.go(address, status)
        visited.page.evaluate(axe)
    for scheme in ("light", "dark"):
        for visited in windows.values():
            visited.page.emulate_media(color_scheme=scheme)
            visited.page.evaluate(BEGIN, COLOURS if scheme == "dark" else {})
        for width, visited in windows.items():
            assert visited.page.evaluate(SERIOUS) == [], (width, scheme)
            keep(visited.page, f"{name}-{width}-{scheme}")
    for width, visited in windows.items():
        page = visited.page
        assert visited.wrong == []
        assert page.title() != "taken", "a stored text was run as a script"
        # the page as a whole never scrolls sideways; wide tables and figures do so inside their own frame
        assert page.evaluate("document.documentElement.scrollWidth") <= width, page.evaluate(WIDER_THAN_THE_WINDOW)
        assert {urlsplit(asked).hostname for asked in visited.asked} == {"127.0.0.1"}, "something came from elsewhere"
        assert [each for each in visited.asked if not urlsplit(each).path.startswith("/assay/")] == []


def walk_by_keyboard(page: Any, *, focused_at_once: bool = False) -> None:
    """Through what can be reached, forwards from the top and off the end: every stop is seen, none is a trap."""
    page.evaluate(LISTEN)
    page.evaluate("scrollTo(0, 0)")
    stops = _walk(page, min(page.evaluate(f"({REACHABLE})().length"), STEPS))
    assert [fault for stop in stops for fault in stop["faults"]] == []
    if not focused_at_once:
        assert stops[0]["told"] == "A Skip to content"
        menu = page.locator("nav[aria-label=Pages] a").all_inner_texts()
        assert [stop["told"].removeprefix("A ") for stop in stops[2 : 2 + len(menu)]] == menu
    ended = next((place for place, stop in enumerate(stops[1:], start=1) if stop["told"] in BEGINNING), len(stops))
    for stop in stops[1:ended]:
        assert stop["onwards"] or stop["several"], f"the focus does not go on at {stop['told']}"
    # a long page is not walked through: from one of its last stops the focus gets away, to where it began
    page.evaluate(f"({REACHABLE})().at(-3).focus()")
    assert BEGINNING & {stop["told"] for stop in _walk(page, 6)}


def _walk(page: Any, steps: int) -> list[dict[str, Any]]:
    for _ in range(steps):
        page.keyboard.press("Tab")
    found: list[dict[str, Any]] = page.evaluate(STOPS)
    return found


SIDEWAYS = """() => [...document.querySelectorAll("main *")]
    .filter((each) => each.checkVisibility() && !["INPUT", "TEXTAREA", "SELECT", "PRE"].includes(each.tagName))
    .filter((each) => each.scrollWidth > each.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(each).overflowX))
    .map((each) => `${each.className}: ${each.scrollWidth} in ${each.clientWidth}`)"""
PLACES = """() => [...document.querySelectorAll(".canvas")].map((each) => Object.keys(each.layout)
    .filter((name) => /^xaxis/.test(name)).map((name) => each.layout[name].domain ?? [0, 1]))"""


@pytest.mark.parametrize("name", ["run", "compared"])
def test_on_a_phone_nothing_is_read_by_scrolling_sideways(windows: Mapping[int, Any], seeds: Any, name: str) -> None:
    visited = windows[390]
    visited.go(f"{seeds.url}{PAGES[name].format(**vars(seeds))}")
    page = visited.page
    for section in page.locator("[data-figures]").all():
        section.scroll_into_view_if_needed()
        expect(section.locator(".canvas .main-svg").first).to_be_visible()
    assert page.evaluate(SIDEWAYS) == []
    # a row of the table is a card: the whole name, and beneath it the numbers, each under its heading
    card = page.locator(".grid tbody tr:not(.divider)").first
    name_box, number_box = card.locator("th").bounding_box(), card.locator("td").last.bounding_box()
    assert name_box["width"] > 340
    assert number_box["y"] >= name_box["y"] + name_box["height"]
    # panels stand two in a row, and three where there is room; an arrangement follows the window
    if name == "run":
        assert columns(page) == 2
        page.set_viewport_size({"width": 1280, "height": 900})
        try:
            deadline = time.monotonic() + 60
            while columns(page) != 3:
                assert time.monotonic() < deadline
                page.wait_for_timeout(50)
        finally:
            page.set_viewport_size({"width": 390, "height": 844})


def columns(page: Any) -> int:
    """The most panels side by side in a figure of the page."""
    return max(len({tuple(domain) for domain in figure}) for figure in page.evaluate(PLACES))


TOO_WIDE = """() => [...document.querySelectorAll("main th, main td, nav a")]
    .filter((each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1)
    .map((each) => `${each.textContent.trim().slice(0, 40)}: ${each.scrollWidth} in ${each.clientWidth}`)"""


@pytest.mark.parametrize("name", ["overview", "runs", "jobs", "artifacts"])
def test_between_a_phone_and_a_desktop_no_column_covers_the_next(
    visit: Callable[..., Any], seeds: Any, keep: Callable[..., None], name: str
) -> None:
    visited = visit(width=768, height=1000)
    visited.go(f"{seeds.url}{PAGES[name]}")
    page = visited.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 768
    assert page.evaluate(TOO_WIDE) == []
    rows = {round(each.bounding_box()["y"]) for each in page.locator("nav[aria-label=Pages] a").all()}
    assert len(rows) == 1, "the pages' names fit beside each other"
    keep(page, f"{name}-768")


def test_a_lineage_wider_than_its_place_begins_where_the_version_is(windows: Mapping[int, Any], seeds: Any) -> None:
    visited = windows[390]
    visited.go(f"{seeds.url}{PAGES['version'].format(**vars(seeds))}")
    box = visited.page.locator(".lineage .here").bounding_box()
    assert visited.page.locator(".lineage").bounding_box()["width"] > 800
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_figures_are_as_wide_as_paper_while_a_page_is_printed(visit: Callable[..., Any], seeds: Any) -> None:
    visited = visit(scheme="dark")
    visited.go(f"{seeds.url}{PAGES['run'].format(**vars(seeds))}")
    page = visited.page
    drawn = page.locator(".canvas .main-svg").first
    expect(drawn).to_be_visible()
    widths, inks = [], []
    for moment in (None, "beforeprint", "afterprint"):
        if moment:
            page.evaluate(f"dispatchEvent(new Event('{moment}'))")
        widths.append(round(drawn.bounding_box()["width"]))
        inks.append(page.evaluate("document.querySelector('.canvas').layout.font.color"))
    assert widths == [1104, 680, 1104]
    assert inks[0] == inks[2] == "#9da1a9"
    assert inks[1] == "#666a72"  # dark on white, though the screen is dark
    # a figure that nobody has scrolled to is not there
    page.emulate_media(media="print")
    waiting = page.locator("[data-figures] .waiting").last
    assert "The report has all figures" in waiting.evaluate("(each) => getComputedStyle(each, '::after').content")


FITTED = """async ([script, layout, width]) => {
    const { xaxis, annotations } = (await import(script)).fitted(layout, width);
    return { ...xaxis, name: annotations[0].text };
}"""


def test_what_there_is_room_for_is_told_whole(windows: Mapping[int, Any], seeds: Any) -> None:
    page = windows[390].page
    windows[390].go(f"{seeds.url}/")
    name = "a-policy-with-a-long-name/discriminator:difference"
    panels = Facets([name, "b", "c"], x="", y="share")
    panels.axes(x={"type": "date", "title": "hour"})
    script, layout = f"{seeds.url}/static/laid_out.js", panels.layout
    wide, narrow, phone = (page.evaluate(FITTED, [script, layout, width]) for width in (1104, 700, 354))
    # panels of 322 and 195 pixels, a letter taking 7.2, and two side by side
    assert [len(each["name"]) for each in (wide, narrow, phone)] == [44, 27, 25]
    assert all(name.endswith(each["name"].removeprefix("\N{HORIZONTAL ELLIPSIS}")) for each in (wide, narrow, phone))
    # each panel has an axis of its own, so it keeps its numbers and its title; dates lie flat
    assert phone["showticklabels"]
    assert phone["title"]["text"] == "hour"
    assert phone["tickangle"] == 0


@pytest.mark.parametrize(("name", "said"), [("history", "in JSON"), ("run", "the table below"), ("job", "in JSON")])
def test_without_scripts_a_page_says_that_its_figure_is_missing(
    visit: Callable[..., Any], seeds: Any, name: str, said: str
) -> None:
    visited = visit(scripts=False)
    visited.go(f"{seeds.url}{PAGES[name].format(**vars(seeds))}")
    told = visited.page.locator("main").inner_text()
    assert said in told.partition("The figure is drawn by JavaScript; ")[2].partition(".")[0]
    assert visited.page.locator(".canvas:visible").count() == 0
