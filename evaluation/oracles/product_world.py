"""The exact checker of the product-description world: an oracle without noise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from evaluation.engine.scoring import ScoringEngine
from evaluation.oracles.oracle import Asked, Oracle
from evaluation.scorers.scorer import Column, Judgement, Scorer, StoredResponse
from trainer.data.product_world import Task
from trainer.data.product_world.reading import MEASURES, Measure
from trainer.errors import InvalidInput


class ProductWorldOracle(Oracle):
    """Judges by the task that is stored with each prompt."""

    kind: Literal["product_world"] = "product_world"
    measure: Measure = "gold"
    """``gold``: constraints met and fluency in one number; ``satisfied``: 1 if all are met, else 0; ``share``: how
    many of the constraints are met. All within [0, 1]."""

    def open(
        self, engine: ScoringEngine, prompts: Sequence[Asked], pinned: dict[str, str], directory: Path
    ) -> "_Checker":
        return _Checker({asked.prompt_id: _task(asked) for asked in prompts}, self.measure)


class _Checker(Scorer):
    def __init__(self, tasks: dict[str, Task], measure: Measure) -> None:
        self._tasks = tasks
        self._measure = measure

    @property
    def columns(self) -> tuple[Column, ...]:
        name = "product_world" if self._measure == "gold" else f"product_world:{self._measure}"
        return (Column(name, None, "oracle"),)

    def judge(self, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        measure = MEASURES[self._measure]
        return [(Judgement(measure(self._tasks[each.cell.prompt_id], each.response)),) for each in responses]


def _task(asked: Asked) -> Task:
    if asked.task is None:
        raise InvalidInput(
            f"prompt {asked.prompt_id} has no task for the product_world oracle; use prompts of that world"
        )
    try:
        return Task.from_json(asked.task)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidInput(f"prompt {asked.prompt_id}: its task is not one of the product world ({error!r})") from error
