"""Equations 15, 18, 19 and 20 of GANPO on logits small enough to work out by hand."""

import math

import pytest
import torch

from trainer.adversarial.relativistic_average import bce, discriminator_loss, policy_loss


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


def test_bce_compares_each_side_with_the_other_sides_mean() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([1.0])
    # real against m_fake = 0.5: margins 1.5, -0.5; fake against m_real = 3: margin -2
    expected = (softplus(-1.5) + softplus(0.5)) / 2 + softplus(-2.0)
    assert bce(real, fake, torch.tensor(3.0), torch.tensor(0.5)).item() == pytest.approx(expected)


def test_the_quad_term_separates_policy_from_the_opposite_reference() -> None:
    anchor, policy, opposite = torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([-1.0])
    means = (torch.tensor(1.0), torch.tensor(0.0), torch.tensor(-1.0))
    first = softplus(-1.0) + softplus(-1.0)
    second = softplus(-1.0) + softplus(-1.0)
    assert discriminator_loss(anchor, policy, opposite, means, quad=False).item() == pytest.approx(first)
    assert discriminator_loss(anchor, policy, opposite, means, quad=True).item() == pytest.approx(first + second)


@pytest.mark.parametrize("kind", ["non_saturating", "saturating"])
def test_both_policy_losses_fall_as_the_logit_rises(kind: str) -> None:
    logit = torch.tensor([0.3], requires_grad=True)
    policy_loss(logit, torch.tensor(1.0), kind).backward()  # type: ignore[arg-type]
    assert logit.grad is not None
    assert logit.grad.item() < 0


def test_policy_losses_by_hand() -> None:
    logit, mean = torch.tensor([0.0]), torch.tensor(1.0)
    assert policy_loss(logit, mean, "non_saturating").item() == pytest.approx(softplus(1.0))
    assert policy_loss(logit, mean, "saturating").item() == pytest.approx(-softplus(-1.0))
