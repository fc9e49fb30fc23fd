"""Truncation cuts what transformers' own warpers cut."""

import pytest
import torch
from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from trainer.generation.truncation import Truncation


@pytest.mark.parametrize("top_k", [0, 1, 5, 50, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 0.01])
@pytest.mark.parametrize("min_p", [0.0, 0.1, 1.0])
def test_the_same_tokens_stay_as_in_transformers(top_k: int, top_p: float, min_p: float) -> None:
    logits = torch.randn(20, 60, generator=torch.Generator().manual_seed(0)) * 3
    temperature = torch.linspace(0.3, 2.0, 20)[:, None]
    kept = torch.isfinite(Truncation(top_k, top_p, min_p).apply(logits, temperature))
    for row in range(20):
        scores = TemperatureLogitsWarper(float(temperature[row]))(None, logits[row : row + 1])
        if top_k:
            scores = TopKLogitsWarper(top_k)(None, scores)
        if top_p < 1:
            scores = TopPLogitsWarper(top_p)(None, scores)
        if min_p:
            scores = MinPLogitsWarper(min_p)(None, scores)
        assert torch.equal(kept[row], torch.isfinite(scores[0]))


def test_a_distribution_worked_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()

    def left(**asked: float) -> list[bool]:
        return torch.isfinite(Truncation(**asked).apply(logits, torch.ones(1, 1)))[0].tolist()  # type: ignore[arg-type]

    assert left(top_p=0.79) == [True, True, False, False]
    assert left(top_p=0.81) == [True, True, True, False]
    assert left(top_k=3, top_p=0.8) == [True, True, False, False]  # 0.5 and 0.3 are 0.84 of what top_k left
    assert left(min_p=0.2) == [True, True, True, False]


def test_the_most_probable_token_stays_at_temperature_zero() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, -2.0, 1.0]])
    cut = Truncation(top_k=2, top_p=0.5, min_p=0.5).apply(logits, torch.zeros(2, 1))

    assert cut.argmax(dim=1).tolist() == [1, 0]
    assert torch.isfinite(cut).sum(dim=1).tolist() == [1, 1]
