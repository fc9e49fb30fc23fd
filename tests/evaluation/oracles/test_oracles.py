"""Oracles judge stored responses, and say beforehand when they could not."""

import json
from pathlib import Path

import pytest

from evaluation.engine.scoring import Pair, ScoringEngine
from evaluation.oracles.oracle import Asked
from evaluation.oracles.product_world import Measure, ProductWorldOracle
from evaluation.oracles.recorded import RecordedOracle
from evaluation.oracles.reward_model import RewardModelOracle
from evaluation.scorers.scorer import Column, StoredResponse
from trainer.data.product_world import Task, check, gold, render_prompt, sample_examples
from trainer.errors import InvalidInput, NotFound
from trainer.generation.sampled import Cell

EXAMPLE = sample_examples("test", 1, seed=3, levels=(5,))[0]
PROMPT = render_prompt(EXAMPLE.task)
ASKED = [Asked("p", PROMPT, EXAMPLE.task.to_json())]


def stored(response: str) -> StoredResponse:
    return StoredResponse(Cell("p", 1.0, 0), PROMPT, response, tokens=5, finish_reason="stop", mean_logprob=-1.0)


@pytest.mark.parametrize(
    ("measure", "name", "worse_than_perfect"),
    [
        ("gold", "product_world", None),
        ("satisfied", "product_world:satisfied", 0.0),
        ("share", "product_world:share", None),
    ],
)
def test_the_product_worlds_checker_gives_one_to_a_perfect_response_and_less_to_others(
    engine: ScoringEngine, measure: Measure, name: str, worse_than_perfect: float | None
) -> None:
    oracle = ProductWorldOracle(measure=measure).open(engine, ASKED, {}, Path())
    cut = EXAMPLE.response.rsplit(".", 2)[0] + "."

    (perfect,), (worse,), (empty,) = oracle.judge([stored(EXAMPLE.response), stored(cut), stored("")])

    assert oracle.columns == (Column(name, None, "oracle"),)
    assert perfect.score == 1.0
    assert worse.score is not None
    assert worse.score < 1.0
    assert empty.score is not None  # an empty response is judged, not dropped
    if worse_than_perfect is not None:
        assert worse.score == worse_than_perfect


def test_the_share_counts_constraints_and_gold_is_the_worlds_own(engine: ScoringEngine) -> None:
    response = "it is red ."
    verdicts = check(EXAMPLE.task, response)

    ((share,),) = ProductWorldOracle(measure="share").open(engine, ASKED, {}, Path()).judge([stored(response)])
    ((judged,),) = ProductWorldOracle().open(engine, ASKED, {}, Path()).judge([stored(response)])

    assert 0 < sum(verdicts.values()) < len(verdicts)
    assert share.score == sum(verdicts.values()) / len(verdicts)
    assert judged.score == gold(Task.from_json(EXAMPLE.task.to_json()), response)


@pytest.mark.parametrize("task", [None, {}, {"noun": "lamp", "facts": [1]}])
def test_a_prompt_without_a_task_is_refused_beforehand(engine: ScoringEngine, task: dict[str, object] | None) -> None:
    with pytest.raises(InvalidInput, match="prompt q"):
        ProductWorldOracle().open(engine, [Asked("q", "hello", task)], {}, Path())


def test_a_registered_scorer_can_be_the_oracle(engine: ScoringEngine, pairs: list[Pair]) -> None:
    setting = RewardModelOracle(path="rm")
    oracle = setting.open(engine, ASKED, {"rm": "rm@1"}, Path())

    (good,), (empty,) = oracle.judge([stored(EXAMPLE.response), stored("")])

    assert setting.artifacts() == ("rm",)
    assert oracle.columns == (Column("rm", 1, "oracle"),)
    assert isinstance(good.score, float)
    assert (empty.score, empty.error) == (None, {"code": "invalid_input", "detail": "the response is empty"})
    with pytest.raises(NotFound):
        RewardModelOracle(path="nobody").open(engine, ASKED, {"nobody": "nobody@1"}, Path())


def test_recorded_judgements_are_found_by_prompt_and_response(engine: ScoringEngine, tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text(json.dumps({"prompt_id": "p", "response": "good", "score": 4}) + "\n")
    oracle = RecordedOracle(path=str(path), name="people").open(engine, ASKED, {}, Path())

    (known,), (unknown,) = oracle.judge([stored("good"), stored("other")])

    assert oracle.columns == (Column("people", None, "oracle"),)
    assert known.score == 4.0
    assert unknown.score is None
    assert unknown.error is not None
    assert unknown.error["code"] == "not_found"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt_id": "p", "response": "a", "score": null}', "line 1: expected"),
        ('{"prompt_id": "p", "response": "a", "score": NaN}', "line 1: expected"),
        ('{"prompt_id": "p", "score": 1}', "line 1: expected"),
        ("", "has no rows"),
    ],
)
def test_a_file_of_judgements_that_cannot_be_used_is_named(
    engine: ScoringEngine, tmp_path: Path, line: str, words: str
) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text(line + "\n")

    with pytest.raises(InvalidInput, match=words):
        RecordedOracle(path=str(path)).open(engine, ASKED, {}, Path())
