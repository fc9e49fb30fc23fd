"""A whole study at its quick size, as anyone would start it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.ganpo_study.__main__ import PLAN as GANPO
from benchmarks.gapo_study.__main__ import PLAN as GAPO
from benchmarks.study.document import BEGIN, END
from benchmarks.study.plan import Plan


@pytest.mark.parametrize(
    "plan", [pytest.param(GANPO, marks=pytest.mark.slow, id="ganpo"), pytest.param(GAPO, id="gapo")]
)
def test_the_quick_study_gives_every_claim_a_word_and_a_second_start_repeats_nothing(
    plan: Plan, tmp_path: Path
) -> None:
    page = tmp_path / "docs" / "study.md"
    page.parent.mkdir()
    page.write_text(f"{BEGIN}\n{END}\n")
    size = plan.sizes["quick"]
    runs = sum(len(list(plan.steps_of_seed(seed, size))) for seed in range(size.seeds))
    command = [sys.executable, "-m", plan.module, "--size", "quick", "--directory", str(tmp_path)]
    first = subprocess.run([*command, "--document", str(page)], capture_output=True, text=True, check=True)
    assert f"{runs} of {runs}" in first.stderr
    results = tmp_path / "quick" / "study.json"
    found = json.loads(results.read_text())
    assert {row["key"] for row in found["claims"]} == {claim.key for claim in (*plan.paper, *plan.ours)}
    assert {row["word"] for row in found["claims"]} <= {"reproduced", "not reproduced", "reversed"}
    assert "Claims of the paper" in page.read_text()

    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f" of {runs}: " not in second.stderr
    assert json.loads(results.read_text()) == found
