"""A benchmark as a recipe: real scorers, a kill in the middle, files of the `rewardbench` package in and out."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evaluation.prompt_marks import MARKS_FILE, mark_of
from evaluation.recipes.benchmark import SCORES_FILE, BenchmarkRecipe
from trainer.artifacts import ArtifactStore
from trainer.data.rows import Pair
from trainer.errors import InvalidInput, NotFound
from trainer.run import run_recipe

Summary = dict[str, Any]


def rows_of(pairs: list[Pair]) -> list[dict[str, Any]]:
    """Each prompt with its own response as chosen, another prompt's as rejected."""
    subsets = ["hep-go", "math-prm", "alpacaeval-easy"]
    return [
        {
            "prompt": each.prompt,
            "chosen": each.response,
            "rejected": pairs[(i + 1) % len(pairs)].response,
            "subset": subsets[i % 3],
            "id": i,
        }
        for i, each in enumerate(pairs)
    ]


def benchmarked(directory: Path, store: ArtifactStore, **fields: Any) -> Summary:
    recipe = BenchmarkRecipe.model_validate({"bootstrap": {"draws": 100}, **fields})
    return run_recipe(recipe, directory / "run", store, quiet=True)


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def found(summary: Summary, scorer: str, statistic: str = "accuracy", stratum: str = "all") -> Any:
    [row] = [
        row
        for row in summary["estimates"]
        if (row["scorer"], row["statistic"], row["stratum"]) == (scorer, statistic, stratum)
    ]
    return row


def test_a_registered_scorer_is_scored_and_its_results_can_be_read_again(
    tmp_path: Path, store: ArtifactStore, pairs: list[Pair]
) -> None:
    path = written(tmp_path / "rows.jsonl", rows_of(pairs))
    summary = benchmarked(tmp_path, store, path=path, scorers=["rm"])
    assert summary["scorers"] == ["rm", "length"]
    logged = [json.loads(line) for line in (tmp_path / "run" / SCORES_FILE).read_text().splitlines()]
    right = [row["chosen"][0] > row["rejected"][0] for row in logged if row["item"] % 3 == 0]
    assert found(summary, "rm", stratum="hep-go")["estimate"] == pytest.approx(sum(right) / 4)
    assert found(summary, "rm")["oracle"] == "reward_bench"

    marks = json.loads((tmp_path / "run" / MARKS_FILE).read_text())
    assert marks == sorted({mark_of(each.prompt, "") for each in pairs})
    results = json.loads((tmp_path / "run" / "results" / "rm.json").read_text())
    assert results["hep-go"] == found(summary, "rm", stratum="hep-go")["estimate"]
    again = benchmarked(tmp_path / "again", store, recorded=[str(tmp_path / "run" / "scores" / "rm.json")])
    assert not (tmp_path / "again" / "run" / MARKS_FILE).exists(), "files of scores tell no prompts"
    for stratum in ("all", "Reasoning", "math-prm"):
        assert found(again, "rm", stratum=stratum)["estimate"] == found(summary, "rm", stratum=stratum)["estimate"]


def test_a_run_that_was_cut_off_scores_only_what_is_missing(
    tmp_path: Path, store: ArtifactStore, pairs: list[Pair]
) -> None:
    fields = {"path": written(tmp_path / "rows.jsonl", rows_of(pairs)), "scorers": ["rm"]}
    whole = benchmarked(tmp_path, store, **fields)
    log = tmp_path / "run" / SCORES_FILE
    complete = log.read_bytes()
    lines = complete.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:5]) + lines[5][:9])  # killed while it wrote
    (tmp_path / "run" / "result.json").unlink()
    assert benchmarked(tmp_path, store, **fields) == whole
    assert log.read_bytes() == complete


def test_scores_of_reward_bench_2_are_read_as_its_package_writes_them(tmp_path: Path, store: ArtifactStore) -> None:
    content = {
        "model": "org/some-rm",
        "subset": ["Math", "Math", "Ties", "Ties"],
        "id": ["1", "2", "ref:4", "tied:4"],
        "scores": [[2.0, 1.0], [1.0, 1.0], [3.0, 1.0], [[3.0], [2.9], [0.0]]],
        "num_correct": [1, 1, 1, 2],
    }
    (tmp_path / "scores.json").write_text(json.dumps(content))
    summary = benchmarked(tmp_path, store, recorded=[str(tmp_path / "scores.json")])
    assert found(summary, "org/some-rm", "accuracy_ties_shared", "Math")["estimate"] == 0.75
    assert found(summary, "org/some-rm", "accuracy_ties_shared", "Ties")["estimate"] == pytest.approx(1.01, abs=1e-4)
    assert (tmp_path / "run" / "results" / "org_some-rm.json").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "expected an object of columns"),
        ({"scores_chosen": [1]}, "expected columns scores_chosen, scores_rejected, subset of one length"),
        (
            {"scores": [[1, 0]], "num_correct": [2], "subset": ["Math"]},
            "row 0: no score of a right or of a wrong answer",
        ),
        ({"scores_chosen": ["x"], "scores_rejected": [0], "subset": ["s"]}, "row 0: scores must be numbers"),
        (
            {"scores_chosen": [1, 2], "scores_rejected": [0, 0], "subset": ["s", "s"], "id": ["1"]},
            "expected as many ids as there are rows, 2",
        ),
    ],
)
def test_recorded_scores_of_another_form_are_refused(
    tmp_path: Path, store: ArtifactStore, content: Any, complaint: str
) -> None:
    (tmp_path / "scores.json").write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match=complaint):
        benchmarked(tmp_path, store, recorded=[str(tmp_path / "scores.json")])


def test_what_cannot_be_done_is_said_before_anything_is_scored(
    tmp_path: Path, store: ArtifactStore, pairs: list[Pair]
) -> None:
    path = written(tmp_path / "rows.jsonl", rows_of(pairs))
    with pytest.raises(NotFound):
        benchmarked(tmp_path / "1", store, path=path, scorers=["nobody"])
    with pytest.raises(InvalidInput, match="mean_logprob is not known"):
        benchmarked(tmp_path / "2", store, path=path, scorers=["mean_logprob"])
    with pytest.raises(ValidationError, match="name at least one scorer"):
        benchmarked(tmp_path / "3", store, path=path)
    with pytest.raises(ValidationError, match="give path and scorers, or recorded"):
        benchmarked(tmp_path / "4", store)
