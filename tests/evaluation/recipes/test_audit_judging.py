"""Audits whose responses are judged in the run itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluation.oracles.product_world import ProductWorldOracle, _Checker
from evaluation.recipes.audit import AuditRecipe
from evaluation.scorers.scorer import Judgement, StoredResponse, missing
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput, RunFailed
from trainer.run import run_recipe

PROMPT = "product lamp | color red ; size large"
GOOD, HALF, BAD = "the color is red . the size is large .", "the color is red .", "the lamp is nice ."


def audited(directory: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    path = directory / "sample.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = AuditRecipe.model_validate(
        {
            "path": str(path),
            "scorers": ["recorded:rm"],
            "judges": [{"kind": "product_world", "measure": "share"}],
            "bootstrap": {"draws": 100},
        }
    )
    return run_recipe(recipe, directory / "run", ArtifactStore(directory / "artifacts"), quiet=True)


def rows(prompt: str = PROMPT) -> list[dict[str, Any]]:
    texts = {GOOD: 2.0, HALF: 1.0, BAD: 0.0}
    return [
        {"prompt_id": k, "prompt": prompt, "response": text, "scores": {"rm": score}, "oracles": {}}
        for k in range(4)
        for text, score in texts.items()
    ]


def test_a_checker_judges_the_rows_and_the_audit_is_of_its_word(tmp_path: Path) -> None:
    summary = audited(tmp_path, rows())
    assert summary["oracles"] == ["product_world:share"]
    said = [json.loads(line) for line in (tmp_path / "run/judgements.jsonl").read_text().splitlines()]
    assert [each["score"] for each in said[:3]] == [1.0, 0.75, 0.5]
    [pooled] = [
        each
        for each in summary["estimates"]
        if (each["scorer"], each["statistic"], each["stratum"], each["temperature"])
        == ("recorded:rm", "pearson_pooled", "all", None)
    ]
    assert pooled["oracle"] == "product_world:share"
    assert pooled["estimate"] == pytest.approx(1.0)


def test_a_prompt_of_another_world_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a prompt of the product-description world"):
        audited(tmp_path, rows("What is a lamp?"))


def test_what_was_not_answered_is_asked_again_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    away = True

    def judge(self: _Checker, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        asked.append([each.response for each in responses])
        silent = Judgement(None, error={"code": "unanswered", "detail": "away"}, open=True)
        return [
            (
                silent
                if away and each.response == BAD
                else missing("refused", "no")
                if each.response == HALF
                else Judgement(float(len(each.response))),
            )
            for each in responses
        ]

    monkeypatch.setattr(_Checker, "judge", judge)
    with pytest.raises(RunFailed, match="4 judgements were not given"):
        audited(tmp_path, rows())
    away = False
    summary = audited(tmp_path, rows())
    assert asked == [[GOOD, HALF, BAD] * 4, [BAD] * 4]
    assert "product_world:share gave no judgement of 4 responses" in summary["notices"]


def test_somebody_must_be_trusted_and_nobody_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name at least one, or give judges"):
        AuditRecipe.model_validate({"path": "f", "scorers": ["length"]})
    path = tmp_path / "sample.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    twice = AuditRecipe(path=str(path), scorers=["length"], judges=(ProductWorldOracle(), ProductWorldOracle()))
    with pytest.raises(InvalidInput, match="product_world is named twice"):
        run_recipe(twice, tmp_path / "run", ArtifactStore(tmp_path / "artifacts"), quiet=True)
