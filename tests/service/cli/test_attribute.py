"""`assay attribute` prints what POST /v1/attributions answers, and a bad line never costs the others theirs."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.cli import main
from trainer.artifacts import ArtifactStore

ROWS: list[dict[str, Any]] = [
    {"id": "world", "prompt": "product mug | color red | tone calm", "response": "color is red ."},
    {"id": "else", "prompt": "Write a poem.", "response": "color is red ."},
    {"prompt": "product mug", "constraints": ["color red", "red " * 9], "response": "color is red ."},
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_lines_are_the_apis_answers_and_a_line_without_one_says_why(
    pairs: Path, published: ArtifactStore, scoring_client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    output = pairs.with_name("out.jsonl")
    options = ["--scorer", "tiny", "--artifact-dir", str(published.root)]

    assert main(["attribute", str(pairs), *options, "--output", str(output)]) == 0
    said = capsys.readouterr()
    written = [json.loads(line) for line in output.read_text().splitlines()]
    for row, ours in zip((ROWS[0], ROWS[2]), (written[0], written[2]), strict=True):
        theirs = scoring_client.post("/v1/attributions", json={"scorer": "tiny", **row}).json()
        assert ours.keys() == theirs.keys()
        assert [each["constraint"] for each in ours["attributions"]] == [
            each["constraint"] for each in theirs["attributions"]
        ]
        for mine, other in zip(ours["attributions"], theirs["attributions"], strict=True):
            assert mine.get("error") == other.get("error")
            assert mine.get("score_difference") == pytest.approx(other.get("score_difference"), abs=2e-4)
    assert written[1]["id"] == "else"
    assert "of other prompts give the constraints" in written[1]["error"]["detail"]
    assert said.out == ""
    assert "tiny is tiny@2" in said.err
    assert "1 of 3 lines have no answer" in said.err

    assert main(["attribute", str(pairs), *options, "--json"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["world", "else", None]


def test_people_get_a_table(pairs: Path, published: ArtifactStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attribute", str(pairs), "--scorer", "tiny", "--artifact-dir", str(published.root)]) == 0
    said = capsys.readouterr().out
    assert "world: score " in said
    assert "none: it is the only fact" in said
    assert "else: no answer: 'Write a poem.' is not a prompt" in said


@pytest.mark.parametrize(
    ("content", "scorer", "words"),
    [
        ('{"prompt": "p", "response": "r", "constraint": "c"}\n', "tiny", "line 1: constraint"),
        ('{"prompt": "product mug | color red", "response": "r"}\n', "nobody", "no artifact nobody"),
        ('{"prompt": "product mug | color red", "response": "r"}\n', "tiny:no", "no output 'no'"),
        ('{"prompt": "product mug | color red", "response": "r"}\n', "no one", "scorer"),
        ("\n", "tiny", "holds no pairs"),
    ],
)
def test_what_concerns_the_whole_file_is_one_line_and_leaves_nothing_behind(
    content: str, scorer: str, words: str, tmp_path: Path, published: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(content)
    options = ["--artifact-dir", str(published.root), "--output", str(tmp_path / "out.jsonl")]

    assert main(["attribute", str(pairs), "--scorer", scorer, *options]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == [pairs]
