"""`assay train`, `stress` and `audit` run a recipe here, recorded like any job; `assay report` shows what was found."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.cli import main
from service.db import queries
from service.db.session import make_engine, sessions

pytestmark = pytest.mark.usefixtures("installation")
Said = pytest.CaptureFixture[str]


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Ten prompts with three responses each, which ``fair`` orders as the judge does and ``foul`` the other way."""
    rows = [
        {
            "prompt_id": prompt,
            "response": "word " * (reply + 1),
            "scores": {"fair": float(reply + prompt), "foul": float(-reply)},
            "oracles": {"judge": float(reply) + 0.01 * prompt * reply},
        }
        for prompt in range(10)
        for reply in range(3)
    ]
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def audit(judged: Path) -> Callable[..., int]:
    """Runs `assay audit` on the judged file with further options."""
    options = ["--scorer", "recorded:fair", "--scorer", "recorded:foul", "--oracle", "recorded:judge"]
    return lambda *more: main(["audit", str(judged), *options, *more])


def test_an_audit_prints_a_table_and_a_verdict(audit: Callable[..., int], capsys: Said) -> None:
    assert audit() == 0
    said = capsys.readouterr().out

    assert "r within prompts" in said
    assert "recorded:fair orders responses to the same prompt as recorded:judge does" in said
    assert "recorded:foul orders responses to the same prompt the other way round" in said


def test_an_audit_is_recorded_and_its_run_can_be_reported(
    audit: Callable[..., int], installation: str, tmp_path: Path, capsys: Said
) -> None:
    assert audit() == 0
    with sessions(make_engine(installation))() as session:
        (job,) = queries.list_jobs(session).data
    assert (job.kind, job.status) == ("audit", "succeeded")

    assert main(["report", job.id, "--output", str(tmp_path / "report.html")]) == 0
    report = (tmp_path / "report.html").read_text()
    assert "recorded:fair" in report
    assert "<script src=" not in report
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'report.html'}\n")


def test_an_audit_writes_json_that_can_be_reported_without_a_database(
    audit: Callable[..., int], tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert audit("--output", str(tmp_path / "out.json"), "--format", "json") == 0
    printed, written = json.loads(capsys.readouterr().out), json.loads((tmp_path / "out.json").read_text())
    assert printed == written
    within = {row["scorer"]: row["estimate"] for row in written["estimates"] if row["statistic"] == "pearson_within"}
    assert within["recorded:fair"] == pytest.approx(1.0, abs=0.01)
    assert within["recorded:foul"] == pytest.approx(-1.0, abs=0.01)

    monkeypatch.setenv("ASSAY_DATABASE_URL", "sqlite:////nowhere/assay.db")
    assert main(["report", str(tmp_path / "out.json"), "--output", str(tmp_path / "report.html")]) == 0
    assert "recorded:fair" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"prompt_id": 1, "oracles": {"judge": 1}}\n{"prompt_id"\n', "line 2"),
        (b'{"prompt_id": 1, "oracles": {"judge": "good"}}\n', "line 1"),
        (b"\xff\n", "line 1: not UTF-8"),
    ],
)
def test_a_malformed_line_is_named(
    judged: Path, audit: Callable[..., int], capsys: Said, content: bytes, words: str
) -> None:
    judged.write_bytes(content)

    assert audit() == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "recipe", "overrides", "words"),
    [
        ("train", "kind: sft", [], "/name"),
        ("train", "kind: alchemy\nname: x", [], "/kind"),
        ("train", "kind: stress_test\nname: x", [], "/kind: 'stress_test' is not accepted here, but by `assay stress`"),
        ("stress", "kind: sft\nname: x", [], "/kind: 'sft' is not accepted here, but by `assay train`"),
        (
            "stress",
            "{kind: stress_test, name: x, policy: {path: p}, scorers: [s], prompts: {kind: product_world},"
            " oracles: [{kind: product_world}]}",
            ["temperatures=[3]"],
            "/temperatures",
        ),
        ("train", "kind: sft\nname: x", ["epochs"], "override 'epochs'"),
        ("train", "kind: [", [], "not a readable YAML or JSON recipe"),
        ("train", "- kind", [], "a recipe is a mapping"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused_before_anything_is_recorded(
    tmp_path: Path, capsys: Said, command: str, recipe: str, overrides: list[str], words: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)

    assert main([command, str(path), *overrides]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("source", "words"), [("run_unknown", "no job run_unknown"), ("absent.json", "cannot read absent.json")]
)
def test_what_was_never_measured_cannot_be_reported(tmp_path: Path, capsys: Said, source: str, words: str) -> None:
    output = tmp_path / "report.html"

    assert main(["report", source, "--output", str(output)]) == 2
    assert words in capsys.readouterr().err
    assert not output.exists()


def test_a_json_file_of_something_else_cannot_be_reported(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "other.json").write_text('{"estimates": [{"scorer": "a"}]}')

    assert main(["report", str(tmp_path / "other.json"), "--output", str(tmp_path / "report.html")]) == 2
    assert "not what `assay audit --output` writes" in capsys.readouterr().err


def test_training_publishes_and_says_what(tmp_path: Path, capsys: Said) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """
        kind: reward_model
        name: tiny
        backbone: {scratch: {hidden_size: 16, layers: 1, heads: 2}, architecture: encoder}
        data: {kind: product_world, size: 16}
        """
    )

    assert main(["train", str(path), "max_steps=2", "batch.size=4"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "published tiny@1"
    assert "held_out/accuracy " in said

    assert main(["train", str(path), "max_steps=2", "batch.size=4", "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["status"], job["artifacts"][0]["version"]) == ("succeeded", 2)
    assert job["recipe"]["max_steps"] == 2


def test_a_dry_run_says_what_training_would_take_and_records_nothing(tmp_path: Path, capsys: Said) -> None:
    shape = {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 64}
    data = {"kind": "product_world", "size": 40, "validation_size": 3}
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"kind": "sft", "name": "mine", "policy": {"scratch": shape}, "data": data}))

    assert main(["train", str(recipe), "batch.size=16", "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["steps"], report["data"]["rows"]) == (3, 40)
    assert report["memory"][0]["total"] == sum(report["memory"][0]["estimate"].values())
    assert main(["train", str(recipe), "--dry-run"]) == 0
    assert "steps     1 of 128 rows" in capsys.readouterr().out
    assert main(["train", str(recipe), "policy.scratch.heads=3", "--dry-run"]) == 2
    assert list(tmp_path.iterdir()) == [recipe]
