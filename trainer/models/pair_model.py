"""The one contract between whatever gives scores and whatever wants them in batches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
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

    def lacks(self, output: str) -> bool:
        """Whether a network that ``output`` reads with is not in memory yet."""
        ...

    def complete(self, output: str) -> None:
        """Read or make what ``output`` lacks; on the CPU, for ``place`` to move. ``score`` does so where nobody did.

        Raises BrokenArtifact.
        """
        ...

    def networks_held(self) -> tuple[nn.Module, ...]:
        """Whose weights it keeps in memory; models may share some."""
        ...


def place(model: PairModel, device: torch.device) -> None:
    """Move all that ``model`` reads with to ``device``; what is there stays as it is."""
    for network in model.networks_held():
        network.to(device)


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
