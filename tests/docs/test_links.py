"""Links between pages lead to files and headings that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def _prose(text: str) -> str:
    return _CODE.sub("", _FENCED.sub("", text))


def anchors(text: str) -> set[str]:
    """Of the headings, as GitHub makes them: lower case, words joined by hyphens, numbers behind equal ones."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCED.sub("", text)):
        plain = _LINK.sub(lambda link: link[0][1:].partition("]")[0], heading).lower().replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        number = 0
        while (anchor := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(anchor)
    return found


def broken_links(page: Path, text: str) -> list[str]:
    """What a relative link of ``text`` names that is not there."""
    found = []
    for link in _LINK.findall(_prose(text)):
        name, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = page.parent / name if name else page
        if not target.exists():
            found.append(f"{page.name}: {link}: there is no such file")
        elif anchor and anchor not in anchors(text if target == page else target.read_text()):
            found.append(f"{page.name}: {link}: there is no such heading")
    return found


def test_links_lead_somewhere() -> None:
    links = [link for page in PAGES for link in _LINK.findall(_prose(page.read_text()))]
    assert len(links) > 80
    assert [each for page in PAGES for each in broken_links(page, page.read_text())] == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text("# A page\n\n## What `it` means, in short\n\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    text = (
        "[a](other.md) [b](other.md#what-it-means-in-short) [c](none.md) [d](other.md#no-heading)\n"
        "[e](#here) `[f](code.md)`\n\n# Here\n"
    )
    page.write_text(text)
    assert broken_links(page, text) == [
        "page.md: none.md: there is no such file",
        "page.md: other.md#no-heading: there is no such heading",
    ]
    assert anchors("# Two\n\n# Two\n") == {"two", "two-1"}


def test_every_page_can_be_found_from_the_index() -> None:
    linked = set(_LINK.findall((ROOT / "docs" / "README.md").read_text()))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert pages - linked - {"README.md", "study.md", "study-gapo.md"} == set()
