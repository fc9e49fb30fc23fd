"""Losses of reward models agree with numbers worked by hand."""

import math

import pytest
import torch

from trainer.objectives.bradley_terry import bradley_terry, pointwise_bce


def test_a_margin_asks_for_that_much_more() -> None:
    chosen, rejected = torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0])
    losses = bradley_terry(chosen, rejected, torch.tensor([0.0, 3.0])).tolist()
    assert losses == pytest.approx([math.log(1 + math.exp(-1.0)), math.log(1 + math.exp(2.0))])


def test_centring_adds_the_squared_sum_of_the_two_scores() -> None:
    chosen, rejected = torch.tensor([2.0]), torch.tensor([1.0])
    assert bradley_terry(chosen, rejected, centring=0.01).item() == pytest.approx(math.log(1 + math.exp(-1.0)) + 0.09)


def test_pointwise_bce_by_hand() -> None:
    loss = pointwise_bce(torch.tensor([2.0]), torch.tensor([-1.0]))
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2)
