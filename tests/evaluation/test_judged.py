"""Judged responses: what is read, and what a reader is told about a wrong line."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from evaluation.judged import JudgedRow, read_judged
from evaluation.scorers.controls import Response
from trainer.errors import InvalidInput

LEAST: dict[str, Any] = {"prompt_id": 1, "oracles": {"judge": 1}}
ALPACA: dict[str, Any] = {
    "prompt_id": 7,
    "prompt": "Name a tree.",
    "source": "helpful_base",
    "generator": "model-a",
    "response": "An oak.",
    "oracle_score": 0.25,
}


def written(directory: Path, *rows: Any) -> Path:
    path = directory / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(path: Path, limit: int | None = None) -> list[JudgedRow]:
    return [row for _, row in read_judged(path, limit)]


def test_a_row_needs_a_prompt_id_and_judgements_and_nothing_else(tmp_path: Path) -> None:
    [row] = rows_of(written(tmp_path, LEAST))
    assert row == JudgedRow(prompt_id="1", oracles={"judge": 1.0})
    assert row.control_facts() is None


def test_a_full_row_is_read_as_written(tmp_path: Path) -> None:
    full = {
        **LEAST,
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "response": "",  # an empty response is a fact about a policy, not a mistake of the file
        "clusters": {"policy": "a", "shard": 3},
        "temperature": 1.5,
        "tokens": 0,
        "mean_logprob": -0.5,
        "finish_reason": "stop",
        "scores": {"rm": 2, "other": None},
    }
    [row] = rows_of(written(tmp_path, full))
    assert row.clusters == {"policy": "a", "shard": "3"}
    assert row.scores == {"rm": 2.0, "other": None}
    assert row.control_facts() == Response("system: Be brief.\n\nuser: Hi", "", 0, -0.5, "stop")


def test_nan_and_infinity_are_missing_as_null_is(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text(
        '{"prompt_id": 1, "scores": {"a": NaN}, "oracles": {"j": -Infinity}, "mean_logprob": NaN, "response": "r"}'
    )
    [row] = rows_of(path)
    assert math.isnan(row.scores["a"] or 0.0)
    facts = row.control_facts()
    assert facts is not None
    assert facts.mean_logprob is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"oracles": None}, "field 'oracles': expected a valid dictionary"),
        ({"prompt_id": None}, "field 'prompt_id': expected a string or an integer"),
        ({"prompt_id": True}, "field 'prompt_id': expected a string or an integer"),
        ({"prompt": 3}, "field 'prompt': expected a string or a list of {role, content}"),
        ({"prompt": " "}, "field 'prompt': the prompt is empty, or a message is not {role, content}"),
        ({"prompt": [{"role": "user"}]}, "field 'prompt': the prompt is empty, or a message is not {role, content}"),
        ({"prompt": [{"role": "user", "content": 3}]}, "field 'prompt': the prompt is empty, or a message is not"),
        ({"scores": {"rm": "0.5"}}, "field 'scores.rm': expected a valid number"),
        ({"scores": {"rm": True}}, "field 'scores.rm': expected a valid number"),
        ({"oracle": {}}, "field 'oracle': unknown field; remove it or check its spelling"),
        ({"temperature": -0.1}, "field 'temperature': expected greater than or equal to 0"),
        ({"temperature": math.nan}, "field 'temperature': expected"),
        ({"clusters": {"policy": None}}, "field 'clusters.policy': expected a string or an integer"),
        ({"finish_reason": "eos"}, "field 'finish_reason': expected 'stop' or 'length'"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = written(tmp_path, LEAST, {**LEAST, **change})
    with pytest.raises(InvalidInput) as caught:
        rows_of(path)
    assert str(caught.value).startswith(f"{path}, line 2, {complaint}")
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"line 1, field 'oracles': missing$"):
        rows_of(written(tmp_path, {"prompt_id": 1}))


def test_alpaca_eval_annotations_are_recognised_and_said_so(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in [ALPACA] * 3).encode()))
    said: list[str] = []
    read = list(read_judged(path, 2, say=said.append))
    expected = JudgedRow(
        prompt_id="7",
        prompt="Name a tree.",
        response="An oak.",
        clusters={"policy": "model-a", "source": "helpful_base"},
        oracles={"judge": 0.25},
    )
    assert read == [(1, expected), (2, expected)]
    assert len(said) == 1
    assert "AlpacaEval" in said[0]


def test_a_wrong_alpaca_eval_line_is_named_by_its_own_field(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"line 2, field 'oracle_score': expected a valid number"):
        rows_of(written(tmp_path, ALPACA, {**ALPACA, "oracle_score": "high"}))
