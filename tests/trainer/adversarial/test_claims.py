"""Two remarks of docs/ganpo.md about the paper's equations, checked by numbers."""

import math

import pytest
import torch

from trainer.adversarial.relativistic_average import bce, discriminator_loss, policy_loss


def test_equal_distributions_are_at_minus_log_4_and_not_at_0() -> None:
    """Eq. 13 is the supremum over C of -BCE(h, h). A constant C reaches -2 log 2; gradient ascent finds no better."""
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0], requires_grad=True)
    for _ in range(400):
        loss = bce(logits, logits, logits.mean(), logits.mean())
        (slope,) = torch.autograd.grad(loss, logits)
        logits = (logits - slope).detach().requires_grad_()
    reached = -float(bce(logits, logits, logits.mean(), logits.mean()).detach())
    assert reached == pytest.approx(-math.log(4), abs=1e-4)
    assert logits.detach().std() < 1e-2


@pytest.mark.parametrize("quad", [False, True])
def test_with_quad_the_policy_is_pushed_although_it_equals_its_reference(quad: bool) -> None:
    """Latents are one number: chosen ones 1 of either model, rejected ones -1, and C(h) = w h + v.

    With theta = ref the first BCE gives w no slope at 0, and the second one, "policy above the opposite", pushes it up:
    dL/dw = 2 (s(0) - 1) (1 - -1) / 2 = -1. So C keeps a slope, and through it the policy is told to move.
    """
    w = torch.zeros((), requires_grad=True)
    for _ in range(200):
        anchor, policy, opposite = (w * torch.tensor([h]) for h in (1.0, 1.0, -1.0))
        means = (anchor.mean(), policy.mean(), opposite.mean())
        (slope,) = torch.autograd.grad(discriminator_loss(anchor, policy, opposite, means, quad=quad), w)
        w = (w - 0.1 * slope).detach().requires_grad_()
    latent = torch.tensor([1.0], requires_grad=True)
    policy_loss(w.detach() * latent, w.detach(), "non_saturating").backward()
    assert latent.grad is not None
    if quad:
        assert latent.grad.item() < -0.5
    else:
        assert latent.grad.item() == 0.0
