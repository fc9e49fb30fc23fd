"""``assay reproduce``: what it refuses, and what it says without running anything."""

import json
from pathlib import Path

import pytest

from service.cli.program import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["figure9", "--scale", "tiny"], "'figure9' is not one of"),
        (["figure3"], "Missing option '--scale'"),
        (["figure3", "--scale", "huge"], "'huge' is not one of 'tiny', 'paper'"),
        (["figure3", "--scale", "tiny", "--seeds", "0"], "Input should be greater than or equal to 1"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_plan_of_a_tiny_chain_is_printed_and_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "figure4", "--scale", "tiny", "--seeds", "1", "--dry-run", "--json"]) == 0
    [chain] = json.loads(capsys.readouterr().out)["chains"]
    assert [step["name"] for step in chain["steps"]][:2] == ["tiny-s0-start", "tiny-s0-ganpo-transformer"]
    assert chain["needs"] == []
    assert chain["steps"][-1]["work"] == "512 responses to 64 prompts"  # four at each of two temperatures
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--scale", "paper"], ["--scale", "tiny", "--seeds", "1"]])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_times_of_one_seed_are_refused_before_anything_is_done_for_they_have_no_interval(
    words: list[str], dry: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "table4", *words, *dry]) == 2
    assert "table4 with 1 seed can say nothing of its claims" in (said := capsys.readouterr().err)
    assert "give --seeds 2 or more" in said
    assert not list(tmp_path.iterdir())


def test_the_papers_scale_is_refused_where_things_are_missing_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert main(["reproduce", "table2", "--scale", "paper"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "4 GPUs of 80 GB" in said
    assert "--scale tiny runs here" in said
    assert not list(tmp_path.iterdir())
