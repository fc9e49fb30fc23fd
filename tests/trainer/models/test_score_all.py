"""Many rows are scored in passes that memory holds, and answered in the order they were asked."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.models.pair_model import score_all


class Lengths:
    """Scores a row by how long it is, and notes what it was given together."""

    outputs: tuple[str, ...] = ("tokens", "twice")
    max_tokens = 10_000
    template_hash = "none"
    longest_shared = 0
    longest_packed = 0

    def __init__(self) -> None:
        self.passes: list[list[int]] = []

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        raise NotImplementedError

    def score(self, batch: Sequence[Encoded], outputs: object = None) -> Tensor:
        self.passes.append([row.tokens for row in batch])
        return torch.tensor([[row.tokens, 2 * row.tokens] for row in batch], dtype=torch.float32)

    def bytes(self) -> int:
        return 0


def test_scores_stand_where_their_rows_do() -> None:
    lengths = [5, 900, 7, 5, 20_000, 3]
    found = score_all(Lengths(), [row(length) for length in lengths])
    assert found == [[length, 2 * length] for length in lengths]
    assert score_all(Lengths(), []) == []


@pytest.mark.parametrize(
    ("lengths", "passes"),
    [
        ([10] * 130, [64, 64, 2]),  # no more than 64 rows
        ([4096] * 9, [4, 4, 1]),  # no more than 16,384 tokens
        ([20_000] * 2, [1, 1]),  # a row over that goes alone
        ([8192, 10, 8192, 10], [2, 2]),  # short ones are not padded to the longest
    ],
)
def test_a_pass_has_so_many_rows_and_tokens_at_most(lengths: list[int], passes: list[int]) -> None:
    model = Lengths()
    score_all(model, [row(length) for length in lengths])
    assert [len(each) for each in model.passes] == passes


def row(tokens: int) -> Encoded:
    return Encoded([0] * tokens, 1)
