"""Simple preference optimisation (arXiv 2405.14734): no reference in the loss, rewards per token."""

from typing import ClassVar, Literal

from pydantic import Field
from torch.nn.functional import logsigmoid

from trainer.objectives.contract import Objective, PreferenceLogps, PreferenceLoss


class SimPO(Objective):
    """-log sigmoid(beta / |y_w| log pi(y_w) - beta / |y_l| log pi(y_l) - gamma), eq. 6."""

    kind: Literal["simpo"] = "simpo"
    beta: float = Field(10.0, gt=0)
    gamma_ratio: float = Field(0.5, ge=0)
    """Target margin gamma as a share of beta."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed share of flipped preferences."""
    per_token: ClassVar[bool] = True

    def __call__(self, logps: PreferenceLogps) -> PreferenceLoss:
        chosen = self.beta * logps.chosen / logps.chosen_tokens
        rejected = self.beta * logps.rejected / logps.rejected_tokens
        margin = chosen - rejected - self.gamma_ratio * self.beta
        losses = -(1 - self.label_smoothing) * logsigmoid(margin) - self.label_smoothing * logsigmoid(-margin)
        return PreferenceLoss(losses, chosen.detach(), rejected.detach())
