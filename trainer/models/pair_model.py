"""The one contract between whatever gives scores and whatever wants them in batches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from trainer.data.text import Encoded, OnOverlong, Prompt

if TYPE_CHECKING:  # policies take seconds to import
    from trainer.models.readings import Readings


class PairModel(Protocol):
    """A model that scores prompt-response pairs. Training, auditing and serving all score through this."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the scores it gives; the first is the one meant when none is named."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest prompt plus response, in this model's own tokens."""
        ...

    @property
    def template_hash(self) -> str:
        """Identifies how prompt and response become one text."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """What ``encode`` tokenises with; models may share one."""
        ...

    @property
    def longest_shared(self) -> int:
        """Tokens of the longest text it can read behind a prompt that it read once for several; 0 where none can."""
        ...

    @property
    def longest_packed(self) -> int:
        """Tokens of the longest text it reads beside others without padding; 0 where it pads whatever it reads."""
        ...

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        """Tokenise one pair; needs no device. Raises InvalidInput or OverlongInput."""
        ...

    def score(
        self, batch: Sequence[Encoded], outputs: Sequence[str] | None = None, readings: "Readings | None" = None
    ) -> Tensor:
        """Scores (batch, len(outputs)), float32 on the CPU. Independent of padding and of the batch's other rows.

        All ``outputs`` unless some are named; no pass is made that they do not need, nor one that ``readings`` of
        this very batch has already. What the rows begin with is read once where ``readings.shared`` says so.
        """
        ...

    def networks_held(self) -> tuple[nn.Module, ...]:
        """Whose weights it keeps in memory; models may share some."""
        ...


ROWS_AT_ONCE, TOKENS_AT_ONCE = 64, 2**14
"""Of one forward pass without gradients, padding included."""


def score_all(model: PairModel, rows: Sequence[Encoded], outputs: Sequence[str] | None = None) -> list[list[float]]:
    """The scores of every row, in their order, as ``PairModel.score``; rows of like length are read together."""
    order = sorted(range(len(rows)), key=lambda index: rows[index].tokens)
    scores: list[list[float]] = [[] for _ in rows]
    start = 0
    while start < len(order):
        some = order[start : start + ROWS_AT_ONCE]
        while len(some) > 1 and len(some) * rows[some[-1]].tokens > TOKENS_AT_ONCE:
            some.pop()
        for index, found in zip(some, model.score([rows[index] for index in some], outputs).tolist(), strict=True):
            scores[index] = found
        start += len(some)
    return scores
