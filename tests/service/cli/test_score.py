"""`assay score` gives the answers of POST /v1/scores, line by line, or nothing at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.cli import main
from service.cli.score import requests
from trainer.artifacts import ArtifactStore

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "product lamp", "responses": ["It is blue .", ""]},
    {"prompt": [{"role": "user", "content": "product lamp"}], "response": "The lamp is red ."},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_is_scored_as_the_api_scores_it(
    tmp_path: Path, published: ArtifactStore, scoring_client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, output = write(tmp_path / "pairs.jsonl", ROWS), tmp_path / "out.jsonl"
    options = ["--scorer", "tiny", "--scorer", "family/other@1", "--artifact-dir", str(published.root)]

    assert main(["score", str(pairs), *options, "--output", str(output)]) == 0

    asked = {"scorers": ["tiny", "family/other@1"], "items": ROWS}
    served = scoring_client.post("/v1/scores", json=asked).json()["items"]
    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["id"] for row in written] == ["a", None]
    for ours, theirs in zip(written, served, strict=True):
        for mine, other in zip(ours["scores"], theirs["scores"], strict=True):
            assert mine.keys() == other.keys()
            for name in mine:
                assert mine[name].get("error") == other[name].get("error")
                assert mine[name].get("score") == pytest.approx(other[name].get("score"), abs=1e-4)
    said = capsys.readouterr()
    assert said.out == ""
    assert "tiny is tiny@2" in said.err
    assert "2 scores are missing" in said.err


def test_without_an_output_file_the_lines_go_to_standard_output(
    tmp_path: Path, published: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write(tmp_path / "pairs.jsonl", ROWS)

    assert main(["score", str(pairs), "--scorer", "tiny@1", "--artifact-dir", str(published.root)]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["a", None]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"prompt": "p", "response": "r"}\n{"prompt": "p", "respons\n', "line 2: not JSON"),
        (b'{"prompt": "p", "response": "r"}\n\n{"prompt": "p", "response": "\xff"}\n', "line 3: not UTF-8"),
        (b'{"prompt": "p", "response": "r", "weight": 2}\n', "line 1: weight"),
        (b'{"prompt": "p"}\n', "line 1: give either response"),
        (b"\n", "holds no pairs"),
    ],
)
def test_a_malformed_line_is_named_before_anything_is_written(
    tmp_path: Path, published: ArtifactStore, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    pairs, output = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    pairs.write_bytes(content)
    options = ["--scorer", "tiny", "--artifact-dir", str(published.root), "--output", str(output)]

    assert main(["score", str(pairs), *options]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [pairs]


def test_an_unknown_scorer_leaves_no_output_behind(
    tmp_path: Path, published: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, output = write(tmp_path / "pairs.jsonl", ROWS), tmp_path / "out.jsonl"
    options = ["--scorer", "nobody", "--artifact-dir", str(published.root), "--output", str(output)]

    assert main(["score", str(pairs), *options]) == 2
    assert "no artifact nobody" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [pairs]


def test_a_directory_that_is_not_there_is_said_before_scoring(
    tmp_path: Path, published: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, output = write(tmp_path / "pairs.jsonl", ROWS), tmp_path / "no" / "out.jsonl"
    options = ["--scorer", "tiny", "--artifact-dir", str(published.root), "--output", str(output)]

    assert main(["score", str(pairs), *options]) == 2
    assert f"cannot write {output}" in capsys.readouterr().err


def test_a_long_file_is_asked_in_requests_within_the_limits(tmp_path: Path) -> None:
    # 3 items of 256 responses for 8 scorers are 6,144 scores, 4,096 may be asked at once: two items, then one
    rows = [{"id": index, "prompt": "p", "responses": ["r"] * 256} for index in range(3)]
    pairs = write(tmp_path / "pairs.jsonl", rows)

    asked = list(requests(pairs, [f"s{n}" for n in range(8)], "error"))
    assert [[item.id for item in request.items] for request in asked] == [[0, 1], [2]]
