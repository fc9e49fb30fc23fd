"""The one contract between whatever gives scores and whatever wants them in batches."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from trainer.data.text import Encoded, OnOverlong, Prompt


class PairModel(Protocol):
    """A model that scores prompt-response pairs. Training, auditing and serving all score through this."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the scores one forward pass gives; the first is the one meant when none is named."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest prompt plus response, in this model's own tokens."""
        ...

    @property
    def template_hash(self) -> str:
        """Identifies how prompt and response become one text."""
        ...

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        """Tokenise one pair; needs no device. Raises InvalidInput or OverlongInput."""
        ...

    def score(self, batch: Sequence[Encoded]) -> Tensor:
        """Scores (batch, len(outputs)), float32 on the CPU. Independent of padding and of the batch's other rows."""
        ...

    def bytes(self) -> int:
        """Memory of the weights, for residency decisions."""
        ...


ROWS_AT_ONCE, TOKENS_AT_ONCE = 64, 2**14
"""Of one forward pass without gradients, padding included."""


def score_all(model: PairModel, rows: Sequence[Encoded]) -> list[list[float]]:
    """The scores of every row, in their order; rows of like length go through the model together."""
    order = sorted(range(len(rows)), key=lambda index: rows[index].tokens)
    scores: list[list[float]] = [[] for _ in rows]
    start = 0
    while start < len(order):
        some = order[start : start + ROWS_AT_ONCE]
        while len(some) > 1 and len(some) * rows[some[-1]].tokens > TOKENS_AT_ONCE:
            some.pop()
        for index, found in zip(some, model.score([rows[index] for index in some]).tolist(), strict=True):
            scores[index] = found
        start += len(some)
    return scores
