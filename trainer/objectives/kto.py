"""Kahneman-Tversky optimisation (arXiv 2402.01306): responses judged one at a time, good or bad."""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trainer.objectives.contract import Objective, PreferenceLogps, PreferenceLoss


class KTO(Objective):
    """lambda_y - v(x, y), eq. 7: lambda_D [1 - sigmoid(beta (r - z))] for a desirable response, lambda_U
    [1 - sigmoid(beta (z - r))] for an undesirable one, with r = log pi - log pi_ref.

    The reference point z = max(0, mean r over mismatched responses, each a prompt with another row's response)
    stands for KL(pi || pi_ref). It carries no gradient and is one number per optimiser step, over all its
    micro-batches and processes (TRL: one per micro-batch). Both sides of a pair count, each as a row of its own.
    """

    kind: Literal["kto"] = "kto"
    beta: float = Field(0.1, gt=0)
    """How sharply value saturates away from the reference point."""
    desirable_weight: float = Field(1.0, gt=0)
    """lambda_D; eq. 8 asks for desirable_weight n_chosen / (undesirable_weight n_rejected) within [1, 4/3]."""
    undesirable_weight: float = Field(1.0, gt=0)
    """lambda_U."""
    needs_reference_logps: ClassVar[bool] = True
    needs_mismatched: ClassVar[bool] = True
    pairwise: ClassVar[bool] = False

    def __call__(self, logps: PreferenceLogps) -> PreferenceLoss:
        assert logps.mismatched_log_ratio is not None
        kl = logps.mismatched_log_ratio.clamp(min=0).detach()
        chosen = logps.chosen - logps.reference_chosen
        rejected = logps.rejected - logps.reference_rejected
        desirable = self.desirable_weight * (1 - torch.sigmoid(self.beta * (chosen - kl)))
        undesirable = self.undesirable_weight * (1 - torch.sigmoid(self.beta * (kl - rejected)))
        return PreferenceLoss(
            torch.cat([desirable, undesirable]),
            self.beta * chosen.detach(),
            self.beta * rejected.detach(),
            metrics={"kl": kl},
        )
