"""Every failure of the command is one line on standard error and an exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import main
from trainer.manifest import code_version

REPOSITORY = Path(__file__).parents[3]

IMPORTED = """
import json, sys
from service.cli import main
status = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(status)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "service.cli", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "assay: No such command 'frobnicate'"),
        (["score"], "assay score: Missing argument 'PAIRS.jsonl'"),
        (["artifacts", "show", "no such name"], "a name is letters"),
        (["serve", "--port", "ninety"], "assay serve: Invalid value for '--port'"),
        (["serve", "--host", "0.0.0.0"], "say --insecure"),
        (["train", "/nowhere/recipe.yaml"], "/nowhere/recipe.yaml"),
        (["db", "check", "--database-url", "mysql://host/db"], "write sqlite:///assay.db or postgresql://"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # `serve` looks for keys in the database that is there
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1


def test_the_exit_status_is_the_processes_and_python_warns_of_nothing() -> None:
    ended = run("artifacts", "show", "nobody")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "assay: no artifact nobody; `assay artifacts list` shows what exists\n"


def test_debug_shows_where_it_failed_wherever_it_is_written() -> None:
    ended = run("train", "/nowhere/recipe.yaml", "--debug")

    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_a_reader_who_has_seen_enough_hears_no_complaint() -> None:
    command = f"{sys.executable} -m service.cli --help | head -c 10"
    ended = subprocess.run(["sh", "-c", command], cwd=REPOSITORY, capture_output=True, check=False)

    assert (len(ended.stdout), ended.stderr) == (10, b"")


def test_it_says_which_version_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"assay {code_version()}\n"


def test_without_arguments_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    helped = capsys.readouterr().out
    for command in (
        "serve",
        "train",
        "stress",
        "audit",
        "winrate",
        "benchmark",
        "gate",
        "score",
        "attribute",
        "report",
        "jobs",
        "artifacts",
        "db",
    ):
        assert command in helped


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["attribute", "--help"], ["artifacts", "list"], ["jobs", "list"], ["db", "upgrade"]],
)
def test_what_needs_no_model_imports_no_torch(arguments: list[str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments],
        cwd=REPOSITORY,
        env={"ASSAY_ARTIFACT_DIR": str(tmp_path), "ASSAY_DATABASE_URL": f"sqlite:///{tmp_path / 'assay.db'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = set(json.loads(ended.stderr.splitlines()[-1]))

    assert ended.returncode == 0
    assert "service.cli.program" in imported
    assert not imported & {"torch", "transformers", "plotly", "scipy"}
    if "--help" in arguments:  # which is to take less than a second
        assert not imported & {"fastapi", "sqlalchemy", "alembic", "numpy", "httpx"}
