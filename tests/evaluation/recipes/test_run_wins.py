"""Two stress tests meet prompt by prompt and temperature by temperature, by every oracle they share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.prompt_marks import MARKS_FILE, mark_of
from evaluation.recipes.win_rate import WinRateRecipe
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput
from trainer.run import run_recipe

Judge = Callable[[int, float, int], float | None]


def stored(
    directory: Path,
    policy: str,
    oracles: dict[str, Judge],
    *,
    prompts: int = 12,
    temperatures: tuple[float, ...] = (0.5, 1.0),
    version: int | None = None,
    status: str = "succeeded",
    texts: int | None = None,
) -> str:
    """A run directory; ``oracles`` judge by prompt, temperature and replicate, ``texts`` counts different prompts."""
    directory.mkdir()
    cells = [(p, t, r) for p in range(prompts) for t in temperatures for r in range(2)]
    rows = [
        {
            "prompt_id": str(p), "temperature": t, "replicate": r, "scorer": name, "scorer_version": version,
            "role": "oracle", "score": judge(p, t, r), "tokens": None, "truncated_tokens": None, "error": None,
        }
        for name, judge in oracles.items()
        for p, t, r in cells
    ]  # fmt: skip
    asked = [
        {"prompt_id": str(p), "prompt": f"question {p % (texts or prompts)}", "task": None} for p in range(prompts)
    ]
    for name, lines in (("prompts", asked), ("scores", rows)):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (directory / "result.json").write_text(json.dumps({"status": status, "result": {"policy": policy}}))
    return str(directory)


def compared(directory: Path, paths: list[str], **fields: Any) -> dict[str, Any]:
    recipe = WinRateRecipe.model_validate({"paths": paths, "bootstrap": {"draws": 200}, **fields})
    return run_recipe(recipe, directory / "compared", ArtifactStore(directory / "artifacts"), quiet=True)


def found(summary: dict[str, Any], scorer: str, statistic: str, temperature: float, oracle: str = "gold") -> Any:
    [row] = [
        row
        for row in summary["estimates"]
        if (row["scorer"], row["statistic"], row["temperature"], row["oracle"])
        == (scorer, statistic, temperature, oracle)
    ]
    return row


def test_the_first_policy_wins_the_share_of_pairs_that_are_judged_better(tmp_path: Path) -> None:
    # at T = 0.5 one of the first's two responses beats both of the second's, the other ties with both: 3/4
    first = stored(tmp_path / "a", "new", {"gold": lambda p, t, r: 1.0 + r if t == 0.5 else 0.0})
    second = stored(tmp_path / "b", "old", {"gold": lambda p, t, r: 1.0})
    summary = compared(tmp_path, [first, second])
    cold, warm = (found(summary, "new", "win_rate_over_old", t) for t in (0.5, 1.0))
    assert (cold["estimate"], warm["estimate"]) == (0.75, 0.0)
    assert (cold["n_prompts"], cold["n_responses"], cold["n_dropped"]) == (12, 48, 0)
    assert found(summary, "new", "mean", 0.5)["estimate"] == 1.5
    assert found(summary, "old", "mean", 0.5)["estimate"] == 1.0
    assert (summary["models"], summary["baseline"], summary["temperatures"]) == (["new"], "old", [0.5, 1.0])
    assert (summary["n_prompts"], summary["n_responses"]) == (12, 96)
    marks = json.loads((tmp_path / "compared" / MARKS_FILE).read_text())
    assert marks == sorted(mark_of(f"question {number}", "") for number in range(12)), "as the stress tests' own are"


def test_the_interval_is_over_prompts(tmp_path: Path) -> None:
    # the first wins every pair of three quarters of the prompts and loses the others: se = sqrt(3/16 / 12) = 0.125
    first = stored(tmp_path / "a", "new", {"gold": lambda p, t, r: float(p % 4 > 0)})
    second = stored(tmp_path / "b", "old", {"gold": lambda p, t, r: 0.5})
    row = found(compared(tmp_path, [first, second]), "new", "win_rate_over_old", 1.0)
    assert row["estimate"] == 0.75
    assert row["standard_error"] == pytest.approx(0.125, rel=0.15)
    assert 0.4 <= row["lower"] < 0.75 < row["upper"] <= 1.0


def test_a_prompt_under_two_ids_is_drawn_once(tmp_path: Path) -> None:
    first = stored(tmp_path / "a", "new", {"gold": lambda p, t, r: p % 2}, texts=4)
    second = stored(tmp_path / "b", "old", {"gold": lambda p, t, r: 0.5}, texts=4)
    summary = compared(tmp_path, [first, second])
    one = found(summary, "new", "win_rate_over_old", 1.0)
    assert (one["n_prompts"], one["n_responses"], one["estimate"], one["lower"]) == (4, 48, 0.5, None)
    assert summary["notices"] == [
        "12 prompt ids stand for 4 different prompts; what is asked twice counts as one prompt"
    ]


def test_every_common_oracle_judges_and_one_may_be_named(tmp_path: Path) -> None:
    judges: dict[str, Judge] = {"gold": lambda p, t, r: 1.0, "silver": lambda p, t, r: 0.0}
    first = stored(tmp_path / "a", "new", judges)
    second = stored(tmp_path / "b", "old", {**judges, "bronze": lambda p, t, r: 1.0})
    summary = compared(tmp_path, [first, second])
    assert summary["oracles"] == ["gold", "silver"]
    assert summary["notices"] == ["judgements of bronze in the second run are left out"]
    (tmp_path / "alone").mkdir()
    assert compared(tmp_path / "alone", [first, second], oracle="silver")["oracles"] == ["silver"]


def test_a_missing_judgement_is_dropped_and_counted(tmp_path: Path) -> None:
    first = stored(tmp_path / "a", "new", {"gold": lambda p, t, r: None if p == 0 else 1.0})
    second = stored(tmp_path / "b", "old", {"gold": lambda p, t, r: 0.0})
    row = found(compared(tmp_path, [first, second]), "new", "win_rate_over_old", 1.0)
    assert (row["estimate"], row["n_prompts"], row["n_dropped"]) == (1.0, 11, 2)


def test_only_what_both_have_is_compared(tmp_path: Path) -> None:
    first = stored(tmp_path / "a", "new", {"gold": lambda p, t, r: 1.0}, temperatures=(0.5, 1.0, 2.0))
    second = stored(tmp_path / "b", "old", {"gold": lambda p, t, r: 0.0}, prompts=5, temperatures=(1.0, 2.0))
    summary = compared(tmp_path, [first, second])
    assert (summary["temperatures"], summary["n_prompts"]) == ([1.0, 2.0], 5)
    assert summary["notices"] == ["7 prompts of the first run are left out: the other lacks them"]


def test_runs_of_one_policy_are_told_apart_by_their_directories(tmp_path: Path) -> None:
    paths = [stored(tmp_path / name, "same", {"gold": lambda p, t, r: 1.0}) for name in ("a", "b")]
    summary = compared(tmp_path, paths)
    assert (summary["models"], summary["baseline"]) == (["same (a)"], "same (b)")
    assert found(summary, "same (a)", "win_rate_over_same (b)", 1.0)["estimate"] == 0.5


def test_two_versions_of_a_judge_are_two_judges(tmp_path: Path) -> None:
    judges: dict[str, Judge] = {"gold": lambda p, t, r: 1.0}
    paths = [stored(tmp_path / f"v{version}", f"p{version}", judges, version=version) for version in (1, 2)]
    with pytest.raises(InvalidInput, match=r"no oracle in common: the first has gold@1; the second gold@2"):
        compared(tmp_path, paths)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda b: (b / "scores.jsonl").unlink(), "it has no scores.jsonl"),
        (lambda b: (b / "scores.jsonl").write_text(""), "no oracle's judgement"),
        (lambda b: (b / "result.json").write_text('{"status": "failed", "result": null}'), "has failed; resume it"),
        (lambda b: (b / "prompts.jsonl").write_text('{"prompt_id": "0", "prompt": "other"}\n'), "prompt 0 is another"),
        (lambda b: (b / "prompts.jsonl").write_text('{"prompt_id": "x", "prompt": "y"}\n'), "no prompt in common"),
    ],
)
def test_what_cannot_be_compared_is_told(tmp_path: Path, spoil: Callable[[Path], object], complaint: str) -> None:
    paths = [stored(tmp_path / name, name, {"gold": lambda p, t, r: 1.0}) for name in ("a", "b")]
    spoil(tmp_path / "b")
    with pytest.raises(InvalidInput, match=complaint):
        compared(tmp_path, paths)


def test_runs_without_a_common_temperature_are_told(tmp_path: Path) -> None:
    judges: dict[str, Judge] = {"gold": lambda p, t, r: 1.0}
    paths = [stored(tmp_path / f"t{t}", f"p{t}", judges, temperatures=(t,)) for t in (0.5, 1.0)]
    with pytest.raises(InvalidInput, match="no temperature in common"):
        compared(tmp_path, paths)


def test_a_directory_and_a_file_do_not_mix(tmp_path: Path) -> None:
    first = stored(tmp_path / "a", "new", {"gold": lambda p, t, r: 1.0})
    with pytest.raises(InvalidInput, match="two stress tests"):
        compared(tmp_path, [first, str(tmp_path / "b.json")])
