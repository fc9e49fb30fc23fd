"""A job's process tells how it ended by its exit status, and what was wrong in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.__main__ import main
from trainer.artifacts import ArtifactStore
from trainer.run import read_result

RECIPE: dict[str, Any] = {
    "kind": "stress_test",
    "name": "tiny",
    "policy": {"path": "policy"},
    "prompts": {"kind": "product_world", "limit": 2},
    "temperatures": [1.0],
    "responses_per_prompt": 2,
    "max_response_tokens": 4,
    "oracles": [{"kind": "product_world"}],
    "bootstrap": {"draws": 100},
}


def run(directory: Path, store: ArtifactStore, recipe: str) -> int:
    (directory / "recipe.json").write_text(recipe)
    return main(["--run-dir", str(directory), "--artifact-dir", str(store.root)])


def test_a_finished_run_exits_with_0(tmp_path: Path, store: ArtifactStore) -> None:
    assert run(tmp_path, store, json.dumps(RECIPE)) == 0
    assert (read_result(tmp_path) or {})["status"] == "succeeded"


def test_a_failed_run_exits_with_1(tmp_path: Path, store: ArtifactStore) -> None:
    assert run(tmp_path, store, json.dumps({**RECIPE, "scorers": ["nobody"]})) == 1
    assert (read_result(tmp_path) or {})["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (json.dumps({**RECIPE, "top_q": 1}), "recipe at /top_q: unknown field"),
        (json.dumps({**RECIPE, "temperatures": [3]}), "recipe at /temperatures/0"),
        ("{", "Expecting"),
    ],
)
def test_a_recipe_that_cannot_be_read_exits_with_2_and_one_line(
    tmp_path: Path, store: ArtifactStore, capsys: pytest.CaptureFixture[str], recipe: str, words: str
) -> None:
    assert run(tmp_path, store, recipe) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_directory_without_a_recipe_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run-dir", str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
