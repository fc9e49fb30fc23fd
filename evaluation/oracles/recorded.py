"""Judgements somebody already has, looked up by prompt and response."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from evaluation.engine.scoring import ScoringEngine
from evaluation.judged import finite
from evaluation.oracles.oracle import Asked, Oracle
from evaluation.scorers.scorer import Column, Judgement, Scorer, StoredResponse, missing
from trainer.errors import InvalidInput
from trainer.files import read_jsonl
from trainer.outside import LocalPath


class RecordedOracle(Oracle):
    """Reads ``{"prompt_id", "response", "score"}`` rows, as people or a judge gave them for an earlier equal run."""

    kind: Literal["recorded"] = "recorded"
    path: LocalPath
    name: str = Field("recorded", min_length=1, max_length=100)
    """What the judgements are called in results."""

    def open(
        self, engine: ScoringEngine, prompts: Sequence[Asked], pinned: dict[str, str], directory: Path
    ) -> "_Records":
        scores: dict[tuple[str, str], float] = {}
        for line, row in read_jsonl(Path(self.path)):
            prompt_id, response, score = row.get("prompt_id"), row.get("response"), row.get("score")
            number = finite(score) if isinstance(score, int | float) else None
            if not isinstance(prompt_id, str | int) or not isinstance(response, str) or number is None:
                raise InvalidInput(f"{self.path}, line {line}: expected prompt_id, response and a finite score")
            scores[str(prompt_id), response] = number
        if not scores:
            raise InvalidInput(f"{self.path} has no rows; give at least one judged response")
        return _Records(self.name, scores)


class _Records(Scorer):
    def __init__(self, name: str, scores: dict[tuple[str, str], float]) -> None:
        self._name = name
        self._scores = scores

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(self._name, None, "oracle"),)

    def judge(self, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        return [(self._judge(each),) for each in responses]

    def _judge(self, stored: StoredResponse) -> Judgement:
        score = self._scores.get((stored.cell.prompt_id, stored.response))
        return (
            missing("not_found", "nobody recorded a judgement of this response") if score is None else Judgement(score)
        )
