"""`assay winrate` prints rates, differences and buckets, and is recorded like any job."""

import json
from pathlib import Path

import pytest

from service.cli import main
from service.db import queries
from service.db.session import make_engine, sessions

pytestmark = pytest.mark.usefixtures("installation")
Said = pytest.CaptureFixture[str]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two models' annotations: ``strong`` wins three of four battles, ``weak`` one of four."""
    paths = []
    for model, wins in (("strong", 3), ("weak", 1)):
        rows = [
            {
                "instruction": f"question {i}",
                "output_1": "baseline " * 5,
                "generator_1": "base",
                "output_2": "answer " * (1 + i % 9),
                "generator_2": model,
                "annotator": "gpt4",
                "preference": 2 if i % 4 < wins else 1,
            }
            for i in range(40)
        ]
        path = tmp_path / f"{model}.json"
        path.write_text(json.dumps(rows))
        paths.append(str(path))
    return paths


def test_rates_differences_and_buckets_are_printed(files: list[str], capsys: Said) -> None:
    assert main(["winrate", *files, "--buckets", "2", "--draws", "200"]) == 0
    said = capsys.readouterr().out
    assert "against base, judged by gpt4" in said
    assert "75.0 [" in said
    assert "\N{MINUS SIGN}50.0 [" in said
    assert "worse" in said
    assert "win rate by the output's length in characters" in said


def test_json_says_every_number_and_the_run_is_in_history(
    files: list[str], installation: str, tmp_path: Path, capsys: Said
) -> None:
    assert main(["winrate", *files, "--json", "--draws", "200", "--output", str(tmp_path / "out.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out.json").read_text())
    with sessions(make_engine(installation))() as session:
        (job,) = queries.list_jobs(session).data
        rows = queries.correlations(session, queries.CorrelationFilter(runs=[job.id]))
    assert (job.kind, job.status, job.id[:4]) == ("win_rate", "succeeded", "run_")
    stored = {(row.policy, row.statistic): row.estimate for row in rows if row.stratum == "all"}
    assert stored["strong", "win_rate"] == pytest.approx(0.75)
    assert stored["weak", "win_rate_lead_over_strong"] == pytest.approx(-0.5)
    assert len(rows) == len(printed["estimates"])


def test_bad_input_is_one_line_and_exit_status_2(tmp_path: Path, capsys: Said) -> None:
    assert main(["winrate", str(tmp_path / "absent.json")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_two_stress_tests_are_compared_by_their_ids(tmp_path: Path, capsys: Said) -> None:
    for name, score in (("run_a", 1.0), ("run_b", 0.0)):
        directory = tmp_path / "runs" / name
        directory.mkdir(parents=True)
        cells = [{"prompt_id": str(p), "temperature": 1.5, "replicate": 0} for p in range(6)]
        told = {"scorer": "gold", "scorer_version": None, "role": "oracle", "score": score}
        asked = [{"prompt_id": str(p), "prompt": f"{p}?"} for p in range(6)]
        for file, rows in (("prompts", asked), ("scores", [{**cell, **told} for cell in cells])):
            (directory / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (directory / "result.json").write_text(json.dumps({"status": "succeeded", "result": {"policy": name[-1]}}))
    assert main(["winrate", "run_a", "run_b", "--draws", "200", "--output", str(tmp_path / "wins.json")]) == 0
    said = capsys.readouterr().out
    assert "a over b, judged by gold" in said
    assert "1.5 100.0 [54.1, 100.0] better 1.000 0.000 " in " ".join(said.split())  # (0.05 / 2)^(1 / 6) = 0.541
    assert main(["report", str(tmp_path / "wins.json"), "--output", str(tmp_path / "wins.html")]) == 0
    assert "a is judged better than b at T" in (tmp_path / "wins.html").read_text().replace("&nbsp;", " ")
