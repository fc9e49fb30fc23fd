"""The contract between whatever judges stored responses and the recipes that want it done."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from trainer.data.text import Prompt
from trainer.generation.sampled import Cell, FinishReason

Role = Literal["scorer", "control", "oracle"]


@dataclass(frozen=True)
class StoredResponse:
    """A sampled response with what it answers and what was recorded while it was sampled; None is what was not."""

    cell: Cell
    prompt: Prompt
    response: str
    tokens: int | None
    finish_reason: FinishReason | None
    mean_logprob: float | None


@dataclass(frozen=True)
class Column:
    """One series of scores: the scorer's name without version, its version if it is an artifact, and its role."""

    scorer: str
    version: int | None
    role: Role
    floor: float | None = field(default=None, compare=False)
    """The mean that responses worth nothing would have, where that was measured."""


@dataclass(frozen=True)
class Judgement:
    """What a scorer said of a response, or why it said nothing."""

    score: float | None
    tokens: int | None = None
    truncated_tokens: int | None = None
    error: dict[str, str] | None = None
    """``{code, detail}`` where the score is missing."""
    open: bool = False
    """Whether it may yet be given: such a judgement is not recorded, so that a run that continues asks again."""


def missing(code: str, detail: str) -> Judgement:
    """The judgement of a response that could not be judged."""
    return Judgement(None, error={"code": code, "detail": detail})


class Scorer(ABC):
    """Judges responses. One scorer may fill several columns in one go, as outputs of one model."""

    at_once: int = 512
    """How many responses it likes to be given: as many as sort well, or as few as take seconds."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]: ...

    @abstractmethod
    def judge(self, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        """For each response one judgement for each column. A response that cannot be judged never fails others."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the results should know besides, such as what the judgements cost."""
        return ()
