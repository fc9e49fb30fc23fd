"""Bradley-Terry with margin and centring: by hand, and as TRL's RewardTrainer computes it, gradients included."""

import math
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from trl.trainer.reward_trainer import RewardTrainer

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


def trl_loss(scores: Tensor, margin: Tensor | None, centring: float | None) -> Tensor:
    """What TRL makes of these scores, chosen first: its own code, with the model's answer given."""

    def model(**_: Any) -> Any:
        return SimpleNamespace(logits=scores[:, None])

    trainer: Any = RewardTrainer.__new__(RewardTrainer)  # its constructor wants weights, data and a directory
    trainer.model = SimpleNamespace(training=False)
    trainer.args = SimpleNamespace(center_rewards_coefficient=centring)
    trainer.accelerator = SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x)
    trainer._metrics = defaultdict(lambda: defaultdict(list))
    trainer._total_train_tokens = 0
    loss: Tensor = trainer.compute_loss(model, {} if margin is None else {"margin": margin})
    return loss


@pytest.mark.parametrize("with_margin", [False, True])
@pytest.mark.parametrize("centring", [0.0, 0.01, 0.5])
def test_loss_and_gradient_are_those_of_trl(with_margin: bool, centring: float) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = (3 * torch.randn(32, generator=generator)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    margin = 2 * torch.rand(16, generator=generator) if with_margin else None
    loss = bradley_terry(ours[:16], ours[16:], 0.0 if margin is None else margin, centring=centring).mean()
    expected = trl_loss(theirs, margin, centring or None)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert (ours.grad - theirs.grad).abs().max() <= 1e-7
