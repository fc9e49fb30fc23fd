"""Downstream tasks through lm-evaluation-harness: a task of one's own on a real policy, where it is installed."""

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest

from evaluation.recipes.downstream import SAMPLES_FILE, DownstreamRecipe
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput
from trainer.run import run_recipe

INSTALLED = importlib.util.find_spec("lm_eval") is not None

TASK = """
task: which_colour
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "the color is"
doc_to_choice: [red, blue]
doc_to_target: "{{{{answer}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture
def task(tmp_path: Path) -> str:
    """Twenty questions that are all the same, of which three quarters are answered by ``red``."""
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"answer": int(i % 4 == 0)}) + "\n" for i in range(20)))
    path = tmp_path / "tasks" / "which_colour.yaml"
    path.parent.mkdir()
    path.write_text(TASK.format(data=data))
    return str(path)


def evaluated(directory: Path, store: ArtifactStore, **fields: Any) -> dict[str, Any]:
    recipe = DownstreamRecipe.model_validate({"policy": {"path": "policy"}, "bootstrap": {"draws": 200}, **fields})
    return run_recipe(recipe, directory / "run", store, quiet=True)


@pytest.mark.skipif(not INSTALLED, reason="the extra downstream (lm-eval) is not installed")
@pytest.mark.filterwarnings("ignore")  # the harness's own
def test_a_task_of_ones_own_is_answered_and_its_interval_is_over_documents(
    tmp_path: Path, store: ArtifactStore, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    summary = evaluated(tmp_path, store, tasks=[task])
    [row] = summary["estimates"]
    assert (row["scorer"], row["oracle"], row["statistic"]) == ("policy@2", "which_colour", "acc")
    # a question has one answer, so all red or all blue
    assert row["estimate"] in (0.25, 0.75)
    assert row["lower"] < row["estimate"] < row["upper"]
    assert (row["n_prompts"], row["standard_error"]) == (20, pytest.approx((0.25 * 0.75 / 20) ** 0.5, rel=0.2))
    samples = [json.loads(line) for line in (tmp_path / "run" / SAMPLES_FILE).read_text().splitlines()]
    assert sum(each["value"] for each in samples) / 20 == row["estimate"]


@pytest.mark.skipif(not INSTALLED, reason="the extra downstream (lm-eval) is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_task_that_the_harness_does_not_know_is_named(tmp_path: Path, store: ArtifactStore) -> None:
    with pytest.raises(InvalidInput, match="the harness knows no no_such_task"):
        evaluated(tmp_path, store, tasks=["no_such_task"])


def test_a_number_that_is_none_is_missing_with_what_the_harness_gave(
    tmp_path: Path, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [
        {"doc_id": i, "metrics": ["perplexity"], "perplexity": value} for i, value in enumerate([2.0, math.nan])
    ]
    answer = {
        "results": {"wiki": {"perplexity,none": math.nan, "perplexity_stderr,none": 0.1, "bits,none": math.inf}},
        "samples": {"wiki": documents},
    }
    monkeypatch.setattr("evaluation.recipes.downstream.require_harness", lambda: None)
    monkeypatch.setattr("evaluation.recipes.downstream._evaluate", lambda *_: answer)

    perplexity, bits = evaluated(tmp_path, store, tasks=["wiki"])["estimates"]

    for row, reason in ((perplexity, "the harness gives nan"), (bits, "the harness gives inf")):
        assert [row[name] for name in ("estimate", "lower", "upper", "standard_error")] == [None] * 4
        assert row["undefined_reason"] == reason
    lines = (tmp_path / "run" / SAMPLES_FILE).read_text().splitlines()
    assert [json.loads(line)["document"] for line in lines] == [0], "NaN is no JSON"


@pytest.mark.skipif(INSTALLED, reason="the extra downstream (lm-eval) is installed")
def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path, store: ArtifactStore) -> None:
    with pytest.raises(InvalidInput, match=r"pip install 'reward-assay\[downstream\]'"):
        evaluated(tmp_path, store, tasks=["gsm8k"])
