"""The forms for a new job where the server is slow or away, and what becomes of that which was typed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

FORMS = ("stress-test", "training-job")

# nothing is anywhere else than before; where a page is scrolled to is its reader's
PLACES = """() => [...document.querySelectorAll(".recipe *")].filter((each) => each.id !== "busy")
    .map((each) => [each.offsetLeft, each.offsetTop, each.offsetWidth, each.offsetHeight].join())"""

ORDERED = """name: in-my-order
max_steps: 40
data: {size: 64, validation_size: 8, kind: product_world}
policy: {scratch: {layers: 1, hidden_size: 16, heads: 2}}
kind: sft
batch: {size: 8}
"""


def pressed(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def hold_back(page: Page, times: int | None = None) -> list[Route]:
    """What the form asks of its server from now on, which hears none of it until somebody says so."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/new/*", hold, times=times)
    return held


def keys(page: Page) -> list[str]:
    """Of the YAML beside the form, in their order."""
    return [line.split(":")[0].strip() for line in page.get_by_label("As YAML").input_value().splitlines()]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("what", FORMS)
def test_a_check_that_takes_a_while_says_so_and_nothing_moves(
    visit: Callable[..., Any], seeds: Any, keep: Callable[..., None], what: str, width: int
) -> None:
    visited = visit(width=width)
    page = visited.page
    visited.go(f"{seeds.url}/new/{what}")
    held = hold_back(page)
    check, busy = pressed(page, "Check"), page.locator("#busy")
    expect(busy).to_have_text("")
    check.focus()
    before = page.evaluate(PLACES)
    page.keyboard.press("Enter")

    expect(busy).to_have_text("checking…")
    expect(busy).to_have_role("status")
    expect(busy).to_be_in_viewport(ratio=1)
    expect(check).to_be_disabled()
    expect(pressed(page, "Start the job")).to_be_disabled()
    assert page.evaluate(PLACES) == before
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        keep(page, f"new-{what}-busy-{width}-{scheme}")
    # the keyboard is where it was, and pressing once more asks for nothing more
    expect(check).to_be_focused()
    page.keyboard.press("Enter")

    held[0].continue_()
    expect(page.locator("#checked")).to_contain_text("to put right")
    expect(page.locator("#checked")).to_be_focused()
    expect(busy).to_have_text("")
    expect(check).to_be_enabled()
    assert len(held) == 1
    assert visited.wrong == []


def test_what_is_typed_during_a_check_is_checked_too(visit: Callable[..., Any], seeds: Any) -> None:
    visited = visit()
    page = visited.page
    visited.go(f"{seeds.url}/new/training-job")
    held = hold_back(page, times=1)
    pressed(page, "Check").click()
    expect(page.locator("#busy")).to_have_text("checking…")
    name = page.locator("[id='field:/name']")
    name.press_sequentially("meanwhile")
    page.keyboard.press("ArrowLeft")
    held[0].continue_()

    expect(page.locator("#checked")).to_contain_text("2 things to put right")
    expect(page.locator("#checked")).not_to_contain_text("/name")
    # whoever types goes on where they are
    expect(name).to_be_focused()
    page.keyboard.type("-")
    expect(name).to_have_value("meanwhil-e")
    assert visited.wrong == []


@pytest.mark.parametrize("what", FORMS)
@pytest.mark.parametrize("name", ["Check", "Start the job", "Read it into the form"])
def test_a_server_that_is_away_costs_nobody_what_they_typed(
    visit: Callable[..., Any], seeds: Any, what: str, name: str
) -> None:
    visited = visit()
    page = visited.page
    visited.go(f"{seeds.url}/new/{what}")
    address = page.url
    page.route("**/new/*", lambda route: route.abort())
    page.locator("[id='field:/name']").fill("mine")
    page.get_by_label("As YAML").fill("kind: [")
    pressed(page, name).click()
    expect(page.locator("#checked")).to_contain_text("The server does not answer")
    expect(page.locator("#checked")).to_be_focused()
    expect(pressed(page, name)).to_be_enabled()
    expect(page.locator("#busy")).to_have_text("")
    assert page.url == address

    page.unroute_all()
    pressed(page, name).click()  # it is back
    expect(page.locator("#checked")).to_contain_text("YAML")
    expect(page.locator("[id='field:/name']")).to_have_value("mine")
    expect(page.get_by_label("As YAML")).to_have_value("kind: [")


def test_what_a_server_refuses_is_said_beside_the_form(visit: Callable[..., Any], seeds: Any) -> None:
    visited = visit()
    page = visited.page
    visited.go(f"{seeds.url}/new/training-job")
    page.locator("[id='field:/name']").fill("mine")
    page.get_by_label("As YAML").fill("# " + "x" * 2**20)
    pressed(page, "Read it into the form").click()
    expect(page.locator("#checked")).to_contain_text("the form is larger than 1,048,576 bytes")
    expect(page.locator("[id='field:/name']")).to_have_value("mine")


def test_yaml_keeps_its_writers_order_when_the_form_is_filled_in(visit: Callable[..., Any], seeds: Any) -> None:
    visited = visit()
    page = visited.page
    visited.go(f"{seeds.url}/new/training-job")
    text = page.get_by_label("As YAML")
    text.fill(ORDERED)
    pressed(page, "Read it into the form").click()
    steps = page.locator("[id='field:/max_steps']")
    expect(steps).to_have_value("40")
    steps.fill("50")
    steps.press("Tab")
    order = [
        *("name", "max_steps", "data", "size", "validation_size", "kind"),
        *("policy", "scratch", "layers", "hidden_size", "heads", "kind", "batch", "size"),
    ]
    expect(text).to_have_value(re.compile("max_steps: 50"))
    assert keys(page) == order
    pressed(page, "Check").click()
    expect(page.locator("#checked")).to_contain_text("Nothing is wrong with it")
    assert keys(page) == order
    # what is said for the first time follows what it follows in the recipe
    page.locator("[id='field:/epochs']").fill("3")
    page.locator("[id='field:/epochs']").press("Tab")
    expect(text).to_have_value(re.compile("epochs: 3"))
    assert keys(page) == [*order, "epochs"]
    assert visited.wrong == []
