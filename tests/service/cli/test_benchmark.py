"""`assay benchmark` prints a suite's table and leaves its numbers in history."""

import json
import re
from pathlib import Path

import pytest

from service.cli import main
from service.db import queries
from service.db.session import make_engine, sessions

pytestmark = pytest.mark.usefixtures("installation")
Said = pytest.CaptureFixture[str]


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """Eight pairs in two sections; the longer response is right in six."""
    rows = [
        {
            "prompt": f"question {i}",
            "chosen": "long answer" if i % 4 else "short",
            "rejected": "shorter" if i % 4 else "a longer answer",
            "subset": "hep-go" if i < 4 else "donotanswer",
        }
        for i in range(8)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.yaml"
    path.write_text(f"kind: benchmark\npath: {tmp_path / 'rows.jsonl'}\nscorers: [length]\n")
    return str(path)


def test_a_suite_is_printed_and_in_history(recipe: str, installation: str, capsys: Said) -> None:
    assert main(["benchmark", recipe, "bootstrap.draws=100", "bootstrap.confidence=0.8"]) == 0
    said = capsys.readouterr().out
    assert "reward_bench, accuracy in %, with 80 % intervals" in said
    assert re.search(r"Reasoning +75\.0 \[", said)
    with sessions(make_engine(installation))() as session:
        (job,) = queries.list_jobs(session).data
        rows = queries.correlations(session, queries.CorrelationFilter(runs=[job.id]))
    assert (job.kind, job.status, job.id[:4]) == ("benchmark", "succeeded", "run_")
    stored = {(row.oracle, row.stratum): row.estimate for row in rows if row.statistic == "accuracy"}
    assert stored["reward_bench", "all"] == 0.75


def test_json_has_both_rules_for_ties(recipe: str, tmp_path: Path, capsys: Said) -> None:
    assert main(["benchmark", recipe, "--json", "--output", str(tmp_path / "out.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out.json").read_text())
    assert {row["statistic"] for row in printed["estimates"]} == {"accuracy", "accuracy_ties_shared"}


def test_another_kind_of_recipe_is_sent_where_it_belongs(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "recipe.yaml").write_text("kind: stress_test\nname: s\n")
    assert main(["benchmark", str(tmp_path / "recipe.yaml")]) == 2
    assert "by `assay stress`" in capsys.readouterr().err
