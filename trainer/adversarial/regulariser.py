"""What regularises a policy in latent space, and how its gradient joins the objective's."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from trainer.adversarial.latent_sets import LatentSets
from trainer.adversarial.precision import tensor_float32
from trainer.adversarial.settings import Adversarial
from trainer.models.latents import Latents, select_latents
from trainer.models.policy import PairBatch

Metrics = dict[str, float | Tensor]
"""Means over a micro-batch; what is left on its device is fetched once per step."""


class Regulariser(nn.Module, ABC):
    """A divergence D(p_theta || p_ref) between latents (arXiv 2601.22083, eq. 7), learned or not."""

    def __init__(self, config: Adversarial) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def observe(self, latents: LatentSets, share: float, *, last: bool) -> Metrics:
        """Learn from one micro-batch, whose part of the whole batch is ``share``; step at the last. Returns metrics.

        Every process calls it equally often; ``last`` is true once per optimiser step.
        """

    @abstractmethod
    def loss(self, latents: LatentSets) -> Tensor:
        """L_adv on live latents; gradients reach the policy alone."""

    def snapshot(self) -> dict[str, Any]:
        """Everything a resume needs, between two steps."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of ``snapshot``."""

    def backward(
        self,
        objective: Tensor,
        hidden: Tensor,
        reference: Latents,
        batch: PairBatch,
        share: float,
        *,
        chosen: int,
        last: bool,
    ) -> Metrics:
        """Observe, then accumulate the policy's gradient of share (objective + weight L_adv). Returns metrics.

        ``hidden`` (rows, length, features) holds the policy's last hidden states of ``batch``, whose first ``chosen``
        rows are chosen, and ``reference`` the reference's latents of the same rows, under the mask of the settings.
        L_adv is differentiated at ``hidden`` alone and its gradient enters there, so that the one backward through
        the policy also shows both gradients: their norms at ``hidden``, of a micro-batch's mean loss, and their
        cosine. For that the objective must have been computed from this very ``hidden``.
        """
        cut = hidden.detach().requires_grad_()
        latents = LatentSets(select_latents(cut, batch, self.config.mask), reference, chosen)
        with tensor_float32():
            metrics = self.observe(latents, share, last=last)
            loss = self.loss(latents)
            (gradient,) = torch.autograd.grad(loss, cut)
        seen: list[Tensor] = []
        handle = hidden.register_hook(  # type: ignore[no-untyped-call]
            lambda total: seen.append(_products(total, gradient))
        )
        torch.autograd.backward([share * objective, hidden], [None, share * self.config.weight * gradient])
        handle.remove()
        compared = _compare(seen[0] if share else torch.zeros_like(seen[0]), share or 1.0, self.config.weight)
        return {**metrics, "adversarial_loss": loss.detach(), **compared}


def _products(total: Tensor, adversarial: Tensor) -> Tensor:
    """<t, t>, <t, a> and <a, a>."""
    t, a = total.detach().flatten().float(), adversarial.flatten().float()
    return torch.stack([t @ t, t @ a, a @ a])


def _compare(products: Tensor, share: float, weight: float) -> Metrics:
    """Norms and cosine of the objective's gradient o and the regulariser's a, where t = share (o + weight a)."""
    tt, ta, aa = products.unbind()
    tt, ta = tt / share**2, ta / share
    oa = ta - weight * aa
    oo = (tt - 2 * weight * ta + weight**2 * aa).clamp(min=0)
    return {
        "adversarial/objective_gradient_norm": oo.sqrt(),
        "adversarial/gradient_norm": aa.sqrt(),
        "adversarial/gradient_cosine": oa / (oo * aa).sqrt().clamp(min=1e-30),
    }
