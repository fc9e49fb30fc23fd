"""Which tokens discriminators read."""

import torch

from trainer.models.latents import select_latents
from trainer.models.policy import PairBatch

# row 0: prompt 2, response 2, padding 1; row 1: prompt 1, response 4
RESPONSE = torch.tensor([[0, 0, 1, 1, 0], [0, 1, 1, 1, 1]], dtype=torch.bool)
ATTENTION = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
BATCH = PairBatch(torch.zeros(2, 5, dtype=torch.long), ATTENTION, RESPONSE)
HIDDEN = torch.arange(10.0).view(2, 5, 1)


def told(mask: str) -> list[list[float]]:
    latents = select_latents(HIDDEN, BATCH, mask)  # type: ignore[arg-type]
    return [row[kept].flatten().tolist() for row, kept in zip(latents.hidden_states, latents.mask, strict=True)]


def test_the_response_begins_at_position_0() -> None:
    assert told("response") == [[2.0, 3.0], [6.0, 7.0, 8.0, 9.0]]
    assert select_latents(HIDDEN, BATCH, "response").mask.shape == (2, 4)


def test_prompt_and_response_leave_out_padding_alone() -> None:
    assert told("prompt_and_response") == [[0.0, 1.0, 2.0, 3.0], [5.0, 6.0, 7.0, 8.0, 9.0]]
