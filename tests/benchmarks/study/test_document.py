"""A study's page keeps what people wrote around its generated part."""

from pathlib import Path

import pytest

from benchmarks.study.document import BEGIN, END, fill
from trainer.errors import InvalidInput


def test_a_page_keeps_what_stands_around_its_generated_part(tmp_path: Path) -> None:
    page = tmp_path / "study.md"
    page.write_text(f"before\n{BEGIN}\nold numbers\n{END}\nafter\n")
    fill(page, "older numbers")
    fill(page, "new numbers")
    assert page.read_text() == f"before\n{BEGIN}\n\nnew numbers\n{END}\nafter\n"


def test_a_page_without_marks_is_refused_and_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "study.md"
    page.write_text("my own page\n")
    with pytest.raises(InvalidInput, match="lacks the marks"):
        fill(page, "numbers")
    assert page.read_text() == "my own page\n"
