"""The contract between whatever judges stored responses and the recipes that want it done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from trainer.data.text import Prompt
from trainer.generation.sampled import Cell, FinishReason

Role = Literal["scorer", "control", "oracle"]


@dataclass(frozen=True)
class StoredResponse:
    """A sampled response with what it answers and what was recorded while it was sampled."""

    cell: Cell
    prompt: Prompt
    response: str
    tokens: int
    finish_reason: FinishReason
    mean_logprob: float


@dataclass(frozen=True)
class Column:
    """One series of scores: the scorer's name without version, its version if it is an artifact, and its role."""

    scorer: str
    version: int | None
    role: Role


@dataclass(frozen=True)
class Judgement:
    """What a scorer said of a response, or why it said nothing."""

    score: float | None
    tokens: int | None = None
    truncated_tokens: int | None = None
    error: dict[str, str] | None = None
    """``{code, detail}`` where the score is missing."""


def missing(code: str, detail: str) -> Judgement:
    """The judgement of a response that could not be judged."""
    return Judgement(None, error={"code": code, "detail": detail})


class Scorer(Protocol):
    """Judges responses. One scorer may fill several columns in one go, as outputs of one model."""

    @property
    def columns(self) -> tuple[Column, ...]: ...

    def judge(self, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        """For each response one judgement for each column. A response that cannot be judged never fails others."""
        ...
