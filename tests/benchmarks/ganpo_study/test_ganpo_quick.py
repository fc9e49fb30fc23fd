"""The whole study at its quick size, as anyone would start it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.ganpo_study.claims import OURS, PAPER
from benchmarks.study.document import BEGIN, END


@pytest.mark.slow
def test_the_quick_study_gives_every_claim_a_word_and_a_second_start_repeats_nothing(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "study.md"
    page.parent.mkdir()
    page.write_text(f"{BEGIN}\n{END}\n")
    command = [sys.executable, "-m", "benchmarks.ganpo_study", "--size", "quick", "--directory", str(tmp_path)]
    first = subprocess.run([*command, "--document", str(page)], capture_output=True, text=True, check=True)
    assert "48 of 48" in first.stderr
    results = tmp_path / "quick" / "study.json"
    found = json.loads(results.read_text())
    assert {row["key"] for row in found["claims"]} == {claim.key for claim in (*PAPER, *OURS)}
    assert {row["word"] for row in found["claims"]} <= {"reproduced", "not reproduced", "reversed"}
    assert "Claims of the paper" in page.read_text()

    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert " of 48: " not in second.stderr
    assert json.loads(results.read_text()) == found
