"""Win rates from files: AlpacaEval's annotations, outputs with an oracle, recorded judgements, and bad input."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.prompt_marks import MARKS_FILE, mark_of
from evaluation.recipes.win_rate import WinRateRecipe
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput, NotFound
from trainer.run import run_recipe

REAL = Path("/work/shared/data/alpaca_eval_judged.jsonl.gz")

Row = dict[str, Any]
Summary = dict[str, Any]


def written(path: Path, rows: list[Row]) -> str:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def annotation(instruction: str, model: str, preference: float | None, output: str = "an answer", **more: Any) -> Row:
    """As alpaca_eval writes it, fields that nobody needs included."""
    return {
        "instruction": instruction,
        "output_1": "what the baseline says",
        "generator_1": "base",
        "dataset": "helpful_base",
        "output_2": output,
        "generator_2": model,
        "annotator": "weighted_alpaca_eval_gpt4_turbo",
        "preference": preference,
        "raw_completion": {"text": "m"},
        **more,
    }


def rated(directory: Path, paths: list[str], **fields: Any) -> Summary:
    recipe = WinRateRecipe.model_validate({"paths": paths, "bootstrap": {"draws": 100}, **fields})
    return run_recipe(recipe, directory / "run", ArtifactStore(directory / "artifacts"), quiet=True)


def found(summary: Summary, model: str, statistic: str = "win_rate", stratum: str = "all") -> Any:
    [row] = [
        row
        for row in summary["estimates"]
        if (row["scorer"], row["statistic"], row["stratum"]) == (model, statistic, stratum)
    ]
    return row["estimate"]


def test_instructions_are_marked_where_every_model_met_all_of_them(tmp_path: Path) -> None:
    rows = [annotation(question, model, 2) for question in ("one", "two") for model in ("m", "n")]
    for name, some in (("all", rows), ("not all", rows[:-1])):
        (tmp_path / name).mkdir()
        rated(tmp_path / name, [written(tmp_path / name / "annotations.json", some)])
    marks = tmp_path / "all" / "run" / MARKS_FILE
    assert json.loads(marks.read_text()) == sorted(mark_of(each, "") for each in ("one", "two"))
    assert not (tmp_path / "not all" / "run" / MARKS_FILE).exists()


def test_annotations_are_read_on_alpaca_evals_scale(tmp_path: Path) -> None:
    preferences = [2, 1, 1.5, 0, 1.25, None]
    rows = [annotation(f"question {index}", "m", value) for index, value in enumerate(preferences)]
    summary = rated(tmp_path, [written(tmp_path / "annotations.json", rows)])
    assert found(summary, "m") == pytest.approx((1 + 0 + 0.5 + 0.5 + 0.25) / 5)  # 0 is another way to say tie
    assert (summary["baseline"], summary["oracle"]) == ("base", "weighted_alpaca_eval_gpt4_turbo")
    assert "1 of 6 battles have no verdict and are left out" in summary["notices"]


def test_several_files_are_joined_by_instruction_whatever_their_order(tmp_path: Path) -> None:
    rows = {
        name: [annotation(f"question {i}", name, 1 + value, "x" * (5 + 7 * i % 60)) for i, value in enumerate(values)]
        for name, values in {"a": [0.9, 0.1, 0.4, 0.8] * 5, "b": [0.7, 0.2, 0.1, 0.9] * 5}.items()
    }
    straight = rated(tmp_path / "1", [written(tmp_path / f"{name}.json", rows[name]) for name in rows])
    rows["b"].reverse()
    turned = rated(tmp_path / "2", [written(tmp_path / f"{name}-2.json", rows[name]) for name in rows])
    assert found(straight, "b", "win_rate_lead_over_a") == pytest.approx(0.475 - 0.55)
    for one, other in zip(straight["estimates"], turned["estimates"], strict=True):
        for key in ("estimate", "lower", "upper"):
            assert one[key] == pytest.approx(other[key]), one["statistic"]
    assert straight["difficulty"] == "estimated for each model from the battles of the other 1"


def test_a_model_does_not_explain_its_own_verdicts(tmp_path: Path) -> None:
    """Where the others' verdicts are all alike nothing is known of difficulty, whatever the model's own are."""
    own = [annotation(f"question {i}", "own", 1 + i % 2, "x" * (1 + i)) for i in range(20)]
    flat = [annotation(f"question {i}", "flat", 1.5, "x" * (1 + i)) for i in range(20)]
    paths = [written(tmp_path / "own.json", own), written(tmp_path / "flat.json", flat)]
    alone = rated(tmp_path / "1", paths[:1])
    together = rated(tmp_path / "2", paths)
    statistic = "win_rate_length_controlled"
    assert found(together, "own", statistic) == pytest.approx(found(alone, "own", statistic), abs=1e-9)


def test_a_difficulty_file_is_joined_by_instruction(tmp_path: Path) -> None:
    rows = [annotation(f"question {i}", "m", 1 + (i % 4 > 0), "x" * (1 + 13 * i % 40)) for i in range(20)]
    difficulty = [{"instruction": f"question {i}", "instruction_difficulty": i % 4 - 1.5} for i in range(20)]
    path = written(tmp_path / "annotations.json", rows)
    one, other = (
        rated(tmp_path / name, [path], difficulty=written(tmp_path / f"{name}.json", listed))
        for name, listed in (("forward", difficulty), ("backward", difficulty[::-1]))
    )
    statistic = "win_rate_length_controlled"
    assert found(one, "m", statistic) == found(other, "m", statistic)
    with pytest.raises(InvalidInput, match="no difficulty for 1 of 20 instructions, such as 'question 19'"):
        rated(tmp_path / "short", [path], difficulty=written(tmp_path / "short.json", difficulty[:-1]))


def outputs(model: str, texts: list[str]) -> list[Row]:
    return [{"instruction": f"question {i}", "output": text, "generator": model} for i, text in enumerate(texts)]


def test_outputs_meet_a_baseline_before_an_oracle(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / "mine.json", outputs("mine", ["long answer", "same", "x"])),
        written(tmp_path / "theirs.json", outputs("theirs", ["short", "same", "longer"])),
    ]
    summary = rated(tmp_path, paths, oracle="length", baseline="theirs", length_buckets=1)
    assert summary["models"] == ["mine"]
    assert found(summary, "mine") == pytest.approx((1 + 0.5 + 0) / 3)


def judged(model: str, scores: list[float]) -> list[Row]:
    return [
        {"prompt_id": i, "prompt": f"q{i}", "generator": model, "response": "r" * (i + 1), "oracle_score": score}
        for i, score in enumerate(scores)
    ]


def test_recorded_judgements_are_rates_against_the_unseen_baseline_or_compared_with_a_model(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl.gz"
    rows = judged("a", [0.9, 0.1, 0.5]) + judged("b", [0.6, 0.2, 0.5])
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    assert found(rated(tmp_path / "1", [str(path)]), "a") == pytest.approx(0.5)
    assert found(rated(tmp_path / "2", [str(path)], baseline="b"), "a") == pytest.approx((1 + 0 + 0.5) / 3)


ANNOTATED = [annotation("q", "m", 2)]


@pytest.mark.parametrize(
    ("rows", "fields", "complaint"),
    [
        ([], {}, "no rows"),
        ([{"text": "x"}], {}, "entry 0: neither an annotation"),
        ([annotation("q", "m", 3)], {}, "entry 0, field 'preference': 3 is not between 1"),
        ([{**ANNOTATED[0], "output_1": None}], {}, "entry 0, field 'output_1': missing"),
        ([{**ANNOTATED[0], "preference": "2"}], {}, "entry 0, field 'preference': expected a number"),
        (ANNOTATED + outputs("m", ["x"]), {}, "entry 1: annotations and outputs do not mix"),
        (
            [*ANNOTATED, annotation("q", "m", 2, generator_1="else")],
            {},
            "against base, else; compare models against one",
        ),
        (ANNOTATED, {"oracle": "length"}, "annotations are judged already"),
        (ANNOTATED, {"reference": "n"}, "reference: no battle of 'n'; there are: m"),
        (outputs("m", ["x"]), {"oracle": "length"}, "baseline: name the model to compare with; there are: m"),
        (outputs("m", ["x"]), {"baseline": "n"}, "baseline: no outputs of 'n'; there are: m"),
        (outputs("m", ["x"]), {"baseline": "m"}, "oracle: outputs without scores need one"),
        (outputs("m", ["x"]), {"baseline": "m", "oracle": "length"}, "nobody else answered an instruction"),
        (judged("m", [3.5]), {}, "m: oracle_score 3.5 is no probability"),
    ],
)
def test_bad_input_gets_one_line(tmp_path: Path, rows: list[Row], fields: Row, complaint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rated(tmp_path, [written(tmp_path / "rows.json", rows)], **fields)
    assert complaint in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b'{"a": 1}', "expected a list of objects"), (b"[1", "not JSON"), (b'["\xff"]', "cannot be read as UTF-8 JSON")],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "rows.json").write_bytes(content)
    with pytest.raises(InvalidInput, match=complaint):
        rated(tmp_path, [str(tmp_path / "rows.json")])


def test_an_oracle_that_is_not_registered_is_not_found(tmp_path: Path) -> None:
    path = written(tmp_path / "outputs.json", outputs("a", ["x"]) + outputs("b", ["y"]))
    with pytest.raises(NotFound):
        rated(tmp_path, [path], oracle="nobody", baseline="a")


@pytest.mark.skipif(not REAL.exists(), reason=f"the real judged responses are not at {REAL}")
def test_on_real_responses_verbosity_wins_until_length_is_controlled(tmp_path: Path) -> None:
    """Facts of docs/statistics.md: the same model, asked to be verbose or concise, against itself."""
    rows = [json.loads(line) for line in gzip.decompress(REAL.read_bytes()).splitlines()]
    kept = {f"gpt-3.5-turbo-1106{suffix}" for suffix in ("", "_verbose", "_concise")}
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row["generator"] in kept))
    summary = rated(tmp_path, [str(path)], baseline="gpt-3.5-turbo-1106")
    raw = {model: found(summary, model) for model in summary["models"]}
    controlled = {model: found(summary, model, "win_rate_length_controlled") for model in summary["models"]}
    assert raw["gpt-3.5-turbo-1106_verbose"] == pytest.approx(0.6601, abs=1e-4)
    assert raw["gpt-3.5-turbo-1106_concise"] == pytest.approx(0.2857, abs=1e-4)
    for model, rate in raw.items():
        assert abs(controlled[model] - 0.5) < 0.06 < abs(rate - 0.5)
